// SPDX-License-Identifier: Apache-2.0
// Cases 13, 15, 33 to 39: new configs and new code while tasks run.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/supervisor/control.h"
#include "tests/supervision/load.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::process_alive;
using test::process_state;
using test::stretched;
using test::wait_until;

inline constexpr Task<"edition.number", int(int)> edition_number;

class Reloaded : public Supervised {
  protected:
    /// Asks for a reload and waits until it is over; false: it failed, or was not heard of.
    bool reload(const Daemon& broker) {
        const int done = times_in_log(broker, "reload done");
        const int over = ends(broker);
        EXPECT_EQ(::kill(broker.program->pid(), SIGHUP), 0);
        EXPECT_TRUE(wait_until([&] { return ends(broker) > over; }, kLimit))
            << test::read_text(broker.log);
        return times_in_log(broker, "reload done") > done;
    }
    int ends(const Daemon& broker) const {
        return times_in_log(broker, "reload done") + times_in_log(broker, "reload ended");
    }
    /// These are there and none of `before`, whatever they do.
    bool rolled(const std::vector<pid_t>& before, std::size_t count) const {
        const std::vector<pid_t> now = workers();
        return now.size() == count && std::none_of(now.begin(), now.end(), [&](pid_t worker) {
                   return std::find(before.begin(), before.end(), worker) != before.end();
               });
    }
    /// As start_broker() writes it, with other keys for the pool.
    void write_config(const BrokerWanted& wanted) { write_broker_config(wanted); }

    std::filesystem::path module_file() const { return directory_ / "edition.so"; }
    static std::filesystem::path built_module(const std::string& name) {
        return std::filesystem::path{FORKMILL_TEST_LIB_DIR} / "forkmill/modules" / (name + ".so");
    }
    /// In place: the same inode gets other bytes.
    void overwrite_module(const std::string& name) {
        std::ifstream from{built_module(name), std::ios::binary};
        std::ofstream to{module_file(), std::ios::binary | std::ios::trunc};
        to << from.rdbuf();
    }
    BrokerWanted with_module(int count) const {
        return {.workers = count,
                .executable = "stock",
                .pool = "    modules: [" + module_file().string() + "]\n"};
    }
};

/// Asks the master without pause how many workers of its first pool are ready.
class ReadyWatch {
  public:
    explicit ReadyWatch(const std::string& state_dir)
        : thread_{[this, state_dir] {
              while (!stop_) look(state_dir);
          }} {}
    ~ReadyWatch() {
        stop_ = true;
        thread_.join();
    }
    ReadyWatch(const ReadyWatch&) = delete;
    ReadyWatch& operator=(const ReadyWatch&) = delete;
    int least() const { return least_; }
    int seen_rolling() const { return seen_rolling_; }

  private:
    void look(const std::string& state_dir) {
        const auto answer = supervisor::ask_master(state_dir, "status", kLimit);
        if (!answer.ok() || !answer.value().good) return;
        const auto pool = nlohmann::json::parse(answer.value().text)["pools"][0];
        least_ = std::min(least_.load(), pool["ready"].get<int>());
        if (pool["state"] == "rolling") ++seen_rolling_;
    }

    std::atomic<bool> stop_{false};
    std::atomic<int> least_{INT_MAX};
    std::atomic<int> seen_rolling_{0};
    std::thread thread_;  // The last: it uses all of the above.
};

#define RELOAD(number, name) TEST_F(Reloaded, supervision_##number##_##name)

RELOAD(13, ACuredInitializerFillsThePoolWithinTwoSeconds) {
    const BrokerWanted wanted{.workers = 4,
                              .pool = "    environment: {E2E_INITIALIZER: throw_while " +
                                      (directory_ / "sick").string() + "}\n"};
    directory_.write("sick", "");
    Daemon& broker = start_broker(wanted);
    pool_.emplace(ipc());
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "one probe at a time"); }, kLimit));
    std::filesystem::remove(directory_ / "sick");
    write_config({.workers = 4});
    const auto asked = Clock::now();
    EXPECT_TRUE(reload(broker));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 4; }, 2s));
    EXPECT_LT(Clock::now() - asked, stretched(2s));
}

