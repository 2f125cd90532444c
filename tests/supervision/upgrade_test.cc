// SPDX-License-Identifier: Apache-2.0
// Cases 40 to 42: a new program in the place of the running one.
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/supervision/load.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::process_alive;
using test::process_state;
using test::stretched;
using test::wait_until;

class Upgraded : public Supervised {
  protected:
    std::filesystem::path program() const { return directory_ / "bin" / "forkmilld"; }

    /// As an installation does it: the new file under the old name, at once.
    void install(const std::filesystem::path& from) {
        std::filesystem::create_directories(program().parent_path());
        const std::filesystem::path fresh = program().string() + ".new";
        std::filesystem::copy_file(from, fresh, std::filesystem::copy_options::overwrite_existing);
        std::filesystem::rename(fresh, program());
    }
    void install_script(const std::string& lines) {
        const std::filesystem::path script = directory_.write("script", "#!/bin/sh\n" + lines);
        ::chmod(script.c_str(), 0700);
        install(script);
    }
    Daemon& start_installed(const BrokerWanted& wanted) {
        install(test::built_program("forkmilld"));
        const std::filesystem::path file = write_broker_config(wanted);
        Daemon& broker = start("broker", {program().string(), "-c", file.string()});
        EXPECT_TRUE(wait_until([&] { return in_log(broker, "router serves"); }, kLimit));
        pool_.emplace(wanted.listen.empty() ? ipc() : wanted.listen);
        EXPECT_TRUE(wait_until([&] { return workers().size() == 3; }, kLimit));
        return broker;
    }
    int ends(const Daemon& broker) const {
        return times_in_log(broker, "reload done") + times_in_log(broker, "reload ended");
    }
    /// Asks for an upgrade and waits until it is over.
    bool upgrade(const Daemon& broker) {
        const int over = ends(broker);
        const int done = times_in_log(broker, "reload done");
        EXPECT_EQ(::kill(broker.program->pid(), SIGUSR2), 0);
        EXPECT_TRUE(wait_until([&] { return ends(broker) > over; }, kLimit));
        return times_in_log(broker, "reload done") > done;
    }
};

#define UPGRADE(number, name) TEST_F(Upgraded, supervision_##number##_##name)

UPGRADE(40, UnderLoadNothingIsLostAndPidsStay) {
    const int port = free_port();
    const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(port);
    Daemon& broker = start_installed({.listen = endpoint, .workers = 3});
    const std::vector<pid_t> before = workers();
    Load load{endpoint};
    ASSERT_TRUE(wait_until([&] { return load.good() > 1000; }, kLimit));
    const int rounds = test::full_or_twentieth(50, 3);
    for (int round = 0; round < rounds; ++round) {
        SCOPED_TRACE(round);
        const pid_t router = router_of(broker);
        const int so_far = load.good();
        install(test::built_program("forkmilld"));
        EXPECT_TRUE(upgrade(broker)) << test::read_text(broker.log);
        EXPECT_TRUE(wait_until(
            [&] {
                EXPECT_TRUE(accepts(port));
                return router_of(broker) != router && router_of(broker) != 0;
            },
            kLimit));
        EXPECT_TRUE(wait_until([&] { return load.good() > so_far + 1000; }, kLimit));
        EXPECT_TRUE(process_alive(broker.program->pid()));
    }
    RecordProperty("longest_gap_ms", static_cast<int>(load.longest_gap().count()));
    EXPECT_LT(load.longest_gap(), stretched(1s)) << "between two answers";
    EXPECT_EQ(load.bad(), 0);
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit))
        << "their program is the same";
    // What the former program started is watched, reaped and replaced by the new one.
    ASSERT_EQ(::kill(before[0], SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 3 && workers() != before; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return process_state(before[0]) == 0; }, kLimit));
}

UPGRADE(41, AProgramThatCannotTakeOverLeavesTheOldOneInPlace) {
    Daemon& broker = start_installed({.workers = 3});
    const std::vector<pid_t> before = workers();
    const pid_t router = router_of(broker);
    for (const std::string& lines : {std::string{"exit 1\n"},
                                     std::string{"kill -SEGV $$\n"},
                                     std::string{"exec sleep 600\n"},
                                     "[ -n \"$FORKMILL_HANDOVER_FD\" ] && exit 1\nexec " +
                                         test::built_program("forkmilld").string() + " \"$@\"\n"}) {
        SCOPED_TRACE(lines);
        install_script(lines);
        EXPECT_FALSE(upgrade(broker));
        EXPECT_EQ(workers(), before);
        EXPECT_EQ(router_of(broker), router);
        EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
    }
    // A router that dies now is started again from what runs, not from what lies there.
    ASSERT_EQ(::kill(router, SIGKILL), 0);
    EXPECT_EQ(pool().apply(echo, std::string{"again"}), "again");
    install(test::built_program("forkmilld"));
    EXPECT_TRUE(upgrade(broker));
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit));
}

UPGRADE(41, AConfigThatTheNewProgramCouldNotServeIsFoundInTheRehearsal) {
    Daemon& broker = start_installed({.workers = 3});
    const std::vector<pid_t> before = workers();
    write_broker_config({.listen = ipc() + ", ipc:///proc/no/such/place", .workers = 3});
    EXPECT_FALSE(upgrade(broker));
    EXPECT_EQ(workers(), before);
    EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
}

UPGRADE(42, ASecondUpgradeAtOnceIsRefused) {
    Daemon& broker = start_installed({.workers = 3});
    install_script("exec sleep 600\n");
    ASSERT_EQ(::kill(broker.program->pid(), SIGUSR2), 0);
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "name=SIGUSR2"); }, kLimit));
    ASSERT_EQ(::kill(broker.program->pid(), SIGUSR2), 0);
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "upgrade refused"); }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
}

}  // namespace
}  // namespace forkmill::e2e
