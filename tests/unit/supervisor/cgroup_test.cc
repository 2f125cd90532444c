// SPDX-License-Identifier: Apache-2.0
// Control groups: where they are, whose they are, and what is done where there are none. Groups of
// the kernel's are in tests/supervision/cgroups_test.cc; here are files that look like theirs.
#include "core/supervisor/cgroup.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/supervisor/spawn.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace forkmill::supervisor {
namespace {

using namespace std::chrono_literals;
using test::TempDir;

constexpr const char* kUnified =
    "22 1 0:20 / /proc rw - proc proc rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kHybrid =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 master:2 - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

TEST(Cgroup, IsFoundWhereItsFileSystemIsMounted) {
    EXPECT_EQ(cgroup_directory("0::/system.slice/a.service\n", kUnified),
              "/sys/fs/cgroup/system.slice/a.service");
    EXPECT_EQ(cgroup_directory("4:memory:/x\n1:name=systemd:/y\n0::/z\n", kHybrid),
              "/sys/fs/cgroup/unified/z");
    EXPECT_EQ(cgroup_directory("0::/\n", kUnified), "/sys/fs/cgroup");
}

TEST(Cgroup, OfAMountThatShowsAPartOnlyThatPartIsFound) {
    const char* part = "9 1 0:26 /box /run/my\\040groups rw - cgroup2 cgroup2 rw\n";
    EXPECT_EQ(cgroup_directory("0::/box/worker\n", part), "/run/my groups/worker");
    EXPECT_EQ(cgroup_directory("0::/box\n", part), "/run/my groups");
    EXPECT_EQ(cgroup_directory("0::/boxes\n", part), std::nullopt);
}

TEST(Cgroup, WithoutTheSecondVersionThereIsNone) {
    EXPECT_EQ(cgroup_directory("4:memory:/x\n", kHybrid), std::nullopt);
    EXPECT_EQ(cgroup_directory("0::/x\n", "35 31 0:32 / /c rw - cgroup cgroup rw\n"), std::nullopt);
    EXPECT_EQ(cgroup_directory("", ""), std::nullopt);
}

TEST(Cgroup, IsDelegatedByItsMarkOrToAUserWhoHasNotItsParent) {
    const TempDir directory;
    const std::string parent = (directory / "parent").string();
    const std::string group = parent + "/group";
    ASSERT_EQ(::mkdir(parent.c_str(), 0755), 0);
    ASSERT_EQ(::mkdir(group.c_str(), 0755), 0);
    directory.write("parent/group/cgroup.procs", "");
    EXPECT_FALSE(is_delegated(group)) << "root's, or in the user's own session";
    EXPECT_FALSE(is_delegated(parent + "/nowhere"));
    // Not every file system keeps such marks.
    const bool marked = ::setxattr(group.c_str(), "user.delegate", "1", 1, 0) == 0;
    EXPECT_EQ(is_delegated(group), marked);
    if (marked) {
        ASSERT_EQ(::setxattr(group.c_str(), "user.delegate", "0", 1, 0), 0);
    }
    EXPECT_FALSE(is_delegated(group));
}

TEST(Cgroup, HasTheNameOfTheDirectoryThatTheLockIsIn) {
    const TempDir one;
    const TempDir other;
    const std::string name = cgroup_name(one.path().string());
    EXPECT_EQ(name, cgroup_name((one.path() / ".").string()));
    EXPECT_NE(name, cgroup_name(other.path().string()));
    EXPECT_EQ(cgroup_name(""), cgroup_name(""));
    EXPECT_NE(cgroup_name(""), name);
    EXPECT_EQ(name.find('/'), std::string::npos);
}

pid_t start_sleeper() {
    Program program;
    program.argv = {"/bin/sleep", "600"};
    const auto spawned = spawn_program(program);
    EXPECT_TRUE(spawned.ok());
    return spawned.ok() ? spawned.value().pid : 0;
}

bool was_killed(pid_t pid) {
    int status = 0;
    const auto ended = [&] { return ::waitpid(pid, &status, WNOHANG) == pid; };
    return test::wait_until(ended, 5s) && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST(Cgroup, WithoutAFileThatKillsItsMembersAreKilledOneByOne) {
    const TempDir directory;
    const pid_t one = start_sleeper();
    const pid_t below = start_sleeper();
    ASSERT_GT(one, 0);
    ASSERT_GT(below, 0);
    // 0 is a process of another pid namespace; this program is in nobody's reach.
    directory.write("cgroup.procs",
                    "0\n" + std::to_string(one) + "\n" + std::to_string(::getpid()) + "\n");
    directory.write("made_by_a_task/cgroup.procs", std::to_string(below) + "\n");
    kill_cgroup(directory.path().string());
    EXPECT_TRUE(was_killed(one));
    EXPECT_TRUE(was_killed(below));
}

TEST(Cgroup, CountsThoseThatRanOutOfMemoryWhereThatIsCounted) {
    const TempDir directory;
    EXPECT_EQ(oom_kills(directory.path().string()), std::nullopt);
    EXPECT_EQ(oom_kills(""), std::nullopt);
    directory.write("memory.events", "low 0\nhigh 3\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n");
    EXPECT_EQ(oom_kills(directory.path().string()), 1U);
}

TEST(Cgroups, SwitchedOffMakeNone) {
    Cgroups groups;
    groups.open({"off", "forkmill-test"});
    EXPECT_EQ(groups.make({"default", 0, 1, false}), "");
    groups.retire("", base::Time{});
    EXPECT_TRUE(groups.settled());
    EXPECT_EQ(groups.next_try(), base::kNever);
}

/// mkdir and rmdir are the same in any file system; a file keeps a directory from going.
TEST(Cgroups, WhatDoesNotGoAtOnceIsTriedAgainAndToldOfAfterAWhile) {
    const TempDir directory;
    const std::string root = (directory / "forkmill-test").string();
    Cgroups groups;
    groups.open({directory.path().string(), "forkmill-test"});
    const std::string first = groups.make({"default", 0, 1, false});
    EXPECT_EQ(first, root + "/default-0-1");
    EXPECT_EQ(groups.make({"default", 0, 1, true}), root + "/default-0-1.finish");
    EXPECT_EQ(groups.make({"default", 0, 1, false}), root + "/default-0-1~2");
    const std::filesystem::path obstacle = directory.write("forkmill-test/default-0-1/busy", "");
    base::Time now{};
    groups.retire(first, now);
    EXPECT_FALSE(groups.settled());
    while (now < base::Time{} + Cgroups::kPatience) {
        ASSERT_GT(groups.next_try(), now);
        now = groups.next_try();
        groups.settle(now);
    }
    EXPECT_TRUE(groups.settled()) << "a master would wait for ever";
    std::filesystem::remove(obstacle);
    now = groups.next_try();
    groups.settle(now);
    EXPECT_EQ(groups.next_try(), base::kNever);
    EXPECT_FALSE(std::filesystem::exists(first));
    groups.sweep([&](const std::string& path) { return path.ends_with("~2"); }, now);
    EXPECT_FALSE(std::filesystem::exists(root + "/default-0-1.finish"));
    EXPECT_TRUE(std::filesystem::exists(root + "/default-0-1~2"));
    groups.open({"off", ""});
    groups.retire(root + "/default-0-1~2", now);
    EXPECT_FALSE(std::filesystem::exists(root)) << "the last of a former sub-tree";
}

}  // namespace
}  // namespace forkmill::supervisor
