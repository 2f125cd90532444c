// SPDX-License-Identifier: Apache-2.0
#include "forkmill/context.h"

#include <map>
#include <mutex>

#include "forkmill/detail/context_seam.h"
#include "forkmill/errors.h"
#include "forkmill/pool.h"

namespace forkmill {
inline namespace v0 {

namespace {
thread_local detail::TaskContext* g_current = nullptr;

detail::TaskContext& current() {
    if (g_current == nullptr)
        throw UsageError("context() is of a running task; no task runs on this thread");
    return *g_current;
}
}  // namespace

Context& context() {
    return current().context;
}

void Context::progress(double fraction, std::string_view note) {
    detail::TaskContext& task = current();
    if (task.progress) task.progress(fraction, note);
}

Pool& Context::pool() {
    const detail::ClientPtr nested = current().nested;
    if (!nested) throw UsageError("this worker cannot submit tasks");
    // One Pool per session of this process, kept for ever: a worker process has one.
    static std::mutex mutex;
    static auto* const pools = new std::map<detail::Client*, std::unique_ptr<Pool>>;
    const std::lock_guard lock{mutex};
    std::unique_ptr<Pool>& pool = (*pools)[nested.get()];
    if (!pool) pool = std::make_unique<Pool>(nested);
    return *pool;
}

namespace detail {
void set_task_context(TaskContext* task) noexcept {
    g_current = task;
}
}  // namespace detail

}  // namespace v0
}  // namespace forkmill
