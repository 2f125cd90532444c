// SPDX-License-Identifier: Apache-2.0
// Cases 19, 21 to 25, 30: tasks and processes that take too long or too much.
#include <signal.h>

#include <algorithm>

#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::process_state;
using test::stretched;
using test::wait_until;

SUPERVISION(19, AStoppedRouterHarmsNobody) {
    Daemon& broker = start_pool({.workers = 2});
    const std::vector<pid_t> before = workers();
    const pid_t router = router_of(broker);
    auto results = pool().map_async(text, std::vector<std::size_t>(2000, 20));
    ASSERT_EQ(::kill(router, SIGSTOP), 0);
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "child stopped by a signal"); }, kLimit));
    EXPECT_FALSE(results.wait(5s)) << "nobody routes, and nobody acts before the limit";
    ASSERT_EQ(::kill(router, SIGCONT), 0);
    EXPECT_EQ(results.get(kLimit).size(), 2000U);
    EXPECT_EQ(workers(), before);
    EXPECT_EQ(router_of(broker), router);
}

SUPERVISION(21, AnEndlessTaskIsEndedAtItsTimeoutWithItsStackInTheLog) {
    Daemon& broker = start_pool({.workers = 2});
    const auto asked = Clock::now();
    auto result = pool().apply_async(deaf.with({.timeout = 500ms}), notes(), 600'000);
    const pid_t victim = noted(1)[0];
    EXPECT_THROW(result.get(kLimit), TaskTimeout);
    EXPECT_GE(Clock::now() - asked, 500ms);
    EXPECT_LT(Clock::now() - asked, stretched(1500ms));
    EXPECT_TRUE(wait_until([&] { return process_state(victim) == 0; }, kLimit));
    EXPECT_LT(Clock::now() - asked, stretched(2600ms));
    EXPECT_TRUE(in_log(broker, "forkmill: timeout of task e2e.deaf"));
    EXPECT_TRUE(in_log(broker, "  #0 "));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
}

SUPERVISION(22, ATaskThatBlocksEverySignalIsEndedAllTheSame) {
    start_pool({.workers = 2});
    const auto asked = Clock::now();
    auto result = pool().apply_async(stubborn.with({.timeout = 500ms}), notes(), 600'000);
    const pid_t victim = noted(1)[0];
    EXPECT_THROW(result.get(kLimit), TaskTimeout);
    EXPECT_GE(Clock::now() - asked, 500ms);
    EXPECT_TRUE(wait_until([&] { return process_state(victim) == 0; }, kLimit));
    EXPECT_LT(Clock::now() - asked, stretched(3100ms));
}

SUPERVISION(22, AWorkerThatStandsStillIsAbortedThenKilledAndItsTaskIsTold) {
    Daemon& broker = start_pool({.workers = 2, .pool = "    hung_timeout: 400ms\n"});
    const auto asked = Clock::now();
    auto result = pool().apply_async(freeze.with({.at_most_once = true}), notes());
    const pid_t victim = noted(1)[0];
    try {
        result.get(kLimit);
        ADD_FAILURE() << "it came back";
    } catch (const WorkerLost& lost) {
        EXPECT_EQ(lost.cause(), "hung");
        EXPECT_NE(lost.report().find("  #0 "), std::string::npos) << lost.report();
    }
    EXPECT_TRUE(wait_until([&] { return process_state(victim) == 0; }, kLimit));
    EXPECT_GE(Clock::now() - asked, 400ms);
    EXPECT_LT(Clock::now() - asked, stretched(5s));
    EXPECT_TRUE(in_log(broker, "stands still"));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
}

SUPERVISION(23, ATaskThatObeysItsSoftTimeoutKeepsItsWorker) {
    start_pool({.workers = 2});
    const std::vector<pid_t> before = workers();
    EXPECT_EQ(pool().apply(partial.with({.soft_timeout = 100ms, .timeout = 20s})), "half");
    EXPECT_EQ(workers(), before);
}

SUPERVISION(24, AnEndlessTaskIsEndedOnTimeWithoutARouter) {
    Daemon& broker = start_pool({.workers = 2});
    static_cast<void>(
        pool().apply_async(deaf.with({.timeout = 700ms, .max_retries = 0}), notes(), 600'000));
    const pid_t victim = noted(1)[0];
    const auto asked = Clock::now();
    const pid_t router = router_of(broker);
    ASSERT_EQ(::kill(router, SIGSTOP), 0);
    EXPECT_TRUE(wait_until([&] { return process_state(victim) == 0; }, kLimit));
    EXPECT_LT(Clock::now() - asked, stretched(4s));
    ASSERT_EQ(::kill(router, SIGCONT), 0);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
}

SUPERVISION(25, AnIdleWorkerIsNotBoundByTaskLimits) {
    // Longer than the idle one's timeout and the second that the master adds: when the frozen one
    // is ended, both of the idle one's limits have passed too, were they to bind it.
    Daemon& broker = start_pool({.workers = 2, .pool = "    hung_timeout: 2s\n"});
    std::vector<pid_t> idle = workers();
    auto result = pool().apply_async(freeze.with({.at_most_once = true}), notes());
    const pid_t frozen = noted(1)[0];
    std::erase(idle, frozen);
    ASSERT_EQ(idle.size(), 1U);
    EXPECT_EQ(pool().apply(pid.with({.timeout = 200ms})), idle[0]);
    EXPECT_THROW(result.get(kLimit), WorkerLost);
    EXPECT_TRUE(wait_until([&] { return process_state(frozen) == 0; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    EXPECT_EQ(state_of(idle[0]), "idle");
    EXPECT_EQ(times_in_log(broker, "worker is ended"), 1);
    EXPECT_TRUE(in_log(broker, "pid=" + std::to_string(frozen) + " why=\"its I/O thread"));
}

SUPERVISION(30, AWorkerThatGrewIsReplacedAfterItsTask) {
    start_pool({.workers = 2, .pool = "    max_memory_per_child: 100MiB\n"});
    const std::vector<pid_t> before = workers();
    Gate gate{gate_file()};
    auto result = pool().apply_async(grab.with({.at_most_once = true}), notes(), gate.name(), 120);
    const pid_t grown = noted(1)[0];
    EXPECT_TRUE(wait_until([&] { return state_of(grown) == "draining"; }, kLimit))
        << state_of(grown);
    gate.open();
    EXPECT_EQ(result.get(kLimit), 120) << "the task ended well";
    EXPECT_TRUE(wait_until([&] { return process_state(grown) == 0; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
}

SUPERVISION(30, AWorkerThatTakesTooMuchIsKilledAndItsTaskSaysWhy) {
    Daemon& broker = start_pool({.workers = 2, .pool = "    kill_memory_per_child: 100MiB\n"});
    Gate gate{gate_file()};
    auto result = pool().apply_async(grab.with({.at_most_once = true}), notes(), gate.name(), 120);
    try {
        result.get(kLimit);
        ADD_FAILURE() << "it came back";
    } catch (const WorkerLost& lost) {
        EXPECT_EQ(lost.cause(), "oom");
    }
    EXPECT_TRUE(in_log(broker, "more memory than kill_memory_per_child"));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
}

SUPERVISION(31, APoolFollowsItsLoadUpByOneTwoFourAndDownOneByOne) {
    Daemon& broker = start_broker({.workers = 0, .yaml = R"(pools:
  default:
    workers: {min: 1, max: 8, idle_timeout: 500ms}
    executable: )" + own_program() + "\n"});
    pool_.emplace(ipc());
    ASSERT_TRUE(wait_until([&] { return workers().size() == 1; }, kLimit));
    Gate gate{gate_file()};
    std::vector<std::tuple<std::string, std::string, int>> calls;
    for (int i = 0; i < 100; ++i) calls.emplace_back(notes(), gate.name(), i);
    auto results = pool().starmap_async(pass, calls);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 8; }, kLimit));
    for (const char* size : {"workers=2 ", "workers=4 ", "workers=8 "})
        EXPECT_TRUE(in_log(broker, std::string{"pool follows its load pool=default "} + size));
    gate.open();
    EXPECT_EQ(results.get(kLimit).size(), 100U);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 1; }, kLimit));
    for (const char* size : {"workers=7 ", "workers=4 ", "workers=1 "})
        EXPECT_TRUE(in_log(broker, std::string{"pool follows its load pool=default "} + size));
    EXPECT_EQ(times_in_log(broker, "cause=signal"), 0);
}

SUPERVISION(31, APoolOnDemandHasNobodyUntilSomebodyAsks) {
    start_pool({.workers = 0, .yaml = R"(pools:
  default:
    workers: {min: 0, max: 2, idle_timeout: 300ms}
    executable: )" + own_program() + "\n"});
    EXPECT_TRUE(workers().empty());
    EXPECT_EQ(pool().apply(echo, std::string{"wake up"}), "wake up");
    EXPECT_TRUE(wait_until([&] { return workers().empty(); }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"again"}), "again");
}

TEST_F(Supervised, ASlowTaskIsExplainedOnceAndGoesOn) {
    Daemon& broker = start_pool({.workers = 1, .pool = "    slowlog_timeout: 200ms\n"});
    EXPECT_EQ(pool().apply(deaf, notes(), 900), 900);
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "  #0 "); }, kLimit));
    EXPECT_EQ(times_in_log(broker, "forkmill: slow task e2e.deaf"), 1);
}

}  // namespace
}  // namespace forkmill::e2e
