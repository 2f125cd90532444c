// SPDX-License-Identifier: Apache-2.0
#include "core/base/backoff.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

namespace forkmill::base {
namespace {

using namespace std::chrono_literals;

constexpr BackoffRule kRule{.first = 100ms, .max = 5s, .factor = 2.0, .jitter = 0.25};

TEST(Backoff, GrowsByItsFactorUpToTheMaximum) {
    Backoff backoff{{.first = 100ms, .max = 500ms, .factor = 2.0, .jitter = 0.0}, 1};
    EXPECT_EQ(backoff.next(), 100ms);
    EXPECT_EQ(backoff.next(), 200ms);
    EXPECT_EQ(backoff.next(), 400ms);
    EXPECT_EQ(backoff.next(), 500ms);
    EXPECT_EQ(backoff.next(), 500ms);
    EXPECT_EQ(backoff.failures(), 5U);
}

TEST(Backoff, JitterStaysWithinItsBounds) {
    std::set<Duration> firsts;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        Backoff backoff{kRule, seed};
        const Duration first = backoff.next();
        EXPECT_GE(first, 75ms);
        EXPECT_LE(first, 125ms);
        firsts.insert(first);
        for (int i = 0; i < 20; ++i) EXPECT_LE(backoff.next(), 5s);
    }
    EXPECT_GT(firsts.size(), 100U) << "200 processes must not come back in step";
}

TEST(Backoff, TheSameSeedGivesTheSameDelays) {
    Backoff one{kRule, 42};
    Backoff two{kRule, 42};
    for (int i = 0; i < 50; ++i) EXPECT_EQ(one.next(), two.next());
}

TEST(Backoff, StartsAgainAfterASuccess) {
    Backoff backoff{kRule, 7};
    for (int i = 0; i < 10; ++i) backoff.next();
    backoff.reset();
    EXPECT_EQ(backoff.failures(), 0U);
    EXPECT_LE(backoff.next(), 125ms);
}

TEST(Backoff, ManyFailuresDoNotOverflow) {
    Backoff backoff{{.first = 1ms, .max = std::chrono::hours{24 * 365}, .factor = 10.0}, 3};
    for (int i = 0; i < 10'000; ++i) EXPECT_GT(backoff.next().count(), 0);
}

}  // namespace
}  // namespace forkmill::base
