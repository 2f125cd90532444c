// SPDX-License-Identifier: Apache-2.0
// ClientNode: a program that submits: the SDK's real pending table and client session; what user
// threads would do is done by events.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/session/client_session.h"
#include "sdk/src/pending.h"
#include "sdk/src/pending_io.h"
#include "tests/sim/world.h"

namespace sim {

class ClientNode final : private forkmill::session::OutcomeSink,
                         private forkmill::session::ClientListener,
                         private forkmill::detail::JobQueue {
  public:
    ClientNode(World& world, std::uint64_t stream);

    void connect();
    void submit_one();
    bool all_settled() const { return settled_ == submitted_; }
    std::uint64_t submitted() const { return submitted_; }
    std::uint64_t settled() const { return settled_; }
    std::string unsettled_text() const;

  private:
    // What the session tells is checked, then passed on to the real table.
    void on_accepted(std::uint64_t first, std::uint64_t count) override {
        io_.on_accepted(first, count);
    }
    void on_refused(const forkmill::wire::Refused& refused) override;
    void on_forgotten(std::uint64_t first, std::uint64_t count) override;
    bool on_outcome(std::uint64_t seq,
                    forkmill::wire::Outcome outcome,
                    const forkmill::base::Body& body) override;
    void on_partial(std::uint64_t seq, double fraction, std::string_view note) override {
        io_.on_partial(seq, fraction, note);
    }
    void on_reply(const forkmill::wire::Reply& reply) override { io_.on_reply(reply); }
    void on_turn(forkmill::session::ClientCore& core) override { io_.on_turn(core); }
    void on_client_state(forkmill::session::ClientState state,
                         forkmill::wire::Code code,
                         std::string_view text) override;
    void post(std::vector<forkmill::detail::Job>& batch) override { batch.clear(); }

    void judge(std::uint64_t seq,
               forkmill::wire::Outcome outcome,
               const forkmill::base::Body& body);
    void settle_locally();
    void turn_soon();
    void turn();
    void arm();
    void send(forkmill::session::ClientOut& out);

    World& world_;
    std::uint64_t stream_;
    forkmill::detail::PendingTable table_;
    forkmill::detail::PendingIo io_;
    forkmill::session::ClientSession session_;
    std::vector<forkmill::detail::Ticket> tickets_;
    std::vector<std::uint64_t>
        outcomes_in_;  ///< By seq: incarnation whose outcome was told, 0: none.
    std::uint64_t submitted_ = 0;
    std::uint64_t settled_ = 0;
    std::uint64_t conn_ = 0;
    bool turn_due_ = false;
    bool dialing_ = false;
    Time armed_ = forkmill::base::kNever;
};

}  // namespace sim
