// SPDX-License-Identifier: Apache-2.0
// A host that has no room for another process: fork() fails with EAGAIN, and later it does not.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/supervisor/control.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::wait_until;

class Forkless : public Supervised {
  protected:
    static constexpr unsigned kSomebody = 65'534;

    static bool is_root() { return ::geteuid() == 0; }
    static std::vector<std::string> as_somebody(std::vector<std::string> argv) {
        if (!is_root()) return argv;
        const std::string id = std::to_string(kSomebody);
        argv.insert(argv.begin(),
                    {"/usr/bin/setpriv",
                     "--reuid=" + id,
                     "--regid=" + id,
                     "--clear-groups",
                     "--inh-caps=+dac_override",
                     "--ambient-caps=+dac_override"});
        return argv;
    }
    /// RLIMIT_NPROC does not bind root. So where root tests, the master is somebody else, who may
    /// all the same pass every directory that lies above the programs.
    Daemon& start_bounded(int workers) {
        if (is_root()) {
            EXPECT_EQ(::chown(directory_.path().c_str(), kSomebody, kSomebody), 0);
        }
        const std::string file = write_broker_config({.workers = workers}).string();
        Daemon& broker =
            start("broker", as_somebody({test::built_program("forkmilld").string(), "-c", file}));
        pool_.emplace(ipc());
        const auto expected = static_cast<std::size_t>(workers);
        EXPECT_TRUE(wait_until([&] { return this->workers().size() == expected; }, kLimit))
            << test::read_text(broker.log);
        return broker;
    }
    /// From now on the master has no room for a child, or again the room it had.
    void allow_forks(const Daemon& broker, bool allowed) {
        rlimit had{};  // The master's was this process's.
        ASSERT_EQ(::getrlimit(RLIMIT_NPROC, &had), 0);
        const std::string again =
            had.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(had.rlim_cur);
        // Whoever is the same user may move the soft limit; root itself may have lost that right.
        std::string said;
        ASSERT_EQ(run(as_somebody({"/usr/bin/prlimit",
                                   "--pid=" + std::to_string(broker.program->pid()),
                                   "--nproc=" + (allowed ? again : "0") + ":"}),
                      said),
                  0)
            << said;
    }
    nlohmann::json pool_status() const {
        const auto answer =
            supervisor::ask_master((directory_ / "state").string(), "status", kLimit);
        if (!answer.ok()) return {};
        return nlohmann::json::parse(answer.value().text)["pools"][0];
    }
};

constexpr const char* kNoRoom = "cannot fork: Resource temporarily unavailable";

TEST_F(Forkless, AMasterThatCannotForkWaitsServesOnAndFillsItsPoolLater) {
    Daemon& broker = start_bounded(2);
    const std::vector<pid_t> before = workers();
    allow_forks(broker, false);
    const auto killed = Clock::now();
    ASSERT_EQ(::kill(before[0], SIGKILL), 0);
    EXPECT_TRUE(
        wait_until([&] { return times_in_log(broker, "worker not started") >= 3; }, kLimit));
    EXPECT_TRUE(in_log(broker, kNoRoom));
    EXPECT_EQ(pool_status()["backoff"], 1);
    EXPECT_EQ(pool().apply(pid), before[1]) << "who lives works on";

    ASSERT_EQ(::kill(broker.program->pid(), SIGHUP), 0);
    EXPECT_TRUE(wait_until([&] { return in_log(broker, "reload failed"); }, kLimit));
    EXPECT_EQ(workers(), std::vector<pid_t>{before[1]}) << "a reload that cannot be judged";

    allow_forks(broker, true);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    EXPECT_EQ(state_of(before[1]), "idle") << "it was not to be touched";
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - killed);
    EXPECT_LE(times_in_log(broker, "worker not started"), 2 + seconds.count())
        << "at most one attempt in a second";
    EXPECT_EQ(times_in_log(broker, "worker died"), 1 * 2) << "told by master and router";
}

TEST_F(Forkless, APoolThatHasNobodyAndCannotForkIsBrokenUntilItCan) {
    Daemon& broker = start_bounded(1);
    allow_forks(broker, false);
    ASSERT_EQ(::kill(workers()[0], SIGKILL), 0);
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "pool broken"); }, kLimit));
    EXPECT_THROW(pool().apply(echo, std::string{"nobody"}), PoolBroken);
    allow_forks(broker, true);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 1; }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"again"}), "again");
}

TEST_F(Forkless, ARouterThatCannotBeForkedIsTriedAgainAndItsWorkersWait) {
    Daemon& broker = start_bounded(1);
    const std::vector<pid_t> before = workers();
    allow_forks(broker, false);
    ASSERT_EQ(::kill(router_of(broker), SIGKILL), 0);
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "relay not started"); }, kLimit));
    EXPECT_TRUE(in_log(broker, kNoRoom));
    allow_forks(broker, true);
    EXPECT_EQ(pool().apply_async(pid).get(kLimit), before[0]);
    EXPECT_EQ(times_in_log(broker, "relay born"), 2);
}

}  // namespace
}  // namespace forkmill::e2e
