// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/client_node.h"

#include <cstring>
#include <utility>

#include "core/wire/codec.h"
#include "tests/sim/broker_node.h"

namespace sim {

using namespace forkmill;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

session::ClientSessionConfig config_of(std::uint64_t stream) {
    session::ClientSessionConfig config;
    config.key = {stream, ~stream};
    config.stream = stream;
    config.host = "sim";
    return config;
}

std::uint16_t template_of(const TaskOptions& options) {
    return static_cast<std::uint16_t>(detail::intern_template("sim.task", "u64(u64)", options));
}

}  // namespace

ClientNode::ClientNode(World& world, std::uint64_t stream)
    : world_(world),
      stream_(stream),
      table_(*this, [] {}),
      io_(table_, *this),
      session_(config_of(stream), io_, *this, *this, world.clock.now()),
      outcomes_in_(1, 0) {}

void ClientNode::submit_one() {
    const Scenario& scenario = world_.scenario;
    const std::uint64_t seq = ++submitted_;
    World::Truth& truth = world_.truths[{stream_, seq}];
    const std::uint64_t value = world_.random.bits() >> 8;
    truth.value = value * 3 + 7;
    truth.poison = world_.random.chance(scenario.poison);
    truth.hanging = !truth.poison && world_.random.chance(scenario.hanging);
    truth.failing = !truth.poison && !truth.hanging && world_.random.chance(scenario.failing);
    truth.at_most_once = world_.random.chance(0.15);
    TaskOptions options;
    options.at_most_once = truth.at_most_once;
    if (truth.at_most_once) truth.crash_limit = 1;
    if (truth.failing) options.max_retries = 2;
    if (truth.hanging) options.timeout = milliseconds{300};
    if (world_.random.chance(0.1)) options.priority = 5;
    if (world_.random.chance(0.05)) options.delay = milliseconds{100};
    if (truth.failing && truth.at_most_once) truth.failing = false, options.max_retries = 0;

    std::array<std::byte, sizeof value> bytes{};
    std::memcpy(bytes.data(), &value, sizeof value);
    detail::Ticket ticket;
    const auto taken =
        table_.submit({.template_id = template_of(options), .arguments = bytes}, false, ticket);
    if (taken != detail::PendingTable::Taken::Ok)
        world_.violate("a submit within the bounds was not taken");
    tickets_.push_back(ticket);
    outcomes_in_.push_back(0);
    if (world_.random.chance(scenario.cancelled)) {
        truth.cancelled = true;
        world_.clock.after(world_.random.between(microseconds{0}, milliseconds{60}),
                           [this, ticket] {
                               table_.cancel(ticket.slot, world_.random.chance(0.3));
                               turn_soon();
                           });
    }
    turn_soon();
}

void ClientNode::on_refused(const wire::Refused& refused) {
    if (refused.code == wire::Code::Busy) {
        world_.violate("task " + std::to_string(refused.seq) +
                       " was sent within its credit and refused: " + std::string{refused.text});
    } else if (refused.seq < outcomes_in_.size()) {
        const World::Truth& truth = world_.truths[{stream_, refused.seq}];
        if (!truth.cancelled && !truth.at_most_once)
            world_.violate("task " + std::to_string(refused.seq) + " was refused: " +
                           std::string{wire::name_of(refused.code)} + " " + refused.text);
        if (outcomes_in_[refused.seq] == 0) ++settled_;
        outcomes_in_[refused.seq] = session_.incarnation();
    }
    io_.on_refused(refused);
}

void ClientNode::on_forgotten(std::uint64_t first, std::uint64_t count) {
    world_.violate("tasks from " + std::to_string(first) +
                   " on were forgotten while they were pending");
    io_.on_forgotten(first, count);
}

bool ClientNode::on_outcome(std::uint64_t seq, wire::Outcome outcome, const base::Body& body) {
    judge(seq, outcome, body);
    return io_.on_outcome(seq, outcome, body);
}

