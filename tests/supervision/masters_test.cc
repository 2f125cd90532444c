// SPDX-License-Identifier: Apache-2.0
// Cases 7, 14, 32, 45 to 49, 51, 52, 58, 59: how a master starts, ends and is told.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::descendants_of;
using test::process_alive;
using test::stretched;
using test::wait_until;

SUPERVISION(07, AKilledMasterLeavesNothingAndItsPlaceIsFree) {
    const int port = free_port();
    const BrokerWanted wanted{.listen = "tcp://127.0.0.1:" + std::to_string(port), .workers = 2};
    Daemon& broker = start_pool(wanted);
    close_pool();
    const std::vector<pid_t> family = descendants_of(broker.program->pid());
    ASSERT_GE(family.size(), 3U);
    kill(broker);
    EXPECT_TRUE(
        wait_until([&] { return std::none_of(family.begin(), family.end(), process_alive); }, 1s));
    // A connect may meet its own port once, or somebody else's socket for a moment.
    EXPECT_TRUE(wait_until([&] { return !accepts(port); }, 1s));
    EXPECT_TRUE(fs::exists(directory_ / "state" / "master.pid")) << "a stale one is no obstacle";
    start_pool(wanted);
    EXPECT_EQ(pool().apply(echo, std::string{"again"}), "again");
}

SUPERVISION(14, AnInitializerThatCallsTheConfigWrongEndsTheMasterAtBoot) {
    Daemon& broker =
        start_broker({.workers = 2, .pool = "    environment: {E2E_INITIALIZER: exit78}\n"});
    broker.expected_code = 78;
    EXPECT_EQ(broker.program->wait(stretched(kLimit)), 78);
    EXPECT_TRUE(in_log(broker, "no model file: the config is wrong"));
    EXPECT_LE(times_in_log(broker, "worker born"), 2) << "it was tried again";
}

SUPERVISION(32, TtinAndTtouResizeWithinBounds) {
    Daemon& broker = start_pool({.workers = 4});
    const pid_t master = broker.program->pid();
    for (std::size_t size = 5; size <= 7; ++size) {
        ASSERT_EQ(::kill(master, SIGTTIN), 0);
        EXPECT_TRUE(wait_until([&] { return workers().size() == size; }, kLimit));
    }
    for (std::size_t size = 7; size > 1; --size) {
        ASSERT_EQ(::kill(master, SIGTTOU), 0);
        EXPECT_TRUE(wait_until([&] { return workers().size() == size - 1; }, kLimit));
    }
    for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(::kill(master, SIGTTOU), 0);
        EXPECT_TRUE(wait_until([&] { return times_in_log(broker, "at its bound") > i; }, kLimit));
    }
    EXPECT_EQ(workers().size(), 1U);
    EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
}

SUPERVISION(45, TermDuringBootAndDuringBackOffEndsInOrder) {
    Daemon& booting =
        start_broker({.workers = 2, .pool = "    environment: {E2E_INITIALIZER: hang}\n"});
    stop(booting);
    Daemon& failing =
        start_broker({.workers = 2, .pool = "    environment: {E2E_INITIALIZER: throw}\n"});
    EXPECT_TRUE(wait_until([&] { return times_in_log(failing, "worker died") >= 4; }, kLimit));
    stop(failing);
}

SUPERVISION(46, TermToTheWholeGroupIsOneOrderlyEnd) {
    Daemon& broker =
        start("broker",
              {"/usr/bin/setsid",
               "--wait",
               test::built_program("forkmilld").string(),
               "-c",
               directory_
                   .write("broker.yaml",
                          "state_dir: " + (directory_ / "state").string() + "\nlisten: [" + ipc() +
                              "]\npools:\n  default:\n    workers: 2\n"
                              "    executable: " +
                              own_program() + "\n")
                   .string()});
    pool_.emplace(ipc());
    ASSERT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    Gate gate{gate_file()};
    auto result = pool().apply_async(first_waits, notes(), gate.name());
    noted(1);
    const pid_t master =
        ::getpgid(workers()[0]) == 0 ? 0 : numbers_in(directory_ / "state" / "master.pid")[0];
    ASSERT_GT(master, 0);
    ASSERT_EQ(::kill(-::getpgid(master), SIGTERM), 0);
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "name=SIGTERM"); }, kLimit));
    gate.open();
    EXPECT_EQ(result.get(kLimit), 1) << "the running task was not let end";
    EXPECT_EQ(broker.program->wait(stretched(kLimit)), 0);
    EXPECT_FALSE(in_log(broker, "cause=signal")) << "a worker was struck twice";
}

