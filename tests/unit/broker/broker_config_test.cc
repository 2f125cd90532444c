// SPDX-License-Identifier: Apache-2.0
// broker.yaml: the defaults that configs/broker.yaml promises, and every bad config with the
// message it holds as its first comment.
#include "broker/broker_config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace forkmill::broker {
namespace {

LoadedConfig load(const std::string& file) {
    return load_broker_config({.file = file, .fragments = {}, .environment = {}, .overrides = {}});
}

const std::string kSource = FORKMILL_TEST_SOURCE_DIR;

TEST(BrokerConfig, TheDocumentedFileIsTheDefault) {
    const LoadedConfig documented = load(kSource + "/configs/broker.yaml");
    EXPECT_TRUE(documented.faults.empty()) << documented.faults.front();
    const LoadedConfig defaults = load("");
    ASSERT_TRUE(defaults.faults.empty());
    EXPECT_EQ(documented.config.listen, defaults.config.listen);
    EXPECT_EQ(documented.config.ping_after, defaults.config.ping_after);
    EXPECT_EQ(documented.config.gone_after, defaults.config.gone_after);
    EXPECT_EQ(documented.config.shutdown_timeout, defaults.config.shutdown_timeout);
    EXPECT_EQ(documented.config.engine.sessions_max, defaults.config.engine.sessions_max);
    EXPECT_EQ(documented.config.engine.session_ttl, defaults.config.engine.session_ttl);
    EXPECT_EQ(documented.config.engine.memory_max, defaults.config.engine.memory_max);
    EXPECT_EQ(documented.config.engine.payload_max, defaults.config.engine.payload_max);
    EXPECT_EQ(documented.config.engine.result_ttl, defaults.config.engine.result_ttl);
    EXPECT_EQ(documented.config.engine.objects_max, defaults.config.engine.objects_max);
    EXPECT_EQ(documented.config.engine.object_waits_per_session_max,
              defaults.config.engine.object_waits_per_session_max);
    EXPECT_EQ(documented.config.engine.object_waits_max, defaults.config.engine.object_waits_max);
    EXPECT_EQ(documented.config.engine.object_memory(), defaults.config.engine.object_memory());
    EXPECT_EQ(documented.config.engine.queues.size(), defaults.config.engine.queues.size());
    ASSERT_EQ(documented.config.pools.size(), 1U);
    EXPECT_EQ(documented.config.pools[0].workers, 4U);
}

TEST(BrokerConfig, TheMinimalFileMakesOnePoolOfFour) {
    const LoadedConfig minimal = load(kSource + "/configs/minimal.yaml");
    ASSERT_TRUE(minimal.faults.empty()) << minimal.faults.front();
    ASSERT_EQ(minimal.config.pools.size(), 1U);
    EXPECT_EQ(minimal.config.pools[0].modules, std::vector<std::string>{"demo_module"});
    EXPECT_TRUE(minimal.config.worker_endpoint().ends_with("/forkmill-state/workers.sock"));
    EXPECT_TRUE(minimal.config.worker_endpoint().starts_with("unix:///"));
}

TEST(BrokerConfig, TheDumpReadsBackToTheSame) {
    const LoadedConfig once = load(kSource + "/configs/broker.yaml");
    const std::string path = std::filesystem::temp_directory_path() /
                             ("forkmill-dump-" + std::to_string(::getpid()) + ".yaml");
    std::ofstream{path} << once.dump;
    const LoadedConfig again = load(path);
    std::filesystem::remove(path);
    EXPECT_TRUE(again.faults.empty()) << again.faults.front();
    EXPECT_EQ(again.config.pools.size(), once.config.pools.size());
    EXPECT_EQ(again.config.engine.session_ttl, once.config.engine.session_ttl);
}

TEST(BrokerConfig, EnvironmentAndFlagsOverrideTheFile) {
    const LoadedConfig loaded =
        load_broker_config({.file = kSource + "/configs/broker.yaml",
                            .fragments = {},
                            .environment = {"FORKMILL_POOLS__DEFAULT__WORKERS=8"},
                            .overrides = {{"pools.default.threads", "2", "--set"}}});
    ASSERT_TRUE(loaded.faults.empty()) << loaded.faults.front();
    EXPECT_EQ(loaded.config.pools[0].workers, 8U);
    EXPECT_EQ(loaded.config.pools[0].threads, 2U);
}

TEST(BrokerConfig, BoundsOfObjectsAreThoseOfAnEmbeddedPoolUnlessTheyAreSaid) {
    const engine::Config embedded;
    const engine::Config defaults = load("").config.engine;
    EXPECT_EQ(defaults.objects_max, embedded.objects_max);
    EXPECT_EQ(defaults.object_waits_per_session_max, embedded.object_waits_per_session_max);
    EXPECT_EQ(defaults.object_waits_max, embedded.object_waits_max);
    EXPECT_EQ(defaults.object_memory(), embedded.object_memory());

    const test::TempDir directory;
    const LoadedConfig less = load(directory.write("less.yaml", "limits: {memory: 64MiB}\n"));
    EXPECT_EQ(less.config.engine.object_memory(), 32U << 20) << "half of it";
    const LoadedConfig said = load(directory.write("said.yaml",
                                                   "limits:\n  objects: 0\n"
                                                   "  object_waits_per_session: 7\n"
                                                   "  object_waits: 9\n"
                                                   "  object_memory: 1MiB\n"));
    ASSERT_TRUE(said.faults.empty()) << said.faults.front();
    EXPECT_EQ(said.config.engine.objects_max, 0U);
    EXPECT_EQ(said.config.engine.object_waits_per_session_max, 7U);
    EXPECT_EQ(said.config.engine.object_waits_max, 9U);
    EXPECT_EQ(said.config.engine.object_memory(), 1U << 20);
}

TEST(BrokerConfig, EveryBadConfigSaysWhatItsFirstLinePromises) {
    int files = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(kSource + "/tests/bad_configs/broker")) {
        SCOPED_TRACE(entry.path().filename().string());
        ++files;
        std::ifstream file{entry.path()};
        std::vector<std::string> expected;
        for (std::string line; std::getline(file, line) && line.starts_with("# expect: ");)
            expected.push_back(line.substr(10));
        ASSERT_FALSE(expected.empty());
        const LoadedConfig loaded = load(entry.path());
        EXPECT_EQ(loaded.faults.size(), expected.size());
        for (const std::string& text : expected) {
            const bool said = std::any_of(
                loaded.faults.begin(), loaded.faults.end(), [&](const std::string& fault) {
                    return fault.find(text) != std::string::npos;
                });
            EXPECT_TRUE(said) << text
                              << "\nbut: " << (loaded.faults.empty() ? "" : loaded.faults.front());
        }
    }
    EXPECT_GE(files, 8);
}

}  // namespace
}  // namespace forkmill::broker
