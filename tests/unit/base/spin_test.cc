// SPDX-License-Identifier: Apache-2.0
#include "core/base/spin.h"

#include <gtest/gtest.h>

#include "tests/support/wait_until.h"

namespace forkmill::base {
namespace {

using std::chrono::microseconds;

/// Looks of a wait that is never over; the limit of a spin may pass before its first yield returns.
int looks(Duration limit) {
    int count = 0;
    EXPECT_FALSE(spin_before(monotonic_now() + limit, [&] { return ++count < 0; }));
    return count;
}

TEST(Spin, AWaitThatIsNoLongerThanASpinSpinsToo) {
    EXPECT_TRUE(test::wait_until([] { return looks(kSpin) > 2; }, std::chrono::seconds{10}));
}

TEST(Spin, AWaitThatIsOverLooksOnce) {
    EXPECT_EQ(looks(microseconds{0}), 1);
    EXPECT_EQ(looks(microseconds{-5}), 1);
}

TEST(Spin, WhatIsReadyIsSeenAfterTheEndToo) {
    EXPECT_TRUE(spin_before(Time{}, [] { return true; }));
}

TEST(Spin, ALongWaitEndsItsSpinEarly) {
    const Time start = monotonic_now();
    EXPECT_FALSE(spin_before(kNever, [] { return false; }));
    EXPECT_LT(monotonic_now() - start, std::chrono::seconds{30});
}

}  // namespace
}  // namespace forkmill::base