RELOAD(15, ANewVersionThatSaysItsConfigIsWrongLeavesTheOldOneServing) {
    Daemon& broker = start_pool({.workers = 2});
    const std::vector<pid_t> before = workers();
    write_config({.workers = 2, .pool = "    environment: {E2E_INITIALIZER: exit78}\n"});
    EXPECT_FALSE(reload(broker));
    EXPECT_EQ(workers(), before);
    EXPECT_TRUE(in_log(broker, "reload failed"));
    EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
    write_config({.workers = 3});
    EXPECT_TRUE(reload(broker)) << "the next good config is taken";
    EXPECT_TRUE(wait_until([&] { return workers().size() == 3; }, kLimit));
}

RELOAD(33, AReloadUnderLoadLosesNothingAndNeverShrinksThePool) {
    const int rounds = test::full_or_twentieth(50, 3);
    Daemon& broker = start_pool({.workers = 3});
    Load load{ipc()};
    ASSERT_TRUE(wait_until([&] { return load.good() > 1000; }, kLimit));
    int seen_rolling = 0;
    for (int round = 0; round < rounds; ++round) {
        SCOPED_TRACE(round);
        const std::vector<pid_t> before = workers();
        write_config({.workers = 3,
                      .pool = "    environment: {ROUND: \"" + std::to_string(round) + "\"}\n"});
        const int so_far = load.good();
        const ReadyWatch watch{(directory_ / "state").string()};
        EXPECT_TRUE(reload(broker));
        EXPECT_TRUE(wait_until([&] { return rolled(before, 3); }, kLimit));
        EXPECT_GE(watch.least(), 3) << "of those that are ready, at any time";
        seen_rolling += watch.seen_rolling();
        for (const pid_t old : before)
            EXPECT_TRUE(wait_until([&] { return process_state(old) == 0; }, kLimit));
        EXPECT_TRUE(wait_until([&] { return load.good() > so_far + 1000; }, kLimit));
    }
    EXPECT_GE(seen_rolling, rounds) << "hardly anybody looked while the pool rolled";
    EXPECT_EQ(load.bad(), 0);
    EXPECT_EQ(times_in_log(broker, "cause=signal"), 0);
}

RELOAD(34, WhateverIsWrongWithTheNewConfigNothingChanges) {
    const BrokerWanted good{.workers = 2};
    Daemon& broker = start_pool(good);
    const std::vector<pid_t> before = workers();
    const pid_t router = router_of(broker);
    for (const std::string& keys : {std::string{"    workers: [\n"},
                                    std::string{"    no_such_key: 1\n"},
                                    std::string{"    start_timeout: 5\n"},
                                    std::string{"    environment: {E2E_INITIALIZER: throw}\n"}}) {
        SCOPED_TRACE(keys);
        write_config({.workers = 2, .pool = keys});
        EXPECT_FALSE(reload(broker));
        EXPECT_EQ(workers(), before);
        EXPECT_EQ(router_of(broker), router);
    }
    for (const std::string& module :
         {std::string{"no_such_module"}, built_module("crashing").string()}) {
        SCOPED_TRACE(module);
        write_config(
            {.workers = 2, .executable = "stock", .pool = "    modules: [" + module + "]\n"});
        EXPECT_FALSE(reload(broker));
        EXPECT_EQ(workers(), before);
    }
    EXPECT_TRUE(in_log(broker, "no_such_key"));
    write_config(good);
    EXPECT_TRUE(reload(broker));
    EXPECT_EQ(workers(), before) << "nothing changed, so nobody was replaced";
}

