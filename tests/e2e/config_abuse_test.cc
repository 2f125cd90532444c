// SPDX-License-Identifier: Apache-2.0
// Configs and command lines that cannot be meant: told in one run, each at its line, by the exit
// code of sysexits, before anything listens or is forked.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "forkmill/forkmill.h"
#include "tests/e2e/site.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using namespace std::chrono_literals;
using forkmill::test::built_program;
namespace fs = std::filesystem;

constexpr int kUsage = 64;
constexpr int kNoInput = 66;
constexpr int kTempFail = 75;
constexpr int kConfig = 78;

class ConfigAbuse : public Site {
  protected:
    /// What forkmilld says to that file; it must end with `code` and leave nothing.
    std::string refused(const std::string& yaml, int code = kConfig) {
        return refused_file(directory_.write("bad.yaml", yaml), code);
    }
    std::string refused_file(const fs::path& file, int code) {
        std::string said;
        const int ended = run({built_program("forkmilld").string(), "-c", file.string()}, said);
        EXPECT_EQ(ended, code) << said;
        EXPECT_FALSE(fs::exists(directory_ / "state")) << "it began all the same";
        return said;
    }
    std::string prologue() const { return "state_dir: " + (directory_ / "state").string() + "\n"; }
    /// Says so at that line of the file.
    static void expect_at(const std::string& said, int line, const std::string& text) {
        const std::regex place{"bad\\.yaml:" + std::to_string(line) + ":\\d+: "};
        EXPECT_TRUE(std::regex_search(said, place)) << said;
        EXPECT_NE(said.find(text), std::string::npos) << "\"" << text << "\" in\n" << said;
    }
};

TEST_F(ConfigAbuse, Case39ADuplicateKeyNamesBothLines) {
    const std::string said =
        refused(prologue() + "pools:\n  default:\n    workers: 1\n    workers: 2\n");
    expect_at(said, 5, "line 4");
}

TEST_F(ConfigAbuse, Case40AnUnknownKeyIsAnsweredWithTheNearOne) {
    expect_at(
        refused(prologue() + "pools:\n  default:\n    worker: 2\n"), 4, "did you mean workers");
}

TEST_F(ConfigAbuse, Case41NumbersAreDecimalAndInRange) {
    for (const char* bad : {"012", "1e3", "yes", "-1", "0", "1000000000", "0x10", "1.5", "\"\""}) {
        SCOPED_TRACE(bad);
        const std::string said =
            refused(prologue() + "pools:\n  default:\n    workers: " + bad + "\n");
        expect_at(said, 4, "1024");
    }
}

TEST_F(ConfigAbuse, Case42WhatIsNoTextFileIsRefused) {
    refused(prologue() + "listen: [\"tcp://127.0.0.1:1\n");
    refused(prologue() + "pools:\n\tdefault:\n");
    refused(std::string("\xff\xfes\0t\0", 6));
    refused(prologue() + std::string("a\0b: 1\n", 7));
    refused("");
    refused_file(directory_.path(), kNoInput);
    const fs::path fifo = directory_ / "fifo.yaml";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    refused_file(fifo, kNoInput);
    const fs::path huge = directory_ / "huge.yaml";
    std::ofstream{huge} << "a: 1\n";
    ASSERT_EQ(::truncate(huge.c_str(), 1'000'000'000), 0);
    refused_file(huge, kNoInput);
}

TEST_F(ConfigAbuse, Case43BombsAreRefusedAtOnce) {
    std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 12; ++i) {
        const std::string before = "*a" + std::to_string(i - 1);
        laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int k = 0; k < 9; ++k) laughs += (k == 0 ? "" : ", ") + before;
        laughs += "]\n";
    }
    const std::string deep = "a: " + std::string(500, '[') + std::string(500, ']') + "\n";
    for (const std::string& bomb : {laughs, std::string{"a: &a [*a]\n"}, deep}) {
        const auto start = std::chrono::steady_clock::now();
        refused(bomb);
        EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
    }
}

TEST_F(ConfigAbuse, Case44OneDocumentWithoutTags) {
    refused(prologue() + "---\n" + prologue());
    expect_at(refused(prologue() + "pools:\n  default:\n    workers: !!int 3\n"), 4, "tag");
}

TEST_F(ConfigAbuse, Case45APortForTheWorldNeedsKeys) {
    expect_at(refused(prologue() + "listen: [\"tcp://*:5555\"]\n"), 2, "security.curve");
}

