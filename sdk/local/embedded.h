// SPDX-License-Identifier: Apache-2.0
// Embedded: a whole broker inside the user's program: one thread runs gateway and engine, workers
// hang on socketpairs, the client is called directly.
//
// Invariants: (1) the broker thread alone touches gateway, engine, sockets, crew and the table's
// I/O side; (2) it ends only when no worker process is left or the fork server is dead; (3)
// everything submitted settles, whatever dies. Threading: the public functions from any user
// thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "broker/gateway.h"
#include "core/net/local_socket.h"
#include "core/net/poll_loop.h"
#include "core/net/wakeup.h"
#include "sdk/local/crew.h"
#include "sdk/local/fork_host.h"
#include "sdk/local/plan.h"
#include "sdk/src/client.h"
#include "sdk/src/heir_watch.h"

namespace forkmill {
inline namespace v0 {
namespace local {

class Embedded final : public detail::Backend, private broker::LocalClient {
  public:
    /// Starts the workers; returns once each birth was answered. `client` outlives it.
    Embedded(detail::Client& client,
             std::shared_ptr<ForkHost> host,
             Plan plan,
             std::uint32_t workers,
             std::shared_ptr<net::Wakeup> wakeup);
    ~Embedded() override;

    void wake() override { wakeup_->notify(); }
    void close() override;
    void terminate() noexcept override;
    bool join(base::Time until) override;
    void stop() noexcept override;
    std::vector<WorkerInfo> workers() override;
    detail::Way way() override;
    base::Status end_with(const base::SessionKey& heir, detail::Sentinel sentinel) override;

  private:
    void on_effect(const engine::Effect& effect, const engine::Effects& all) override;
    void run();
    void turn(base::Time now);
    void receive();
    void join_visitors();
    void answer_door();
    void hear_notices(base::Time now);
    void obey(base::Time now);
    void submit(base::Time now);
    bool submit_one(const session::SubmitItem& item, base::Time now, base::WallNanos wall);
    bool define(std::uint32_t template_id);
    void cancel(base::Time now);
    void operate(base::Time now);
    void send(base::Time now);
    void grant(base::Time now);
    void host_lost();
    base::Time next_timer(base::Time now) const;

    detail::Client& client_;
    detail::PendingIo& io_;
    detail::ObjectPort& objects_;
    std::shared_ptr<ForkHost> host_;
    std::shared_ptr<net::Wakeup> wakeup_;
    const std::string host_key_;
    const std::string pool_name_;
    Port port_;
    PoolIndex pool_;
    net::LocalServer server_;
    net::PollLoop loop_;
    engine::Engine engine_;
    broker::Gateway gateway_;
    engine::SessionIx session_ = engine::kNoSession;
    supervisor::OwnedFd plan_fd_;
    Crew crew_;
    detail::HeirWatch heirs_;

    // The broker thread's.
    std::vector<supervisor::Notice> notices_;
    std::vector<bool> defined_;
    std::uint64_t sent_records_ = 0;
    std::uint64_t sent_bytes_ = 0;
    std::uint64_t taken_records_ = 0;
    std::uint64_t taken_bytes_ = 0;
    std::uint64_t granted_records_ = 0;
    std::uint64_t granted_bytes_ = 0;
    bool more_ = false;  ///< Submits were left for the next turn.
    bool ending_ = false;
    bool terminated_ = false;
    bool watching_host_ = false;
    bool dead_ = false;  ///< The fork server is: what is handed over fails at once.
    std::optional<supervisor::Channel> door_;  ///< Where processes of this program come in.

    std::atomic<bool> closing_{false};
    std::atomic<bool> terminating_{false};
    std::atomic<bool> door_due_{false};

    std::mutex mutex_;  // Guards the rest.
    std::condition_variable changed_;
    bool born_ = false;
    bool ended_ = false;
    std::optional<supervisor::Channel> new_door_;
    std::shared_ptr<supervisor::Channel> doorstep_;  ///< The other end of it.

    std::thread thread_;
};

}  // namespace local
}  // namespace v0
}  // namespace forkmill
