// SPDX-License-Identifier: Apache-2.0
// A worker killed in the middle of a task: within a second the task runs again, or its caller is
// told, at every size.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <memory>
#include <string>

#include "tests/e2e/site.h"
#include "tests/e2e/tasks.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using forkmill::AsyncResult;
using forkmill::Pool;
using forkmill::WorkerLost;
using forkmill::test::process_alive;
using forkmill::test::stretched;
using forkmill::test::wait_until;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPromised{1};

enum class Size { Embedded, Ipc, Tcp, Unix, Remote };

std::string name_of(const testing::TestParamInfo<Size>& info) {
    constexpr const char* kNames[] = {"Embedded", "Ipc", "Tcp", "Unix", "Remote"};
    return kNames[static_cast<int>(info.param)];
}

class WorkerKill : public Site, public testing::WithParamInterface<Size> {
  protected:
    void SetUp() override {
        forkmill::PoolOptions options;
        if (GetParam() == Size::Embedded) {
            options.workers = 2;
            options.tasks = all_tasks();
        } else {
            options.endpoint = endpoint();
            const bool remote = GetParam() == Size::Remote;
            start_broker({.listen = options.endpoint, .workers = remote ? 0 : 2});
            if (remote) start_host(options.endpoint, 2);
        }
        pool_ = std::make_unique<Pool>(options);
        ASSERT_TRUE(wait_until([&] { return pool_->workers().size() == 2; }, kLimit));
    }

    void TearDown() override {
        pool_.reset();
        Site::TearDown();
    }

    std::string endpoint() const {
        if (GetParam() == Size::Ipc) return ipc();
        if (GetParam() == Size::Unix) return "unix://" + (directory_ / "broker.sock").string();
        return "tcp://127.0.0.1:" + std::to_string(free_port());
    }

    /// The task's process, once it runs.
    pid_t runner() const {
        EXPECT_TRUE(wait_until([&] { return !numbers_in(notes()).empty(); }, kLimit));
        const auto pids = numbers_in(notes());
        return pids.empty() ? 0 : pids[0];
    }

    std::string notes() const { return (directory_ / "notes").string(); }

    std::unique_ptr<Pool> pool_;
};

TEST_P(WorkerKill, RunsItsTaskAgainElsewhereWithinASecond) {
    Gate gate{directory_ / "gate"};
    const AsyncResult<int> attempt = pool_->apply_async(first_waits, notes(), gate.name());
    const pid_t first = runner();
    ASSERT_GT(first, 0);
    const auto killed = Clock::now();
    ASSERT_EQ(::kill(first, SIGKILL), 0);
    EXPECT_EQ(attempt.get(kLimit), 2);
    EXPECT_LT(Clock::now() - killed, stretched(kPromised));
    const auto runs = numbers_in(notes());
    ASSERT_EQ(runs.size(), 2U);
    EXPECT_NE(runs[1], first);
}

TEST_P(WorkerKill, IsToldWithinASecondWhereATaskRunsAtMostOnce) {
    Gate gate{directory_ / "gate"};
    const AsyncResult<int> attempt =
        pool_->apply_async(first_waits.with({.at_most_once = true}), notes(), gate.name());
    const pid_t first = runner();
    ASSERT_GT(first, 0);
    const auto killed = Clock::now();
    ASSERT_EQ(::kill(first, SIGKILL), 0);
    try {
        EXPECT_EQ(attempt.get(kLimit), 0) << "a result of a killed worker";
    } catch (const WorkerLost& lost) {
        EXPECT_EQ(lost.cause(), "signal") << lost.what();
        EXPECT_EQ(lost.number(), SIGKILL);
    }
    EXPECT_LT(Clock::now() - killed, stretched(kPromised));
    EXPECT_EQ(numbers_in(notes()).size(), 1U);
}

/// The crashed worker's own words, and its stack, reach the caller. A fork server keeps none: there
/// the report stands on the program's stderr.
TEST_P(WorkerKill, TellsTheCallerOfACrashWhereItWas) {
    AsyncResult<int> lost = pool_->apply_async(forkmill::e2e::crash.with({.at_most_once = true}));
    try {
        EXPECT_EQ(lost.get(kLimit), 0) << "a result of a crashed worker";
    } catch (const WorkerLost& error) {
        EXPECT_EQ(error.number(), SIGABRT) << error.what();
        EXPECT_NE(std::string{error.what()}.find("SIGABRT"), std::string::npos) << error.what();
        if (GetParam() == Size::Embedded) return;
        const std::string& report = error.report();
        EXPECT_NE(report.find("no way on\nforkmill: crashed by SIGABRT in thread "),
                  std::string::npos)
            << report;
        EXPECT_NE(report.find("\n  #0 "), std::string::npos) << report;
        EXPECT_NE(report.find(" abort+0x"), std::string::npos) << report;
        EXPECT_NE(report.find(", peak resident memory "), std::string::npos) << report;
    }
}

/// What a task started dies with its worker, and the place is filled again.
TEST_P(WorkerKill, TakesTheTasksChildrenAlong) {
    AsyncResult<int> never = pool_->apply_async(start_child.with({.at_most_once = true}), notes());
    const pid_t child = runner();
    ASSERT_GT(child, 0);
    pid_t worker = 0;
    for (const forkmill::WorkerInfo& info : pool_->workers()) {
        for (const pid_t pid : forkmill::test::descendants_of(info.pid))
            if (pid == child) worker = info.pid;
    }
    ASSERT_GT(worker, 0);
    ASSERT_EQ(::kill(worker, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return !process_alive(child); }, kPromised));
    EXPECT_THROW(static_cast<void>(never.get(kLimit)), WorkerLost);
    const auto refilled = [&] {
        int living = 0;
        for (const forkmill::WorkerInfo& info : pool_->workers())
            living += info.pid != worker && process_alive(info.pid) ? 1 : 0;
        return living == 2;
    };
    EXPECT_TRUE(wait_until(refilled, kLimit));
}

INSTANTIATE_TEST_SUITE_P(
    EverySize,
    WorkerKill,
    testing::Values(Size::Embedded, Size::Ipc, Size::Tcp, Size::Unix, Size::Remote),
    name_of);

}  // namespace
