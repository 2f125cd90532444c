// SPDX-License-Identifier: Apache-2.0
// Cases 9 and 54, and what else holds for pools with `start: forkserver`.
#include <signal.h>

#include <algorithm>
#include <fstream>

#include "core/supervisor/control.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::process_alive;
using test::process_state;
using test::wait_until;

class ForkServer : public Supervised {
  protected:
    /// Further keys of a pool whose initializer is the asked one.
    std::string forked(const std::string& initializer, const std::string& more = {}) const {
        return "    start: forkserver\n    environment: {E2E_INITIALIZER: '" + initializer +
               "'}\n" + more;
    }
    std::string thrive() const { return "note_and_thrive " + births(); }
    std::string births() const { return (directory_ / "births").string(); }
    /// Processes that ran the initializer so far.
    std::vector<int> initialized() const { return numbers_in(births()); }

    static pid_t parent_of(pid_t pid) {
        std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
        for (std::string word; status >> word;)
            if (pid_t parent = 0; word == "PPid:" && status >> parent) return parent;
        return 0;
    }
    pid_t first_server(const Daemon& broker) const {
        const std::string mark = "fork server born pool=default pid=";
        EXPECT_TRUE(wait_until([&] { return in_log(broker, mark); }, kLimit));
        const std::string log = test::read_text(broker.log);
        return std::stoi(log.substr(log.find(mark) + mark.size()));
    }
    /// Any worker, replaced within the limit.
    void kill_one_worker(std::chrono::milliseconds limit = kLimit) {
        const std::vector<pid_t> before = workers();
        ASSERT_EQ(::kill(before.front(), SIGKILL), 0);
        EXPECT_TRUE(wait_until(
            [&] {
                const std::vector<pid_t> now = workers();
                return now.size() == before.size() &&
                       std::find(now.begin(), now.end(), before.front()) == now.end();
            },
            limit));
        EXPECT_TRUE(wait_until([&] { return process_state(before.front()) == 0; }));
    }
};

TEST_F(ForkServer, WorkersAreTheMastersChildrenAndShareOneInitialization) {
    Daemon& broker = start_pool({.workers = 4, .pool = forked(thrive())});
    ASSERT_EQ(initialized().size(), 1U);
    const pid_t server = initialized()[0];
    for (const pid_t worker : workers()) {
        EXPECT_NE(worker, server);
        EXPECT_EQ(parent_of(worker), broker.program->pid());
    }
    EXPECT_EQ(parent_of(server), broker.program->pid());
    EXPECT_EQ(pool().apply(inheritance), server);
    for (int round = 0; round < 3; ++round) kill_one_worker();
    EXPECT_EQ(initialized().size(), 1U);
    EXPECT_EQ(pool().map(text, std::vector<std::size_t>(50, 8)).size(), 50U);
}

TEST_F(ForkServer, supervision_09_AKilledForkServerHurtsNoWorkerAndIsReplacedWhenNeeded) {
    Daemon& broker = start_pool({.workers = 4, .pool = forked(thrive())});
    const std::vector<pid_t> before = workers();
    const pid_t server = initialized()[0];
    ASSERT_EQ(::kill(server, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return process_state(server) == 0; }));
    EXPECT_EQ(pool().apply(echo, std::string{"on"}), "on");
    EXPECT_EQ(workers(), before);
    EXPECT_TRUE(in_log(broker, "fork server died"));
    EXPECT_EQ(initialized().size(), 1U);
    kill_one_worker();
    EXPECT_EQ(initialized().size(), 2U);

    // One that cannot start: its births wait for longer and longer, and the others work on.
    std::ofstream{births() + ".bad"} << "bad";
    ASSERT_EQ(::kill(initialized()[1], SIGKILL), 0);
    ASSERT_EQ(::kill(workers().front(), SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return times_in_log(broker, "fork server died") >= 5; }, kLimit));
    EXPECT_TRUE(in_log(broker, "it is bad"));
    EXPECT_TRUE(in_log(broker, "after_ms="));
    EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
    EXPECT_EQ(workers().size(), 3U);
    std::filesystem::remove(births() + ".bad");
    EXPECT_TRUE(wait_until([&] { return workers().size() == 4; }, kLimit));
}

