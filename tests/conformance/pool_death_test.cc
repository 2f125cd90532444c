// SPDX-License-Identifier: Apache-2.0
// What others lose or hang on: dying workers and submitters, nested waits, many threads, pending
// results as arguments (P34-P36, P38, P40, P44, P45).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <set>
#include <thread>

#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"

namespace conformance {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

std::vector<std::string> lines_of(const std::string& path) {
    std::ifstream file{path};
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

}  // namespace

CONFORMANCE(P34, AKilledWorkersTaskRunsElsewhere, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    const std::string path = cluster.directory() + "/attempts";
    auto bystander = pool.apply_async(sleep_ms, 300);
    auto result = pool.apply_async(die_until, path, 1);
    const auto start = Clock::now();
    EXPECT_EQ(result.get(20s), 2);
    EXPECT_LT(seconds_since(start), 1.0);
    EXPECT_EQ(lines_of(path).size(), 2U);
    EXPECT_GT(bystander.get(20s), 0) << "other tasks are unaffected";
    EXPECT_TRUE(wait_until(10, [&] { return pool.workers().size() == 2; }))
        << "the worker is replaced";
    expect_alive(pool);
}

CONFORMANCE(P34, AtMostOnceEndsWithWorkerLost, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    const std::string path = cluster.directory() + "/attempts";
    auto result = pool.apply_async(die_until.with({.at_most_once = true}), path, 100);
    const auto start = Clock::now();
    EXPECT_THROW(result.get(20s), forkmill::WorkerLost);
    EXPECT_LT(seconds_since(start), 1.0);
    EXPECT_EQ(lines_of(path).size(), 1U);
    expect_alive(pool);
}

CONFORMANCE(P34, CrashLimitEndsAPoisonTask, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    const std::string path = cluster.directory() + "/attempts";
    auto result = pool.apply_async(die_until, path, 100);
    EXPECT_THROW(result.get(60s), forkmill::WorkerLost);
    EXPECT_EQ(lines_of(path).size(), 3U);
    expect_alive(pool);
}

CONFORMANCE(P35, EveryWayToDieIsNamed, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    const std::vector<std::pair<std::string, std::string>> ways{
        {"exit3", "3"}, {"abort", "SIGABRT"}, {"segv", "SIGSEGV"}, {"stack", "SIGSEGV"}};
    for (const auto& [how, named] : ways) {
        try {
            pool.apply_async(crash.with({.at_most_once = true}), how).get(30s);
            ADD_FAILURE() << how << " returned";
        } catch (const forkmill::WorkerLost& error) {
            EXPECT_NE(std::string{error.what()}.find(named), std::string::npos)
                << how << ": " << error.what();
        }
    }
    expect_alive(pool);
}

CONFORMANCE(P36, ATaskMayWaitForItsOwnPool, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    EXPECT_EQ(pool.apply_async(nested, 7).get(20s), 49);
    std::vector<int> inputs(20, 3);
    for (const int value : pool.map(nested, inputs)) EXPECT_EQ(value, 9);
}

CONFORMANCE(P38, TwoHundredThreadsShareOnePool, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    std::atomic<int> wrong{0};
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 200; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 5; ++i) {
                    if (pool.apply(add, t * 1000, i) != t * 1000 + i) ++wrong;
                }
            });
        }
    }
    EXPECT_EQ(wrong, 0);
}

