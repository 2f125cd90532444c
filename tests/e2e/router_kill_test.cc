// SPDX-License-Identifier: Apache-2.0
// A killed router loses nothing: what runs goes on and is delivered, what waits is run, once each.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "tests/e2e/site.h"
#include "tests/e2e/tasks.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using namespace std::chrono_literals;
using forkmill::AsyncResult;
using forkmill::Pool;
using forkmill::test::wait_until;

constexpr int kWorkers = 4;
constexpr int kThreads = 250;
constexpr int kRunning = kWorkers * kThreads;
constexpr int kWaiting = 1000;
/// The master gives a router up that dies ten times a minute, and pauses ever longer before that.
constexpr int kRoundsOfOneMaster = 4;

class RouterKill : public Site {
  protected:
    void begin(const std::string& listen) {
        broker_ = &start_broker({.listen = listen, .workers = kWorkers, .threads = kThreads});
        for (auto& pool : pools_) pool = std::make_unique<Pool>(listen);
    }

    void TearDown() override {
        for (auto& pool : pools_) pool.reset();
        Site::TearDown();
    }

    std::size_t noted(const std::string& notes) const { return numbers_in(notes).size(); }

    void round(int number) {
        const std::string notes = (directory_ / ("notes" + std::to_string(number))).string();
        Gate gate{directory_ / ("gate" + std::to_string(number))};
        std::vector<AsyncResult<int>> results;
        for (int i = 0; i < kRunning; ++i)
            results.push_back(client(i).apply_async(pass, notes, gate.name(), i));
        ASSERT_TRUE(wait_until([&] { return noted(notes) == kRunning; }, kLimit))
            << noted(notes) << " tasks run";
        for (int i = kRunning; i < kRunning + kWaiting; ++i)
            results.push_back(client(i).apply_async(mark, notes, i));
        const pid_t router = router_of(*broker_);
        ASSERT_GT(router, 0);
        ASSERT_EQ(::kill(router, SIGKILL), 0);
        // In every other round the results are there before anybody could take them.
        if (number % 2 == 0) gate.open();
        ASSERT_TRUE(wait_until(
            [&] {
                const pid_t now = router_of(*broker_);
                return now != 0 && now != router;
            },
            kLimit));
        gate.open();
        judge(results, notes);
    }

    void judge(std::vector<AsyncResult<int>>& results, const std::string& notes) {
        std::vector<int> got;
        const auto until = std::chrono::steady_clock::now() + kLimit;
        for (auto& result : results) got.push_back(value_of(std::move(result), until));
        std::vector<int> wanted(kRunning + kWaiting);
        std::iota(wanted.begin(), wanted.end(), 0);
        EXPECT_EQ(got, wanted);
        std::vector<int> runs = numbers_in(notes);
        std::sort(runs.begin(), runs.end());
        EXPECT_EQ(runs, wanted) << "a task ran twice, or never";
    }

    static int value_of(AsyncResult<int> result, std::chrono::steady_clock::time_point until) {
        const auto left = std::max(until - std::chrono::steady_clock::now(), 1ns);
        try {
            return result.get(left);
        } catch (const forkmill::Error& error) {
            ADD_FAILURE() << to_string(result.id()) << ": " << error.what();
            return -1;
        }
    }

    Pool& client(int task) { return *pools_[static_cast<std::size_t>(task) % pools_.size()]; }

    Daemon* broker_ = nullptr;
    std::array<std::unique_ptr<Pool>, 2> pools_;
};

/// Twenty rounds: five masters, four routers each.
class RouterKillOverIpc : public RouterKill, public testing::WithParamInterface<int> {};

TEST_P(RouterKillOverIpc, LosesNoTaskAndRunsNoneTwice) {
    begin(ipc());
    for (int i = 0; i < kRoundsOfOneMaster && !HasFailure(); ++i) {
        SCOPED_TRACE("round " + std::to_string(i));
        round(i);
    }
}
INSTANTIATE_TEST_SUITE_P(FourRoundsEach, RouterKillOverIpc, testing::Range(0, 5));

TEST_F(RouterKill, LosesNoTaskOverTcp) {
    begin("tcp://127.0.0.1:" + std::to_string(free_port()));
    round(1);
}

}  // namespace
