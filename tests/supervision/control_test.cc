// SPDX-License-Identifier: Apache-2.0
// The operator's verbs: each signal's with an answer, sizes, and what died.
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <nlohmann/json.hpp>

#include "core/supervisor/control.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::wait_until;

class Controlled : public Supervised {
  protected:
    int forkmill(std::vector<std::string> words, std::string& said) {
        std::vector<std::string> argv{test::built_program("forkmill").string()};
        argv.insert(argv.end(), words.begin(), words.end());
        argv.insert(argv.end(), {"--state-dir", (directory_ / "state").string()});
        return run(argv, said);
    }
};

TEST_F(Controlled, ReloadAnswersWhenItHasEndedAndWhyItFailed) {
    start_pool({.workers = 2});
    std::string said;
    write_broker_config({.workers = 3});
    EXPECT_EQ(forkmill({"broker", "reload"}, said), 0) << said;
    EXPECT_TRUE(wait_until([&] { return workers().size() == 3; }, kLimit));
    write_broker_config({.workers = 3, .pool = "    no_such_key: 1\n"});
    EXPECT_EQ(forkmill({"broker", "reload"}, said), 1);
    EXPECT_NE(said.find("no_such_key"), std::string::npos) << said;
    EXPECT_EQ(forkmill({"broker", "upgrade"}, said), 1) << "the same program finds the same fault";
    write_broker_config({.workers = 3});
    EXPECT_EQ(forkmill({"broker", "upgrade"}, said), 0) << said;
    EXPECT_EQ(pool().apply(echo, std::string{"on"}), "on");
}

TEST_F(Controlled, APoolIsSetToASize) {
    start_pool({.workers = 2});
    std::string said;
    EXPECT_EQ(forkmill({"pool", "set", "default", "5"}, said), 0) << said;
    EXPECT_TRUE(wait_until([&] { return workers().size() == 5; }, kLimit));
    EXPECT_EQ(forkmill({"pool", "set", "default", "1"}, said), 0) << said;
    EXPECT_TRUE(wait_until([&] { return workers().size() == 1; }, kLimit));
    EXPECT_EQ(forkmill({"pool", "set", "default", "100000"}, said), 1);
    EXPECT_NE(said.find("room"), std::string::npos) << said;
    EXPECT_EQ(forkmill({"pool", "set", "nobody", "1"}, said), 1);
    EXPECT_EQ(forkmill({"-o", "json", "pool", "ls"}, said), 0);
    const auto rows = nlohmann::json::parse(said);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0]["name"], "default");
    EXPECT_EQ(rows[0]["workers"], 1);
    EXPECT_EQ(rows[0]["state"], "whole");
}

TEST_F(Controlled, DrainedPoolsWorkNoMoreUntilTheyAreSetAgain) {
    Daemon& broker = start_pool({.workers = 2});
    ASSERT_EQ(::kill(broker.program->pid(), SIGWINCH), 0);
    EXPECT_TRUE(wait_until([&] { return workers().empty(); }, kLimit));
    auto result = pool().apply_async(echo, std::string{"later"});
    EXPECT_FALSE(result.wait(100ms));
    std::string said;
    EXPECT_EQ(forkmill({"pool", "set", "default", "2"}, said), 0) << said;
    EXPECT_EQ(result.get(kLimit), "later");
}

TEST_F(Controlled, CrashesAreListedWithTheirCauseAndReport) {
    start_pool({.workers = 2, .pool = "    limits: {core: 1B}\n"});
    EXPECT_THROW(pool().apply(crash.with({.at_most_once = true})), WorkerLost);
    std::string said;
    EXPECT_EQ(forkmill({"-o", "json", "worker", "crashes"}, said), 0);
    const auto rows = nlohmann::json::parse(said);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0]["pool"], "default");
    EXPECT_EQ(rows[0]["cause"], "signal");
    EXPECT_EQ(rows[0]["detail"], SIGABRT);
    EXPECT_EQ(rows[0]["running"], 1);
    EXPECT_GE(rows[0]["birth"], 1);
    EXPECT_EQ(rows[0]["core"], false) << "the pool's limits forbid one";
    EXPECT_NE(rows[0]["report"].get<std::string>().find("no way on"), std::string::npos);
    EXPECT_EQ(forkmill({"worker", "crashes"}, said), 0);
    EXPECT_NE(said.find("CAUSE"), std::string::npos) << said;
}

TEST_F(Controlled, ADeathTellsHowMuchMemoryThereWas) {
    Daemon& broker = start_pool({.workers = 1});
    Gate gate{gate_file()};
    auto result = pool().apply_async(grab.with({.at_most_once = true}), notes(), gate.name(), 120);
    const pid_t victim = noted(1)[0];
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    try {
        result.get(kLimit);
        ADD_FAILURE() << "it came back";
    } catch (const WorkerLost& lost) {
        const std::string words = ", peak resident memory ";
        const std::size_t at = lost.report().find(words);
        ASSERT_NE(at, std::string::npos) << lost.report();
        const int mebibytes = std::stoi(lost.report().substr(at + words.size()));
        EXPECT_GE(mebibytes, 120);
        EXPECT_LT(mebibytes, 4096);
    }
    std::string said;
    EXPECT_EQ(forkmill({"-o", "json", "worker", "crashes"}, said), 0);
    const auto rows = nlohmann::json::parse(said);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_GE(rows[0]["rss_peak"], 120 << 20);
    EXPECT_TRUE(in_log(broker, " core=false rss_peak="));
    EXPECT_EQ(forkmill({"worker", "crashes"}, said), 0);
    EXPECT_NE(said.find("RSS_PEAK"), std::string::npos) << said;
    EXPECT_NE(said.find("CORE"), std::string::npos) << said;
}

TEST_F(Controlled, StopAndQuitEndTheMasterAndNobodyAnswersThen) {
    Daemon& broker = start_pool({.workers = 1});
    std::string said;
    EXPECT_EQ(forkmill({"broker", "status"}, said), 0);
    EXPECT_NE(said.find("\"running\""), std::string::npos) << said;
    close_pool();
    EXPECT_EQ(forkmill({"broker", "quit"}, said), 0) << said;
    EXPECT_EQ(broker.program->wait(test::stretched(kLimit)), 0);
    EXPECT_EQ(forkmill({"broker", "status"}, said), 69);
}

TEST_F(Controlled, RubbishOnTheSocketHarmsNobody) {
    start_pool({.workers = 1});
    const std::string state = (directory_ / "state").string();
    for (const std::string& request : {std::string{" "},
                                       std::string(4000, 'x'),
                                       std::string("\0\xff\n", 3),
                                       std::string{"set default"},
                                       std::string{"set default -1"},
                                       std::string{"set default 99999999999999999999"}}) {
        const auto answer = supervisor::ask_master(state, request, 10s);
        ASSERT_TRUE(answer.ok()) << answer.failure().text;
        EXPECT_FALSE(answer.value().good);
    }
    // Those who ask nothing and stay take no place for ever.
    std::vector<int> idle;
    for (int i = 0; i < 40; ++i) {
        const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        supervisor::control_path(state).copy(address.sun_path, sizeof address.sun_path - 1);
        static_cast<void>(
            ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
        idle.push_back(fd);
    }
    EXPECT_EQ(pool().apply(echo, std::string{"on"}), "on");
    for (const int fd : idle) ::close(fd);
    EXPECT_TRUE(wait_until(
        [&] {
            const auto answer = supervisor::ask_master(state, "status", 1s);
            return answer.ok() && answer.value().good;
        },
        kLimit));
}

}  // namespace
}  // namespace forkmill::e2e
