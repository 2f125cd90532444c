// SPDX-License-Identifier: Apache-2.0
// Cases 1 to 6, 10, 11, 16 to 18, 20, 26, 28, 29: processes that die, stop or are replaced.
#include <signal.h>

#include <algorithm>
#include <atomic>

#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::descendants_of;
using test::process_alive;
using test::process_state;
using test::stretched;
using test::wait_until;

SUPERVISION(01, AKilledIdleWorkerIsReplaced) {
    Daemon& broker = start_pool();
    const pid_t victim = workers()[0];
    const auto killed = Clock::now();
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return replaced({victim}, 4); }, 200ms));
    EXPECT_LT(Clock::now() - killed, stretched(200ms));
    EXPECT_TRUE(wait_until([&] { return process_state(victim) == 0; })) << "a zombie is left";
    EXPECT_TRUE(in_log(broker, "pid=" + std::to_string(victim) + " cause=signal detail=9"));
}

SUPERVISION(02, AKilledWorkersTaskIsToldWhereItMayNotRunAgain) {
    start_pool();
    Gate gate{gate_file()};
    auto result =
        pool().apply_async(first_waits.with({.at_most_once = true}), notes(), gate.name());
    const pid_t victim = noted(1)[0];
    const auto killed = Clock::now();
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    try {
        result.get(kLimit);
        ADD_FAILURE() << "it ran on";
    } catch (const WorkerLost& lost) {
        EXPECT_EQ(lost.number(), SIGKILL);
    }
    EXPECT_LT(Clock::now() - killed, stretched(500ms));
}

SUPERVISION(03, AKilledWorkersTaskRunsOnceMoreElsewhereAndIsToldOnce) {
    start_pool();
    Gate gate{gate_file()};
    std::atomic<int> told{0};
    auto result = pool().apply_async(first_waits, notes(), gate.name());
    result.then([&](int) { ++told; }, [&](const Error&) { ++told; });
    const pid_t victim = noted(1)[0];
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_EQ(result.get(kLimit), 2);
    EXPECT_TRUE(wait_until([&] { return told == 1; }));
    const std::vector<int> ran = noted(2);
    EXPECT_NE(ran[1], victim);
    pool().close();
    pool().join(kLimit);
    EXPECT_EQ(told, 1);
    EXPECT_EQ(numbers_in(notes()).size(), 2U);
}

SUPERVISION(04, AllWorkersKilledAtOnceAreAllReplaced) {
    start_pool();
    const std::vector<pid_t> before = workers();
    for (const pid_t victim : before) ASSERT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return replaced(before, 4); }, kLimit));
    for (const pid_t victim : before) EXPECT_EQ(process_state(victim), 0);
}

SUPERVISION(05, AKilledRouterIsReplacedAndNobodyIsRefusedMeanwhile) {
    const int port = free_port();
    const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(port);
    Daemon& broker = start_pool({.listen = endpoint, .workers = 2});
    const std::vector<pid_t> before = workers();
    const pid_t router = router_of(broker);
    const auto killed = Clock::now();
    ASSERT_EQ(::kill(router, SIGKILL), 0);
    bool refused = false;
    EXPECT_TRUE(wait_until(
        [&] {
            refused = refused || !accepts(port);
            const pid_t now = router_of(broker);
            return now != 0 && now != router;
        },
        500ms));
    EXPECT_LT(Clock::now() - killed, stretched(500ms));
    EXPECT_FALSE(refused);
    Pool other{endpoint};
    EXPECT_EQ(other.apply(echo, std::string{"again"}), "again");
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit))
        << "workers were restarted";
}

SUPERVISION(10, AWorkerThatExitsZeroInATaskIsADeathWithACause) {
    Daemon& broker = start_pool();
    EXPECT_THROW(pool().apply(end_by.with({.at_most_once = true}), "exit0"), WorkerLost);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 4; }, kLimit));
    EXPECT_TRUE(in_log(broker, "cause=exit detail=0 running=1"));
}

SUPERVISION(11, HoweverATaskEndsItsWorkerTheCauseIsNamedAndOthersGoOn) {
    start_pool();
    const struct {
        const char* how;
        const char* cause;
        int number;
    } ends[] = {{"exit3", "exit", 3},
                {"abort", "signal", SIGABRT},
                {"terminate", "signal", SIGABRT},
                {"segv", "signal", SIGSEGV},
                {"stack", "signal", SIGSEGV},
                {"bad_free", "signal", SIGABRT}};
    for (const auto& [how, cause, number] : ends) {
        SCOPED_TRACE(how);
        auto bystanders = pool().map_async(text, std::vector<std::size_t>(20, 3));
        try {
            pool().apply(end_by.with({.at_most_once = true}), how);
            ADD_FAILURE() << "it came back";
        } catch (const WorkerLost& lost) {
            EXPECT_EQ(lost.cause(), cause) << lost.what();
            EXPECT_EQ(lost.number(), number);
        }
        EXPECT_EQ(bystanders.get(kLimit).size(), 20U);
    }
}

SUPERVISION(16, APoisonTaskIsGivenUpAndTheOthersGoOn) {
    Daemon& broker = start_pool();
    auto poison = pool().apply_async(end_by, "segv");
    const std::vector<std::string> others = pool().map(text, std::vector<std::size_t>(500, 10));
    EXPECT_EQ(others.size(), 500U);
    EXPECT_THROW(poison.get(kLimit), WorkerLost);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 4; }, kLimit));
    EXPECT_EQ(times_in_log(broker, "cause=signal detail=11"), 3 * 2)
        << "three deaths, each told by master and router";
}

