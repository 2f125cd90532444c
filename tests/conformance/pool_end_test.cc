// SPDX-License-Identifier: Apache-2.0
// How a pool ends, and what it leaves behind: nothing (P29-P33, P39, P41, P42).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

std::size_t open_fds(pid_t pid) {
    std::size_t count = 0;
    std::error_code error;
    for (auto it =
             std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error);
         it != std::filesystem::directory_iterator{};
         ++it)
        ++count;
    return count;
}

std::size_t resident_kib(pid_t pid) {
    std::ifstream statm{"/proc/" + std::to_string(pid) + "/statm"};
    std::size_t total = 0;
    std::size_t resident = 0;
    statm >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
}

std::vector<pid_t> children_of(pid_t pid) {
    std::vector<pid_t> found;
    std::ifstream file{"/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) +
                       "/children"};
    for (pid_t child = 0; file >> child;) found.push_back(child);
    return found;
}

}  // namespace

CONFORMANCE(P29, CloseRefusesNewTasksAndJoinWaitsForTheOld, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    std::vector<forkmill::AsyncResult<int>> results;
    for (int i = 0; i < 10; ++i) results.push_back(pool.apply_async(sleep_ms, 20));
    pool.close();
    EXPECT_THROW(static_cast<void>(pool.apply_async(square, 1)), forkmill::UsageError);
    pool.join(20s);
    for (auto& result : results) {
        EXPECT_TRUE(result.ready());
        EXPECT_TRUE(result.successful());
    }
}

CONFORMANCE(P30, JoinBeforeCloseThrows, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    EXPECT_THROW(pool.join(1s), forkmill::UsageError);
}

