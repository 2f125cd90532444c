// SPDX-License-Identifier: Apache-2.0
// A killed master, of whatever kind, takes everything along: a second later nothing of it runs.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/e2e/site.h"
#include "tests/e2e/tasks.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using forkmill::AsyncResult;
using forkmill::Pool;
using forkmill::test::descendants_of;
using forkmill::test::process_alive;
using forkmill::test::wait_until;

constexpr std::chrono::seconds kPromised{1};

class MasterKill : public Site {
  protected:
    std::string notes() const { return (directory_ / "notes").string(); }

    /// Two tasks run, each with a program that it started.
    bool both_busy() const {
        return wait_until([&] { return numbers_in(notes()).size() == 2; }, kLimit);
    }

    /// Kills it; nothing that descended from it may live a second later.
    void expect_all_gone(Daemon& master, std::size_t at_least) {
        const std::vector<pid_t> family = descendants_of(master.program->pid());
        EXPECT_GE(family.size(), at_least);
        for (const int child : numbers_in(notes()))
            EXPECT_NE(std::find(family.begin(), family.end(), child), family.end());
        kill(master);
        EXPECT_TRUE(wait_until(
            [&] { return std::none_of(family.begin(), family.end(), process_alive); }, kPromised));
    }
};

TEST_F(MasterKill, OfForkmilldLeavesNeitherRouterNorWorkersNorWhatTheyStarted) {
    Daemon& broker = start_broker();
    {
        Pool pool{ipc()};
        std::vector<AsyncResult<int>> results;
        for (int i = 0; i < 2; ++i) results.push_back(pool.apply_async(start_child, notes()));
        ASSERT_TRUE(both_busy());
        expect_all_gone(broker, 5);
    }
    // The next one starts over what the dead one left.
    Daemon& next = start_broker();
    Pool pool{ipc()};
    EXPECT_EQ(pool.apply_async(echo, std::string{"again"}).get(kLimit), "again");
    EXPECT_NE(router_of(next), 0);
}

TEST_F(MasterKill, OfAWorkerHostLeavesNothingAndItsTasksRunElsewhere) {
    const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(free_port());
    start_broker({.listen = endpoint, .workers = 0});
    Daemon& host = start_host(endpoint, 2);
    Pool pool{endpoint};
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < 2; ++i) results.push_back(pool.apply_async(start_child, notes()));
    ASSERT_TRUE(both_busy());
    expect_all_gone(host, 5);
    start_host(endpoint, 2);
    EXPECT_TRUE(wait_until([&] { return numbers_in(notes()).size() == 4; }, kLimit));
    pool.terminate();
}

TEST_F(MasterKill, OfAProgramLeavesNothingOfItsEmbeddedPool) {
    Daemon& program = start("program", {own_program(), "embedded", notes()});
    ASSERT_TRUE(both_busy());
    expect_all_gone(program, 4);
}

}  // namespace