TEST_F(ForkServer, supervision_54_AThreadInItsInitializerMakesWorkersBeExecuted) {
    Daemon& broker = start_pool({.workers = 3, .pool = forked("thread")});
    EXPECT_TRUE(in_log(broker, "the fork server has threads: workers are executed instead"));
    EXPECT_EQ(times_in_log(broker, "fork server born"), 1);
    kill_one_worker();
    EXPECT_EQ(times_in_log(broker, "fork server born"), 1);
    EXPECT_EQ(pool().apply(echo, std::string{"well"}), "well");
}

TEST_F(ForkServer, RecycledWorkersLeaveNothingBehind) {
    Daemon& broker =
        start_pool({.workers = 2, .pool = forked(thrive(), "    max_tasks_per_child: 5\n")});
    const std::size_t open = test::open_files(broker.program->pid()).size();
    const std::size_t servers = test::open_files(initialized()[0]).size();
    EXPECT_EQ(pool().map(text, std::vector<std::size_t>(200, 8)).size(), 200U);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    EXPECT_GE(times_in_log(broker, "worker born"), 40);
    EXPECT_EQ(initialized().size(), 1U);
    EXPECT_TRUE(wait_until(
        [&] { return test::open_files(broker.program->pid()).size() <= open + 6; }, kLimit));
    EXPECT_EQ(test::open_files(initialized()[0]).size(), servers);
}

TEST_F(ForkServer, OneThatStandsStillIsReplaced) {
    start_pool({.workers = 2, .pool = forked(thrive(), "    start_timeout: 1s\n")});
    const pid_t server = initialized()[0];
    ASSERT_EQ(::kill(server, SIGSTOP), 0);
    ASSERT_EQ(::kill(workers().front(), SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return initialized().size() == 2; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return process_state(server) == 0; }));
}

TEST_F(ForkServer, AReloadReplacesItAndABadOneIsTakenBack) {
    BrokerWanted wanted{.workers = 3, .pool = forked(thrive())};
    Daemon& broker = start_pool(wanted);
    const std::vector<pid_t> before = workers();
    const pid_t server = initialized()[0];
    wanted.pool = forked(thrive(), "    max_tasks_per_child: 1000\n");
    write_broker_config(wanted);
    broker.program->signal(SIGHUP);
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "reload done"); }, kLimit));
    EXPECT_TRUE(wait_until([&] { return replaced(before, 3); }, kLimit));
    EXPECT_EQ(initialized().size(), 2U);
    EXPECT_TRUE(wait_until([&] { return process_state(server) == 0; }));

    const std::vector<pid_t> good = workers();
    wanted.pool = forked("throw");
    write_broker_config(wanted);
    broker.program->signal(SIGHUP);
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "a part of it was taken back"); }, kLimit));
    EXPECT_EQ(workers(), good);
    kill_one_worker();
    EXPECT_EQ(initialized().size(), 3U);
}

TEST_F(ForkServer, AnUpgradeKeepsTheWorkersAndTakesAnotherServer) {
    Daemon& broker = start_pool({.workers = 3, .pool = forked(thrive())});
    const std::vector<pid_t> before = workers();
    broker.program->signal(SIGUSR2);
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "reload done"); }, kLimit));
    EXPECT_EQ(workers(), before);
    EXPECT_TRUE(wait_until([&] { return process_state(initialized()[0]) == 0; }, kLimit));
    kill_one_worker();
    EXPECT_EQ(initialized().size(), 2U);
    EXPECT_EQ(parent_of(workers().back()), broker.program->pid());
}

TEST_F(ForkServer, AKilledMasterTakesItAlong) {
    Daemon& broker = start_pool({.workers = 2, .pool = forked(thrive())});
    const pid_t server = initialized()[0];
    const std::vector<pid_t> all = workers();
    close_pool();
    kill(broker);
    EXPECT_TRUE(wait_until(
        [&] {
            return !process_alive(server) && std::none_of(all.begin(), all.end(), [](pid_t each) {
                return process_alive(each);
            });
        },
        1s));
}

