// SPDX-License-Identifier: Apache-2.0
// WorkerNode: one slot of the master: a worker process after another, each the real WorkerCore over
// hands that run tasks in virtual time.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "core/supervisor/channel.h"
#include "tests/sim/task_sharer.h"
#include "tests/sim/world.h"
#include "worker/worker_core.h"

namespace sim {

class WorkerNode;

/// Runs jobs on the virtual clock. What a task does is its Truth's matter.
class ModelHands final : public forkmill::worker::Hands {
  public:
    ModelHands(World& world, WorkerNode& node, std::size_t threads)
        : world_(world), node_(node), threads_(threads) {}

    void start(std::span<forkmill::worker::Job* const> jobs) override;
    bool take_back(forkmill::worker::Job& job) override;
    void request_stop(forkmill::worker::Job& job) override;
    void rekey(forkmill::worker::Job& job, std::uint64_t lease) override;
    void running(std::vector<forkmill::worker::Running>& out) override;
    /// What the scoreboard would show.
    std::vector<std::uint64_t> leases() const;
    /// The process died: everything that ran, ran in vain.
    void abandon();

  private:
    struct Run {
        forkmill::worker::Job* job = nullptr;
        std::uint64_t number = 0;
        std::uint64_t lease = 0;
        World::Truth* truth = nullptr;
        Time since{};
    };
    void begin_next();
    void begin(forkmill::worker::Job& job);
    void end(std::uint64_t number, forkmill::wire::Outcome outcome);

    World& world_;
    WorkerNode& node_;
    std::size_t threads_;
    std::uint64_t next_ = 1;
    std::deque<forkmill::worker::Job*> waiting_;
    std::vector<Run> runs_;
};

class WorkerNode {
  public:
    WorkerNode(World& world, std::uint32_t slot) : world_(world), slot_(slot) {}

    void start();
    /// Unexpected death: whatever runs is blamed; the master respawns.
    void die(forkmill::supervisor::Cause cause);
    /// Frozen until `until`: nothing is read, run or sent, and nobody is told.
    void pause(Time until);
    bool alive() const { return core_ != nullptr; }
    std::uint32_t slot() const { return slot_; }
    std::uint32_t birth() const { return birth_; }
    std::uint64_t life() const { return life_; }
    forkmill::supervisor::Notice birth_notice() const;
    void finished(forkmill::worker::Finished finished, Duration busy);
    Time frozen_until() const { return frozen_until_; }
    TaskSharer* sharer() { return sharer_.get(); }
    forkmill::worker::WorkerCore* core() { return core_.get(); }

  private:
    void connect();
    void turn_soon();
    void turn();
    void send(forkmill::worker::WorkerOut& out);
    void end(forkmill::supervisor::Cause cause, bool expected);
    void arm();
    /// Runs `act` now, or when the freeze is over; not at all once the process is another.
    void when_awake(std::function<void()> act);

    World& world_;
    std::uint32_t slot_;
    std::uint32_t birth_ = 0;
    std::uint64_t life_ = 0;
    std::uint64_t conn_ = 0;
    bool turn_due_ = false;
    bool dialing_ = false;
    Time armed_ = forkmill::base::kNever;
    Time frozen_until_{};
    Time last_heard_{};
    std::unique_ptr<TaskSharer> sharer_;
    std::unique_ptr<ModelHands> hands_;
    std::unique_ptr<forkmill::worker::WorkerCore> core_;
    forkmill::worker::FinishedBatch batch_;
};

}  // namespace sim
