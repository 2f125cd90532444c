// SPDX-License-Identifier: Apache-2.0
// Another user, limits of the kernel, and orphans that left their worker's group. What only root
// may do is tested as a refusal when somebody else runs this.
#include "core/supervisor/privileges.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "core/supervisor/escapes.h"
#include "core/supervisor/exit_codes.h"
#include "core/supervisor/spawn.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace forkmill::supervisor {
namespace {

using test::wait_until;

constexpr uid_t kStranger = 54'321;  // The kernel asks no database.

Privileges stranger() {
    Privileges privileges;
    privileges.account = Account{"stranger", "/", kStranger, kStranger, {kStranger, kStranger + 1}};
    return privileges;
}

Program sleeper(const Privileges& privileges) {
    Program program;
    program.argv = {"/bin/sleep", "600"};
    program.privileges = privileges;
    return program;
}

std::string text_of(pid_t pid, const std::string& file) {
    return test::read_text("/proc/" + std::to_string(pid) + "/" + file);
}

bool runs_sleep(pid_t pid) {
    return text_of(pid, "comm") == "sleep\n";
}

int end(pid_t pid) {
    kill_group(pid);
    int status = 0;
    ::waitpid(pid, &status, 0);
    return status;
}

TEST(Privileges, AChildRunsAsItsAccountWithThatsGroupsAndNoOther) {
    const auto spawned = spawn_program(sleeper(stranger()));
    ASSERT_TRUE(spawned.ok());
    const pid_t pid = spawned.value().pid;
    if (::geteuid() != 0) {
        int status = 0;
        ASSERT_EQ(::waitpid(pid, &status, 0), pid);
        EXPECT_EQ(WEXITSTATUS(status), kExitConfig);
        return;
    }
    EXPECT_TRUE(wait_until([&] { return runs_sleep(pid); }));
    const std::string status = text_of(pid, "status");
    EXPECT_NE(status.find("Uid:\t54321\t54321\t54321\t54321\n"), std::string::npos) << status;
    EXPECT_NE(status.find("Gid:\t54321\t54321\t54321\t54321\n"), std::string::npos);
    EXPECT_NE(status.find("Groups:\t54321 54322 \n"), std::string::npos);
    end(pid);
}

TEST(Privileges, AChildOfAnotherUserStillDiesWithItsParent) {
    if (::geteuid() != 0) return;  // The case above says what happens then.
    test::adopt_orphans();
    std::array<int, 2> told{};
    ASSERT_EQ(::pipe(told.data()), 0);
    const auto parent = fork_child({told[1]}, [&] {
        const auto spawned = spawn_program(sleeper(stranger()));
        const pid_t pid = spawned.ok() ? spawned.value().pid : -1;
        if (::write(told[1], &pid, sizeof pid) == sizeof pid) ::pause();
        return 1;
    });
    ASSERT_TRUE(parent.ok());
    pid_t child = 0;
    ASSERT_EQ(::read(told[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
    for (const int fd : told) ::close(fd);
    ASSERT_TRUE(wait_until([&] { return runs_sleep(child); }));
    ASSERT_EQ(::kill(parent.value().pid, SIGKILL), 0);
    ::waitpid(parent.value().pid, nullptr, 0);
    EXPECT_TRUE(
        wait_until([&] { return !test::process_alive(child); }, std::chrono::milliseconds{1000}));
    end(child);
}

TEST(Privileges, LimitsHoldForTheChildAlone) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_CORE, &before), 0);
    Privileges privileges;
    privileges.limits = {{RLIMIT_NOFILE, 77, 78}, {RLIMIT_AS, 1U << 30, 1U << 30}};
    const auto spawned = spawn_program(sleeper(privileges));
    ASSERT_TRUE(spawned.ok());
    const pid_t pid = spawned.value().pid;
    EXPECT_TRUE(wait_until([&] { return runs_sleep(pid); }));
    const std::string limits = text_of(pid, "limits");
    const auto has = [&](const std::string& name, const std::string& values) {
        const std::size_t at = limits.find(name);
        std::string line = limits.substr(at, limits.find('\n', at) - at);
        line.erase(
            std::unique(
                line.begin(), line.end(), [](char a, char b) { return a == ' ' && b == ' '; }),
            line.end());
        return line.starts_with(name + " " + values);
    };
    EXPECT_TRUE(has("Max open files", "77 78 files")) << limits;
    EXPECT_TRUE(has("Max address space", "1073741824 1073741824 bytes")) << limits;
    EXPECT_EQ(text_of(::getpid(), "limits").find(" 77 "), std::string::npos);
    end(pid);
}

TEST(Privileges, NamesAreLookedUpAndTheUnknownOneIsTold) {
    const AccountFound root = find_account("root", "");
    ASSERT_TRUE(root.account);
    EXPECT_EQ(root.account->uid, 0U);
    EXPECT_EQ(root.account->home, "/root");
    EXPECT_NE(std::find(root.account->groups.begin(), root.account->groups.end(), 0U),
              root.account->groups.end());
    const AccountFound nobody = find_account("nobody", "root");
    ASSERT_TRUE(nobody.account);
    EXPECT_NE(nobody.account->uid, 0U);
    EXPECT_EQ(nobody.account->gid, 0U);
    const AccountFound grouped = find_account("", "root");
    ASSERT_TRUE(grouped.account);
    EXPECT_EQ(grouped.account->uid, ::geteuid());
    EXPECT_EQ(grouped.account->groups, std::vector<gid_t>{0});
    EXPECT_FALSE(find_account("no such user", "root").user_known);
    const AccountFound lost = find_account("root", "no such group");
    EXPECT_TRUE(lost.user_known);
    EXPECT_FALSE(lost.account);
}

TEST(Privileges, TheirTextChangesWithAnyOfThem) {
    const Privileges none;
    EXPECT_EQ(to_text(none), "");
    std::vector<std::string> texts{to_text(none), to_text(stranger())};
    Privileges changed = stranger();
    changed.account->groups.pop_back();
    texts.push_back(to_text(changed));
    changed.account->gid = 7;
    texts.push_back(to_text(changed));
    changed.limits.push_back({RLIMIT_CORE, 1, 1});
    texts.push_back(to_text(changed));
    changed.limits[0].hard = 2;
    texts.push_back(to_text(changed));
    std::sort(texts.begin(), texts.end());
    EXPECT_EQ(std::unique(texts.begin(), texts.end()), texts.end());
}

TEST(Privileges, AStateDirIsOpenedForPassingAndItsModulesForReading) {
    const test::TempDir dir;
    const std::string module = dir.write("state/modules/a.so", "code");
    const std::string secret = dir.write("state/incarnation", "7\n");
    for (const std::string& path : {module, secret}) ::chmod(path.c_str(), 0600);
    const std::string state = dir / "state";
    ::chmod(state.c_str(), 0700);
    ASSERT_TRUE(open_to_users(state).ok());
    const auto mode = [](const std::string& path) {
        struct stat status {};
        EXPECT_EQ(::stat(path.c_str(), &status), 0);
        return status.st_mode & 0777;
    };
    EXPECT_EQ(mode(state), 0711U);
    EXPECT_EQ(mode(state + "/modules"), 0711U);
    EXPECT_EQ(mode(module), 0555U);
    EXPECT_EQ(mode(secret), 0600U);
    EXPECT_FALSE(open_to_users(dir / "nowhere").ok());
}

TEST(Privileges, ADirectoryThatAnAccountMayNotPassIsFound) {
    const test::TempDir dir;
    const std::string below = dir.write("closed/state/x", "");
    const std::string closed = dir / "closed";
    ::chmod(dir.path().c_str(), 0711);
    ::chmod(closed.c_str(), 0700);
    const Account account = *stranger().account;
    EXPECT_EQ(closed_directory(account, closed + "/state"), closed);
    ::chmod(closed.c_str(), 0701);
    EXPECT_EQ(closed_directory(account, closed + "/state"), "");
    Account member = account;
    member.groups.push_back(::getegid());
    EXPECT_EQ(closed_directory(member, closed + "/state"), closed)
        << "its group counts, not others";
    Account root = account;
    root.uid = 0;
    ::chmod(closed.c_str(), 0700);
    EXPECT_EQ(closed_directory(root, closed + "/state"), "");
}

TEST(Escapes, AnOrphanIsToldOfOnceAndNotWhileItMayBeDying) {
    const auto spawned = spawn_program(sleeper({}));
    ASSERT_TRUE(spawned.ok());
    const pid_t pid = spawned.value().pid;
    ASSERT_TRUE(wait_until([&] { return runs_sleep(pid); }));
    const auto nobodys = [](pid_t) { return false; };
    const base::Time start{std::chrono::seconds{1}};
    const base::Time later = start + Escapes::kDying;
    Escapes escapes;
    EXPECT_TRUE(escapes.due(nobodys, later).empty()) << "no worker died";
    escapes.on_death(nobodys, start);
    EXPECT_TRUE(escapes.due(nobodys, later - base::Duration{1}).empty());
    const std::vector<Escaped> told = escapes.due(nobodys, later);
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].pid, pid);
    EXPECT_EQ(told[0].name, "sleep");
    escapes.on_death(nobodys, later);
    EXPECT_TRUE(escapes.due(nobodys, later + Escapes::kDying).empty()) << "twice";
    EXPECT_EQ(escapes.count(), 1U);
    end(pid);
    escapes.on_reaped(pid);
    escapes.on_death(nobodys, later);
    EXPECT_TRUE(escapes.due(nobodys, later + Escapes::kDying).empty());
}

TEST(Escapes, ChildrenAndWhatIsInTheirGroupsAreNone) {
    const auto spawned = spawn_program(sleeper({}));
    ASSERT_TRUE(spawned.ok());
    const pid_t pid = spawned.value().pid;
    ASSERT_TRUE(wait_until([&] { return ::getpgid(pid) == pid; })) << "it takes its group itself";
    const base::Time start{std::chrono::seconds{1}};
    Escapes escapes;
    const auto own = [&](pid_t asked) { return asked == pid; };
    escapes.on_death(own, start);
    EXPECT_TRUE(escapes.due([](pid_t) { return false; }, start + Escapes::kDying).empty());
    // Noted as an orphan, but its group is a living child's; here its own.
    escapes.on_death([](pid_t) { return false; }, start);
    EXPECT_TRUE(escapes.due(own, start + Escapes::kDying).empty());
    EXPECT_EQ(escapes.count(), 0U);
    end(pid);
}

}  // namespace
}  // namespace forkmill::supervisor
