// SPDX-License-Identifier: Apache-2.0
// How a pool comes to be: sizes, workers, initializers, recycling (P01-P05, P24-P28).
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"

namespace conformance {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

CONFORMANCE(P01, SizeZeroIsRefusedBeforeAnythingStarts, "E") {
    EXPECT_THROW(forkmill::Pool{0}, forkmill::UsageError);
    EXPECT_THROW(forkmill::Pool{-1}, forkmill::UsageError);
    EXPECT_THROW(forkmill::Pool{"local:0"}, forkmill::UsageError);
}

CONFORMANCE(P01, PoolSizeInYamlIsChecked, "IT") {
    std::string pattern = "/tmp/forkmill-p01-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() /
                                (size == Size::I ? "forkmilld" : "forkmill-worker");
    for (const char* workers : {"0", "-1"}) {
        std::ofstream yaml{pattern + "/bad.yaml"};
        yaml << "state_dir: " << pattern << "/state\n";
        if (size == Size::I)
            yaml << "listen: [\"ipc://" << pattern
                 << "/s\"]\npools:\n  default:\n    workers: " << workers << "\n";
        if (size == Size::T) yaml << "broker: tcp://127.0.0.1:1\nworkers: " << workers << "\n";
        yaml.close();
        Daemon daemon{{program, "-c", pattern + "/bad.yaml"}, {}, pattern + "/log"};
        EXPECT_EQ(daemon.wait_exit(10), 78) << daemon.log();
        EXPECT_NE(daemon.log().find("workers"), std::string::npos) << daemon.log();
        EXPECT_FALSE(std::filesystem::exists(pattern + "/s"));
    }
    std::filesystem::remove_all(pattern);
}

CONFORMANCE(P01, WorkersBelongToTheDaemonsPool, "IT") {
    Cluster cluster{size};
    EXPECT_THROW((forkmill::Pool{{.workers = 3, .endpoint = cluster.endpoint()}}),
                 forkmill::UsageError);
}

CONFORMANCE(P02, DefaultSizeIsTheUsableCpus, "E") {
    cpu_set_t set;
    CPU_ZERO(&set);
    ASSERT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
    forkmill::PoolOptions options;
    options.tasks = all_tasks();
    forkmill::Pool pool{options};
    EXPECT_GE(pool.workers().size(), 1U);
    EXPECT_LE(pool.workers().size(), static_cast<std::size_t>(CPU_COUNT(&set)));
}

CONFORMANCE(P03, ThreeWorkersWithThreePids, "EIT") {
    Cluster cluster{size, {.workers = 3}};
    forkmill::Pool pool{cluster.options()};
    ASSERT_TRUE(wait_until(10, [&] { return pool.workers().size() == 3; }));
    std::set<std::pair<std::string, int>> seen;
    std::set<std::string> hosts;
    for (const forkmill::WorkerInfo& worker : pool.workers()) {
        seen.insert({worker.host, worker.pid});
        hosts.insert(worker.host);
        EXPECT_NE(worker.pid, ::getpid());
        EXPECT_TRUE(process_exists(worker.pid));
    }
    EXPECT_EQ(seen.size(), 3U);
    if (size == Size::T) {
        EXPECT_GE(hosts.size(), 2U);
    }
}

CONFORMANCE(P04, ApplyRunsInAWorker, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    EXPECT_EQ(pool.apply(square, 5), 25);
    EXPECT_NE(pool.apply(pid_of_worker), ::getpid());
}

CONFORMANCE(P05, ApplyIsSynchronous, "EIT") {
    Cluster cluster{size, {.workers = 5}};
    forkmill::Pool pool{cluster.options()};
    ASSERT_TRUE(wait_until(10, [&] { return pool.workers().size() == 5; }));
    auto start = Clock::now();
    for (int i = 0; i < 10; ++i) pool.apply(sleep_ms, 50);
    EXPECT_GE(seconds_since(start), 0.5);
    start = Clock::now();
    std::vector<forkmill::AsyncResult<int>> results;
    for (int i = 0; i < 10; ++i) results.push_back(pool.apply_async(sleep_ms, 50));
    for (auto& result : results) std::move(result).get(10s);
    EXPECT_LT(seconds_since(start), 0.35);
}

CONFORMANCE(P24, InitializerRunsOncePerWorkerBeforeItsTasks, "EIT") {
    Cluster cluster{size, {.workers = 3, .max_tasks_per_child = 5, .initializer = "count"}};
    forkmill::Pool pool{cluster.options()};
    std::vector<int> sleeps(40, 5);
    std::set<int> pids;
    for (const auto& [pid, runs] : pool.map(initialized, sleeps)) {
        EXPECT_EQ(runs, 100) << "initializer runs × 100 + tasks before it";
        pids.insert(pid);
    }
    EXPECT_GT(pids.size(), 3U) << "workers born later are covered too";
}

CONFORMANCE(P25, FailingInitializerBreaksThePool, "EIT") {
    Cluster cluster{size,
                    {.workers = 2, .initializer = size == Size::E ? "throw" : "throw-until-file"}};
    forkmill::Pool pool{cluster.options()};
    auto result = pool.apply_async(square, 3);
    try {
        result.get(30s);
        FAIL() << "a task ran in a worker whose initializer failed";
    } catch (const forkmill::PoolBroken& error) {
        EXPECT_NE(std::string{error.what()}.find("initializer refuses"), std::string::npos)
            << error.what();
    }
    if (size == Size::E) return;
    std::ofstream{cluster.directory() + "/cured"} << "yes";
    ASSERT_TRUE(wait_until(40, [&] {
        try {
            return pool.apply_async(square, 3).get(1s) == 9;
        } catch (const forkmill::Error&) {
            return false;
        }
    })) << "the pool did not recover";
}

CONFORMANCE(P26, MaxTasksPerChildRecyclesWorkers, "EIT") {
    Cluster cluster{size, {.workers = 3, .max_tasks_per_child = 10}};
    forkmill::Pool pool{cluster.options()};
    std::map<int, int> runs;
    std::vector<forkmill::AsyncResult<int>> results;
    for (int i = 0; i < 100; ++i) results.push_back(pool.apply_async(sleep_ms, 1));
    for (auto& result : results) ++runs[std::move(result).get(30s)];
    for (const auto& [pid, count] : runs) EXPECT_LE(count, 10) << "pid " << pid;
    EXPECT_GE(runs.size(), 10U);
}

CONFORMANCE(P27, OneTaskPerChildWithCloseAndJoin, "EIT") {
    Cluster cluster{size, {.workers = 3, .max_tasks_per_child = 1}};
    forkmill::Pool pool{cluster.options()};
    std::vector<forkmill::AsyncResult<int>> results;
    for (int i = 0; i < 20; ++i) results.push_back(pool.apply_async(square, i));
    pool.close();
    pool.join(30s);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].get(1s), i * i);
}

CONFORMANCE(P28, MaxTasksPerChildOfZeroIsRefused, "E") {
    for (const int bad : {0, -1}) {
        forkmill::PoolOptions options;
        options.workers = 2;
        options.max_tasks_per_child = bad;
        EXPECT_THROW(forkmill::Pool{options}, forkmill::UsageError);
    }
}

}  // namespace conformance