SUPERVISION(17, AStoppedWorkerIsSeenAndReplacedAndItsTaskRunsAgain) {
    Daemon& broker = start_pool({.workers = 2, .pool = "    stop_timeout: 500ms\n"});
    Gate gate{gate_file()};
    auto result = pool().apply_async(first_waits, notes(), gate.name());
    const pid_t victim = noted(1)[0];
    const auto stopped = Clock::now();
    ASSERT_EQ(::kill(victim, SIGSTOP), 0);
    EXPECT_TRUE(wait_until([&] { return state_of(victim) == "stopped"; }, 100ms))
        << state_of(victim);
    EXPECT_EQ(result.get(kLimit), 2);
    EXPECT_GE(Clock::now() - stopped, 500ms) << "it had its time";
    EXPECT_FALSE(process_alive(victim));
    EXPECT_TRUE(in_log(broker, "pid=" + std::to_string(victim) + " cause=killed"));
}

SUPERVISION(18, AWorkerThatIsContinuedInTimeKeepsItsTask) {
    start_pool({.workers = 2, .pool = "    stop_timeout: 20s\n"});
    Gate gate{gate_file()};
    auto result = pool().apply_async(first_waits, notes(), gate.name());
    const pid_t victim = noted(1)[0];
    ASSERT_EQ(::kill(victim, SIGSTOP), 0);
    ASSERT_TRUE(wait_until([&] { return state_of(victim) == "stopped"; }, kLimit));
    ASSERT_EQ(::kill(victim, SIGCONT), 0);
    EXPECT_TRUE(wait_until([&] { return state_of(victim) == "busy"; }, kLimit));
    gate.open();
    EXPECT_EQ(result.get(kLimit), 1) << "the first attempt";
    EXPECT_EQ(numbers_in(notes()).size(), 1U);
}

SUPERVISION(20, AMasterThatWasStoppedReapsAndReplacesAfterwards) {
    Daemon& broker = start_pool();
    const std::vector<pid_t> before = workers();
    ASSERT_EQ(::kill(broker.program->pid(), SIGSTOP), 0);
    ASSERT_EQ(::kill(before[0], SIGKILL), 0);
    ASSERT_EQ(::kill(before[1], SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] {
        return process_state(before[0]) == 'Z' && process_state(before[1]) == 'Z';
    })) << "nobody reaps while the master is stopped";
    ASSERT_EQ(::kill(broker.program->pid(), SIGCONT), 0);
    EXPECT_TRUE(wait_until([&] { return replaced({before[0], before[1]}, 4); }, kLimit));
    EXPECT_EQ(state_of(before[2]), "idle") << "it was not to be touched";
    EXPECT_EQ(state_of(before[3]), "idle");
}

SUPERVISION(26, WhatATaskStartedDiesWithItsWorker) {
    start_pool();
    auto result = pool().apply_async(start_child.with({.at_most_once = true}), notes());
    const pid_t child = noted(1)[0];
    for (const pid_t worker : workers()) {
        const std::vector<pid_t> family = descendants_of(worker);
        if (std::find(family.begin(), family.end(), child) != family.end()) {
            ASSERT_EQ(::kill(worker, SIGKILL), 0);
        }
    }
    EXPECT_THROW(result.get(kLimit), WorkerLost);
    EXPECT_TRUE(wait_until([&] { return process_state(child) == 0; }, 1s));
}

SUPERVISION(28, OrphansOfTasksAreReaped) {
    Daemon& broker = start_pool({.workers = 1});
    EXPECT_EQ(pool().apply(leave_orphans, 100), 100);
    EXPECT_TRUE(wait_until(
        [&] {
            const std::vector<pid_t> family = descendants_of(broker.program->pid());
            return std::none_of(
                family.begin(), family.end(), [](pid_t pid) { return process_state(pid) == 'Z'; });
        },
        1s));
}

SUPERVISION(29, RecyclingLosesNothingAndKeepsThePoolUp) {
    const int count = test::full_or_twentieth(10'000);
    Daemon& broker = start_pool({.workers = 4, .pool = "    max_tasks_per_child: 10\n"});
    ASSERT_TRUE(wait_until([&] { return replaced({}, 4); }, kLimit));
    const std::vector<pid_t> before = workers();
    std::vector<std::tuple<std::string, int>> calls;
    for (int i = 0; i < count; ++i) calls.emplace_back(notes(), 100);
    auto results = pool().starmap_async(deaf, calls);
    std::size_t least = 4;
    std::size_t most = 4;
    while (!results.wait(5ms)) {
        std::size_t ready = 0;
        for (const WorkerInfo& worker : pool().workers())
            ready += worker.state == "idle" || worker.state == "busy" ? 1 : 0;
        least = std::min(least, ready);
        most = std::max(most, ready);
    }
    EXPECT_EQ(results.get(kLimit).size(), static_cast<std::size_t>(count));
    EXPECT_GE(least, 3U);
    EXPECT_LE(most, 5U) << "four and one replacement";
    EXPECT_TRUE(wait_until([&] { return replaced(before, 4); }, kLimit));
    EXPECT_EQ(times_in_log(broker, "cause=signal"), 0);
}

}  // namespace
}  // namespace forkmill::e2e
