// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/sizing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace forkmill::supervisor {
namespace {

using namespace std::chrono_literals;

/// A pool whose workers start within a step, on a clock of our own.
struct Model {
    explicit Model(const SizingRule& rule) : sizing(rule), workers(rule.min) {}

    std::uint32_t look(std::uint32_t busy, std::uint64_t queued, base::Duration pass = 500ms) {
        now += pass;
        workers = sizing.decide({workers, workers, std::min(busy, workers), queued, 1}, now);
        sizes.push_back(workers);
        return workers;
    }

    Sizing sizing;
    std::uint32_t workers;
    base::Time now{1000s};
    std::vector<std::uint32_t> sizes;
};

TEST(Sizing, ABurstGrowsItByOneTwoAndFour) {
    Model pool{{.min = 1, .max = 8, .idle_timeout = 10s}};
    for (int i = 0; i < 8; ++i) pool.look(8, 500);
    EXPECT_EQ(pool.sizes, (std::vector<std::uint32_t>{2, 2, 4, 4, 8, 8, 8, 8}));
}

TEST(Sizing, ItShrinksByOnePerIdleTimeoutDownToItsLeast) {
    Model pool{{.min = 1, .max = 8, .idle_timeout = 10s}};
    for (int i = 0; i < 8; ++i) pool.look(8, 500);
    for (int i = 0; i <= 20; ++i) pool.look(0, 0);
    EXPECT_EQ(pool.workers, 7U) << "ten seconds";
    for (int i = 0; i < 20 * 6; ++i) pool.look(0, 0);
    EXPECT_EQ(pool.workers, 1U);
    for (int i = 0; i < 100; ++i) pool.look(0, 0);
    EXPECT_EQ(pool.workers, 1U);
}

TEST(Sizing, HalfALoadThatComesAndGoesDoesNotMakeItFlap) {
    Model pool{{.min = 1, .max = 8, .idle_timeout = 10s}};
    for (int i = 0; i < 8; ++i) pool.look(8, 500);
    pool.sizes.clear();
    for (int i = 0; i < 120; ++i) pool.look(i % 2 == 0 ? 8 : 0, 0);
    EXPECT_EQ(std::count(pool.sizes.begin(), pool.sizes.end(), 8U), 120);
}

TEST(Sizing, SpareWorkersAreKeptReady) {
    Model pool{{.min = 1, .max = 8, .spare = 2, .idle_timeout = 10s}};
    for (int i = 0; i < 10; ++i) pool.look(3, 0);
    EXPECT_EQ(pool.workers, 5U);
}

TEST(Sizing, OnDemandStartsAtNothingAndGoesBackToIt) {
    Model pool{{.min = 0, .max = 4, .idle_timeout = 5s}};
    EXPECT_EQ(pool.look(0, 0), 0U);
    EXPECT_EQ(pool.look(0, 1), 1U);
    for (int i = 0; i < 30; ++i) pool.look(0, 0);
    EXPECT_EQ(pool.workers, 0U);
}

TEST(Sizing, WorkersThatStartAreWaitedForBeforeMoreAreAskedFor) {
    Sizing sizing{{.min = 1, .max = 8}};
    const base::Time now{1000s};
    EXPECT_EQ(sizing.decide({1, 1, 1, 100, 1}, now), 2U);
    EXPECT_EQ(sizing.decide({2, 1, 1, 100, 1}, now + 5s), 2U);
    EXPECT_EQ(sizing.decide({2, 2, 2, 100, 1}, now + 6s), 4U);
}

TEST(Sizing, AWorkerOfManyThreadsCountsForManyTasks) {
    Sizing sizing{{.min = 1, .max = 8}};
    EXPECT_EQ(sizing.decide({1, 1, 1, 4, 4}, base::Time{1000s}), 2U);
    EXPECT_EQ(sizing.decide({2, 2, 1, 4, 4}, base::Time{1002s}), 2U);
}

}  // namespace
}  // namespace forkmill::supervisor