SUPERVISION(47, TermIsBoundedWhateverTheTaskIgnores) {
    Daemon& broker = start_pool({.workers = 2, .yaml = "shutdown_timeout: 300ms\n"});
    auto result = pool().apply_async(deaf, notes(), 60'000);
    noted(1);
    const auto asked = Clock::now();
    stop(broker);
    EXPECT_LT(Clock::now() - asked, stretched(7300ms));
}

SUPERVISION(48, ASecondInstanceIsRefusedUntilTheFirstIsGone) {
    Daemon& first = start_pool({.workers = 1});
    const std::vector<std::string> argv{
        test::built_program("forkmilld").string(), "-c", (directory_ / "broker.yaml").string()};
    std::string said;
    EXPECT_EQ(run(argv, said), 75) << said;
    EXPECT_EQ(pool().apply(echo, std::string{"undisturbed"}), "undisturbed");
    close_pool();
    const pid_t router = router_of(first);
    kill(first);
    EXPECT_TRUE(wait_until([&] { return !first.program->running(); }, kLimit));
    // Its router dies with it, a moment later, and with that the last who listens.
    EXPECT_TRUE(wait_until([&] { return !process_alive(router); }, kLimit));
    start_pool({.workers = 1});
    EXPECT_EQ(pool().apply(echo, std::string{"again"}), "again");
}

SUPERVISION(49, APidFileIsNoProofOfLife) {
    test::Program stranger{{"/bin/sleep", "600"}};
    fs::create_directory(directory_ / "state");
    fs::permissions(directory_ / "state", fs::perms{0700});
    for (const std::string& left : {std::string{}, std::to_string(stranger.pid()) + "\n"}) {
        std::ofstream{directory_ / "state" / "master.pid"} << left;
        Daemon& broker = start_pool({.workers = 1});
        EXPECT_EQ(pool().apply(echo, std::string{"serves"}), "serves");
        close_pool();
        stop(broker);
        daemons_.clear();
    }
    EXPECT_TRUE(stranger.running()) << "a stranger was struck";
}

SUPERVISION(51, WorkersHaveTheirDescriptorsAndNoOther) {
    const int port = free_port();
    Daemon& broker =
        start_pool({.listen = "tcp://127.0.0.1:" + std::to_string(port), .workers = 2});
    const std::vector<std::string> of_master = test::open_files(broker.program->pid());
    for (const pid_t worker : workers()) {
        for (const std::string& name : test::open_files(worker)) {
            const bool shared_socket =
                name.starts_with("socket:") &&
                std::find(of_master.begin(), of_master.end(), name) != of_master.end();
            EXPECT_FALSE(shared_socket) << name << " of the master is open in a worker";
            EXPECT_EQ(name.find("pidfd"), std::string::npos) << name;
            EXPECT_EQ(name.find("signalfd"), std::string::npos) << name;
        }
    }
    close_pool();
    stop(broker);
    EXPECT_FALSE(accepts(port));
    daemons_.clear();
}

SUPERVISION(52, AMasterStartedWithASpoiltEnvironmentWorks) {
    const fs::path file =
        directory_.write("broker.yaml",
                         "state_dir: " + (directory_ / "state").string() + "\nlisten: [" + ipc() +
                             "]\npools:\n  default:\n    workers: 2\n"
                             "    executable: " +
                             own_program() + "\n");
    // Signals ignored by a parent stay ignored over exec; 0 to 2 are closed.
    start("broker",
          {"/usr/bin/env",
           "--ignore-signal=CHLD",
           "--ignore-signal=PIPE",
           "--block-signal",
           "/bin/sh",
           "-c",
           "exec \"$0\" -c \"$1\" <&- >&- 2>&-",
           test::built_program("forkmilld").string(),
           file.string()});
    pool_.emplace(ipc());
    ASSERT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    const pid_t victim = workers()[0];
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return replaced({victim}, 2); }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"well"}), "well");
}

SUPERVISION(58, ARotatedLogIsWrittenAnewByAll) {
    const fs::path log = directory_ / "log";
    Daemon& broker = start_pool({.workers = 2, .yaml = "log: {file: " + log.string() + "}\n"});
    ASSERT_TRUE(wait_until([&] { return !test::read_text(log).empty(); }, kLimit));
    const std::string before = test::read_text(log);
    fs::rename(log, directory_ / "log.1");
    ASSERT_EQ(::kill(broker.program->pid(), SIGUSR1), 0);
    EXPECT_TRUE(wait_until([&] { return fs::exists(log); }, 1s));
    ASSERT_EQ(::kill(workers()[0], SIGKILL), 0);
    EXPECT_TRUE(wait_until(
        [&] {
            const std::string told = test::read_text(log);
            return told.find("forkmilld[") != std::string::npos &&
                   told.find("router[") != std::string::npos;
        },
        kLimit))
        << test::read_text(log);
    EXPECT_TRUE(test::read_text(directory_ / "log.1").starts_with(before)) << "a line was lost";
}

SUPERVISION(59, AnInitializerThatHangsIsEndedAndTriedLater) {
    Daemon& broker = start_broker({.workers = 1,
                                   .pool = "    start_timeout: 300ms\n"
                                           "    environment: {E2E_INITIALIZER: hang}\n"});
    EXPECT_TRUE(wait_until([&] { return times_in_log(broker, "worker born") >= 3; }, kLimit));
    EXPECT_TRUE(in_log(broker, "cause=start-timeout")) << test::read_text(broker.log);
}

}  // namespace
}  // namespace forkmill::e2e
