// SPDX-License-Identifier: Apache-2.0
// Cases 8, 27, 50: workers of another user, with limits of the kernel, and what becomes of them and
// of what they started when its parent is gone.
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::descendants_of;
using test::process_alive;
using test::stretched;
using test::wait_until;

/// The rest of the line of /proc/PID/`file` that starts with `key`, its blanks made single ones.
std::string line_of(pid_t pid, const std::string& file, const std::string& key) {
    std::ifstream lines{"/proc/" + std::to_string(pid) + "/" + file};
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with(key)) continue;
        std::istringstream words{line.substr(key.size())};
        std::string found;
        for (std::string word; words >> word;) found += (found.empty() ? "" : " ") + word;
        return found;
    }
    return "no such line";
}

std::string four_times(unsigned id) {
    const std::string one = std::to_string(id);
    return one + " " + one + " " + one + " " + one;
}

/// Only root may change who a process is; anybody else is told so at the start.
bool is_root() {
    return ::geteuid() == 0;
}

inline constexpr Task<"edition.number", int(int)> edition_number;

class Privileged : public Supervised {
  protected:
    void SetUp() override {
        // The way to state_dir is the operator's matter.
        ::chmod(directory_.path().c_str(), 0711);
    }
    /// Both ids and all groups are those of `nobody`.
    static void expect_nobody(pid_t worker) {
        const passwd* nobody = ::getpwnam("nobody");
        ASSERT_NE(nobody, nullptr);
        EXPECT_EQ(line_of(worker, "status", "Uid:"), four_times(nobody->pw_uid));
        EXPECT_EQ(line_of(worker, "status", "Gid:"), four_times(nobody->pw_gid));
        EXPECT_EQ(line_of(worker, "status", "Groups:"), std::to_string(nobody->pw_gid));
        EXPECT_EQ(line_of(worker, "status", "CapEff:"), "0000000000000000");
    }
    /// What forkmilld says of a pool with these keys, and that it ends with 78.
    std::string faults_of(const std::string& keys) {
        const std::filesystem::path file = write_broker_config({.pool = keys});
        std::string said;
        EXPECT_EQ(run({test::built_program("forkmilld").string(), "-c", file.string()}, said), 78);
        return said;
    }
};

#define PRIVILEGED(number, name) TEST_F(Privileged, supervision_##number##_##name)

PRIVILEGED(50, WorkersAreNobodyTheMasterIsRootAndTasksRun) {
    const std::string keys = "    user: nobody\n";
    if (!is_root()) {
        EXPECT_NE(faults_of(keys).find("only root may run workers"), std::string::npos);
        return;
    }
    Daemon& broker = start_pool({.workers = 2, .pool = keys});
    ASSERT_EQ(workers().size(), 2U);
    for (const pid_t worker : workers()) expect_nobody(worker);
    for (const pid_t pid : {broker.program->pid(), router_of(broker)})
        EXPECT_EQ(line_of(pid, "status", "Uid:"), four_times(0));
    EXPECT_EQ(pool().apply(echo, std::string{"from nobody"}), "from nobody");
    EXPECT_THROW(pool().apply(mark, (directory_ / "theirs_to_write").string(), 1), Error)
        << "a task of nobody wrote to a directory of root";
}

PRIVILEGED(50, AKilledMastersWorkersDieWhoeverTheyAre) {
    if (!is_root()) return;  // The case above says what happens then.
    Daemon& broker = start_pool({.workers = 2, .pool = "    user: nobody\n"});
    // One whose I/O thread stands still sees no end of its channel: only the kernel tells it.
    const std::string file = directory_.write("notes", "");
    ::chmod(file.c_str(), 0622);
    auto result = pool().apply_async(freeze, file);
    noted(1);
    const std::vector<pid_t> family = descendants_of(broker.program->pid());
    ASSERT_EQ(family.size(), 3U);
    kill(broker);
    EXPECT_TRUE(
        wait_until([&] { return std::none_of(family.begin(), family.end(), process_alive); }, 1s));
    close_pool();
}

