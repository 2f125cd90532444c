// SPDX-License-Identifier: Apache-2.0
// The helpers that other tests lean on must themselves be able to see what they look for.
#include "tests/support/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace forkmill::test {
namespace {

using namespace std::chrono_literals;

TEST(Program, TellsItsExitCodeOrSignal) {
    EXPECT_EQ(Program({"/bin/sh", "-c", "exit 7"}).wait(5s), 7);
    Program sleeper{{"/bin/sleep", "60"}};
    EXPECT_TRUE(sleeper.running());
    sleeper.signal(SIGTERM);
    EXPECT_EQ(sleeper.wait(5s), 128 + SIGTERM);
    EXPECT_EQ(Program({"/no/such/program"}).wait(5s), 127);
}

TEST(Program, GetsItsEnvironmentDirectoryAndOutput) {
    const TempDir dir;
    Program shell{{"/bin/sh", "-c", "echo $WORD; pwd"},
                  {.environment = {"WORD=hello"}, .output = dir / "out", .directory = dir.path()}};
    ASSERT_EQ(shell.wait(5s), 0);
    EXPECT_EQ(read_text(dir / "out"), "hello\n" + dir.path().string() + "\n");
}

TEST(Program, IsKilledWhenItsTestForgetsIt) {
    pid_t pid = 0;
    {
        const Program sleeper{{"/bin/sleep", "60"}};
        pid = sleeper.pid();
        EXPECT_TRUE(process_alive(pid));
    }
    EXPECT_FALSE(process_alive(pid));
}

TEST(Leftovers, AreSeenEvenWhenTheirParentIsGone) {
    adopt_orphans();
    Program parent{{"/bin/sh", "-c", "/bin/sleep 60 & exit 0"}};
    ASSERT_EQ(parent.wait(5s), 0);
    const std::vector<pid_t> left = leftovers();
    ASSERT_EQ(left.size(), 1U);
    ::kill(left[0], SIGKILL);
    EXPECT_TRUE(wait_until([] { return leftovers().empty(); }));
}

TEST(WaitUntil, EndsAtItsLimit) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(wait_until([] { return false; }, 20ms));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
    EXPECT_TRUE(wait_until([] { return true; }, 0ms));
}

TEST(Counts, AboveTwoHundredRunAtATwentiethUnlessAskedAndNotSanitized) {
    ::setenv("FORKMILL_FULL", "0", 1);
    EXPECT_EQ(full_or_twentieth(200), 200);
    EXPECT_EQ(full_or_twentieth(1000), 50);
    EXPECT_EQ(full_or_twentieth(1000, 100), 100);
    ::setenv("FORKMILL_FULL", "1", 1);
    const bool sanitized = stretched(1s) > 1s;
    EXPECT_EQ(full_or_twentieth(1000), sanitized ? 50 : 1000);
}

TEST(OpenFiles, NamesThem) {
    const std::vector<std::string> names = open_files(::getpid());
    EXPECT_FALSE(names.empty());
    EXPECT_TRUE(open_files(0x7ffffff).empty());
}

}  // namespace
}  // namespace forkmill::test
