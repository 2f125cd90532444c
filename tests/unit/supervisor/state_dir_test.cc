// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/state_dir.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "core/supervisor/signals.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace forkmill::supervisor {
namespace {

std::uint64_t raised(const StateDir& dir) {
    const base::Result<std::uint64_t> result = dir.raise_incarnation();
    EXPECT_TRUE(result.ok()) << result.failure().text;
    return result.ok() ? result.value() : 0;
}

TEST(StateDir, IsMadePrivateWithAPidFile) {
    const test::TempDir dir;
    const std::string path = dir / "state";
    {
        const base::Result<StateDir> state = StateDir::open(path);
        ASSERT_TRUE(state.ok()) << state.failure().text;
        struct stat status {};
        ASSERT_EQ(::stat(path.c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 0777, 0700U);
        EXPECT_EQ(test::read_text(path + "/master.pid"), std::to_string(::getpid()) + "\n");
    }
    EXPECT_FALSE(std::filesystem::exists(path + "/master.pid"));
}

TEST(StateDir, IncarnationsRiseAcrossRestartsAndOnlyOnce) {
    const test::TempDir dir;
    for (std::uint64_t expected = 1; expected <= 3; ++expected) {
        const base::Result<StateDir> state = StateDir::open(dir / "state");
        ASSERT_TRUE(state.ok());
        EXPECT_EQ(raised(state.value()), 2 * expected - 1);
        EXPECT_EQ(raised(state.value()), 2 * expected);
    }
}

TEST(StateDir, AnIncarnationThatIsNoNumberIsNotForgotten) {
    const test::TempDir dir;
    const base::Result<StateDir> state = StateDir::open(dir / "state");
    ASSERT_TRUE(state.ok());
    for (const char* text : {"", "x\n", "-3\n"}) {
        dir.write("state/incarnation", text);
        const base::Result<std::uint64_t> result = state.value().raise_incarnation();
        ASSERT_FALSE(result.ok()) << "'" << text << "'";
        EXPECT_NE(result.failure().text.find("cure"), std::string::npos);
    }
}

TEST(StateDir, ASecondInstanceIsRefusedAndTheFirstUndisturbed) {
    const test::TempDir dir;
    const base::Result<StateDir> first = StateDir::open(dir / "state");
    ASSERT_TRUE(first.ok());
    const base::Result<StateDir> second = StateDir::open(dir / "state");
    ASSERT_FALSE(second.ok());
    EXPECT_NE(second.failure().text.find(std::to_string(::getpid())), std::string::npos)
        << second.failure().text;
    EXPECT_EQ(raised(first.value()), 1U);
    EXPECT_EQ(test::read_text(dir / "state/master.pid"), std::to_string(::getpid()) + "\n");
}

TEST(StateDir, ADeadInstanceIsNoObstacle) {
    const test::TempDir dir;
    const pid_t child = ::fork();
    if (child == 0) {
        const base::Result<StateDir> state = StateDir::open(dir / "state");
        ::raise(SIGKILL);
    }
    ::waitpid(child, nullptr, 0);
    EXPECT_EQ(test::read_text(dir / "state/master.pid"), std::to_string(child) + "\n");
    EXPECT_TRUE(StateDir::open(dir / "state").ok());
}

TEST(StateDir, AForkOfItsOwnerDoesNotEndIt) {
    const test::TempDir dir;
    base::Result<StateDir> state = StateDir::open(dir / "state");
    ASSERT_TRUE(state.ok());
    const pid_t child = ::fork();
    if (child == 0) {
        { const StateDir copy = std::move(state).value(); }
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(std::filesystem::exists(dir / "state/master.pid"));
    EXPECT_FALSE(StateDir::open(dir / "state").ok());
}

TEST(StateDir, WhatCannotBeUsedIsRefusedWithItsPath) {
    const test::TempDir dir;
    dir.write("file", "x");
    std::filesystem::create_directory(dir / "open");
    ::chmod((dir / "open").c_str(), 0777);
    for (const char* name : {"file", "missing/state", "open"}) {
        const base::Result<StateDir> state = StateDir::open(dir / name);
        ASSERT_FALSE(state.ok()) << name;
        EXPECT_NE(state.failure().text.find((dir / name).string()), std::string::npos)
            << state.failure().text;
    }
}

TEST(Signals, EveryVerbAndSignalIsInTheTableOnce) {
    for (const SignalRow& row : signal_table()) {
        EXPECT_EQ(find_signal(row.signo), &row) << row.name;
        if (!row.verb.empty()) {
            EXPECT_EQ(find_verb(row.verb), &row) << row.verb;
        }
    }
    EXPECT_EQ(find_verb("stop")->signo, SIGTERM);
    EXPECT_EQ(find_verb("quit")->signo, SIGQUIT);
    EXPECT_EQ(find_verb("reload")->signo, SIGHUP);
    EXPECT_EQ(find_verb("reopen")->signo, SIGUSR1);
    EXPECT_EQ(find_verb("sotp"), nullptr);
    EXPECT_EQ(find_verb(""), nullptr);
    EXPECT_EQ(find_signal(SIGSEGV), nullptr);
}

}  // namespace
}  // namespace forkmill::supervisor
