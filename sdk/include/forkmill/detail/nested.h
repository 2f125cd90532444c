// SPDX-License-Identifier: Apache-2.0
// What a worker and the SDK agree on for code that runs inside a task: lending the slot while it
// waits, and submitting over the worker's own session.
//
// Nothing here is promised to users. Threading: a TaskScope belongs to the thread that runs its
// task; a Nested's source and sink are called by the worker's I/O thread only, its client by any
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "forkmill/detail/export.h"
#include "forkmill/detail/seam.h"
#include "forkmill/options.h"

namespace forkmill {
namespace base {
class LockWord;
}
namespace session {
class SubmitSource;
class OutcomeSink;
class ObjectLink;
}  // namespace session

inline namespace v0 {
namespace detail {

/// The task on this thread, as far as waits and nested submits depend on it (semantics.md 17,
/// api.md ruling 14).
class TaskScope {
  public:
    virtual ~TaskScope() = default;
    /// The thread is about to wait: its slot may run another task meanwhile. False: the bound of
    /// lent slots is reached, the wait must not begin.
    virtual bool block() = 0;
    /// The wait is over; returns once the slot is this thread's again.
    virtual void unblock() = 0;
    /// Of the attempt that runs: it owns the locks that the task takes.
    virtual std::uint64_t lease() const = 0;

    TaskId id;
    std::optional<std::chrono::system_clock::time_point> deadline;
    std::string trace;
    std::stop_token
        stop;  ///< Passed on: a wait for a nested task cancels that task when this is requested.
};
/// Set by the executor around each run; null outside. Thread-local.
FORKMILL_API void set_task_scope(TaskScope* scope) noexcept;
FORKMILL_API TaskScope* task_scope() noexcept;

struct NestedHooks {
    std::uint64_t stream = 0;    ///< Of the worker's session.
    std::function<void()> wake;  ///< The I/O thread has something to pump; called from any thread.
    std::span<base::LockWord> lock_words = {};  ///< What the broker's answers count from, if any.
};
struct Nested {
    ClientPtr client;
    session::SubmitSource* source = nullptr;  ///< All three live as long as the client.
    session::OutcomeSink* sink = nullptr;
    session::ObjectLink* objects = nullptr;
};
/// The client behind context().pool(): its submits leave through the worker's session.
FORKMILL_API Nested make_nested_client(NestedHooks hooks);
/// The worker's session is over: everything pending ends with BrokerLost, waiters wake. Called by
/// the I/O thread.
FORKMILL_API void end_nested_client(Client& client) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
