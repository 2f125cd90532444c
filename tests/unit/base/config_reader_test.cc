// SPDX-License-Identifier: Apache-2.0
#include "core/base/config_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>

#include "tests/support/bad_configs.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/base/config_schema.h"

namespace forkmill::test {
namespace {

using namespace std::chrono_literals;
using base::ConfigInput;
using base::ConfigReader;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

/// Faults of one file's text, without the path in front of them.
std::vector<std::string> faults_of(std::string_view text) {
    const TempDir dir;
    const std::string file = dir.write("c.yaml", text).string();
    ConfigReader config{{.file = file}};
    read_sample(config);
    std::vector<std::string> faults = config.finish();
    for (std::string& fault : faults) {
        if (fault.starts_with(file)) fault.erase(0, file.size() + 1);
    }
    return faults;
}

TEST(ConfigReader, ReadsEveryTypeAndKeepsFileOrder) {
    const TempDir dir;
    const auto file =
        dir.write("c.yaml",
                  "state_dir: /var/lib/x  # a comment\n"
                  "listen: [tcp://127.0.0.1:1, 'ipc://a']\n"
                  "sessions: {ping_after: 100ms, gone_after: 1m, on_client_lost: keep}\n"
                  "limits:\n  memory: 64MiB\n"
                  "pools:\n"
                  "  zeta: {workers: 2, pinned: true, environment: {A: '1', B: x y}}\n"
                  "  alpha:\n");
    ConfigReader config{{.file = file.string()}};
    const Sample sample = read_sample(config);
    EXPECT_THAT(config.finish(), IsEmpty());
    EXPECT_EQ(sample.state_dir, "/var/lib/x");
    EXPECT_THAT(sample.listen, ElementsAre("tcp://127.0.0.1:1", "ipc://a"));
    EXPECT_EQ(sample.ping, 100ms);
    EXPECT_EQ(sample.gone, 1min);
    EXPECT_EQ(sample.on_loss, Loss::Keep);
    EXPECT_EQ(sample.memory, 64U << 20);
    ASSERT_EQ(sample.pools.size(), 2U);
    EXPECT_EQ(sample.pools[0].name, "zeta");
    EXPECT_EQ(sample.pools[0].workers, 2);
    EXPECT_TRUE(sample.pools[0].pinned);
    EXPECT_THAT(sample.pools[0].environment, ElementsAre(Pair("A", "1"), Pair("B", "x y")));
    EXPECT_EQ(sample.pools[1].name, "alpha");
    EXPECT_EQ(sample.pools[1].workers, 4);
}

TEST(ConfigReader, WithoutAFileEverythingHasItsDefault) {
    ConfigReader config{ConfigInput{}};
    const Sample sample = read_sample(config);
    EXPECT_THAT(config.finish(), IsEmpty());
    EXPECT_EQ(sample.gone, 8s);
    EXPECT_TRUE(sample.pools.empty());
}

TEST(ConfigReader, EveryBadFileIsToldByItsFirstComment) {
    for (const BadConfig& bad : bad_configs("reader")) {
        ConfigReader config{{.file = bad.file.string()}};
        read_sample(config);
        EXPECT_EQ(config.finish(), bad.expected);
    }
}

TEST(ConfigReader, AFaultyValueYieldsItsDefault) {
    const TempDir dir;
    const auto file = dir.write("c.yaml", "pools: {a: {workers: 5000}}\n");
    ConfigReader config{{.file = file.string()}};
    EXPECT_EQ(read_sample(config).pools.at(0).workers, 4);
    EXPECT_EQ(config.finish().size(), 1U);
}

TEST(ConfigReader, IntegersAreDecimalAndInRange) {
    for (const char* bad : {"012",
                            "0x10",
                            "1e3",
                            "yes",
                            "-1",
                            "0",
                            "1025",
                            "1000000000",
                            "4.0",
                            "'4'",
                            "[]",
                            "99999999999999999999",
                            "1_000"}) {
        const auto faults = faults_of("pools: {a: {workers: " + std::string{bad} + "}}\n");
        ASSERT_EQ(faults.size(), 1U) << bad;
        EXPECT_THAT(faults[0], HasSubstr("pools.a.workers: ")) << bad;
        EXPECT_THAT(faults[0], HasSubstr("1 to 1024")) << bad;
    }
}

TEST(ConfigReader, BytesThatAreNoUtf8TextAreRefusedWithTheirPlace) {
    const std::string nul{"a: 1\nb: \0\n", 10};
    EXPECT_THAT(faults_of(nul), ElementsAre(HasSubstr("2:4: a NUL byte")));
    EXPECT_THAT(faults_of("\xef\xbb\xbf"
                          "a: 1\n"),
                ElementsAre(HasSubstr("1:1: a byte order mark")));
    EXPECT_THAT(faults_of("\xff\xfe"
                          "a\n"),
                ElementsAre(HasSubstr("1:1: not UTF-8")));
    EXPECT_THAT(faults_of("a: \xc0\xaf\n"), ElementsAre(HasSubstr("1:4: not UTF-8")));
    EXPECT_THAT(faults_of("a: \xed\xa0\x80\n"), ElementsAre(HasSubstr("1:4: not UTF-8")));
}

TEST(ConfigReader, QuotesMustBeClosed) {
    for (const char* open :
         {"a: \"x\nb: 1\n", "a: 'x\n", "ä: 'it''s\n", "a: \"x\\\"\n", "a: \"x"}) {
        EXPECT_THAT(faults_of(open), SizeIs(1)) << open;
    }
    EXPECT_THAT(faults_of("state_dir: \"ä \\\" '\"\n"), IsEmpty());
    EXPECT_THAT(faults_of("state_dir: 'it''s'\nlisten: [ 'a', \"b\" ]\n"), IsEmpty());
}

TEST(ConfigReader, WhatIsNoConfigFileIsRefusedWithoutWaiting) {
    const TempDir dir;
    const std::string fifo = (dir / "fifo").string();
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    const std::string big = dir.write("big.yaml", std::string((1 << 20) + 1, '#')).string();
    const std::vector<std::pair<std::string, std::string>> cases{
        {fifo, "not a regular file"},
        {dir.path().string(), "not a regular file"},
        {"/dev/zero", "not a regular file"},
        {(dir / "absent.yaml").string(), "No such file"},
        {big, "too large; expected at most 1MiB"}};
    for (const auto& [file, message] : cases) {
        ConfigReader config{{.file = file}};
        read_sample(config);
        EXPECT_THAT(config.finish(), ElementsAre(HasSubstr(message))) << file;
    }
}

TEST(ConfigReader, BombsAreRefusedAtOnce) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THAT(faults_of("a: " + std::string(500, '[')), SizeIs(1));
    EXPECT_THAT(faults_of(std::string(1'000'000, '[')), SizeIs(1));
    EXPECT_THAT(faults_of("a: " + std::string(500, '[') + std::string(500, ']')),
                ElementsAre(HasSubstr("too deep")));
    std::string steps;
    for (std::size_t depth = 0; depth < 500; ++depth) steps += std::string(depth, ' ') + "a:\n";
    EXPECT_THAT(faults_of(steps), ElementsAre(HasSubstr("too deep")));
    EXPECT_FALSE(faults_of("a: &a [*a]\n").empty());
    std::string laughs = "a: &a [lol, lol]\n";
    for (char c = 'b'; c <= 'z'; ++c) {
        laughs += std::string{c} + ": &" + c + " [*" + char(c - 1) + ", *" + char(c - 1) + "]\n";
    }
    EXPECT_GE(faults_of(laughs).size(), 25U);
    std::string keys;
    for (int i = 0; i < 100'000; ++i) keys += "k" + std::to_string(i) + ": 1\n";
    EXPECT_THAT(faults_of(keys), ElementsAre(HasSubstr("too many keys")));
    std::string items = "listen: [";
    for (int i = 0; i < 200'000; ++i) items += "a, ";
    EXPECT_THAT(faults_of(items + "a]"), ElementsAre(HasSubstr("too many values")));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);  // Sanitizers included.
}

TEST(ConfigReader, FaultsAreToldInFileOrderAndBounded) {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += "key" + std::to_string(i) + ": 1\n";
    const std::vector<std::string> faults = faults_of(text);
    EXPECT_LE(faults.size(), 101U);
    EXPECT_THAT(faults.front(), HasSubstr("1:1: unknown key 'key0'"));
    EXPECT_THAT(faults.back(), HasSubstr("more faults"));
}

TEST(ConfigReader, PrecedenceIsFlagThenEnvironmentThenFragmentsThenFile) {
    const TempDir dir;
    const auto file =
        dir.write("c.yaml", "state_dir: file\npools: {my-pool: {workers: 1, pinned: true}}\n");
    dir.write("conf.d/10-a.yaml", "state_dir: ten\npools: {my-pool: {workers: 10}}\n");
    dir.write("conf.d/20-b.yaml", "# nothing but a comment\n");
    dir.write("conf.d/ignored.txt", "state_dir: no\n");
    ConfigInput input{.file = file.string(), .fragments = (dir / "conf.d").string()};
    {
        ConfigReader config{input};
        const Sample sample = read_sample(config);
        EXPECT_THAT(config.finish(), IsEmpty());
        EXPECT_EQ(sample.state_dir, "ten");
        EXPECT_EQ(sample.pools.at(0).workers, 10);
        EXPECT_TRUE(sample.pools.at(0).pinned);  // Sections merge key by key.
    }
    input.environment = {"FORKMILL_POOLS__MY_POOL__WORKERS=20",
                         "FORKMILL_LISTEN=tcp://a:1, tcp://b:2"};
    {
        ConfigReader config{input};
        const Sample sample = read_sample(config);
        EXPECT_THAT(config.finish(), IsEmpty());
        EXPECT_EQ(sample.pools.size(), 1U);
        EXPECT_EQ(sample.pools.at(0).workers, 20);
        EXPECT_THAT(sample.listen, ElementsAre("tcp://a:1", "tcp://b:2"));
    }
    input.overrides = {{"pools.my-pool.workers", "30", "--workers"}};
    ConfigReader config{input};
    EXPECT_EQ(read_sample(config).pools.at(0).workers, 30);
    EXPECT_THAT(config.finish(), IsEmpty());
}

TEST(ConfigReader, FaultsOfVariablesAndFlagsNameThem) {
    ConfigReader config{{.environment = {"FORKMILL_SESSIONS__PING_AFTER=2",
                                         "FORKMILL_SESSIONS__PNIG=2s",
                                         "FORKMILL_ENDPOINT=tcp://x:1",
                                         "FORKMILL_POOLS=3"},
                         .overrides = {{"limits.memory", "64MB", "--memory"}}}};
    read_sample(config);
    EXPECT_THAT(
        config.finish(),
        ElementsAre(
            HasSubstr("environment FORKMILL_SESSIONS__PING_AFTER: sessions.ping_after: '2'"),
            HasSubstr("unknown key 'pnig' in sessions"),
            HasSubstr("--memory: limits.memory: '64MB'")));
}

TEST(ConfigReader, AFaultInAFragmentNamesTheFragment) {
    const TempDir dir;
    const auto file = dir.write("c.yaml", "state_dir: file\n");
    const auto fragment = dir.write("conf.d/x.yaml", "state_dri: y\n");
    ConfigReader config{{.file = file.string(), .fragments = (dir / "conf.d").string()}};
    read_sample(config);
    EXPECT_THAT(config.finish(), ElementsAre(HasSubstr(fragment.string() + ":1:1: unknown key")));
}

TEST(ConfigReader, ARequiredKeyThatIsMissingIsAFaultOfItsSection) {
    const TempDir dir;
    const auto file = dir.write("c.yaml", "a: 1\nsection:\n  b: 2\n");
    ConfigReader config{{.file = file.string()}};
    config.root().integer("a", {});
    base::ConfigSection section = config.root().section("section");
    section.integer("b", {});
    section.text("broker", {.required = true});
    EXPECT_THAT(config.finish(),
                ElementsAre(HasSubstr("c.yaml:3:3: section.broker: is missing; expected a text")));
}

TEST(ConfigReader, NamesOfSectionsAreRestricted) {
    EXPECT_THAT(faults_of("pools:\n  '../x': {workers: 1}\n"),
                ElementsAre(HasSubstr("name '../x'")));
    EXPECT_THAT(faults_of("pools:\n  \"a\\x1b[2J\": {workers: 1}\n"),
                ElementsAre(HasSubstr("'a\\x1b[2J'")));
}

TEST(ConfigReader, DumpReadsBackToTheSameValues) {
    const TempDir dir;
    const auto file = dir.write(
        "c.yaml",
        "state_dir: \"a b: #c \\\"d\\\"\"\nlisten: ['x, y', '']\nsessions: {ping_after: 1500ms}\n"
        "pools: {p: {environment: {KEY: 'null', Q: \"l\\n\"}}, q: {pinned: true}}\n");
    ConfigReader first{{.file = file.string()}};
    const Sample before = read_sample(first);
    ASSERT_THAT(first.finish(), IsEmpty());
    EXPECT_THAT(first.dump(), HasSubstr("ping_after: 1500ms  # " + file.string() + ":3:24"));
    EXPECT_THAT(first.dump(), HasSubstr("gone_after: 8s  # default"));

    const auto dumped = dir.write("d.yaml", first.dump());
    ConfigReader second{{.file = dumped.string()}};
    const Sample after = read_sample(second);
    EXPECT_THAT(second.finish(), IsEmpty()) << first.dump();
    EXPECT_EQ(after.state_dir, before.state_dir);
    EXPECT_EQ(after.listen, before.listen);
    EXPECT_EQ(after.ping, before.ping);
    EXPECT_EQ(after.pools.at(0).environment, before.pools.at(0).environment);
    EXPECT_TRUE(after.pools.at(1).pinned);
}

}  // namespace
}  // namespace forkmill::test