CONFORMANCE(P31, TerminateEndsTenThousandQueuedTasks, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    std::vector<int> pids;
    {
        forkmill::Pool pool{cluster.options()};
        std::unique_ptr<forkmill::Pool> other;
        std::optional<forkmill::AsyncResult<int>> untouched;
        if (size != Size::E) {
            other = std::make_unique<forkmill::Pool>(cluster.options());
            untouched = other->apply_async(sleep_ms, 300);
        }
        for (const auto& worker : pool.workers()) pids.push_back(worker.pid);
        std::vector<forkmill::AsyncResult<int>> results;
        for (int i = 0; i < 10'000; ++i) results.push_back(pool.apply_async(sleep_ms, 100));
        const auto start = Clock::now();
        pool.terminate();
        pool.join(5s);
        EXPECT_LT(seconds_since(start), 2.0);
        int ended = 0;
        for (auto& result : results) {
            ASSERT_TRUE(result.ready());
            try {
                std::move(result).get(1s);
            } catch (const forkmill::Error&) {
                ++ended;
            }
        }
        EXPECT_GT(ended, 9'000);
        if (untouched) {
            EXPECT_GT(untouched->get(20s), 0);
        }
    }
    if (size == Size::E) {
        for (const int pid : pids)
            EXPECT_TRUE(wait_until(2, [&] { return !process_exists(pid); })) << pid;
    }
}

CONFORMANCE(P32, LeavingTheScopeTerminates, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    { forkmill::Pool warm_up{cluster.options()}; }
    const std::size_t fds = open_fds(::getpid());
    std::optional<forkmill::AsyncResult<int>> outlives;
    const auto start = Clock::now();
    {
        forkmill::Pool pool{cluster.options()};
        outlives = pool.apply_async(sleep_ms, 20'000);
    }
    EXPECT_LT(seconds_since(start), 5.0);
    EXPECT_TRUE(outlives->ready());
    EXPECT_THROW(outlives->get(1s), forkmill::Error);
    outlives.reset();
    EXPECT_TRUE(wait_until(3, [&] { return open_fds(::getpid()) <= fds; }))
        << open_fds(::getpid()) << " fds, were " << fds;
    if (size == Size::E) {
        EXPECT_TRUE(wait_until(3, [] { return children_of(::getpid()).empty(); }));
    }
}

CONFORMANCE(P33, ManyPoolsOneAfterAnotherLeaveNothing, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    const auto once = [&] {
        forkmill::Pool pool{cluster.options()};
        EXPECT_EQ(pool.apply(square, 4), 16);
        pool.close();
        pool.join(10s);
    };
    const int rounds = forkmill::test::full_or_twentieth(1000);
    for (int i = 0; i < 5; ++i) once();
    const pid_t broker = size == Size::E ? ::getpid() : children_of(cluster.broker().pid()).at(0);
    const std::size_t fds = open_fds(::getpid());
    const std::size_t broker_fds = open_fds(broker);
    [[maybe_unused]] const std::size_t resident = resident_kib(::getpid());
    for (int i = 0; i < rounds; ++i) once();
    EXPECT_TRUE(wait_until(3, [&] { return open_fds(::getpid()) <= fds; }));
    // A session whose BYE was heard is closed at once, but ZeroMQ closes the socket behind it in
    // its own time.
    EXPECT_TRUE(wait_until(10, [&] { return open_fds(broker) <= broker_fds + 2; }))
        << open_fds(broker) << " were " << broker_fds;
#ifndef __SANITIZE_ADDRESS__  // Its quarantine keeps what was freed; it finds leaks by itself.
    EXPECT_LT(resident_kib(::getpid()), resident + 16 * 1024);
#endif
}

CONFORMANCE(P39, TwoPoolsAtOnceDoNotDisturbEachOther, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    Cluster second{size, {.workers = 2}};
    forkmill::Pool one{cluster.options()};
    forkmill::Pool two{cluster.options()};
    forkmill::PoolOptions other = second.options();
    forkmill::Pool three{other};
    std::vector<forkmill::AsyncResult<int>> results;
    for (int i = 0; i < 100; ++i) {
        results.push_back(one.apply_async(square, i));
        results.push_back(two.apply_async(square, i));
        results.push_back(three.apply_async(square, i));
    }
    two.terminate();
    for (std::size_t i = 0; i < results.size(); ++i) {
        if (i % 3 == 1) continue;
        EXPECT_EQ(results[i].get(10s), static_cast<int>((i / 3) * (i / 3)));
    }
    expect_alive(one);
    expect_alive(three);
}

CONFORMANCE(P41, InterruptReachesTheSubmitterOnly, "E") {
    // A child program of its own process group plays the terminal's foreground job.
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::setpgid(0, 0);
        static std::atomic<int> interrupts{0};
        ::signal(SIGINT, [](int) { ++interrupts; });
        forkmill::PoolOptions options;
        options.workers = 2;
        options.tasks = all_tasks();
        bool worked = false;
        {
            forkmill::Pool pool{options};
            auto result = pool.apply_async(sleep_ms, 200);
            if (!wait_until(5, [&] { return pool.workers().size() == 2; })) ::_exit(2);
            ::kill(0, SIGINT);
            worked = result.get(10s) > 0;
            pool.close();
            pool.join(10s);
        }
        ::_exit(worked && interrupts == 1 ? 0 : 3);
    }
    int status = 0;
    ASSERT_TRUE(wait_until(20, [&] { return ::waitpid(child, &status, WNOHANG) == child; }));
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

CONFORMANCE(P42, RecycledWorkersLeaveNoZombie, "EIT") {
    Cluster cluster{size, {.workers = 3, .max_tasks_per_child = 1}};
    forkmill::Pool pool{cluster.options()};
#ifdef __SANITIZE_THREAD__  // Which makes a birth cost a quarter of a second.
    const int tasks = 50;
#else
    const int tasks = forkmill::test::full_or_twentieth(10'000);
#endif
    std::vector<forkmill::AsyncResult<int>> results;
    for (int i = 0; i < tasks; ++i) results.push_back(pool.apply_async(pid_of_worker));
    std::set<int> pids;
    for (auto& result : results) pids.insert(std::move(result).get(120s));
    EXPECT_GT(pids.size(), static_cast<std::size_t>(tasks) * 9 / 10);
    const auto zombies = [] {
        int count = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
            const std::string name = entry.path().filename();
            if (name.find_first_not_of("0123456789") != std::string::npos) continue;
            std::ifstream stat{entry.path() / "stat"};
            std::string line;
            if (std::getline(stat, line) && line.find("(conformance) Z") != std::string::npos)
                ++count;
        }
        return count;
    };
    EXPECT_TRUE(wait_until(5, [&] { return zombies() == 0; })) << zombies();
    EXPECT_TRUE(wait_until(5, [&] {
        return std::count_if(
                   pids.begin(), pids.end(), [](int pid) { return process_exists(pid); }) <= 3;
    }));
}

}  // namespace conformance
