// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/respawn_policy.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace forkmill::supervisor {
namespace {

using namespace std::chrono_literals;
using Kind = Verdict::Kind;
using Breaker = RespawnPolicy::Breaker;

const base::Time kStart{1000s};

Ending failed_start(int code = 1) {
    Ending ending;
    ending.exit_code = code;
    ending.uptime = 5ms;
    return ending;
}

void expect_about(base::Duration delay, base::Duration middle) {
    EXPECT_GE(delay, middle * 8 / 10);
    EXPECT_LE(delay, middle * 12 / 10);
}

TEST(RespawnPolicy, FailedStartsOfASlotWaitLongerAndLongerUpToTheCap) {
    RespawnRule rule;
    rule.breaker_least = 1000;
    RespawnPolicy policy{rule, 4, 7};
    base::Time now = kStart;
    base::Duration middle = 100ms;
    for (int i = 0; i < 12; ++i) {
        const Verdict verdict = policy.on_death(1, failed_start(), 1000, now);
        ASSERT_EQ(verdict.kind, Kind::After);
        EXPECT_LE(verdict.delay, 30s);
        if (middle < 20s) expect_about(verdict.delay, middle);
        middle = std::min<base::Duration>(middle * 2, 30s);
        now += 100s;
    }
    EXPECT_EQ(policy.breaker(), Breaker::Closed) << "never many within a minute";
}

TEST(RespawnPolicy, JitterComesFromTheSeed) {
    RespawnPolicy a{{}, 1, 7};
    RespawnPolicy b{{}, 1, 7};
    RespawnPolicy c{{}, 1, 8};
    const base::Duration first = a.on_death(0, failed_start(), 9, kStart).delay;
    EXPECT_EQ(first, b.on_death(0, failed_start(), 9, kStart).delay);
    EXPECT_NE(first, c.on_death(0, failed_start(), 9, kStart).delay);
}

TEST(RespawnPolicy, WantedEndsAreFree) {
    RespawnPolicy policy{{}, 1, 7};
    Ending ending = failed_start();
    ending.wanted = true;
    for (int i = 0; i < 100; ++i) EXPECT_EQ(policy.on_death(0, ending, 1, kStart).kind, Kind::Now);
    EXPECT_EQ(policy.breaker(), Breaker::Closed);
}

TEST(RespawnPolicy, ADeathInATaskIsTheTasksAndDoesNotStarveThePool) {
    RespawnPolicy policy{{}, 1, 7};
    Ending ending;
    ending.was_ready = true;
    ending.in_task = true;
    for (int i = 0; i < 100; ++i) EXPECT_EQ(policy.on_death(0, ending, 1, kStart).kind, Kind::Now);
    EXPECT_EQ(policy.breaker(), Breaker::Closed);
}

TEST(RespawnPolicy, AnIdleWorkerKilledOnceIsReplacedAtOnceAndRepeatedlyNot) {
    RespawnPolicy policy{{}, 4, 7};
    Ending ending;
    ending.was_ready = true;
    EXPECT_EQ(policy.on_death(0, ending, 4, kStart).kind, Kind::Now);
    EXPECT_EQ(policy.on_death(0, ending, 4, kStart).kind, Kind::After);
}

TEST(RespawnPolicy, ALongOrUsefulLifeResetsTheWait) {
    for (const bool useful : {false, true}) {
        RespawnPolicy policy{{}, 1, 7};
        policy.on_death(0, failed_start(), 9, kStart);
        policy.on_death(0, failed_start(), 9, kStart);
        Ending good;
        good.was_ready = true;
        if (useful)
            good.tasks_done = 1;
        else
            good.uptime = 10s;
        EXPECT_EQ(policy.on_death(0, good, 9, kStart).kind, Kind::Now);
        expect_about(policy.on_death(0, failed_start(), 9, kStart).delay, 100ms);
    }
}

TEST(RespawnPolicy, BadConfigIsFatalOnlyBeforeReadyAndInTheCurrentGeneration) {
    for (const int code : {77, 78}) {
        RespawnPolicy policy{{}, 1, 7};
        EXPECT_EQ(policy.on_death(0, failed_start(code), 4, kStart).kind, Kind::Never);
        Ending old = failed_start(code);
        old.current = false;
        EXPECT_EQ(policy.on_death(0, old, 4, kStart).kind, Kind::Now);
        Ending task = failed_start(code);
        task.was_ready = true;
        task.in_task = true;
        EXPECT_EQ(policy.on_death(0, task, 4, kStart).kind, Kind::Now) << "a task called exit";
    }
}

TEST(RespawnPolicy, TemporaryFailureIsSlowAndNeverOpensTheBreaker) {
    RespawnPolicy policy{{}, 1, 7};
    for (int i = 0; i < 10; ++i) {
        const Verdict verdict = policy.on_death(0, failed_start(75), 1, kStart);
        EXPECT_EQ(verdict.kind, Kind::After);
        EXPECT_GE(verdict.delay, 1s);
    }
    EXPECT_EQ(policy.breaker(), Breaker::Closed);
}

TEST(RespawnPolicy, BreakerOpensAtTheLargerOfThreeAndTheWorkers) {
    for (const std::uint32_t workers : {1U, 3U, 5U}) {
        RespawnPolicy policy{{}, workers, 7};
        const std::uint32_t needed = std::max(3U, workers);
        for (std::uint32_t i = 0; i < needed; ++i) {
            EXPECT_EQ(policy.breaker(), Breaker::Closed) << i << " of " << needed;
            policy.on_death(i % workers, failed_start(), workers, kStart);
        }
        EXPECT_EQ(policy.breaker(), Breaker::Open);
    }
}

TEST(RespawnPolicy, DeathsOlderThanAMinuteDoNotCount) {
    RespawnPolicy policy{{}, 1, 7};
    for (int i = 0; i < 10; ++i) policy.on_death(0, failed_start(), 1, kStart + i * 31s);
    EXPECT_EQ(policy.breaker(), Breaker::Closed);
}

TEST(RespawnPolicy, AnOpenBreakerProbesWithOneAndRefillsByDoubling) {
    RespawnRule rule;
    RespawnPolicy policy{rule, 16, 7};
    base::Time now = kStart;
    for (std::uint32_t i = 0; i < 16; ++i) policy.on_death(i, failed_start(), 16, now);
    ASSERT_EQ(policy.breaker(), Breaker::Open);
    EXPECT_FALSE(policy.may_launch(0, 16, now));
    now = policy.next_change(0, now);
    ASSERT_TRUE(policy.may_launch(0, 16, now));
    policy.on_launch();
    EXPECT_FALSE(policy.may_launch(1, 16, now)) << "one probe at a time";
    policy.on_ready(0, now);
    for (const int batch : {2, 4, 8}) {
        EXPECT_FALSE(policy.may_launch(0, 16, now));
        now = policy.next_change(0, now);
        for (int i = 0; i < batch; ++i) {
            EXPECT_TRUE(policy.may_launch(0, 16, now)) << i << " of " << batch;
            policy.on_launch();
        }
    }
    policy.on_full();
    EXPECT_EQ(policy.breaker(), Breaker::Closed);
}

TEST(RespawnPolicy, WhenWorkersDiedAfterReadyAProbeMustLiveNotJustComeUp) {
    RespawnPolicy policy{{}, 3, 7};
    Ending early;
    early.was_ready = true;
    for (int i = 0; i < 6; ++i)
        policy.on_death(static_cast<std::uint32_t>(i % 3), early, 3, kStart);
    ASSERT_EQ(policy.breaker(), Breaker::Open);
    const base::Time probe = policy.next_change(0, kStart);
    ASSERT_TRUE(policy.may_launch(0, 3, probe));
    policy.on_launch();
    policy.on_ready(0, probe);
    EXPECT_FALSE(policy.may_launch(0, 3, probe + 9s));
    EXPECT_TRUE(policy.may_launch(0, 3, probe + 10s));
}

TEST(RespawnPolicy, BirthsAreBoundedPerSecond) {
    RespawnPolicy policy{{}, 100, 7};
    base::Time now = kStart;
    int births = 0;
    while (policy.may_launch(0, 4, now)) {
        policy.on_launch();
        ++births;
    }
    EXPECT_EQ(births, 50);
    for (; now < kStart + 1s; now += 1ms) {
        if (!policy.may_launch(0, 4, now)) continue;
        policy.on_launch();
        ++births;
    }
    EXPECT_NEAR(births, 100, 1);
    EXPECT_LE(policy.next_change(0, now), now + 20ms);
}

TEST(RelayPolicy, RestartsAtOnceThenWithGrowingWaits) {
    RelayPolicy policy{{}, 3};
    EXPECT_EQ(policy.on_death(1s, kStart), 0s);
    expect_about(policy.on_death(1s, kStart), 100ms);
    expect_about(policy.on_death(1s, kStart), 200ms);
    for (int i = 0; i < 6; ++i) EXPECT_LE(policy.on_death(1s, kStart), 5s);
    EXPECT_FALSE(policy.gives_up());
    policy.on_death(1s, kStart);
    EXPECT_TRUE(policy.gives_up()) << "ten deaths within a minute";
}

TEST(RelayPolicy, ALongLifeMakesTheNextRestartImmediate) {
    RelayPolicy policy{{}, 3};
    policy.on_death(1s, kStart);
    policy.on_death(1s, kStart);
    EXPECT_EQ(policy.on_death(10s, kStart), 0s);
}

TEST(RelayPolicy, NeverGivesUpOnDeathsThatAreRare) {
    RelayPolicy policy{{}, 3};
    for (int i = 0; i < 100; ++i) {
        policy.on_death(1s, kStart + i * 7s);
        EXPECT_FALSE(policy.gives_up());
    }
}

}  // namespace
}  // namespace forkmill::supervisor
