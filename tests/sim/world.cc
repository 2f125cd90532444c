// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.h"

#include <algorithm>
#include <utility>

#include "broker/engine/status.h"
#include "tests/sim/broker_node.h"
#include "tests/sim/client_node.h"
#include "tests/sim/sharer_node.h"
#include "tests/sim/worker_node.h"

namespace sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

Scenario scenario_of(std::uint64_t seed) {
    Scenario scenario;
    scenario.seed = seed;
    Random random{seed * 0x9e3779b97f4a7c15ULL + 1};
    const auto sometimes = [&](double p, double value) { return random.chance(p) ? value : 0.0; };
    const auto mean = [&](double p, Duration value) {
        return random.chance(p) ? value : Duration::zero();
    };
    scenario.clients = 1 + static_cast<int>(random.below(3));
    scenario.workers = 1 + static_cast<int>(random.below(4));
    scenario.tasks_per_client = 20 + static_cast<int>(random.below(80));
    scenario.network.drop = sometimes(0.5, 0.01);
    scenario.network.duplicate = sometimes(0.5, 0.03);
    scenario.network.reorder = sometimes(0.4, 0.02);
    scenario.network.delay_max = milliseconds{1 + static_cast<int>(random.below(20))};
    scenario.network.cut_mean = mean(0.5, seconds{2});
    scenario.broker_crash_mean = mean(0.5, seconds{4});
    scenario.worker_crash_mean = mean(0.5, seconds{1});
    scenario.worker_pause_mean = mean(0.3, seconds{3});
    scenario.poison = sometimes(0.3, 0.03);
    scenario.failing = sometimes(0.5, 0.1);
    scenario.cancelled = sometimes(0.5, 0.15);
    scenario.hanging = sometimes(0.3, 0.03);
    if (random.chance(0.5)) scenario.tasks_per_session_max = 4 + random.below(40);
    scenario.chaos = seconds{3 + static_cast<int>(random.below(10))};
    if (random.chance(0.5)) scenario.sharers = 1 + static_cast<int>(random.below(3));
    scenario.sharer_crash_mean = mean(0.5, seconds{2});
    scenario.lock_words = random.chance(0.5);
    return scenario;
}

World::World(const Scenario& s) : random(s.seed), network(clock, random), scenario(s) {
    network.faults = s.network;
    broker_ = std::make_unique<BrokerNode>(*this);
    for (int i = 0; i < s.clients; ++i)
        clients_.push_back(
            std::make_unique<ClientNode>(*this, 0x1000 + static_cast<std::uint64_t>(i)));
    for (int i = 0; i < s.workers; ++i)
        workers_.push_back(std::make_unique<WorkerNode>(*this, static_cast<std::uint32_t>(i)));
    for (int i = 0; i < s.sharers; ++i) sharers_.push_back(std::make_unique<SharerNode>(*this, i));
}

World::~World() = default;

void World::excuse_reruns(Time since) {
    for (auto& [id, truth] : truths)
        truth.lost_cause = truth.lost_cause || truth.settled == 0 || truth.settled_at >= since;
}

void World::plan(Duration mean, const std::function<void()>& act) {
    if (mean == Duration::zero()) return;
    clock.after(random.between(mean / 10, 2 * mean), [this, mean, act] {
        if (calm_) return;
        act();
        plan(mean, act);
    });
}

void World::plan_faults() {
    plan(scenario.broker_crash_mean, [this] {
        broker_->crash();
        clock.after(random.between(milliseconds{20}, seconds{1}), [this] { broker_->start(); });
    });
    plan(scenario.worker_crash_mean, [this] {
        workers_[random.below(workers_.size())]->die(forkmill::supervisor::Cause::Signal);
    });
    plan(scenario.worker_pause_mean, [this] {
        workers_[random.below(workers_.size())]->pause(
            clock.now() + random.between(milliseconds{100}, seconds{12}));
    });
    if (!sharers_.empty())
        plan(scenario.sharer_crash_mean,
             [this] { sharers_[random.below(sharers_.size())]->crash(); });
    // What those hold who crashed is free ten seconds later.
    clock.after(scenario.chaos + seconds{14}, [this] { end_sharing(); });
    clock.after(scenario.chaos, [this] {
        calm_ = true;
        network.faults = {};
        broker_->start();
    });
}