RELOAD(35, ManyReloadsAtOnceAreAtMostTwo) {
    Daemon& broker = start_pool({.workers = 2});
    write_config({.workers = 2, .pool = "    environment: {ROUND: \"1\"}\n"});
    for (int i = 0; i < 20; ++i) {
        const int seen = times_in_log(broker, "name=SIGHUP");
        ASSERT_EQ(::kill(broker.program->pid(), SIGHUP), 0);
        ASSERT_TRUE(wait_until([&] { return times_in_log(broker, "name=SIGHUP") > seen; }, kLimit));
        if (ends(broker) > 0) break;
    }
    EXPECT_TRUE(wait_until([&] { return ends(broker) == 2; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    EXPECT_EQ(times_in_log(broker, "worker born"), 4) << "the second found nothing new";
}

RELOAD(36, ALongTaskOfTheOldVersionHasItsDrainTimeout) {
    const std::string drain = "    drain_timeout: 300ms\n";
    Daemon& broker = start_pool({.workers = 2, .pool = drain});
    Gate gate{gate_file()};
    auto result = pool().apply_async(first_waits, notes(), gate.name());
    const pid_t old = noted(1)[0];
    write_config({.workers = 2, .pool = drain + "    environment: {ROUND: \"1\"}\n"});
    EXPECT_TRUE(reload(broker)) << "the new version serves";
    EXPECT_EQ(result.get(kLimit), 2) << "it ran again";
    EXPECT_TRUE(wait_until([&] { return !process_alive(old); }, kLimit));
}

RELOAD(37, AModuleThatIsOverwrittenInPlaceHurtsNobodyAndIsTakenByAReload) {
    overwrite_module("edition_1");
    Daemon& broker = start_pool(with_module(2));
    EXPECT_EQ(pool().apply(edition_number, 0), 1);
    overwrite_module("edition_2");
    EXPECT_EQ(pool().map(edition_number, std::vector<int>(20)), std::vector<int>(20, 1));
    const pid_t victim = workers()[0];
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2 && replaced({victim}, 2); }, kLimit));
    EXPECT_EQ(pool().map(edition_number, std::vector<int>(20)), std::vector<int>(20, 1))
        << "a respawned worker runs what its version runs";
    EXPECT_TRUE(reload(broker));
    EXPECT_EQ(pool().apply(edition_number, 0), 2);
    EXPECT_FALSE(in_log(broker, "detail=7")) << "SIGBUS";
}

RELOAD(36, TermAfterAReloadStillWaitsForTheOldVersionsTask) {
    Daemon& broker = start_pool({.workers = 2});
    Gate gate{gate_file()};
    auto result = pool().apply_async(first_waits, notes(), gate.name());
    noted(1);
    write_config({.workers = 2, .pool = "    environment: {ROUND: \"1\"}\n"});
    EXPECT_TRUE(reload(broker));
    ASSERT_EQ(::kill(broker.program->pid(), SIGQUIT), 0);
    EXPECT_TRUE(wait_until([&] { return times_in_log(broker, "worker died") >= 3; }, kLimit))
        << "those of the new version, and the idle old one";
    EXPECT_TRUE(process_alive(broker.program->pid()));
    gate.open();
    EXPECT_EQ(result.get(kLimit), 1) << "the first attempt";
    EXPECT_EQ(broker.program->wait(stretched(kLimit)), 0);
}

RELOAD(36, QuitGoesOnWhenItsRouterDies) {
    Daemon& broker = start_pool({.workers = 1});
    Gate gate{gate_file()};
    auto result = pool().apply_async(first_waits, notes(), gate.name());
    noted(1);
    ASSERT_EQ(::kill(broker.program->pid(), SIGQUIT), 0);
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "name=SIGQUIT"); }, kLimit));
    ASSERT_EQ(::kill(router_of(broker), SIGKILL), 0);
    ASSERT_TRUE(wait_until([&] { return times_in_log(broker, "relay born") == 2; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return workers().size() == 1; }, kLimit)) << "both are back";
    gate.open();
    EXPECT_EQ(result.get(kLimit), 1);
    EXPECT_EQ(broker.program->wait(stretched(kLimit)), 0);
}