TEST_F(ConfigAbuse, Case46AKeyThatIsNotSafeEndsTheStart) {
    const fs::path key = directory_ / "broker.key";
    std::string said;
    ASSERT_EQ(run({built_program("forkmill").string(), "keygen", key.string()}, said), 0) << said;
    const std::string listed =
        directory_.write("authorized_keys", said.substr(0, 40) + " ann submit\n").string();
    const std::string yaml = prologue() + "security:\n  curve:\n    key_file: " + key.string() +
                             "\n    authorized_keys: " + listed + "\n";
    fs::permissions(key, fs::perms{0644});
    expect_at(refused(yaml), 4, "chmod 600");
    fs::permissions(key, fs::perms{0600});
    fs::create_symlink(key, directory_ / "link");
    expect_at(refused(prologue() + "security:\n  curve:\n    key_file: " +
                      (directory_ / "link").string() + "\n    authorized_keys: " + listed + "\n"),
              4,
              "symbolic link");
    expect_at(refused(prologue() + "security:\n  curve:\n    key_file: " + key.string() +
                      ".pub\n    authorized_keys: " + listed + "\n"),
              4,
              "chmod 600");
    directory_.write("authorized_keys", "short ann submit\n");
    expect_at(refused(yaml), 5, "40 characters");
}

TEST_F(ConfigAbuse, Case47ContradictionsNameBothSides) {
    std::string said = refused(prologue() + "limits: {memory: 32MiB, payload: 64MiB}\n");
    expect_at(said, 2, "memory");
    EXPECT_NE(said.find("payload"), std::string::npos) << said;
    said = refused(prologue() + "sessions: {ping_after: 4s, gone_after: 5s}\n");
    expect_at(said, 2, "gone_after");
    EXPECT_NE(said.find("ping_after"), std::string::npos) << said;
}

TEST_F(ConfigAbuse, EveryFaultIsToldInOneRun) {
    const std::string said = refused(prologue() +
                                     "pools:\n  default:\n    workers: many\n    thread: 2\n"
                                     "sessions: {ttl: 60}\nnonsense: 1\n");
    for (const int line : {4, 5, 6, 7}) expect_at(said, line, "expected");
}

class CommandLine : public ConfigAbuse {
  protected:
    std::string said_by(const std::string& program,
                        const std::vector<std::string>& arguments,
                        int code) {
        std::vector<std::string> argv{built_program(program).string()};
        argv.insert(argv.end(), arguments.begin(), arguments.end());
        std::string said;
        EXPECT_EQ(run(argv, said), code) << program << ": " << said;
        return said;
    }
};

TEST_F(CommandLine, Case48WhatIsNoCommandLineIsUsage) {
    const std::string file = directory_.write("good.yaml", prologue()).string();
    said_by("forkmilld", {}, kUsage);
    said_by("forkmilld", {"-c", file, "--no-such-flag"}, kUsage);
    said_by("forkmilld", {"-c"}, kUsage);
    said_by("forkmilld", {"-c", file, "-c", file}, kUsage);
    said_by("forkmilld", {"-c", file, "stray"}, kUsage);
    said_by("forkmill-worker", {"--workers=abc", "--connect", "tcp://127.0.0.1:1"}, kUsage);
    said_by("forkmill-worker", {"--workers"}, kUsage);
    said_by("forkmill", {"no-such-verb"}, kUsage);
    said_by("forkmill", {}, kUsage);
    EXPECT_FALSE(fs::exists(directory_ / "state"));
}

TEST_F(CommandLine, Case48AnUnreadableConfigIsNoInput) {
    said_by("forkmilld", {"-c", (directory_ / "nowhere.yaml").string()}, kNoInput);
}

TEST_F(CommandLine, Case48ASecondInstanceNamesTheFirst) {
    const Daemon& first = start_broker();
    std::string said;
    EXPECT_EQ(
        run({built_program("forkmilld").string(), "-c", (directory_ / "broker.yaml").string()},
            said),
        kTempFail);
    EXPECT_NE(said.find(std::to_string(first.program->pid())), std::string::npos) << said;
    forkmill::Pool pool{ipc()};
    EXPECT_TRUE(forkmill::test::wait_until([&] { return !pool.workers().empty(); }))
        << "the first one serves on";
}

TEST_F(CommandLine, Case48APortInUseForksNothing) {
    const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(free_port());
    start_broker({.listen = endpoint});
    const fs::path other = directory_.write(
        "other.yaml",
        "state_dir: " + (directory_ / "other").string() + "\nlisten: [\"" + endpoint + "\"]\n");
    std::string said;
    EXPECT_EQ(run({built_program("forkmilld").string(), "-c", other.string()}, said), kTempFail);
    EXPECT_NE(said.find(endpoint), std::string::npos) << said;
    EXPECT_EQ(said.find("born"), std::string::npos) << said;
}

}  // namespace