void ClientNode::judge(std::uint64_t seq, wire::Outcome outcome, const base::Body& body) {
    const std::string name =
        "task " + std::to_string(seq) + " of client " + std::to_string(stream_);
    if (seq == 0 || seq >= outcomes_in_.size())
        return world_.violate(name + " settled, but was never submitted");
    if (outcomes_in_[seq] == session_.incarnation())
        return world_.violate(name + " settled twice within an incarnation");
    if (outcomes_in_[seq] != 0)
        return;  // Another incarnation tells it again: the table ignores that.
    outcomes_in_[seq] = session_.incarnation();
    ++settled_;
    World::Truth& truth = world_.truths[{stream_, seq}];
    ++truth.settled;
    truth.settled_at = world_.clock.now();
    if (outcome == wire::Outcome::Succeeded) {
        std::uint64_t value = 0;
        if (body.view.size() == sizeof value) std::memcpy(&value, body.view.data(), sizeof value);
        if (value != truth.value) world_.violate(name + " has a wrong value");
        if (truth.poison || truth.hanging) world_.violate(name + " cannot have succeeded");
    } else if (outcome == wire::Outcome::Dead) {
        if (truth.deaths < truth.crash_limit && !truth.at_most_once)
            world_.violate(name + " is dead after " + std::to_string(truth.deaths) + " deaths");
    } else if (outcome == wire::Outcome::Cancelled) {
        if (!truth.cancelled) world_.violate(name + " was cancelled by nobody");
    } else if (outcome == wire::Outcome::Failed) {
        const bool excused =
            truth.hanging || (truth.failing && truth.completions >= 3) || truth.cancelled;
        if (!excused) {
            wire::ErrorInfo error;
            const auto unpacked = wire::unpack_error(body.view);
            world_.violate(name + " failed: " +
                           (unpacked.ok() ? std::string{wire::name_of(unpacked.value().code)} +
                                                " " + unpacked.value().what
                                          : "unreadable error"));
        }
    } else {
        world_.violate(name + " expired without a deadline");
    }
}

void ClientNode::on_client_state(session::ClientState state,
                                 wire::Code code,
                                 std::string_view text) {
    if (state == session::ClientState::Lost || state == session::ClientState::Rejected)
        world_.violate("a client lost its broker: " + std::string{wire::name_of(code)} + " " +
                       std::string{text});
}

void ClientNode::connect() {
    if (conn_ != 0) return;
    End end;
    end.on_message = [this](std::uint64_t conn, base::Message message) {
        if (conn != conn_) return;
        session::ClientOut out;
        session_.on_message(conn, message, world_.clock.now(), out);
        send(out);
        turn_soon();
    };
    end.on_disconnected = [this](std::uint64_t conn) {
        if (conn != conn_) return;
        conn_ = 0;
        session::ClientOut out;
        session_.on_disconnected(conn, world_.clock.now(), out);
        connect();
    };
    conn_ = world_.broker().accept(std::move(end));
    world_.network.say("client " + std::to_string(stream_) + " connects, conn " +
                       std::to_string(conn_));
    if (conn_ == 0) {
        if (std::exchange(dialing_, true)) return;
        world_.clock.after(world_.random.between(milliseconds{10}, milliseconds{100}), [this] {
            dialing_ = false;
            connect();
        });
        return;
    }
    session::ClientOut out;
    session_.on_connected(conn_, world_.clock.now(), out);
    send(out);
    turn_soon();
}

void ClientNode::send(session::ClientOut& out) {
    for (session::ClientOut::Item& item : out.items) {
        if (!item.message.control.empty()) world_.network.send(item.conn, true, item.message);
        if (item.disconnect && item.conn == conn_) {
            world_.network.cut(conn_, true, true);
        }
    }
}

void ClientNode::turn_soon() {
    if (std::exchange(turn_due_, true)) return;
    world_.clock.after(world_.random.between(microseconds{0}, microseconds{200}),
                       [this] { turn(); });
}

void ClientNode::turn() {
    turn_due_ = false;
    session::ClientOut out;
    io_.set_now(world_.clock.now());
    io_.take();
    if (session_.next_timer() <= world_.clock.now()) session_.tick(world_.clock.now(), out);
    session_.pump(world_.clock.now(), out);
    io_.publish();
    io_.pumped();
    send(out);
    settle_locally();
    arm();
}

// A task that is cancelled before it was sent ends here, without a word to the broker.
void ClientNode::settle_locally() {
    for (std::uint64_t seq = 1; seq < outcomes_in_.size(); ++seq) {
        detail::Slot& slot = table_.at(tickets_[seq - 1].slot);
        if (outcomes_in_[seq] != 0 || !detail::PendingTable::settled(slot)) continue;
        outcomes_in_[seq] = UINT64_MAX;
        ++settled_;
        World::Truth& truth = world_.truths[{stream_, seq}];
        truth.settled_at = world_.clock.now();
        if (!truth.cancelled || slot.outcome != static_cast<std::uint8_t>(wire::Outcome::Cancelled))
            world_.violate("task " + std::to_string(seq) + " was settled by its client alone");
    }
}

void ClientNode::arm() {
    const Time next = std::min(session_.next_timer(), io_.next_timer());
    if (next == base::kNever || (armed_ <= next && armed_ > world_.clock.now())) return;
    armed_ = std::max(next, world_.clock.now() + microseconds{50});
    world_.clock.at(armed_, [this, at = armed_] {
        if (armed_ != at) return;
        armed_ = base::kNever;
        turn();
    });
}

std::string ClientNode::unsettled_text() const {
    std::string text;
    for (std::size_t seq = 1; seq < outcomes_in_.size() && text.size() < 200; ++seq) {
        if (outcomes_in_[seq] == 0)
            text +=
                " " + std::to_string(seq) + " (" + world_.broker().task_text({stream_, seq}) + ")";
    }
    return text;
}

}  // namespace sim
