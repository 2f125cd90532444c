// SPDX-License-Identifier: Apache-2.0
// The client inside a worker: its submits leave through the worker's own session, its waits lend
// the task's slot.
#include <utility>

#include "forkmill/detail/nested.h"
#include "sdk/src/client.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

thread_local TaskScope* t_scope = nullptr;

}  // namespace

void set_task_scope(TaskScope* scope) noexcept {
    t_scope = scope;
}
TaskScope* task_scope() noexcept {
    return t_scope;
}

Nested make_nested_client(NestedHooks hooks) {
    auto client = std::make_shared<Client>(nullptr, hooks.stream, true, std::move(hooks.wake));
    client->set_lock_words(hooks.lock_words);
    PendingIo& io = client->io();
    ObjectPort& objects = client->objects();
    objects.begin_silence(base::monotonic_now());
    return Nested{std::move(client), &io, &io, &objects};
}

void end_nested_client(Client& client) noexcept {
    client.table().close();
    client.set_liveness(Liveness::Lost);
    client.io().fail_all(
        wire::Outcome::Failed, wire::Code::BrokerLost, "the worker's session has ended");
    client.io().publish();
    client.objects().end(wire::Code::BrokerLost, "the worker's session has ended");
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
