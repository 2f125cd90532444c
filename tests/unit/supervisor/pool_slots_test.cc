// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/pool_slots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <vector>

namespace forkmill::supervisor {
namespace {

using namespace std::chrono_literals;
using Kind = PoolAction::Kind;
using S = SlotState;

/// A pool whose workers do what `on_launch` says, on a clock that jumps from event to event.
class FakePool {
  public:
    explicit FakePool(std::uint32_t workers) : slots(rules(workers)) {}

    static PoolRules rules(std::uint32_t workers) {
        PoolRules out;
        out.workers = workers;
        out.seed = 42;
        return out;
    }

    std::function<void(std::uint32_t slot)> on_launch = [](std::uint32_t) {};

    void later(base::Duration delay, std::function<void()> what) {
        agenda.emplace(now + delay, std::move(what));
    }

    void act() {
        while (!actions.empty()) {
            const PoolSlots::Actions todo = std::exchange(actions, {});
            for (const PoolAction& action : todo) {
                seen.push_back(action.kind);
                if (action.kind != Kind::Launch) continue;
                ++births;
                slots.on_launched(action.slot, static_cast<std::int32_t>(100 + births));
                on_launch(action.slot);
            }
        }
    }

    void run(base::Duration duration) {
        const base::Time end = now + duration;
        for (;;) {
            slots.on_tick(now, actions);
            act();
            base::Time next = slots.next_deadline(now);
            if (!agenda.empty()) next = std::min(next, agenda.begin()->first);
            if (next > end) break;
            ASSERT_LT(++turns, 100'000) << "the pool spins";
            now = std::max(now, next);
            while (!agenda.empty() && agenda.begin()->first <= now) {
                const auto what = std::move(agenda.begin()->second);
                agenda.erase(agenda.begin());
                what();
                act();
            }
        }
        now = end;
    }

    void up(std::uint32_t slot) { slots.on_up(slot, now, actions); }
    void die(std::uint32_t slot, Ending ending = {}) { slots.on_died(slot, ending, now, actions); }
    int count(Kind kind) const {
        return static_cast<int>(std::count(seen.begin(), seen.end(), kind));
    }

    PoolSlots slots;
    PoolSlots::Actions actions;
    base::Time now{1000s};
    int births = 0;
    int turns = 0;
    std::vector<Kind> seen;
    std::multimap<base::Time, std::function<void()>> agenda;
};

/// A pool that is whole.
FakePool ready_pool(std::uint32_t workers) {
    FakePool pool{workers};
    pool.on_launch = [&pool](std::uint32_t slot) { pool.up(slot); };
    pool.run(1ms);
    pool.on_launch = [](std::uint32_t) {};
    return pool;
}

TEST(PoolSlots, StartsAllItsWorkersAtOnce) {
    FakePool pool{5};
    pool.run(1ms);
    EXPECT_EQ(pool.births, 5);
    EXPECT_EQ(pool.slots.count(S::Starting), 5U);
}

TEST(PoolSlots, CrashLoopInTheInitializerForksAtMostTwentyTimesAMinute) {
    FakePool pool{4};
    pool.on_launch = [&](std::uint32_t slot) {
        pool.later(2ms, [&pool, slot] { pool.die(slot, {.exit_code = 1}); });
    };
    pool.run(60s);
    EXPECT_GE(pool.births, 8) << "it must go on trying";
    EXPECT_LE(pool.births, 20);
    EXPECT_EQ(pool.count(Kind::BreakerOpened), 1);
    EXPECT_EQ(pool.count(Kind::Broken), 1);
}

TEST(PoolSlots, CrashLoopAfterReadyForksAtMostTwentyTimesAMinute) {
    FakePool pool{4};
    pool.on_launch = [&](std::uint32_t slot) {
        pool.later(2ms, [&pool, slot] { pool.up(slot); });
        pool.later(1s, [&pool, slot] { pool.die(slot); });
    };
    pool.run(60s);
    EXPECT_GE(pool.births, 8);
    EXPECT_LE(pool.births, 20);
}

TEST(PoolSlots, ACuredPoolIsWholeWithinTwoSecondsOfItsProbe) {
    FakePool pool{4};
    bool cured = false;
    base::Time first_up{};
    pool.on_launch = [&](std::uint32_t slot) {
        pool.later(2ms, [&pool, &cured, &first_up, slot] {
            if (!cured) return pool.die(slot, {.exit_code = 1});
            if (first_up == base::Time{}) first_up = pool.now;
            pool.up(slot);
        });
    };
    pool.run(5s);
    ASSERT_EQ(pool.count(Kind::Broken), 1);
    cured = true;
    while (pool.slots.count(S::Ready) < 4) {
        pool.run(10ms);
        ASSERT_LT(pool.now, base::Time{1100s});
    }
    EXPECT_LE(pool.now - first_up, 2s);
    EXPECT_EQ(pool.count(Kind::Mended), 1);
    EXPECT_EQ(pool.count(Kind::BreakerClosed), 1);
}

TEST(PoolSlots, KillingAllWorkersAtOnceReplacesAllAtOnce) {
    FakePool pool = ready_pool(20);
    for (std::uint32_t slot = 0; slot < 20; ++slot) pool.die(slot);
    pool.run(0s);
    EXPECT_EQ(pool.births, 40);
    EXPECT_EQ(pool.slots.count(S::Starting), 20U);
}

TEST(PoolSlots, ALeavingWorkersReplacementStartsBeforeItIsGone) {
    FakePool pool = ready_pool(4);
    pool.slots.on_leaving(1, pool.now, pool.actions);
    pool.run(0s);
    EXPECT_EQ(pool.births, 5);
    EXPECT_EQ(pool.slots.count(S::Ready), 3U);
    EXPECT_EQ(pool.slots.count(S::Draining), 1U);
    EXPECT_EQ(pool.slots.doom(1), Cause::Recycle);
    pool.die(1, {.exit_code = 0});
    pool.run(1s);
    EXPECT_EQ(pool.births, 5) << "it was replaced already";
    EXPECT_EQ(pool.slots.state(1), S::Empty);
}

TEST(PoolSlots, AtMostATenthMoreThanWantedLiveWhileRecycling) {
    FakePool pool = ready_pool(20);
    for (std::uint32_t slot = 0; slot < 10; ++slot)
        pool.slots.on_leaving(slot, pool.now, pool.actions);
    pool.run(0s);
    EXPECT_EQ(pool.births, 22);
    for (std::uint32_t slot = 0; slot < 10; ++slot) pool.die(slot, {.exit_code = 0});
    pool.run(0s);
    EXPECT_EQ(pool.births, 30);
}

TEST(PoolSlots, AnAgeingWorkerWorksUntilItsReplacementIsReady) {
    FakePool pool = ready_pool(4);
    pool.on_launch = [](std::uint32_t) {};
    for (std::uint32_t slot = 0; slot < 4; ++slot)
        pool.slots.on_ageing(slot, pool.now, pool.actions);
    pool.run(1s);
    EXPECT_EQ(pool.births, 5) << "one more than wanted, no more";
    EXPECT_EQ(pool.slots.count(S::Ready), 4U);
    pool.up(4);
    pool.run(0s);
    EXPECT_EQ(pool.slots.count(S::Ready), 4U);
    EXPECT_EQ(pool.slots.state(0), S::Draining);
    EXPECT_EQ(pool.births, 5) << "it still runs its last task";
    pool.slots.on_emptied(0, pool.now, pool.actions);
    pool.run(0s);
    EXPECT_EQ(pool.births, 6);
    pool.die(0, {.exit_code = 0});
    pool.run(1s);
    EXPECT_EQ(pool.births, 6);
}

TEST(PoolSlots, RecycledWorkersNeverCountAsCrashes) {
    FakePool pool{3};
    pool.on_launch = [&](std::uint32_t slot) {
        pool.up(slot);
        pool.later(100ms, [&pool, slot] {
            pool.slots.on_leaving(slot, pool.now, pool.actions);
            pool.die(slot, {.exit_code = 0});
        });
    };
    pool.run(30s);
    EXPECT_GT(pool.births, 700);
    EXPECT_EQ(pool.count(Kind::BreakerOpened), 0);
    EXPECT_EQ(pool.count(Kind::Waiting), 0);
}

/// Counts of workers that take tasks: of former versions, and of the current one.
std::pair<int, int> serving(const FakePool& pool) {
    int old = 0;
    int current = 0;
    for (std::uint32_t slot = 0; slot < pool.slots.capacity(); ++slot) {
        if (pool.slots.state(slot) != S::Ready) continue;
        (pool.slots.version(slot) < pool.slots.version() ? old : current) += 1;
    }
    return {old, current};
}

PoolRules changed_rules(std::uint32_t workers) {
    return FakePool::rules(workers);
}

TEST(PoolSlotsReload, EveryWorkerIsReplacedOneByOneAndThePoolStaysWhole) {
    FakePool pool = ready_pool(4);
    int least = 4;
    pool.on_launch = [&](std::uint32_t slot) {
        pool.later(50ms, [&pool, slot] { pool.up(slot); });
    };
    ASSERT_TRUE(pool.slots.reload(changed_rules(4), true, pool.now, pool.actions));
    pool.act();
    EXPECT_EQ(pool.births, 5) << "the first shows whether the new version can start";
    for (int i = 0; i < 40; ++i) {
        pool.run(10ms);
        const auto [old, current] = serving(pool);
        least = std::min(least, old + current);
        for (std::uint32_t slot = 0; slot < pool.slots.capacity(); ++slot)
            if (pool.slots.state(slot) == S::Draining) pool.die(slot, {.exit_code = 0});
    }
    EXPECT_EQ(least, 4);
    EXPECT_EQ(serving(pool), (std::pair{0, 4}));
    EXPECT_FALSE(pool.slots.rolling());
    EXPECT_EQ(pool.count(Kind::Rolled), 1);
    EXPECT_EQ(pool.births, 8);
}

TEST(PoolSlotsReload, AVersionThatCannotStartIsTakenBackAfterThreeBirths) {
    FakePool pool = ready_pool(4);
    pool.on_launch = [&](std::uint32_t slot) {
        pool.later(10ms, [&pool, slot] { pool.die(slot, {.exit_code = 1}); });
    };
    ASSERT_TRUE(pool.slots.reload(changed_rules(4), true, pool.now, pool.actions));
    pool.run(60s);
    EXPECT_EQ(pool.count(Kind::RolledBack), 1);
    EXPECT_EQ(pool.births, 4 + 3);
    EXPECT_EQ(serving(pool), (std::pair{0, 4}));
    EXPECT_EQ(pool.slots.version(), 3U);
    EXPECT_FALSE(pool.slots.rolling());
}

TEST(PoolSlotsReload, AVersionThatSaysItsConfigIsWrongIsTakenBackAtOnce) {
    FakePool pool = ready_pool(2);
    pool.on_launch = [&](std::uint32_t slot) {
        pool.later(10ms, [&pool, slot] { pool.die(slot, {.exit_code = kExitConfig}); });
    };
    ASSERT_TRUE(pool.slots.reload(changed_rules(2), true, pool.now, pool.actions));
    pool.run(1s);
    EXPECT_EQ(pool.count(Kind::RolledBack), 1);
    EXPECT_EQ(pool.births, 2 + 1);
    EXPECT_EQ(pool.slots.count(S::Failed), 0U);
}

TEST(PoolSlotsReload, APoolThatCouldNotStartIsWholeWithinTwoSecondsOfItsCure) {
    FakePool pool{4};
    pool.on_launch = [&](std::uint32_t slot) {
        pool.later(1ms, [&pool, slot] { pool.die(slot, {.exit_code = 1}); });
    };
    pool.run(300s);
    pool.on_launch = [&](std::uint32_t slot) {
        pool.later(50ms, [&pool, slot] { pool.up(slot); });
    };
    ASSERT_TRUE(pool.slots.reload(changed_rules(4), true, pool.now, pool.actions));
    EXPECT_FALSE(pool.slots.rolling());
    pool.run(2s);
    EXPECT_EQ(serving(pool), (std::pair{0, 4}));
}

TEST(PoolSlotsReload, SizesHoldAtOnceAndUnchangedWorkersStay) {
    FakePool pool = ready_pool(4);
    pool.on_launch = [&pool](std::uint32_t slot) { pool.up(slot); };
    ASSERT_TRUE(pool.slots.reload(changed_rules(6), false, pool.now, pool.actions));
    pool.run(0s);
    EXPECT_EQ(pool.births, 6);
    EXPECT_EQ(pool.slots.version(), 1U);
    ASSERT_TRUE(pool.slots.reload(changed_rules(2), false, pool.now, pool.actions));
    pool.run(0s);
    EXPECT_EQ(pool.slots.count(S::Draining), 4U);
    EXPECT_FALSE(pool.slots.reload(changed_rules(1000), false, pool.now, pool.actions));
    EXPECT_EQ(pool.slots.workers(), 2U);
}

TEST(PoolSlotsReload, APoolIsNotEmptyWhileAFormerVersionDrains) {
    FakePool pool = ready_pool(1);
    pool.on_launch = [&pool](std::uint32_t slot) { pool.up(slot); };
    ASSERT_TRUE(pool.slots.reload(changed_rules(1), true, pool.now, pool.actions));
    pool.run(1ms);
    ASSERT_EQ(pool.slots.state(0), S::Draining);
    pool.slots.close(60s, pool.now, pool.actions);
    pool.die(1, {.exit_code = 0});
    EXPECT_FALSE(pool.slots.empty());
    pool.die(0, {.exit_code = 0});
    EXPECT_TRUE(pool.slots.empty());
}

TEST(PoolSlotsReload, WhatIsDrainedToNobodyRollsAtOnce) {
    FakePool pool = ready_pool(1);
    pool.slots.on_paused(0, pool.now);
    pool.slots.empty_out(pool.now, pool.actions);
    PoolRules none = changed_rules(1);
    none.workers = 0;
    ASSERT_TRUE(pool.slots.reload(none, true, pool.now, pool.actions));
    EXPECT_FALSE(pool.slots.rolling());
}

TEST(PoolSlots, ASizeThatOverflowsIsRefused) {
    FakePool pool = ready_pool(2);
    EXPECT_FALSE(pool.slots.resize(3'904'515'724U, pool.now, pool.actions));
    EXPECT_FALSE(pool.slots.resize(UINT32_MAX, pool.now, pool.actions));
    EXPECT_EQ(pool.slots.workers(), 2U);
}

TEST(PoolSlotsReload, WorkersThatDrainLongHoldUpNobodyAndTheOldestAreEnded) {
    FakePool pool = ready_pool(2);
    pool.on_launch = [&pool](std::uint32_t slot) { pool.up(slot); };
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(pool.slots.reload(changed_rules(2), true, pool.now, pool.actions));
        pool.run(1ms);
        ASSERT_FALSE(pool.slots.rolling());
    }
    EXPECT_EQ(pool.slots.count(S::Ready), 2U);
    EXPECT_EQ(pool.slots.count(S::Draining), 4U) << "two old generations";
    EXPECT_EQ(pool.slots.count(S::Term), 2U);
}

TEST(PoolSlots, GenerationsOfASlotOnlyGrow) {
    FakePool pool = ready_pool(1);
    std::uint32_t last = pool.slots.generation(0);
    for (int i = 0; i < 5; ++i) {
        pool.die(0, {.tasks_done = 1});
        pool.run(0s);
        EXPECT_EQ(pool.slots.generation(0), last + 1);
        last = pool.slots.generation(0);
        pool.up(0);
    }
}

TEST(PoolSlots, BadConfigFailsTheSlotForGood) {
    FakePool pool{1};
    pool.on_launch = [&](std::uint32_t slot) { pool.die(slot, {.exit_code = 78}); };
    pool.run(3600s);
    EXPECT_EQ(pool.births, 1);
    EXPECT_EQ(pool.slots.state(0), S::Failed);
    EXPECT_EQ(pool.count(Kind::Gone), 1);
    EXPECT_EQ(pool.count(Kind::Broken), 1) << "all slots failed: nobody can run its tasks";
}

TEST(PoolSlots, ThreeFailedBirthsWithNoReadyWorkerBreakThePool) {
    FakePool pool{1};
    pool.on_launch = [&](std::uint32_t slot) { pool.die(slot, {.exit_code = 1}); };
    while (pool.births < 2) pool.run(1ms);
    EXPECT_FALSE(pool.slots.broken());
    while (pool.births < 3) pool.run(1ms);
    EXPECT_TRUE(pool.slots.broken());
}

TEST(PoolSlots, FailedBirthsBesideAReadyWorkerDoNotBreakThePool) {
    FakePool pool{2};
    pool.on_launch = [&](std::uint32_t slot) {
        if (pool.births == 1) return pool.up(slot);
        pool.later(1ms, [&pool, slot] { pool.die(slot, {.exit_code = 1}); });
    };
    pool.run(60s);
    EXPECT_FALSE(pool.slots.broken());
}

TEST(PoolSlots, AWorkerThatNeverComesUpIsAbortedKilledAndCounted) {
    FakePool pool{1};
    pool.run(31s);
    EXPECT_EQ(pool.count(Kind::Abort), 1);
    EXPECT_EQ(pool.slots.doom(0), Cause::StartTimeout);
    pool.run(2s);
    EXPECT_EQ(pool.count(Kind::Kill), 1);
    pool.die(0);
    pool.run(0s);
    EXPECT_EQ(pool.slots.state(0), S::Backoff);
}

TEST(PoolSlots, AnUnkillableWorkerBlocksNobody) {
    FakePool pool = ready_pool(1);
    pool.slots.kill(0, Cause::HardTimeout, pool.now, pool.actions);
    pool.run(6s);
    EXPECT_EQ(pool.count(Kind::Alarm), 1);
    EXPECT_EQ(pool.slots.state(0), S::Unkillable);
    EXPECT_EQ(pool.slots.count(S::Starting), 1U);
    pool.slots.close(1s, pool.now, pool.actions);
    pool.die(1);
    EXPECT_TRUE(pool.slots.empty());
}

TEST(PoolSlots, AKillOrderBecomesTheDoomAndCostsNoWait) {
    FakePool pool = ready_pool(1);
    pool.slots.kill(0, Cause::HardTimeout, pool.now, pool.actions);
    EXPECT_EQ(pool.slots.doom(0), Cause::HardTimeout);
    pool.act();
    EXPECT_EQ(pool.count(Kind::Kill), 1);
    pool.die(0);
    pool.run(0s);
    EXPECT_EQ(pool.births, 2);
}

TEST(PoolSlots, ASuspendedWorkerIsKilledAfterTheStopTimeout) {
    FakePool pool = ready_pool(1);
    pool.slots.on_paused(0, pool.now);
    pool.run(9s);
    EXPECT_EQ(pool.count(Kind::Kill), 0);
    pool.run(1s);
    EXPECT_EQ(pool.count(Kind::Kill), 1);
    EXPECT_EQ(pool.slots.doom(0), Cause::Killed);
}

TEST(PoolSlots, ASuspendedWorkerThatResumesInTimeIsLeftAlone) {
    FakePool pool = ready_pool(1);
    pool.slots.on_paused(0, pool.now);
    pool.run(9s);
    pool.slots.on_resumed(0, pool.now);
    pool.run(3600s);
    EXPECT_EQ(pool.count(Kind::Kill), 0);
    EXPECT_EQ(pool.births, 1);
}

TEST(PoolSlots, CloseDrainsThenTerminatesThenKillsWithinItsBounds) {
    FakePool pool = ready_pool(2);
    pool.slots.close(3s, pool.now, pool.actions);
    pool.run(0s);
    EXPECT_EQ(pool.count(Kind::TellDrain), 2);
    pool.die(0, {.exit_code = 0});
    pool.run(3s);
    EXPECT_EQ(pool.count(Kind::Term), 1);
    pool.run(5s);
    EXPECT_EQ(pool.count(Kind::Kill), 1);
    pool.die(1);
    pool.run(60s);
    EXPECT_TRUE(pool.slots.empty());
    EXPECT_EQ(pool.births, 2) << "nothing starts once closed";
}

TEST(PoolSlots, CloseWithoutLimitWaitsForEver) {
    FakePool pool = ready_pool(1);
    pool.slots.close(base::Duration::max(), pool.now, pool.actions);
    pool.run(24h);
    EXPECT_EQ(pool.count(Kind::Term), 0);
    pool.slots.close(1s, pool.now, pool.actions);
    pool.run(1s);
    EXPECT_EQ(pool.count(Kind::Term), 1);
}

TEST(PoolSlots, ResizeGrowsAndDrainsTheYoungestPlaces) {
    FakePool pool = ready_pool(2);
    EXPECT_TRUE(pool.slots.resize(3, pool.now, pool.actions));
    pool.run(0s);
    EXPECT_EQ(pool.births, 3);
    pool.up(2);
    EXPECT_TRUE(pool.slots.resize(1, pool.now, pool.actions));
    pool.act();
    EXPECT_EQ(pool.slots.state(0), S::Ready);
    EXPECT_EQ(pool.slots.state(1), S::Draining);
    EXPECT_EQ(pool.slots.state(2), S::Draining);
    EXPECT_FALSE(pool.slots.resize(0, pool.now, pool.actions));
    EXPECT_FALSE(pool.slots.resize(1000, pool.now, pool.actions));
    EXPECT_EQ(pool.slots.workers(), 1U);
}

TEST(PoolSlots, AForkThatTheSystemRefusesIsTriedAgainLater) {
    FakePool pool{1};
    pool.slots.on_tick(pool.now, pool.actions);
    ASSERT_EQ(pool.actions.size(), 1U);
    pool.actions.clear();
    pool.slots.on_launch_failed(0, pool.now, pool.actions);
    EXPECT_EQ(pool.slots.state(0), S::Backoff);
    pool.run(3s);
    EXPECT_EQ(pool.births, 1);
}

TEST(PoolSlots, BirthsThatFailForOneReasonCountOnce) {
    FakePool pool{8};
    const std::vector<std::uint32_t> all{0, 1, 2, 3, 4, 5, 6, 7};
    pool.run(0s);
    ASSERT_EQ(pool.births, 8);
    for (int round = 1; round < 3; ++round) {
        pool.slots.on_births_failed(all, {.exit_code = 1}, pool.now, pool.actions);
        pool.act();
        EXPECT_EQ(pool.slots.count(S::Backoff), 8U);
        EXPECT_FALSE(pool.slots.broken());
        EXPECT_EQ(pool.count(Kind::BreakerOpened), 0);
        pool.run(1s);
        EXPECT_EQ(pool.births, 8 * (round + 1)) << "they waited no longer than the first";
    }
    pool.slots.on_births_failed(all, {.exit_code = 1}, pool.now, pool.actions);
    pool.act();
    EXPECT_TRUE(pool.slots.broken());
    FakePool misconfigured{4};
    misconfigured.run(0s);
    misconfigured.slots.on_births_failed(
        {0, 1, 2, 3}, {.exit_code = 78}, misconfigured.now, misconfigured.actions);
    EXPECT_EQ(misconfigured.slots.count(S::Failed), 4U);
}

TEST(PoolSlots, ABirthThatWaitsHasNoDeadlineUntilItIsAskedFor) {
    FakePool pool{1};
    pool.run(0s);
    pool.slots.on_waiting(0, pool.now);
    pool.run(10min);
    EXPECT_EQ(pool.slots.state(0), S::Starting);
    pool.slots.on_asked(0, pool.now);
    pool.run(29s);
    EXPECT_EQ(pool.slots.state(0), S::Starting);
    pool.run(2s);
    EXPECT_EQ(pool.slots.state(0), S::Abort);
}

}  // namespace
}  // namespace forkmill::supervisor