bool World::settled() const {
    return std::all_of(clients_.begin(), clients_.end(), [&](const auto& client) {
        return client->submitted() == static_cast<std::uint64_t>(scenario.tasks_per_client) &&
               client->all_settled();
    });
}

std::string World::run() {
    broker_->start();
    for (auto& worker : workers_) worker->start();
    for (auto& client : clients_) {
        client->connect();
        for (int i = 0; i < scenario.tasks_per_client; ++i) {
            // Most come in bursts, the rest trickle in while things break.
            const Duration when = random.chance(0.6)
                                      ? random.between(Duration::zero(), milliseconds{5})
                                      : random.between(Duration::zero(), scenario.chaos);
            clock.after(when, [node = client.get()] { node->submit_one(); });
        }
    }
    for (auto& sharer : sharers_) sharer->start();
    plan_faults();
    const Time end = clock.now() + scenario.chaos + scenario.patience;
    while (violation_.empty() && !(calm_ && settled() && shared_out()) && clock.step(end)) {
    }
    if (violation_.empty()) judge();
    return violation_;
}

void World::judge() {
    for (auto& client : clients_) {
        if (!client->all_settled()) violate("never settled:" + client->unsettled_text());
    }
    if (!shared_out()) {
        violate("objects outlive their handles: " +
                std::to_string(broker_->engine()->objects({}, 100).size()));
    }
    broker_->check();
    for (auto& worker : workers_) {
        if (!worker->alive()) continue;
        const std::string broken = worker->core()->check_invariants();
        if (!broken.empty()) violate("worker: " + broken);
    }
}

void World::own(ObjectTruth& lock, int who, std::uint64_t token) {
    if (!lock.tokens.insert(token).second) violate("a token was used twice");
    for (const auto& [other, its] : lock.owners) {
        const auto believes = believers_.find(other);
        if (other != who && who >= 0 && believes != believers_.end() && believes->second())
            violate("a lock has two owners, by tokens " + std::to_string(its) + " and " +
                    std::to_string(token));
        if (who >= 0 && token <= its) violate("a token did not grow");
    }
    if (who >= 0) lock.owners[who] = token;
}

void World::disown(int who) {
    for (auto& [id, lock] : objects) lock.owners.erase(who);
}

/// Everything was answered; what was put is somewhere; then all leave.
void World::end_sharing() {
    for (auto& sharer : sharers_)
        if (!sharer->idle()) violate("never answered, " + sharer->pending_text());
    judge_objects();
    for (auto& sharer : sharers_) sharer->leave();
    sharing_over_ = true;
}

bool World::shared_out() const {
    if (sharers_.empty()) return true;
    if (!sharing_over_ || !broker_->up()) return false;
    // Workers stay, and with them the lock of their tasks.
    for (const forkmill::engine::ObjectRow& row : broker_->engine()->objects({}, 100))
        if (row.name != "lock") return false;
    return true;
}

void World::judge_objects() {
    if (!broker_->up()) return;
    for (const forkmill::engine::ObjectRow& row : broker_->engine()->objects({}, 100)) {
        if (row.kind != "queue" || row.name.empty()) continue;
        const ObjectTruth& truth = objects[row.id];
        const bool leased = row.name == "leased";
        const std::uint64_t gone = leased ? truth.done.size() : truth.got.size();
        const std::uint64_t perhaps = leased ? truth.lost_dones : truth.lost_gets;
        if (truth.put.size() > row.size + gone + perhaps)
            violate("items were lost from queue " + row.name);
        if (row.size + gone > truth.put.size() + truth.lost_puts)
            violate("queue " + row.name + " has items that nobody put");
    }
}

std::string World::summary() const {
    std::uint64_t starts = 0;
    for (const auto& [id, truth] : truths) starts += truth.starts;
    std::uint64_t operations = 0;
    for (const auto& sharer : sharers_) operations += sharer->answered();
    return std::to_string(truths.size()) + " tasks, " + std::to_string(starts) + " runs, " +
           std::to_string(broker_->incarnation()) + " incarnations, lost " +
           std::to_string(network.lost) + ", doubled " + std::to_string(network.doubled) +
           ", cuts " + std::to_string(network.cuts) + ", operations on objects " +
           std::to_string(operations) + ", grants by words " + std::to_string(word_grants);
}

}  // namespace sim
