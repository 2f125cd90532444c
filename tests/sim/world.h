// SPDX-License-Identifier: Apache-2.0
// World: one broker (engine and gateway), some clients (pending table and client session) and some
// workers (worker core), all the real ones, on a virtual clock and a seeded network; and the checks
// that every run must pass.
//
// Violations (violation() returns the first): a task that never settles, settles twice or with a
// wrong value; a client that keeps to its credit and is refused; an at_most_once task that was
// started twice; a task run again although nothing was lost; a dead task with fewer deaths than its
// limit; a broken invariant of engine, gateway or worker core; what object_truth.h says; an
// operation on an object that is never answered; an object that outlives its last handle.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/engine/engine.h"
#include "broker/gateway.h"
#include "tests/sim/network.h"
#include "tests/sim/object_truth.h"

namespace sim {

struct Scenario {
    std::uint64_t seed = 1;
    int clients = 2;
    int workers = 3;
    int tasks_per_client = 60;
    NetworkFaults network;
    Duration broker_crash_mean{};  ///< 0: never.
    Duration worker_crash_mean{};
    Duration worker_pause_mean{};  ///< A worker that freezes for a while, and wakes up as if
                                   ///< nothing had happened.
    double poison = 0;             ///< Share of tasks that kill their worker, every time.
    double failing = 0;            ///< … that answer with an error at their first attempt.
    double cancelled = 0;          ///< … that their client cancels.
    double hanging = 0;            ///< … that run until their timeout.
    std::uint64_t tasks_per_session_max = 0;  ///< The broker's; 0: its default.
    int sharers = 0;                          ///< Programs that share objects.
    Duration sharer_crash_mean{};
    bool lock_words = false;  ///< All share memory, and take locks by their words.
    Duration chaos = std::chrono::seconds{20};      ///< How long faults go on.
    Duration patience = std::chrono::seconds{180};  ///< After it everything must have settled.
};

/// The scenario of a seed: which faults it has is part of the seed.
Scenario scenario_of(std::uint64_t seed);

class BrokerNode;
class ClientNode;
class SharerNode;
class WorkerNode;

class World {
  public:
    explicit World(const Scenario& scenario);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    /// Runs to the end; the first violation in words, or empty.
    std::string run();
    std::string summary() const;

    Clock clock;
    Random random;
    Network network;
    const Scenario scenario;

    bool calm() const { return calm_; }
    void violate(const std::string& what) {
        if (violation_.empty()) violation_ = what;
    }

    // What the harness knows of each task, by (stream, seq).
    struct Truth {
        std::uint64_t value = 0;  ///< The right result.
        bool poison = false, failing = false, hanging = false, at_most_once = false,
             cancelled = false;
        std::uint32_t crash_limit = 3;
        std::uint32_t starts = 0;       ///< Times user code began.
        std::uint32_t deaths = 0;       ///< Workers that died while it ran.
        std::uint32_t completions = 0;  ///< Times user code came to its end.
        std::uint32_t settled = 0;
        Time settled_at{};
        bool lost_cause = false;  ///< Something happened that entitles the broker to run it again.
    };
    std::map<std::pair<std::uint64_t, std::uint64_t>, Truth> truths;
    /// Something died, was cut off or given up at `since` or later: re-runs of what had not settled
    /// before that are no violation.
    void excuse_reruns(Time since);
    void excuse_reruns() { excuse_reruns(clock.now()); }

    std::map<std::uint64_t, ObjectTruth> objects;  ///< By id.
    std::uint64_t items = 0;                       ///< Ever put into a shared queue.

    std::array<forkmill::base::LockWord, 8> lock_memory;
    forkmill::base::LockWords lock_words{lock_memory};
    /// Where the answer to an Open says that the lock's word is; null without one.
    forkmill::base::LockWord* word_of(const forkmill::wire::ObjectReply& opened) {
        const std::uint64_t place = opened.count >> 32;
        const std::uint64_t number = place & ((1U << forkmill::base::kLockWordBits) - 1);
        return place == 0 ? nullptr : &lock_words.at(static_cast<std::uint32_t>(number - 1));
    }
    static std::uint32_t use_of(const forkmill::wire::ObjectReply& opened) {
        return static_cast<std::uint32_t>(opened.count >> 32 >> forkmill::base::kLockWordBits);
    }
    std::uint64_t word_grants = 0;

    /// Somebody new who may own a lock, and whether it believes in what it owns.
    int new_owner(std::function<bool()> believes) {
        believers_[++last_owner_] = std::move(believes);
        return last_owner_;
    }
    /// `who` (nobody below 0) was granted the lock under `token`.
    void own(ObjectTruth& lock, int who, std::uint64_t token);
    void disown(int who);

    BrokerNode& broker() { return *broker_; }
    std::vector<std::unique_ptr<SharerNode>>& sharers() { return sharers_; }
    std::vector<std::unique_ptr<ClientNode>>& clients() { return clients_; }
    std::vector<std::unique_ptr<WorkerNode>>& workers() { return workers_; }

  private:
    void plan_faults();
    void plan(Duration mean, const std::function<void()>& act);
    bool settled() const;
    void judge();
    void judge_objects();
    void end_sharing();
    bool shared_out() const;

    bool calm_ = false;
    std::string violation_;
    std::unique_ptr<BrokerNode> broker_;
    std::vector<std::unique_ptr<ClientNode>> clients_;
    std::vector<std::unique_ptr<WorkerNode>> workers_;
    std::vector<std::unique_ptr<SharerNode>> sharers_;
    bool sharing_over_ = false;
    std::map<int, std::function<bool()>> believers_;
    int last_owner_ = 0;
};

}  // namespace sim
