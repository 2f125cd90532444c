// SPDX-License-Identifier: Apache-2.0
// Cases 27, 7, 33, 40 with control groups: what leaves its worker's session dies with it all the
// same. Where nobody may make groups, each case says what holds instead: the process group's end.
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/supervisor/cgroup.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using test::process_alive;
using test::process_state;
using test::read_text;
using test::wait_until;

class Grouped : public Supervised {
  protected:
    void SetUp() override {
        const auto own = supervisor::cgroup_directory(read_text("/proc/self/cgroup"),
                                                      read_text("/proc/self/mountinfo"));
        if (!own) return;
        place_ = *own + "/forkmill-test-" + std::to_string(::getpid());
        if (::mkdir(place_.c_str(), 0755) != 0) place_.clear();
    }
    void TearDown() override {
        result_.reset();
        gate_.reset();
        if (escaped_ > 0 && process_alive(escaped_)) ::kill(escaped_, SIGKILL);
        Supervised::TearDown();
        if (place_.empty()) return;
        EXPECT_EQ(sub_trees(), std::vector<std::string>{}) << "a master left its sub-tree";
        for (const std::string& left : sub_trees()) remove_below(left);
        EXPECT_EQ(::rmdir(place_.c_str()), 0) << place_;
    }

    bool grouped() const { return !place_.empty(); }
    /// The key for the config: here is a place, or there is none on this host.
    std::string key() const { return "cgroup: " + (grouped() ? place_ : "auto") + "\n"; }
    static std::vector<std::string> directories(const std::string& in) {
        std::vector<std::string> found;
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator{in, ignored})
            if (entry.is_directory(ignored)) found.push_back(entry.path().string());
        return found;
    }
    std::vector<std::string> sub_trees() const { return directories(place_); }
    /// Of all workers that have one.
    std::vector<std::string> groups() const {
        std::vector<std::string> found;
        for (const std::string& tree : sub_trees())
            for (const std::string& group : directories(tree)) found.push_back(group);
        return found;
    }
    static bool is_in(pid_t pid, const std::string& group) {
        const std::string pids = "\n" + read_text(group + "/cgroup.procs");
        return pids.find("\n" + std::to_string(pid) + "\n") != std::string::npos;
    }
    /// Has a worker's task start a process that leaves its session, and wait.
    void start_escape(std::chrono::milliseconds timeout) {
        gate_.emplace(gate_file());
        result_.emplace(pool().apply_async(
            escape.with({.timeout = timeout, .at_most_once = true}), notes(), gate_->name()));
        escaped_ = noted(1)[0];
    }
    /// What becomes of it once its worker is dead.
    void expect_its_end(const Daemon& broker) {
        const std::string told = "process escaped its worker pid=" + std::to_string(escaped_);
        if (grouped()) {
            EXPECT_TRUE(wait_until([&] { return process_state(escaped_) == 0; }, 1s));
            EXPECT_FALSE(in_log(broker, told));
        } else {
            EXPECT_TRUE(wait_until([&] { return in_log(broker, told); }, kLimit));
            EXPECT_TRUE(process_alive(escaped_)) << "nothing reaches it";
        }
    }

    std::string place_;  ///< Empty: nobody may make groups on this host.
    std::optional<Gate> gate_;
    std::optional<AsyncResult<int>> result_;
    pid_t escaped_ = 0;

  private:
    static void remove_below(const std::string& directory) {
        for (const std::string& below : directories(directory)) remove_below(below);
        ::rmdir(directory.c_str());
    }
};

#define GROUPED(number, name) TEST_F(Grouped, supervision_##number##_##name)