RELOAD(39, APoolThatCannotStartDoesNotEndThoseThatServe) {
    Daemon& broker = start_pool({.workers = 2});
    const std::vector<pid_t> before = workers();
    const std::filesystem::path file = directory_ / "broker.yaml";
    const std::string good = test::read_text(file);
    std::ofstream{file} << good << "  other:\n    executable: " << own_program()
                        << "\n    environment: {E2E_INITIALIZER: exit78}\n";
    EXPECT_TRUE(reload(broker));
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "will not be started again"); }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit));
    std::ofstream{file} << good;
    EXPECT_TRUE(reload(broker));
    std::ofstream{file} << good << "  other:\n    workers: 1\n    executable: " << own_program()
                        << "\n";
    EXPECT_TRUE(reload(broker)) << "a pool that comes back";
    EXPECT_TRUE(wait_until([&] { return workers().size() == 3; }, kLimit));
}

RELOAD(38, EveryResultIsOfOneVersionAndTheNewOneComesToStay) {
    overwrite_module("edition_1");
    Daemon& broker = start_pool(with_module(3));
    overwrite_module("edition_2");
    ASSERT_EQ(::kill(broker.program->pid(), SIGHUP), 0);
    while (times_in_log(broker, "reload done") == 0) {
        for (const int number : pool().map(edition_number, std::vector<int>(50)))
            ASSERT_TRUE(number == 1 || number == 2) << number;
    }
    EXPECT_TRUE(wait_until([&] { return workers().size() == 3; }, kLimit));
    EXPECT_EQ(pool().map(edition_number, std::vector<int>(200)), std::vector<int>(200, 2));
}

RELOAD(45, TermDuringAReloadEndsInOrder) {
    Daemon& broker = start_pool({.workers = 2});
    write_config({.workers = 2, .pool = "    environment: {E2E_INITIALIZER: hang}\n"});
    ASSERT_EQ(::kill(broker.program->pid(), SIGHUP), 0);
    ASSERT_TRUE(wait_until([&] { return times_in_log(broker, "worker born") == 3; }, kLimit));
    close_pool();
    stop(broker);
}

TEST_F(Reloaded, AWorkerHostTakesANewConfigToo) {
    start_broker({.workers = 0});
    Daemon& host = start_host(ipc(), 2);
    pool_.emplace(ipc());
    ASSERT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    const std::vector<pid_t> before = workers();
    const std::filesystem::path file = directory_ / "host1.yaml";
    const std::string yaml = test::read_text(file);
    directory_.write("host1.yaml", yaml + "no_such_key: 1\n");
    EXPECT_FALSE(reload(host));
    EXPECT_EQ(workers(), before);
    directory_.write("host1.yaml", yaml + "environment: {ROUND: \"1\"}\n");
    EXPECT_TRUE(reload(host));
    EXPECT_TRUE(wait_until([&] { return replaced(before, 2); }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"new"}), "new");
}

RELOAD(39, ABusyNewPortFailsTheReloadAndTheOldOneIsServed) {
    const int port = free_port();
    const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(port);
    Daemon& broker = start_pool({.listen = endpoint, .workers = 2});
    const pid_t router = router_of(broker);
    Daemon& other =
        start("other",
              {test::built_program("forkmilld").string(),
               "-c",
               directory_
                   .write("other.yaml",
                          "state_dir: " + (directory_ / "other").string() +
                              "\nlisten: [tcp://127.0.0.1:" + std::to_string(free_port()) + "]\n")
                   .string()});
    ASSERT_TRUE(wait_until([&] { return in_log(other, "router serves"); }, kLimit));
    const std::string busy = test::read_text(directory_ / "other.yaml");
    const std::string port_of_other =
        busy.substr(busy.rfind(':') + 1, busy.rfind(']') - busy.rfind(':') - 1);
    write_config({.listen = "tcp://127.0.0.1:" + port_of_other, .workers = 2});
    EXPECT_FALSE(reload(broker));
    EXPECT_EQ(router_of(broker), router);
    EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
    const int free = free_port();
    write_config({.listen = endpoint + ", tcp://127.0.0.1:" + std::to_string(free), .workers = 2});
    EXPECT_TRUE(reload(broker));
    EXPECT_TRUE(wait_until([&] { return accepts(free); }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"both"}), "both");
    Pool second{"tcp://127.0.0.1:" + std::to_string(free)};
    EXPECT_EQ(second.apply(echo, std::string{"new"}), "new");
}

}  // namespace
}  // namespace forkmill::e2e
