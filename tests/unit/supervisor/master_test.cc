// SPDX-License-Identifier: Apache-2.0
// A real master with real children: this program again, in the roles of roles.h.
#include "core/supervisor/master.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/supervisor/fd.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"
#include "tests/unit/supervisor/roles.h"

namespace forkmill::supervisor {
namespace {

using namespace std::chrono_literals;
using test::wait_until;

/// A line that the relay or a worker wrote, taken apart: "died pool=0 slot=1 …".
struct Line {
    std::string verb;
    std::string whole;

    std::string value(const std::string& key) const {
        const std::size_t at = whole.find(" " + key + "=");
        if (at == std::string::npos) return {};
        const std::size_t from = at + key.size() + 2;
        if (key == "text") return whole.substr(from);
        return whole.substr(from, whole.find(' ', from) - from);
    }
    pid_t pid() const { return std::stoi(value("pid")); }
};

class MasterTest : public testing::Test {
  protected:
    MasterTest() { test::adopt_orphans(); }

    void TearDown() override {
        if (master_ > 0) {
            ::kill(master_, SIGKILL);
            ::waitpid(master_, nullptr, 0);
        }
        EXPECT_TRUE(wait_until([] { return test::leftovers().empty(); }, 2s)) << "left behind";
    }

    CommandBuilder role(const std::string& name, std::vector<int> inherit = {}) const {
        const std::string out = out_;
        return [name, out, inherit](const ChildEnv& child) -> base::Result<Command> {
            Command command{
                {std::filesystem::read_symlink("/proc/self/exe")}, to_environment(child), inherit};
            command.environment.push_back(std::string{kTestRole} + "=" + name);
            command.environment.push_back(std::string{kTestOut} + "=" + out);
            return command;
        };
    }

    MasterSpec spec(const std::string& worker, std::uint32_t workers) const {
        MasterSpec out;
        out.relay.command = role("relay");
        out.relay.timeouts.term = 2s;
        PoolSpec pool;
        pool.name = "default";
        pool.workers = workers;
        pool.command = role(worker);
        out.pools.push_back(std::move(pool));
        out.seed = 5;
        return out;
    }

    void start(MasterSpec spec) {
        master_ = ::fork();
        ASSERT_GE(master_, 0);
        if (master_ != 0) return;
        const OwnedFd err{::open((dir_ / "stderr").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600)};
        ::dup2(err.get(), STDERR_FILENO);
        static_cast<void>(base::log_start({.name = "master", .file = dir_ / "log"}));
        ::_exit(Master{std::move(spec)}.run());
    }

    /// Lines so far, of this verb only unless it is empty.
    std::vector<Line> lines(const std::string& verb = {}) const {
        std::vector<Line> out;
        std::ifstream file{out_};
        for (std::string text; std::getline(file, text);) {
            Line line{text.substr(0, text.find(' ')), text};
            if (verb.empty() || line.verb == verb) out.push_back(line);
        }
        return out;
    }
    std::size_t count(const std::string& verb) const { return lines(verb).size(); }
    bool wait_for(const std::string& verb,
                  std::size_t at_least,
                  std::chrono::milliseconds limit = 10s) const {
        return wait_until([&] { return count(verb) >= at_least; }, limit);
    }
    pid_t relay_pid() const { return lines("relay").back().pid(); }

    void order(const std::string& verb, const Line& worker) const {
        std::ofstream{out_ + ".orders"} << verb << " " << worker.value("slot") << " "
                                        << worker.pid() << "\n";
        ::kill(relay_pid(), SIGUSR1);
    }

