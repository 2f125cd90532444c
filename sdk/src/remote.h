// SPDX-License-Identifier: Apache-2.0
// Remote: a client's session with a daemon: one I/O thread over one transport.
//
// Invariants: (1) the thread alone touches transport, session and the table's I/O side; (2) it ends
// after BYE, on terminate() at the latest a second later. Threading: the public functions from any
// user thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "core/net/transport.h"
#include "core/net/wakeup.h"
#include "core/session/client_session.h"
#include "sdk/src/client.h"
#include "sdk/src/heir_watch.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

class Remote final : public Backend, private session::ClientListener {
  public:
    /// Connects in the background. `client` outlives it.
    Remote(Client& client,
           std::unique_ptr<net::Transport> transport,
           session::ClientSessionConfig config,
           std::shared_ptr<net::Wakeup> wakeup,
           Way way);
    ~Remote() override;

    void wake() override { wakeup_->notify(); }
    void close() override;
    void terminate() noexcept override;
    bool join(base::Time until) override;
    void stop() noexcept override;
    std::vector<WorkerInfo> workers() override;
    Way way() override { return way_; }
    base::Status end_with(const base::SessionKey& heir, Sentinel sentinel) override;

  private:
    struct Question {
        std::string what;
        bool answered = false;
        wire::Code code{};
        std::string body;
    };

    void on_client_state(session::ClientState state,
                         wire::Code code,
                         std::string_view text) override;
    void run();
    void turn(base::Time now);
    void receive(base::Time now);
    void send(base::Time now);
    void obey(base::Time now);
    void ask();
    void ask_again();
    void say_goodbye();

    Client& client_;
    std::unique_ptr<net::Transport> transport_;
    std::shared_ptr<net::Wakeup> wakeup_;
    const Way way_;
    HeirWatch heirs_;
    session::ClientOut out_;
    session::ClientSession session_;

    std::atomic<bool> closing_{false};
    std::atomic<bool> terminating_{false};
    bool leaving_ = false;
    bool reached_ = false;  ///< The broker answered once.
    base::Time warn_at_;    ///< When it is told that it has not.
    bool dead_ = false;     ///< Rejected or lost: what is handed over fails at once.
    wire::Code dead_code_{};
    std::string dead_text_;

    std::mutex mutex_;  // Guards the rest.
    std::condition_variable changed_;
    bool ended_ = false;
    std::uint64_t next_question_ = 1;
    std::vector<std::pair<std::uint64_t, std::string>> unasked_;
    std::unordered_map<std::uint64_t, Question> questions_;

    std::thread thread_;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