TEST_F(ForkServer, AnInitializerThatExits78EndsTheMasterAtItsStart) {
    Daemon& broker = start_broker({.workers = 2, .pool = forked("exit78")});
    broker.expected_code = 78;
    EXPECT_EQ(broker.program->wait(kLimit).value_or(-1), 78);
    EXPECT_TRUE(in_log(broker, "pool cannot start"));
}

TEST_F(ForkServer, OneDeathOfItIsOneFailedBirth) {
    Gate gate{gate_file()};
    Daemon& broker = start_broker({.workers = 4, .pool = forked("wait_at " + gate.name())});
    const pid_t server = first_server(broker);
    ASSERT_EQ(::kill(server, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return times_in_log(broker, "fork server born") == 2; }, kLimit));
    gate.open();
    pool_.emplace(ipc());
    EXPECT_TRUE(wait_until([&] { return workers().size() == 4; }, kLimit));
    EXPECT_FALSE(in_log(broker, "pool broken"));
    EXPECT_FALSE(in_log(broker, "one probe at a time"));
    const auto crashes =
        supervisor::ask_master((directory_ / "state").string(), "crashes", std::chrono::seconds{5});
    ASSERT_TRUE(crashes.ok());
    EXPECT_NE(crashes.value().text.find("\"slot\":-1"), std::string::npos) << crashes.value().text;
}

TEST_F(ForkServer, OneThatDoesNotComeUpInTimeIsEndedAndItsBirthsWait) {
    Gate gate{gate_file()};
    Daemon& broker = start_broker(
        {.workers = 2, .pool = forked("wait_at " + gate.name(), "    start_timeout: 1500ms\n")});
    EXPECT_TRUE(wait_until([&] { return times_in_log(broker, "fork server died") == 1; }, kLimit));
    gate.open();
    pool_.emplace(ipc());
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    EXPECT_EQ(times_in_log(broker, "workers not born"), 1);
}

TEST_F(ForkServer, WhatTheInitializerIgnoresItsWorkersIgnore) {
    start_pool({.workers = 2, .pool = forked(thrive())});
    for (const pid_t worker : workers()) {
        std::ifstream status{"/proc/" + std::to_string(worker) + "/status"};
        std::string ignored;
        for (std::string word; status >> word;)
            if (word == "SigIgn:") status >> ignored;
        EXPECT_NE(std::stoull(ignored, nullptr, 16) >> (SIGUSR2 - 1) & 1, 0U) << ignored;
    }
}

TEST_F(ForkServer, AReloadOfWhatWorkersAreToldAtTheirBirthReplacesItAlone) {
    BrokerWanted wanted{.workers = 2, .pool = forked(thrive())};
    Daemon& broker = start_pool(wanted);
    const std::vector<pid_t> before = workers();
    const pid_t server = initialized()[0];
    wanted.pool = forked(thrive(), "    drain_timeout: 7s\n");
    write_broker_config(wanted);
    broker.program->signal(SIGHUP);
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "reload done"); }, kLimit));
    EXPECT_TRUE(wait_until([&] { return process_state(server) == 0; }, kLimit));
    EXPECT_EQ(workers(), before);
    kill_one_worker();
    EXPECT_EQ(initialized().size(), 2U);
}

TEST_F(ForkServer, AnUpgradeEndsOneThatInitializes) {
    Gate gate{gate_file()};
    Daemon& broker = start_broker({.workers = 2, .pool = forked("wait_at " + gate.name())});
    const pid_t server = first_server(broker);
    broker.program->signal(SIGUSR2);
    EXPECT_TRUE(wait_until([&] { return process_state(server) == 0; }, kLimit));
    gate.open();
    pool_.emplace(ipc());
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
}

}  // namespace
}  // namespace forkmill::e2e
