// SPDX-License-Identifier: Apache-2.0
// Context: what a task may know of itself and do besides computing.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string_view>

#include "forkmill/detail/export.h"
#include "forkmill/options.h"

namespace forkmill {
inline namespace v0 {

class Pool;

/// Of the task that runs on this thread; valid until it returns. Belongs to that thread.
struct FORKMILL_API Context {
    TaskId id;
    int attempt = 1;  ///< 1, 2, … : how often the task was handed to a worker.
    std::optional<std::chrono::system_clock::time_point> deadline;
    std::stop_token stop;  ///< Requested by cancel(ask) and by soft_timeout: return soon, or throw
                           ///< forkmill::Cancelled.

    /// Told to the submitter's on_progress(); only the newest is kept on the way. 0 … 1.
    void progress(double fraction, std::string_view note = {});
    /// The pool this task runs in: submits to it belong to the worker's own session; waiting for
    /// them lends this task's slot. In a Process that was given handles: the first one's pool.
    Pool& pool();
};

/// Throws UsageError outside a task, but for the main thread of a Process that was given handles
/// of shared objects: there it has a pool() and nothing else.
FORKMILL_API Context& context();

}  // namespace v0
}  // namespace forkmill