PRIVILEGED(50, TheSocketIsTheUsersAloneAndNothingElseIsOpened) {
    if (!is_root()) return;  // The first case says what happens then.
    start_pool({.workers = 1, .pool = "    user: nobody\n"});
    ASSERT_EQ(workers().size(), 1U);
    const std::filesystem::path state = directory_ / "state";
    const auto status_of = [&](const std::string& name) {
        struct stat status {};
        EXPECT_EQ(::stat((state / name).c_str(), &status), 0) << name;
        return status;
    };
    const unsigned uid = ::getpwnam("nobody")->pw_uid;
    const struct stat theirs = status_of("workers-" + std::to_string(uid) + ".sock");
    EXPECT_EQ(theirs.st_uid, uid);
    EXPECT_EQ(theirs.st_mode & 0777, 0600U);
    EXPECT_EQ(status_of(".").st_mode & 0777, 0711U);
    for (const char* name : {"workers.sock", "master.pid", "incarnation"}) {
        EXPECT_EQ(status_of(name).st_uid, 0U) << name;
        EXPECT_EQ(status_of(name).st_mode & 0077, 0U) << name;
    }
}

PRIVILEGED(50, AReloadThatChangesTheUserReplacesWorkersThatLoadModules) {
    if (!is_root()) return;  // The first case says what happens then.
    const std::string modules =
        "    modules: [" FORKMILL_TEST_LIB_DIR "/forkmill/modules/edition_1.so]\n";
    const BrokerWanted before{.workers = 2, .executable = "stock", .pool = modules};
    Daemon& broker = start_pool(before);
    const std::vector<pid_t> old = workers();
    EXPECT_EQ(line_of(old[0], "status", "Uid:"), four_times(0));
    write_broker_config(
        {.workers = 2, .executable = "stock", .pool = modules + "    user: nobody\n"});
    ASSERT_EQ(::kill(broker.program->pid(), SIGHUP), 0);
    ASSERT_TRUE(wait_until([&] { return replaced(old, 2); }, kLimit))
        << test::read_text(broker.log);
    for (const pid_t worker : workers()) expect_nobody(worker);
    EXPECT_EQ(pool().apply(edition_number, 0), 1);
}

PRIVILEGED(50, AWorkerHostsWorkersAreAnotherUserToo) {
    if (!is_root()) return;  // The first case says what happens then.
    const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(free_port());
    start_broker({.listen = endpoint, .workers = 0});
    Daemon& host = start_host(endpoint, 1, "user: nobody\nlimits: {open_files: 200}\n");
    Pool pool{endpoint};
    const pid_t worker = pool.apply(e2e::pid);
    expect_nobody(worker);
    EXPECT_EQ(line_of(worker, "limits", "Max open files"), "200 200 files");
    for (const pid_t pid : descendants_of(host.program->pid())) {
        if (pid != worker) {
            EXPECT_EQ(line_of(pid, "status", "Uid:"), four_times(0)) << "the uplink";
        }
    }
    EXPECT_EQ(line_of(host.program->pid(), "status", "Uid:"), four_times(0));
}

PRIVILEGED(50, AnUnknownUserOrGroupIsAFaultWithItsPlace) {
    const std::string said = faults_of("    user: nobody-knows\n");
    // state_dir, listen, pools, default, workers, threads, executable; then it.
    EXPECT_NE(said.find("broker.yaml:8:"), std::string::npos) << said;
    EXPECT_NE(said.find("no user 'nobody-knows' on this host; expected"), std::string::npos)
        << said;
    EXPECT_NE(faults_of("    group: nobody-knows\n").find("no group 'nobody-knows'"),
              std::string::npos);
    EXPECT_NE(faults_of("    limits: {open_files: 3}\n").find("expected at least 64"),
              std::string::npos);
}

PRIVILEGED(50, LimitsOfTheKernelHoldForWorkersOnly) {
    const std::string keys =
        "    limits: {open_files: 300, core: 1MiB, cpu_seconds: 5000, processes: 4000}\n";
    Daemon& broker = start_pool({.workers = 1, .pool = keys});
    const pid_t worker = workers()[0];
    const auto limit = [&](pid_t pid, const char* name) { return line_of(pid, "limits", name); };
    EXPECT_EQ(limit(worker, "Max open files"), "300 300 files");
    EXPECT_EQ(limit(worker, "Max core file size"), "1048576 1048576 bytes");
    EXPECT_EQ(limit(worker, "Max cpu time"), "5000 5001 seconds");
    EXPECT_EQ(limit(worker, "Max processes"), "4000 4000 processes");
    EXPECT_EQ(limit(worker, "Max address space"), limit(::getpid(), "Max address space"));
    EXPECT_EQ(limit(broker.program->pid(), "Max cpu time"), limit(::getpid(), "Max cpu time"));
    EXPECT_EQ(pool().apply(echo, std::string{"within"}), "within");
}