CONFORMANCE(P40, TheSubmitterDies, "EIT") {
    Cluster cluster{
        size,
        {.workers = 2,
         .extra_broker_yaml =
             "sessions: {ttl: 1s, client_lost_grace: 1s, ping_after: 200ms, gone_after: 800ms}\n"}};
    const std::string directory = cluster.directory();
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        forkmill::Pool pool{cluster.options()};
        std::vector<int> pids;
        if (!wait_until(5, [&] { return pool.workers().size() == 2; })) ::_exit(1);
        for (const auto& worker : pool.workers()) pids.push_back(worker.pid);
        auto running = pool.apply_async(wait_file, directory + "/never");
        const std::string id =
            forkmill::to_string(pool.apply_async(square.with({.detached = true}), 12).id());
        forkmill::TaskId unused;
        static_cast<void>(unused);
        pool.apply(square, 1);
        std::string text = id;
        for (const int pid : pids) text += " " + std::to_string(pid);
        if (::write(pipe_ends[1], text.data(), text.size()) < 0) ::_exit(1);
        ::kill(::getpid(), SIGKILL);
    }
    ::close(pipe_ends[1]);
    std::string text(256, '\0');
    const ssize_t size_read = ::read(pipe_ends[0], text.data(), text.size());
    ::close(pipe_ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit " << WEXITSTATUS(status);
    ASSERT_GT(size_read, 32);
    std::istringstream words{text.substr(0, static_cast<std::size_t>(size_read))};
    std::string id;
    words >> id;
    if (size == Size::E) {
        for (int pid = 0; words >> pid;) {
            EXPECT_TRUE(wait_until(1,
                                   [&] {
                                       while (::waitpid(-1, nullptr, WNOHANG) > 0) {
                                       }
                                       return !process_exists(pid);
                                   }))
                << "worker " << pid << " outlived its program";
        }
        // The dead program's fork server and workers are our adopted children now: they are ours to
        // reap.
        EXPECT_TRUE(wait_until(3, [] {
            while (::waitpid(-1, nullptr, WNOHANG) > 0) {
            }
            return errno == ECHILD;
        }));
        return;
    }
    forkmill::Pool pool{cluster.options()};
    const auto task = forkmill::parse_task_id(id);
    ASSERT_TRUE(task.has_value());
    EXPECT_EQ(pool.attach<int>(*task).get(10s), 144) << "a detached task lives on";
    // The lost client's running task is cancelled: both workers are free again.
    EXPECT_TRUE(wait_until(20, [&] {
        auto one = pool.apply_async(sleep_ms, 300);
        auto two = pool.apply_async(sleep_ms, 300);
        return one.get(30s) != two.get(30s);
    }));
}

CONFORMANCE(P44, PendingResultsAreArguments, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    auto chain = pool.apply_async(add, 0, 1);
    for (int i = 0; i < 999; ++i) chain = pool.apply_async(add, std::move(chain), 1);
    EXPECT_EQ(chain.get(60s), 1000);
    auto left = pool.apply_async(square, 3);
    auto right = pool.apply_async(square, 4);
    EXPECT_EQ(pool.apply_async(add, std::move(left), std::move(right)).get(20s), 25) << "a diamond";
    std::vector<forkmill::AsyncResult<int>> leaves;
    for (int i = 0; i < 64; ++i) leaves.push_back(pool.apply_async(square, i));
    while (leaves.size() > 1) {
        std::vector<forkmill::AsyncResult<int>> next;
        for (std::size_t i = 0; i + 1 < leaves.size(); i += 2)
            next.push_back(pool.apply_async(add, std::move(leaves[i]), std::move(leaves[i + 1])));
        leaves = std::move(next);
    }
    EXPECT_EQ(leaves[0].get(20s), 85344) << "a fan-in of 64";
    auto broken = pool.apply_async(add, pool.apply_async(fail, "runtime_error", "inner reason"), 1);
    try {
        broken.get(20s);
        FAIL() << "the inner failure did not reach the outer handle";
    } catch (const forkmill::Error& error) {
        EXPECT_NE(std::string{error.what()}.find("inner reason"), std::string::npos)
            << error.what();
    }
}

CONFORMANCE(P45, AStoppedWorkerIsNoticed, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    ASSERT_TRUE(wait_until(10, [&] { return pool.workers().size() == 2; }));
    const int victim = pool.workers()[0].pid;
    ::kill(victim, SIGSTOP);
    const auto suspended = [&] {
        for (const auto& worker : pool.workers()) {
            if (worker.pid == victim) return worker.state == "stopped";
        }
        return true;  // Already replaced.
    };
    EXPECT_TRUE(wait_until(size == Size::T ? 10 : 2, suspended));
    std::set<int> pids;
    std::vector<forkmill::AsyncResult<int>> results;
    for (int i = 0; i < 50; ++i) results.push_back(pool.apply_async(sleep_ms, 2));
    for (auto& result : results) pids.insert(std::move(result).get(20s));
    EXPECT_EQ(pids.count(victim), 0U) << "new tasks go to the healthy worker";
    ::kill(victim, SIGCONT);
    expect_alive(pool);
}

}  // namespace conformance
