// SPDX-License-Identifier: Apache-2.0
// A thousand seeds, each a world of faults; no violation (FORKMILL_FULL=1: twenty thousand). One
// replay command for a failing one: bin/sim --seed=N. With --trace it shows every message.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "core/base/log.h"
#include "tests/sim/world.h"
#include "tests/support/wait_until.h"

namespace {

std::uint64_t g_first = 1;
std::uint64_t g_count = static_cast<std::uint64_t>(forkmill::test::full_or_twentieth(20'000));
bool g_trace = false;

std::string run_seed(std::uint64_t seed, std::string* summary = nullptr) {
    sim::World world{sim::scenario_of(seed)};
    world.network.trace = g_trace;
    const std::string violation = world.run();
    if (summary != nullptr) *summary = world.summary();
    return violation;
}

TEST(Simulation, NoSeedViolatesAPromise) {
    int failures = 0;
    for (std::uint64_t seed = g_first; seed < g_first + g_count && failures < 5; ++seed) {
        const std::string violation = run_seed(seed);
        if (violation.empty()) continue;
        ++failures;
        ADD_FAILURE() << "seed " << seed << ": " << violation
                      << "\nreplay: bin/sim --seed=" << seed;
    }
}

TEST(Simulation, ASeedReplaysToTheSameEnd) {
    for (std::uint64_t seed = 7; seed < 12; ++seed) {
        std::string once;
        std::string again;
        EXPECT_EQ(run_seed(seed, &once), run_seed(seed, &again));
        EXPECT_EQ(once, again);
    }
}

}  // namespace

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    forkmill::base::log_set_level(forkmill::base::LogLevel::Error);  // Cuts are what it is about.
    std::uint64_t one = 0;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument.starts_with("--seed=")) one = std::strtoull(argument.c_str() + 7, nullptr, 10);
        if (argument.starts_with("--first="))
            g_first = std::strtoull(argument.c_str() + 8, nullptr, 10);
        if (argument.starts_with("--count="))
            g_count = std::strtoull(argument.c_str() + 8, nullptr, 10);
        if (argument == "--trace") g_trace = true;
    }
    if (one != 0) {
        std::string summary;
        const std::string violation = run_seed(one, &summary);
        std::cout << (violation.empty() ? "no violation" : "violation: " + violation) << "\n"
                  << summary << "\n";
        return violation.empty() ? 0 : 1;
    }
    return RUN_ALL_TESTS();
}