SUPERVISION(08, ARunningTaskOutlivesItsMasterAndItsWorkerEndsThen) {
    Daemon& broker =
        start_pool({.workers = 2, .pool = "    orphan_policy: finish\n    drain_timeout: 3s\n"});
    Gate gate{gate_file()};
    auto result = pool().apply_async(twice, notes(), gate.name());
    const pid_t busy = noted(1)[0];
    std::vector<pid_t> others = descendants_of(broker.program->pid());
    std::erase(others, busy);
    ASSERT_EQ(others.size(), 2U) << "the router and an idle worker";
    kill(broker);
    EXPECT_TRUE(
        wait_until([&] { return std::none_of(others.begin(), others.end(), process_alive); }, 1s))
        << "who has nothing to finish waits for nothing";
    EXPECT_TRUE(process_alive(busy));
    gate.open();
    EXPECT_EQ(noted(2), (std::vector<int>{busy, busy}));
    EXPECT_TRUE(wait_until([&] { return !process_alive(busy); }, 5s)) << "nobody takes its result";
    close_pool();
}

SUPERVISION(08, AnOrphanThatDoesNotFinishIsGoneAtItsDeadline) {
    for (const bool frozen : {false, true}) {
        SCOPED_TRACE(frozen ? "its I/O thread stands still" : "its task goes on");
        Daemon& broker = start_pool(
            {.workers = 1, .pool = "    orphan_policy: finish\n    drain_timeout: 700ms\n"});
        std::filesystem::remove(notes());
        frozen ? static_cast<void>(pool().apply_async(freeze, notes()))
               : static_cast<void>(pool().apply_async(start_child, notes()));
        noted(1);
        std::vector<pid_t> family = descendants_of(broker.program->pid());
        ASSERT_EQ(family.size(), frozen ? 2U : 3U);
        std::erase(family, router_of(broker));
        const auto killed = Clock::now();
        kill(broker);
        EXPECT_TRUE(wait_until(
            [&] { return std::none_of(family.begin(), family.end(), process_alive); }, kLimit));
        EXPECT_GE(Clock::now() - killed, 700ms) << "it had that time";
        EXPECT_LT(Clock::now() - killed, stretched(5s));
        close_pool();
    }
}

SUPERVISION(08, ANewMasterTakesTheResultOfAnOrphan) {
    const BrokerWanted wanted{.workers = 1, .pool = "    orphan_policy: finish\n"};
    Daemon& broker = start_pool(wanted);
    Gate gate{gate_file()};
    auto result = pool().apply_async(twice, notes(), gate.name());
    const pid_t orphan = noted(1)[0];
    kill(broker);
    ASSERT_TRUE(wait_until([&] { return !process_alive(broker.program->pid()); }));
    start_broker(wanted);
    EXPECT_TRUE(wait_until([&] { return !state_of(orphan).empty(); }, kLimit)) << "it never came";
    gate.open();
    EXPECT_EQ(result.get(kLimit), orphan);
    EXPECT_EQ(noted(2), (std::vector<int>{orphan, orphan})) << "it ran twice";
    EXPECT_TRUE(wait_until([&] { return !process_alive(orphan); }, kLimit))
        << "it is nobody's to keep";
}

SUPERVISION(27, WhatLeftItsWorkersSessionIsToldOfOnceAndLeftAlone) {
    Daemon& broker = start_pool({.workers = 1, .yaml = "cgroup: off\n"});
    const pid_t daemon = pool().apply(start_daemon);
    const std::string told = "process escaped its worker";
    const auto kill_worker = [&] {
        const std::vector<pid_t> before = workers();
        ASSERT_EQ(::kill(before[0], SIGKILL), 0);
        EXPECT_TRUE(wait_until([&] { return replaced(before, 1); }, kLimit));
    };
    EXPECT_FALSE(in_log(broker, told)) << "its worker lives";
    kill_worker();
    const std::string line = told + " pid=" + std::to_string(daemon) + " name=sleep so_far=1";
    EXPECT_TRUE(wait_until([&] { return in_log(broker, line); }, kLimit))
        << test::read_text(broker.log);
    EXPECT_TRUE(process_alive(daemon));
    // Another, and one that stays in its worker's group: of three, one is to be told of.
    const pid_t second = pool().apply(start_daemon);
    auto stays = pool().apply_async(start_child.with({.at_most_once = true}), notes());
    noted(1);
    kill_worker();
    const std::string next = told + " pid=" + std::to_string(second) + " name=sleep so_far=2";
    EXPECT_TRUE(wait_until([&] { return in_log(broker, next); }, kLimit))
        << test::read_text(broker.log);
    EXPECT_EQ(times_in_log(broker, told), 2);
    for (const pid_t pid : {daemon, second}) EXPECT_EQ(::kill(pid, SIGKILL), 0);
}

}  // namespace
}  // namespace forkmill::e2e