    /// The master's exit code; −1 when it runs on at the limit.
    int wait_exit(std::chrono::milliseconds limit = 10s) {
        int status = 0;
        pid_t ended = 0;
        EXPECT_TRUE(
            wait_until([&] { return (ended = ::waitpid(master_, &status, WNOHANG)) != 0; }, limit))
            << log();
        if (ended != master_) return -1;
        master_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

    std::string log() const { return test::read_text(dir_ / "log"); }

    test::TempDir dir_;
    std::string out_ = dir_ / "out";
    pid_t master_ = 0;
};

TEST_F(MasterTest, StartsTheRelayFirstThenTheWorkersAndTellsItOfThem) {
    start(spec("worker", 3));
    ASSERT_TRUE(wait_for("ready", 3)) << log();
    const std::vector<Line> all = lines();
    EXPECT_EQ(all[0].verb, "relay");
    EXPECT_EQ(all[1].verb, "roster");
    EXPECT_EQ(all[1].value("detail"), "0");
    EXPECT_EQ(count("born"), 3U);
    std::set<std::string> slots;
    for (const Line& line : lines("ready")) slots.insert(line.value("slot"));
    EXPECT_EQ(slots.size(), 3U);
    ::kill(master_, SIGTERM);
    EXPECT_EQ(wait_exit(), 0);
    EXPECT_EQ(count("died"), 3U);
    for (const Line& line : lines("died")) {
        EXPECT_EQ(line.value("cause"), "drain");
        EXPECT_EQ(line.value("detail"), "0");
    }
    EXPECT_EQ(lines().back().verb, "stop") << "the relay serves until the last worker is gone";
}

TEST_F(MasterTest, ADeadWorkerIsReportedAndReplacedAtOnce) {
    start(spec("worker", 2));
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    const Line victim = lines("ready")[0];
    const auto before = std::chrono::steady_clock::now();
    ::kill(victim.pid(), SIGKILL);
    ASSERT_TRUE(wait_for("ready", 3)) << log();
    EXPECT_LT(std::chrono::steady_clock::now() - before, test::stretched(500ms));
    const Line death = lines("died")[0];
    EXPECT_EQ(death.pid(), victim.pid());
    EXPECT_EQ(death.value("generation"), victim.value("generation"));
    EXPECT_EQ(death.value("cause"), "signal");
    EXPECT_EQ(death.value("detail"), "9");
    EXPECT_NE(lines("ready")[2].pid(), victim.pid());
}

TEST_F(MasterTest, TwentySimultaneousDeathsAreAllReapedAndReplaced) {
    start(spec("worker", 20));
    ASSERT_TRUE(wait_for("ready", 20)) << log();
    // Stopped, it gets one SIGCHLD for all of them.
    ::kill(master_, SIGSTOP);
    for (const Line& line : lines("ready")) ::kill(line.pid(), SIGKILL);
    ::kill(master_, SIGCONT);
    ASSERT_TRUE(wait_for("died", 20)) << log();
    ASSERT_TRUE(wait_for("ready", 40)) << log();
    ASSERT_TRUE(wait_until([&] { return test::descendants_of(master_).size() == 21; }));
    for (const pid_t pid : test::descendants_of(master_)) EXPECT_NE(test::process_state(pid), 'Z');
}

TEST_F(MasterTest, KillOfTheMasterLeavesNothingWithinASecond) {
    start(spec("worker", 4));
    ASSERT_TRUE(wait_for("ready", 4)) << log();
    const std::vector<pid_t> family = test::descendants_of(master_);
    ASSERT_EQ(family.size(), 5U);
    ::kill(master_, SIGKILL);
    EXPECT_TRUE(wait_until(
        [&] {
            static_cast<void>(test::leftovers());  // Reaps.
            return std::none_of(family.begin(), family.end(), test::process_alive);
        },
        1s));
    master_ = 0;  // Reaped with its family.
}

TEST_F(MasterTest, KillOfTheMasterEndsWorkersThatHearNothing) {
    start(spec("stubborn", 1));
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    const pid_t worker = lines("ready")[0].pid();
    ::kill(master_, SIGKILL);
    EXPECT_TRUE(wait_until([&] { return !test::process_alive(worker); }, 1s));
}

TEST_F(MasterTest, ADeathCarriesLeasesCauseAndLastWords) {
    start(spec("poison", 1));
    ASSERT_TRUE(wait_for("died", 1)) << log();
    const Line death = lines("died")[0];
    EXPECT_EQ(death.value("cause"), "signal");
    EXPECT_EQ(death.value("detail"), "6");
    EXPECT_EQ(death.value("leases"), "[77,78]");
    EXPECT_NE(death.value("text").find("first line|about to die"), std::string::npos);
    const std::string prefix = "[default/0 " + death.value("pid") + "] ";
    EXPECT_NE(
        test::read_text(dir_ / "stderr").find(prefix + "first line\n" + prefix + "about to die\n"),
        std::string::npos);
}

TEST_F(MasterTest, StopAndContinueAreSeen) {
    start(spec("worker", 1));
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    const pid_t pid = lines("ready")[0].pid();
    ::kill(pid, SIGSTOP);
    ASSERT_TRUE(wait_for("stopped", 1, 1s)) << log();
    ::kill(pid, SIGCONT);
    ASSERT_TRUE(wait_for("continued", 1, 1s)) << log();
    EXPECT_EQ(count("died"), 0U);
}

TEST_F(MasterTest, AWorkerThatStaysStoppedIsKilledAndReplaced) {
    MasterSpec tree = spec("worker", 1);
    tree.pools[0].timeouts.stop = 50ms;
    start(std::move(tree));
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    ::kill(lines("ready")[0].pid(), SIGSTOP);
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    EXPECT_EQ(lines("died")[0].value("cause"), "killed");
}

TEST_F(MasterTest, GrandchildrenDieWithTheirWorker) {
    start(spec("parent", 1));
    ASSERT_TRUE(wait_for("grandchild", 1)) << log();
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    const pid_t grandchild = lines("grandchild")[0].pid();
    EXPECT_TRUE(test::process_alive(grandchild));
    ::kill(lines("ready")[0].pid(), SIGKILL);
    // Not even a zombie: the master adopts and reaps it.
    EXPECT_TRUE(wait_until([&] { return test::process_state(grandchild) == 0; })) << log();
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    ::kill(master_, SIGTERM);
    EXPECT_EQ(wait_exit(), 0);
}

TEST_F(MasterTest, GrandchildrenDieWhenTheMasterIsKilled) {
    start(spec("parent", 1));
    ASSERT_TRUE(wait_for("grandchild", 1)) << log();
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    const pid_t grandchild = lines("grandchild")[0].pid();
    ::kill(master_, SIGKILL);
    EXPECT_TRUE(wait_until([&] { return !test::process_alive(grandchild); }, 1s));
}

TEST_F(MasterTest, AChildGetsItsDescriptorsAndSignalsAndNothingElse) {
    // Not close-on-exec: the master must see to it.
    const OwnedFd unrelated{::dup(STDERR_FILENO)};
    const OwnedFd given{::dup(STDERR_FILENO)};
    MasterSpec tree = spec("audit", 1);
    tree.pools[0].command = role("audit", {given.get()});
    ::signal(SIGHUP, SIG_IGN);
    start(std::move(tree));
    ::signal(SIGHUP, SIG_DFL);
    ASSERT_TRUE(wait_for("fds", 1)) << log();
    const Line line = lines("fds")[0];
    std::set<std::string> expected{"0",
                                   "1",
                                   "2",
                                   std::to_string(given.get()),
                                   line.value("channel"),
                                   line.value("scoreboard")};
    std::istringstream words{line.whole.substr(0, line.whole.find(" channel="))};
    std::set<std::string> seen;
    for (std::string word; words >> word;)
        if (word != "fds") seen.insert(word);
    EXPECT_EQ(seen, expected) << line.whole;
    EXPECT_EQ(line.value("odd_signal"), "") << line.whole;
    EXPECT_EQ(line.value("group"), "own");
}

TEST_F(MasterTest, ARelayThatDiesIsReplacedAndToldWhoLives) {
    start(spec("worker", 2));
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    const std::size_t before = lines().size();
    const pid_t old = relay_pid();
    ::kill(old, SIGKILL);
    ASSERT_TRUE(wait_until([&] { return count("roster") == 2; }, 1s)) << log();
    const std::vector<Line> all = lines();
    std::vector<std::string> verbs;
    for (std::size_t i = before; i < all.size(); ++i) verbs.push_back(all[i].verb);
    EXPECT_EQ(verbs, (std::vector<std::string>{"relay", "born", "born", "roster"}));
    EXPECT_EQ(all.back().value("detail"), "2");
    EXPECT_EQ(count("died"), 0U) << "workers outlive the relay";
    EXPECT_NE(relay_pid(), old);
}

TEST_F(MasterTest, ARelayThatDiesTenTimesEndsTheMasterWith70) {
    MasterSpec tree = spec("worker", 1);
    tree.relay.command = role("relay-crash");
    tree.relay.respawn.delay = {.first = 1ms, .max = 5ms};
    start(std::move(tree));
    EXPECT_EQ(wait_exit(), 70);
    EXPECT_NE(log().find("giving up"), std::string::npos);
}

TEST_F(MasterTest, ARelayWithABadConfigEndsTheMasterWith78) {
    MasterSpec tree = spec("worker", 1);
    tree.relay.command = role("bad-config");
    start(std::move(tree));
    EXPECT_EQ(wait_exit(), 78);
}

TEST_F(MasterTest, ARelayThatCannotBePreparedEndsTheMasterWith78) {
    MasterSpec tree = spec("worker", 1);
    tree.relay.command = [](const ChildEnv&) -> base::Result<Command> {
        return base::Failure{"state_dir is not writable"};
    };
    start(std::move(tree));
    EXPECT_EQ(wait_exit(), 78);
    EXPECT_NE(log().find("state_dir is not writable"), std::string::npos);
}

TEST_F(MasterTest, AWorkerWithABadConfigEndsTheMasterWith78AtBoot) {
    start(spec("bad-config", 2));
    EXPECT_EQ(wait_exit(), 78);
    EXPECT_NE(log().find("no such module"), std::string::npos) << log();
}

TEST_F(MasterTest, AProgramThatDoesNotExistIsABadConfig) {
    MasterSpec tree = spec("worker", 1);
    tree.pools[0].command = [](const ChildEnv& child) -> base::Result<Command> {
        return Command{{"/no/such/program"}, to_environment(child), {}};
    };
    start(std::move(tree));
    EXPECT_EQ(wait_exit(), 78);
    EXPECT_NE(log().find("/no/such/program"), std::string::npos) << log();
}

TEST_F(MasterTest, APoolWhoseWorkersCannotStartIsReportedWithTheirReason) {
    start(spec("crash", 2));
    ASSERT_TRUE(wait_for("failed", 1)) << log();
    EXPECT_EQ(lines("failed")[0].value("text"), "initializer refuses");
    EXPECT_GE(count("died"), 3U);
    ::kill(master_, SIGTERM);
    EXPECT_EQ(wait_exit(), 0);
}

TEST_F(MasterTest, AWorkerThatNeverComesUpIsEndedAndCounted) {
    MasterSpec tree = spec("silent", 1);
    tree.pools[0].timeouts.start = 50ms;
    start(std::move(tree));
    ASSERT_TRUE(wait_for("died", 1)) << log();
    EXPECT_EQ(lines("died")[0].value("cause"), "start-timeout");
    EXPECT_EQ(lines("died")[0].value("detail"), std::to_string(SIGABRT));
}

TEST_F(MasterTest, ARecyclingWorkerIsReplacedAndNotBlamed) {
    start(spec("worker", 2));
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    const Line leaving = lines("ready")[0];
    ::kill(leaving.pid(), SIGUSR1);
    ASSERT_TRUE(wait_for("ready", 3)) << log();
    ASSERT_TRUE(wait_for("died", 1)) << log();
    EXPECT_EQ(lines("died")[0].pid(), leaving.pid());
    EXPECT_EQ(lines("died")[0].value("cause"), "recycle");
}

TEST_F(MasterTest, TheRelaysKillOrderIsObeyedForTheProcessItNamesOnly) {
    start(spec("stubborn", 1));
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    const Line first = lines("ready")[0];
    order("kill", first);
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    const Line death = lines("died")[0];
    EXPECT_EQ(death.pid(), first.pid());
    EXPECT_EQ(death.value("cause"), "hard-timeout");
    EXPECT_EQ(death.value("leases"), "[4711]");
    order("kill", first);  // Its slot belongs to another process now.
    ::kill(lines("ready")[1].pid(), SIGSTOP);
    ASSERT_TRUE(wait_for("stopped", 1)) << "the order before it was handled by now";
    EXPECT_EQ(count("died"), 1U);
}

TEST_F(MasterTest, TermIsBoundedEvenForWorkersThatObeyNothing) {
    MasterSpec tree = spec("stubborn", 2);
    tree.shutdown_timeout = 50ms;
    tree.pools[0].timeouts.term = 50ms;
    start(std::move(tree));
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    ::kill(master_, SIGTERM);
    EXPECT_EQ(wait_exit(5s), 0);
    ASSERT_EQ(count("died"), 2U);
    for (const Line& line : lines("died")) EXPECT_EQ(line.value("cause"), "drain");
}

TEST_F(MasterTest, ASecondTermKillsAtOnce) {
    start(spec("stubborn", 2));
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    ::kill(master_, SIGTERM);
    ASSERT_TRUE(wait_until([&] { return log().find("SIGTERM") != std::string::npos; }));
    EXPECT_EQ(count("died"), 0U) << "30 s of drain lie ahead";
    ::kill(master_, SIGINT);
    EXPECT_EQ(wait_exit(2s), 0);
}

TEST_F(MasterTest, QuitWaitsForRunningTasksAndTermHurriesIt) {
    MasterSpec tree = spec("stubborn", 1);
    tree.shutdown_timeout = 50ms;
    tree.pools[0].timeouts.term = 50ms;
    start(std::move(tree));
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    ::kill(master_, SIGQUIT);
    ASSERT_TRUE(wait_until([&] { return log().find("SIGQUIT") != std::string::npos; }));
    EXPECT_EQ(count("died"), 0U);
    ::kill(master_, SIGTERM);
    EXPECT_EQ(wait_exit(5s), 0);
}

TEST_F(MasterTest, TermDuringBootEndsInOrder) {
    MasterSpec tree = spec("worker", 1);
    tree.relay.command = role("silent");
    tree.relay.timeouts.term = 50ms;
    start(std::move(tree));
    ASSERT_TRUE(wait_until([&] { return log().find("relay born") != std::string::npos; }));
    ::kill(master_, SIGTERM);
    EXPECT_EQ(wait_exit(5s), 0);
}

TEST_F(MasterTest, TtinAndTtouResizeTheFirstPool) {
    start(spec("worker", 1));
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    ::kill(master_, SIGTTIN);
    ASSERT_TRUE(wait_for("ready", 2)) << log();
    ::kill(master_, SIGTTOU);
    ASSERT_TRUE(wait_for("died", 1)) << log();
    EXPECT_EQ(lines("died")[0].value("cause"), "drain");
    ::kill(master_, SIGTTOU);
    ASSERT_TRUE(wait_until([&] { return log().find("at its bound") != std::string::npos; }))
        << log();
}

TEST_F(MasterTest, Usr1ReopensLogsEverywhere) {
    start(spec("worker", 1));
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    std::filesystem::rename(dir_ / "log", dir_ / "log.1");
    ::kill(master_, SIGUSR1);
    ASSERT_TRUE(wait_for("reopen", 1)) << log();
    ::kill(master_, SIGTERM);
    EXPECT_EQ(wait_exit(), 0);
    EXPECT_NE(log().find("master ends"), std::string::npos) << "the new file";
}

TEST_F(MasterTest, OrdersThatNeedAConfigAreRefusedAloudWithoutOne) {
    start(spec("worker", 1));
    ASSERT_TRUE(wait_for("ready", 1)) << log();
    for (const int signo : {SIGHUP, SIGUSR2}) ::kill(master_, signo);
    EXPECT_TRUE(wait_until([&] {
        return log().find("there is no config to reload") != std::string::npos &&
               log().find("cannot be upgraded") != std::string::npos;
    })) << log();
    EXPECT_EQ(count("died"), 0U);
}

}  // namespace
}  // namespace forkmill::supervisor
