// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/broker_node.h"

#include <utility>

#include "broker/engine/status.h"
#include "tests/sim/worker_node.h"

namespace sim {

using namespace forkmill;
using std::chrono::microseconds;
using std::chrono::milliseconds;

void BrokerNode::start() {
    if (up()) return;
    ++incarnation_;
    ++life_;
    engine::Config config;
    world_.network.say("broker starts, incarnation " + std::to_string(incarnation_));
    config.min_batch = 4;
    config.prefetch_max = 16;
    if (world_.scenario.lock_words) config.lock_words = &world_.lock_words;
    if (world_.scenario.tasks_per_session_max != 0)
        config.tasks_per_session_max = world_.scenario.tasks_per_session_max;
    engine_ = std::make_unique<engine::Engine>(
        config, incarnation_, world_.clock.now(), world_.scenario.seed);
    broker::GatewayConfig gateway;
    gateway.incarnation = incarnation_;
    gateway.host_key = "host";
    gateway.name = "sim:1";
    gateway_ = std::make_unique<broker::Gateway>(gateway, *engine_, world_.clock.now());
    conns_.clear();
    armed_ = base::kNever;
    turn_due_ = false;
    for (auto& worker : world_.workers()) {
        if (worker->alive()) notice(worker->birth_notice());
    }
    supervisor::Notice roster;
    roster.verb = supervisor::Verb::Roster;
    notice(roster);
}

void BrokerNode::crash() {
    if (!up()) return;
    world_.network.say("broker crashes");
    for (const auto& [conn, open] : std::exchange(conns_, {}))
        world_.network.cut(conn, true, false);
    gateway_.reset();
    engine_.reset();
    ++life_;
    world_.excuse_reruns();
}

std::uint64_t BrokerNode::accept(End client) {
    if (!up()) return 0;
    End server;
    server.on_message = [this, life = life_](std::uint64_t conn, base::Message message) {
        if (life != life_) return;
        gateway_->on_message({0, conn},
                             std::move(message),
                             world_.clock.now(),
                             world_.clock.now().time_since_epoch().count());
        turn_soon();
    };
    server.on_disconnected = [this, life = life_](std::uint64_t conn) {
        if (life != life_) return;
        conns_.erase(conn);
        gateway_->on_disconnected({0, conn}, world_.clock.now());
        turn_soon();
    };
    const std::uint64_t conn = world_.network.connect(std::move(client), std::move(server));
    conns_[conn] = true;
    return conn;
}

void BrokerNode::notice(const supervisor::Notice& notice) {
    if (!up()) return;
    gateway_->on_notice("host", "default", notice, world_.clock.now());
    turn_soon();
}

void BrokerNode::turn_soon() {
    if (std::exchange(turn_due_, true)) return;
    // A real loop reads all that is there before it writes: how much that is differs from turn to
    // turn.
    world_.clock.after(world_.random.between(microseconds{0}, microseconds{300}),
                       [this, life = life_] {
                           if (life == life_) turn();
                       });
}

void BrokerNode::turn() {
    turn_due_ = false;
    gateway_->pump(world_.clock.now(), world_.clock.now().time_since_epoch().count());
    for (broker::Outgoing& out : std::exchange(gateway_->out(), {})) {
        if (!out.message.control.empty()) world_.network.send(out.to.conn, false, out.message);
        if (out.disconnect) {
            conns_.erase(out.to.conn);
            world_.clock.after(milliseconds{5}, [this, conn = out.to.conn] {
                world_.network.cut(conn, true, false);
            });
        }
    }
    for (const broker::KillOrder& kill : std::exchange(gateway_->kills(), {})) {
        for (auto& worker : world_.workers()) {
            if (worker->slot() == kill.slot && worker->birth() == kill.birth)
                worker->die(kill.cause);
        }
    }
    check();
    arm();
}

std::string BrokerNode::check() {
    if (!up()) return {};
    const std::string broken = gateway_->check_invariants();
    if (!broken.empty()) world_.violate("broker: " + broken);
    return broken;
}

std::string BrokerNode::task_text(const base::TaskId& task) const {
    if (!up()) return "broker down";
    engine::Engine::TaskRow row;
    if (!engine_->find_task(task, row)) return "unknown to the broker";
    return row.state + " attempt " + std::to_string(row.attempt) + " at " + row.worker;
}

void BrokerNode::arm() {
    const Time next = gateway_->next_timer();
    if (next == base::kNever || (armed_ <= next && armed_ > world_.clock.now())) return;
    armed_ = std::max(next, world_.clock.now() + microseconds{50});
    world_.clock.at(armed_, [this, life = life_, at = armed_] {
        if (life != life_ || armed_ != at) return;
        armed_ = base::kNever;
        turn();
    });
}

}  // namespace sim
