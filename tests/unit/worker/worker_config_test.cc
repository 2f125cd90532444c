// SPDX-License-Identifier: Apache-2.0
// worker.yaml: what is good, and how everything else is told at once.
#include "worker/worker_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace forkmill::worker {
namespace {

LoadedWorkerConfig load(const std::string& yaml, std::vector<base::ConfigOverride> overrides = {}) {
    const test::TempDir directory;
    const std::string file = (directory.path() / "worker.yaml").string();
    std::ofstream{file} << yaml;
    return load_worker_config({file, {}, {}, std::move(overrides)});
}

bool has(const std::vector<std::string>& faults,
         const std::string& place,
         const std::string& text) {
    return std::any_of(faults.begin(), faults.end(), [&](const std::string& fault) {
        return fault.find(place) != std::string::npos && fault.find(text) != std::string::npos;
    });
}

TEST(WorkerConfig, AMinimalFileHasUsableDefaults) {
    const LoadedWorkerConfig loaded = load("broker: tcp://head:7700\n");
    EXPECT_TRUE(loaded.faults.empty()) << loaded.faults.front();
    EXPECT_EQ(loaded.config.broker, "tcp://head:7700");
    EXPECT_EQ(loaded.config.queues, (std::vector<std::string>{"default"}));
    EXPECT_GE(loaded.config.workers, 1U);
    EXPECT_EQ(loaded.config.drain_timeout, std::chrono::seconds{60});
    EXPECT_FALSE(loaded.config.state_dir.empty());
}

TEST(WorkerConfig, TheDocumentedFileIsGood) {
    const LoadedWorkerConfig loaded = load_worker_config(
        {std::string{FORKMILL_TEST_SOURCE_DIR} + "/configs/worker.yaml", {}, {}, {}});
    EXPECT_TRUE(loaded.faults.empty()) << loaded.faults.front();
    EXPECT_EQ(loaded.config.workers, 4U);
}

TEST(WorkerConfig, ItsDumpReadsBackToTheSame) {
    const LoadedWorkerConfig first =
        load("broker: ipc:///run/b.sock\nworkers: 3\nthreads: 2\nmodules: [a, b]\n");
    ASSERT_TRUE(first.faults.empty());
    const LoadedWorkerConfig second = load(first.dump);
    EXPECT_TRUE(second.faults.empty()) << second.faults.front();
    EXPECT_EQ(second.config.broker, first.config.broker);
    EXPECT_EQ(second.config.threads, 2U);
    EXPECT_EQ(second.config.drain_timeout, first.config.drain_timeout);
    EXPECT_EQ(second.config.modules, first.config.modules);
}

TEST(WorkerConfig, AllFaultsAreToldInOneRunWithTheirPlaces) {
    const LoadedWorkerConfig loaded = load(
        "broker: local:4\n"
        "worker: 3\n"
        "threads: 0\n"
        "queues: [\"a b\"]\n"
        "drain_timeout: 60\n"
        "executable: ./mine\n"
        "modules: [m]\n"
        "environment: {FORKMILL_ROLE: worker}\n");
    EXPECT_TRUE(has(loaded.faults, ":1:", "expected tcp://"));
    EXPECT_TRUE(has(loaded.faults, ":2:", "workers"));
    EXPECT_TRUE(has(loaded.faults, ":3:", "1"));
    EXPECT_TRUE(has(loaded.faults, ":4:", "a b"));
    EXPECT_TRUE(has(loaded.faults, ":5:", "unit"));
    EXPECT_TRUE(has(loaded.faults, ":6:", "cannot run './mine'; expected an executable file"));
    EXPECT_TRUE(has(loaded.faults, ":7:", "executable"));
    EXPECT_TRUE(has(loaded.faults, ":8:", "FORKMILL_ROLE"));
    EXPECT_GE(loaded.faults.size(), 7U);
}

TEST(WorkerConfig, LimitsOfWorkersAreReadAndToldOfWhenTheyCannotBe) {
    const LoadedWorkerConfig good = load(
        "broker: tcp://head:7700\norphan_policy: finish\n"
        "limits: {open_files: 100, core: 1MiB, cpu_seconds: 60}\n");
    ASSERT_TRUE(good.faults.empty()) << good.faults.front();
    EXPECT_TRUE(good.config.finish_orphaned);
    const std::vector<supervisor::ResourceLimit>& limits = good.config.privileges.limits;
    ASSERT_EQ(limits.size(), 3U) << "what is not named is inherited";
    EXPECT_EQ(limits[0].resource, RLIMIT_NOFILE);
    EXPECT_EQ(limits[0].hard, 100U);
    EXPECT_EQ(limits[1].soft, 1U << 20);
    EXPECT_EQ(limits[2].soft, 60U);
    EXPECT_EQ(limits[2].hard, 61U) << "SIGXCPU first, SIGKILL then";
    const LoadedWorkerConfig bad = load(
        "broker: tcp://head:7700\n"
        "orphan_policy: adopt\n"
        "limits: {open_files: 3, address_space: 1MiB, core: 7}\n"
        "user: nobody-knows\n");
    EXPECT_EQ(bad.faults.size(), 5U);
    EXPECT_TRUE(has(bad.faults, "yaml:2:", "expected one of kill, finish")) << bad.faults.front();
    EXPECT_TRUE(has(bad.faults, "yaml:3:", "at least 64,"));
    EXPECT_TRUE(has(bad.faults, "yaml:3:", "at least 67108864,"));
    EXPECT_TRUE(has(bad.faults, "yaml:3:", "core"));
    EXPECT_TRUE(has(bad.faults, "yaml:4:", "no user 'nobody-knows' on this host"));
}

TEST(WorkerConfig, WorkersOfAnotherUserCannotHaveThisOnesKey) {
    const test::TempDir directory;
    const LoadedWorkerConfig loaded =
        load("broker: tcp://head:7700\nuser: nobody\nsecurity: {curve: {server_key: x, key_file: " +
             (directory / "none.key").string() + "}}\n");
    const char* expected =
        ::geteuid() == 0 ? "workers of another user cannot read" : "only root may run workers";
    EXPECT_TRUE(has(loaded.faults, "yaml:2:", expected)) << loaded.faults.front();
}

TEST(WorkerConfig, WithoutABrokerThereIsNothingToDo) {
    EXPECT_FALSE(load("workers: 2\n").faults.empty());
    EXPECT_FALSE(load("broker: tcp://head:0\n").faults.empty());
    EXPECT_FALSE(load("broker: tcp://*:7700\n").faults.empty());
}

TEST(WorkerConfig, FlagsWinOverTheFile) {
    const LoadedWorkerConfig loaded =
        load("broker: tcp://a:1\nworkers: 2\n",
             {{"broker", "tcp://b:2", "--connect"}, {"workers", "7", "--workers"}});
    EXPECT_TRUE(loaded.faults.empty()) << loaded.faults.front();
    EXPECT_EQ(loaded.config.broker, "tcp://b:2");
    EXPECT_EQ(loaded.config.workers, 7U);
}

TEST(WorkerConfig, TheCommandLineAloneIsEnough) {
    std::vector<std::string> words{"forkmill-worker",
                                   "--connect",
                                   "tcp://head:7700",
                                   "--workers",
                                   "2",
                                   "--module",
                                   "a",
                                   "--module",
                                   "b",
                                   "-t"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    const CommandLine line = read_command_line(static_cast<int>(argv.size()), argv.data());
    EXPECT_EQ(line.verb, CommandVerb::Test);
    EXPECT_EQ(line.loaded.config.modules, (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(line.loaded.config.state_dir.empty());
}

TEST(WorkerConfig, ACommandLineThatSaysNothingIsAUsageError) {
    std::string name = "forkmill-worker";
    char* argv[] = {name.data(), nullptr};
    const CommandLine line = read_command_line(1, argv);
    EXPECT_EQ(line.verb, CommandVerb::Exit);
    EXPECT_EQ(line.exit_code, 64);
}

}  // namespace
}  // namespace forkmill::worker
