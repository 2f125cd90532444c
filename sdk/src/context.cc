// SPDX-License-Identifier: Apache-2.0
#include "forkmill/context.h"

#include <map>
#include <mutex>

#include "forkmill/detail/context_seam.h"
#include "forkmill/errors.h"
#include "forkmill/pool.h"
#include "sdk/src/client.h"

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

namespace {
struct Viewed {
    Client* client = nullptr;
    std::weak_ptr<Client> there;
};
thread_local Viewed t_viewed;
}  // namespace

void set_task_context(TaskContext* task) noexcept {
    g_current = task;
    t_viewed.client = nullptr;
}

void set_viewed_client(Client* client) noexcept {
    // Nearly always the same again; another one at the same place had left nothing behind.
    if (t_viewed.client == client && !t_viewed.there.expired()) return;
    t_viewed.client = client;
    if (client != nullptr) t_viewed.there = client->weak_from_this();
}

ClientPtr unpacking_client() {
    if (t_viewed.client != nullptr) {
        if (ClientPtr client = t_viewed.there.lock()) return client;
    }
    return g_current == nullptr ? nullptr : g_current->nested;
}

}  // namespace detail

}  // namespace v0
}  // namespace forkmill