GROUPED(27, ATaskPastItsTimeoutTakesTheDaemonsThatItStartedAlong) {
    Daemon& broker = start_pool({.workers = 1, .yaml = key()});
    const pid_t victim = workers()[0];
    const std::vector<std::string> before = groups();
    ASSERT_EQ(before.size(), grouped() ? 1U : 0U);
    start_escape(500ms);
    if (grouped()) {
        EXPECT_TRUE(is_in(victim, before[0]));
        EXPECT_TRUE(is_in(escaped_, before[0]));
    }
    EXPECT_THROW(result_->get(kLimit), TaskTimeout);
    EXPECT_TRUE(wait_until([&] { return process_state(victim) == 0; }, kLimit));
    expect_its_end(broker);
    for (const std::string& group : before)
        EXPECT_TRUE(wait_until([&] { return !fs::exists(group); }, 1s)) << group;
    EXPECT_TRUE(wait_until([&] { return replaced({victim}, 1); }, kLimit));
    EXPECT_EQ(groups().size(), before.size());
}

GROUPED(27, AWorkerThatStandsStillIsKilledWithAllThatItStarted) {
    Daemon& broker = start_pool({.workers = 1, .pool = "    hung_timeout: 400ms\n", .yaml = key()});
    const pid_t victim = workers()[0];
    escaped_ = pool().apply(start_daemon);
    EXPECT_TRUE(process_alive(escaped_)) << "its worker lives";
    auto lost = pool().apply_async(freeze.with({.at_most_once = true}), notes());
    EXPECT_THROW(lost.get(kLimit), WorkerLost);
    EXPECT_TRUE(wait_until([&] { return process_state(victim) == 0; }, kLimit));
    expect_its_end(broker);
}

GROUPED(07, TheNextMasterEndsAndRemovesWhatAKilledOneLeft) {
    const BrokerWanted wanted{.workers = 1, .yaml = key()};
    Daemon& broker = start_pool(wanted);
    start_escape(0ms);
    const std::vector<pid_t> before = workers();
    const std::size_t count = groups().size();
    kill(broker);
    ASSERT_TRUE(wait_until([&] { return !process_alive(broker.program->pid()); }, kLimit));
    EXPECT_TRUE(process_alive(escaped_));
    start_broker(wanted);
    EXPECT_TRUE(wait_until([&] { return replaced(before, 1); }, kLimit));
    EXPECT_EQ(process_alive(escaped_), !grouped());
    EXPECT_TRUE(wait_until([&] { return groups().size() == count; }, 1s));
    if (grouped()) {
        EXPECT_TRUE(is_in(workers()[0], groups()[0]));
    }
}

GROUPED(40, AnUpgradeKeepsTheGroupsOfThoseWhoWork) {
    Daemon& broker = start_pool({.workers = 2, .yaml = key()});
    const std::vector<pid_t> before = workers();
    const std::vector<std::string> groups_before = groups();
    ASSERT_EQ(groups_before.size(), grouped() ? 2U : 0U);
    start_escape(0ms);
    pid_t victim = 0;
    for (const pid_t worker : before)
        if (state_of(worker) == "busy") victim = worker;
    ASSERT_GT(victim, 0);
    broker.program->signal(SIGUSR2);
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "reload done"); }, kLimit));
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit));
    EXPECT_EQ(groups(), groups_before);
    EXPECT_TRUE(process_alive(escaped_));
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    expect_its_end(broker);
    EXPECT_THROW(result_->get(kLimit), WorkerLost);
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2 && workers() != before; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return groups().size() == groups_before.size(); }, kLimit));
}

GROUPED(33, AReloadDecidesForThoseWhoAreBornAfterIt) {
    Daemon& broker = start_pool({.workers = 1, .yaml = key()});
    const std::vector<pid_t> before = workers();
    const pid_t router = router_of(broker);
    write_broker_config({.workers = 1, .yaml = "cgroup: off\n"});
    broker.program->signal(SIGHUP);
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "reload done"); }, kLimit));
    EXPECT_EQ(workers(), before);
    EXPECT_EQ(router_of(broker), router) << "it is none of its business";
    EXPECT_EQ(groups().size(), grouped() ? 1U : 0U);
    ASSERT_EQ(::kill(before[0], SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return replaced(before, 1); }, kLimit));
    EXPECT_EQ(sub_trees(), std::vector<std::string>{});
    const pid_t again = workers()[0];
    write_broker_config({.workers = 1, .yaml = key()});
    broker.program->signal(SIGHUP);
    ASSERT_TRUE(wait_until([&] { return times_in_log(broker, "reload done") == 2; }, kLimit));
    ASSERT_EQ(::kill(again, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return replaced({again}, 1); }, kLimit));
    EXPECT_EQ(groups().size(), grouped() ? 1U : 0U);
}

