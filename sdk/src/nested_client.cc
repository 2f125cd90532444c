// SPDX-License-Identifier: Apache-2.0
// The client inside a worker: its submits leave through the worker's own session, its waits lend
// the task's slot.
#include <atomic>
#include <utility>

#include "forkmill/detail/nested.h"
#include "forkmill/errors.h"
#include "forkmill/pool.h"
#include "sdk/src/client.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

thread_local TaskScope* t_scope = nullptr;

/// The worker's I/O thread does the work; here is only what user threads ask about.
class NestedBackend final : public Backend {
  public:
    void wake() override {}
    Liveness liveness() const override {
        return ended_.load(std::memory_order_relaxed) ? Liveness::Lost : Liveness::Live;
    }
    void close() override {}
    void terminate() noexcept override {}
    bool join(base::Time) override { return true; }
    void stop() noexcept override {}
    std::vector<WorkerInfo> workers() override {
        throw UsageError{"a running task does not see the workers of its pool"};
    }
    void end() { ended_.store(true, std::memory_order_relaxed); }

  private:
    std::atomic<bool> ended_{false};
};

}  // namespace

void set_task_scope(TaskScope* scope) noexcept {
    t_scope = scope;
}
TaskScope* task_scope() noexcept {
    return t_scope;
}

Nested make_nested_client(NestedHooks hooks) {
    auto client = std::make_shared<Client>(nullptr, hooks.stream, true, std::move(hooks.wake));
    client->set_backend(std::make_unique<NestedBackend>());
    PendingIo& io = client->io();
    return Nested{std::move(client), &io, &io};
}

void end_nested_client(Client& client) noexcept {
    client.table().close();
    static_cast<NestedBackend&>(client.backend()).end();
    client.io().fail_all(
        wire::Outcome::Failed, wire::Code::BrokerLost, "the worker's session has ended");
    client.io().publish();
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
