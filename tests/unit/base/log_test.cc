// SPDX-License-Identifier: Apache-2.0
#include "core/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace forkmill::test {
namespace {

using base::LogLevel;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

class Log : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(base::log_start({.name = "test", .file = file()}).ok()); }
    void TearDown() override { ASSERT_TRUE(base::log_start({}).ok()); }
    std::string file() const { return (dir_ / "log").string(); }
    std::string text() const { return read_text(file()); }

    TempDir dir_;
};

TEST_F(Log, ALineIsTimeLevelProcessEventAndFields) {
    base::log_line(
        LogLevel::Info, "worker died", {{"pool", "default"}, {"pid", 17}, {"cause", "a b"}});
    EXPECT_THAT(text(),
                MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9:.]+Z info test\\[[0-9]+\\] "
                             "worker died pool=default pid=17 cause=\"a b\"\n"));
}

TEST_F(Log, APeersBytesCannotForgeALine) {
    base::log_line(LogLevel::Info, "hello", {{"name", "x\n2025 error fake\x1b[2J\"="}});
    const std::string line = text();
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
    EXPECT_THAT(line, HasSubstr("name=\"x\\n2025 error fake\\x1b[2J\\\"=\""));
}

TEST_F(Log, LongValuesAreCut) {
    base::log_line(LogLevel::Info, "hello", {{"name", std::string(100'000, 'x')}});
    EXPECT_LT(text().size(), 2000U);
    EXPECT_THAT(text(), HasSubstr("x…\n"));
}

TEST_F(Log, LevelsBelowTheChosenOneAreNotWritten) {
    base::log_line(LogLevel::Debug, "quiet");
    EXPECT_FALSE(base::log_enabled(LogLevel::Debug));
    base::log_set_level(LogLevel::Debug);
    base::log_line(LogLevel::Debug, "loud");
    EXPECT_THAT(text(), HasSubstr("debug test"));
    EXPECT_THAT(text(), Not(HasSubstr("quiet")));
}

TEST_F(Log, ReopenWritesToTheNewFileAfterARename) {
    base::log_line(LogLevel::Info, "first");
    std::filesystem::rename(file(), file() + ".1");
    base::log_line(LogLevel::Info, "second");
    ASSERT_TRUE(base::log_reopen().ok());
    base::log_line(LogLevel::Info, "third");
    EXPECT_THAT(read_text(file() + ".1"), HasSubstr("second"));
    EXPECT_THAT(text(), HasSubstr("third"));
    EXPECT_THAT(text(), Not(HasSubstr("second")));
}

TEST_F(Log, AFileThatCannotBeOpenedLeavesTheOldLogInUse) {
    const base::Status status = base::log_start({.file = (dir_ / "no/such/dir/log").string()});
    ASSERT_FALSE(status.ok());
    EXPECT_THAT(status.failure().text, HasSubstr("No such file"));
    base::log_line(LogLevel::Info, "still here");
    EXPECT_THAT(text(), HasSubstr("still here"));
}

TEST_F(Log, LinesOfSeveralThreadsDoNotMix) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([] {
            for (int i = 0; i < 250; ++i) base::log_line(LogLevel::Info, "tick", {{"end", "here"}});
        });
    }
    for (std::thread& thread : threads) thread.join();
    const std::string all = text();
    EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 1000);
    std::size_t whole = 0;
    for (std::size_t at = all.find("tick end=here\n"); at != std::string::npos;
         at = all.find("tick end=here\n", at + 1)) {
        ++whole;
    }
    EXPECT_EQ(whole, 1000U);
}

}  // namespace
}  // namespace forkmill::test