/// A service manager's part: it puts the master into a group, and marks what it delegates.
class Delegated : public Grouped {
  protected:
    Daemon& start_in(const std::string& group) {
        const fs::path file = write_broker_config({.workers = 1});
        std::vector<std::string> argv{
            test::built_program("forkmilld").string(), "-c", file.string()};
        if (!group.empty())
            argv.insert(argv.begin(),
                        {"/bin/sh", "-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\"", group});
        Daemon& broker = start("broker", std::move(argv));
        EXPECT_TRUE(wait_until([&] { return in_log(broker, "router serves"); }, kLimit));
        pool_.emplace(ipc());
        EXPECT_TRUE(wait_until([&] { return workers().size() == 1; }, kLimit));
        return broker;
    }
    static bool mark(const std::string& group) {
        return ::setxattr(group.c_str(), "user.delegate", "1", 1, 0) == 0 ||
               ::setxattr(group.c_str(), "trusted.delegate", "1", 1, 0) == 0;
    }
    void end_all() {
        pool_.reset();
        for (const auto& daemon : daemons_) stop(*daemon);
        daemons_.clear();
    }
};

TEST_F(Delegated, supervision_27_OnlyWhatIsMarkedAsDelegatedIsUsedUnasked) {
    Daemon& untouched = start_in(place_);
    EXPECT_TRUE(in_log(untouched, "workers have no control groups")) << read_text(untouched.log);
    EXPECT_EQ(sub_trees(), std::vector<std::string>{});
    end_all();
    const bool marked = grouped() && mark(place_);
    Daemon& broker = start_in(place_);
    EXPECT_EQ(in_log(broker, "each worker has a control group"), marked) << read_text(broker.log);
    EXPECT_EQ(groups().size(), marked ? 1U : 0U);
    end_all();
    if (!grouped()) return;
    // As with DelegateSubgroup=: the master sits in a leaf, its workers beside it.
    const std::string leaf = place_ + "/supervisor";
    ASSERT_EQ(::mkdir(leaf.c_str(), 0755), 0);
    start_in(leaf);
    EXPECT_EQ(sub_trees().size(), marked ? 2U : 1U);
    EXPECT_EQ(groups().size(), marked ? 1U : 0U);
    end_all();
    EXPECT_EQ(::rmdir(leaf.c_str()), 0);
}

/// Of the server's user, who may not put them anywhere, they come there all the same.
TEST_F(Grouped, WorkersOfAForkServerHaveTheirOwnToo) {
    fs::permissions(directory_.path(), fs::perms::others_exec, fs::perm_options::add);
    for (const std::string user : {"", "    user: nobody\n"}) {
        if (!user.empty() && ::geteuid() != 0) continue;
        SCOPED_TRACE(user);
        Daemon& broker = start_pool({.workers = 2,
                                     .executable = user.empty() ? "" : "stock",
                                     .pool = "    start: forkserver\n" + user,
                                     .yaml = key()});
        EXPECT_TRUE(in_log(broker, "fork server born"));
        const std::vector<std::string> all = groups();
        ASSERT_EQ(all.size(), grouped() ? 2U : 0U);
        for (const std::string& group : all) {
            const std::vector<pid_t> each = workers();
            EXPECT_EQ(std::ranges::count_if(each, [&](pid_t pid) { return is_in(pid, group); }), 1);
        }
        if (user.empty()) {
            start_escape(500ms);
            EXPECT_THROW(result_->get(kLimit), TaskTimeout);
            expect_its_end(broker);
        }
        result_.reset();
        close_pool();
        stop(broker);
        EXPECT_EQ(groups(), std::vector<std::string>{});
    }
}

}  // namespace
}  // namespace forkmill::e2e
