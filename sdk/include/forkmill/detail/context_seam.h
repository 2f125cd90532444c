// SPDX-License-Identifier: Apache-2.0
// What the worker sets around each run of a task's code, and how it packs what that code threw.
// Nothing here is promised to users.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <string_view>

#include "forkmill/context.h"
#include "forkmill/detail/seam.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// One per task thread, re-used; set while the task's code runs.
struct TaskContext {
    Context context;
    std::function<void(double, std::string_view)> progress;
    ClientPtr nested;  ///< Behind context().pool().
};
FORKMILL_API void set_task_context(TaskContext* current) noexcept;

struct ThrownBy {
    std::string_view host;
    std::int32_t pid = 0;
    std::string_view task;
    int attempt = 1;
};
/// Bytes of the wire::ErrorInfo for what a task threw, and how it ended as a wire::Outcome value
/// (Failed; Cancelled for a forkmill::Cancelled).
struct PackedException {
    Buffer body;
    std::uint8_t outcome = 1;
};
FORKMILL_API PackedException pack_exception(const std::exception_ptr& thrown, const ThrownBy& by);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
