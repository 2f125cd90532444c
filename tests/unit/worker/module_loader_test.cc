// SPDX-License-Identifier: Apache-2.0
// Task modules that work, and all the ways in which one does not.
#include "worker/module_loader.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"
#include "worker/module_file.h"

namespace forkmill::worker {
namespace {

namespace fs = std::filesystem;

const std::string kModules = std::string{FORKMILL_TEST_LIB_DIR} + "/forkmill/modules";

std::string path_of(const std::string& name) {
    return kModules + "/" + name + ".so";
}

std::string failure_of(const std::vector<std::string>& names,
                       const std::vector<std::string>& directories = {kModules}) {
    Registry registry;
    const base::Status loaded = load_modules(names, directories, registry);
    return loaded ? std::string{} : loaded.failure().text;
}

TEST(ModuleLoader, LoadsByNameAndByPath) {
    Registry registry;
    const base::Status loaded = load_modules({"worker_module_good"}, {kModules}, registry);
    ASSERT_TRUE(loaded) << loaded.failure().text;
    EXPECT_EQ(registry.size(), 2U);
    EXPECT_EQ(failure_of({path_of("worker_module_good")}, {}), "");
}

TEST(ModuleLoader, TwoModulesWithOneNameAreRefusedNamingBoth) {
    const std::string why = failure_of({"worker_module_good", "worker_module_clash"});
    EXPECT_NE(why.find("module.clash"), std::string::npos) << why;
    EXPECT_NE(why.find("worker_module_good.so"), std::string::npos) << why;
    EXPECT_NE(why.find("worker_module_clash.so"), std::string::npos) << why;
}

TEST(ModuleLoader, AnotherAbiIsRefusedBeforeAnyOfItsCodeRuns) {
    const std::string why =
        failure_of({"worker_module_old"});  // Its constructor would abort this test.
    EXPECT_NE(why.find("forkmill v-1 module"), std::string::npos) << why;
    EXPECT_NE(why.find("expected"), std::string::npos) << why;
}

TEST(ModuleLoader, ALibraryThatIsNoModuleIsRefusedBeforeAnyOfItsCodeRuns) {
    EXPECT_NE(failure_of({"worker_module_plain"}).find("FORKMILL_MODULE"), std::string::npos);
}

TEST(ModuleLoader, WhatItThrowsIsTheReason) {
    EXPECT_NE(failure_of({"worker_module_throws"}).find("no licence found"), std::string::npos);
}

TEST(ModuleLoaderDeathTest, AModuleThatExitsWhileLoadingIsNamed) {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
    EXPECT_EXIT(failure_of({"worker_module_exits"}),
                ::testing::ExitedWithCode(1),
                "worker_module_exits.so called exit");
}

TEST(ModuleLoaderDeathTest, AModuleThatNeverFinishesLoadingIsNamed) {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
    Registry registry;
    const auto load = [&] {
        static_cast<void>(load_modules(
            {"worker_module_hangs"}, {kModules}, registry, std::chrono::milliseconds{50}));
    };
    EXPECT_EXIT(load(), ::testing::ExitedWithCode(1), "worker_module_hangs.so did not finish");
}

TEST(ModuleFile, WhatIsNowhereNamesWhereItWasSought) {
    const std::string why = failure_of({"no_such_module"}, {"/nowhere/at/all"});
    EXPECT_NE(why.find("no_such_module"), std::string::npos);
    EXPECT_NE(why.find("/nowhere/at/all"), std::string::npos);
}

TEST(ModuleFile, PathsThatClimbAreRefused) {
    EXPECT_NE(failure_of({"../x.so"}).find(".."), std::string::npos);
    EXPECT_NE(failure_of({kModules + "/../modules/worker_module_good.so"}).find(".."),
              std::string::npos);
}

TEST(ModuleFile, ALinkOutOfItsDirectoryIsRefused) {
    const test::TempDir directory;
    fs::create_symlink(path_of("worker_module_good"), directory / "linked.so");
    EXPECT_NE(failure_of({"linked"}, {directory.path().string()}).find("leaves its directory"),
              std::string::npos);
}

TEST(ModuleFile, WhatEverybodyMayWriteIsRefused) {
    const test::TempDir directory;
    const fs::path copy = directory / "copy.so";
    fs::copy_file(path_of("worker_module_good"), copy);
    ASSERT_EQ(::chmod(copy.c_str(), 0666), 0);
    EXPECT_NE(failure_of({"copy"}, {directory.path().string()}).find("everybody"),
              std::string::npos);
    ASSERT_EQ(::chmod(copy.c_str(), 0644), 0);
    EXPECT_EQ(failure_of({"copy"}, {directory.path().string()}), "");
    ASSERT_EQ(::chmod(directory.path().c_str(), 0777), 0);
    EXPECT_NE(failure_of({"copy"}, {directory.path().string()}).find("everybody"),
              std::string::npos);
    ASSERT_EQ(::chmod(directory.path().c_str(), 0700), 0);
}

TEST(ModuleFile, FilesThatAreNoLibrariesAreRefused) {
    const test::TempDir directory;
    directory.write("text.so", "#!/bin/sh\necho no\n");
    directory.write("empty.so", "");
    fs::create_directory(directory / "folder.so");
    for (const char* name : {"text", "empty", "folder"})
        EXPECT_NE(failure_of({name}, {directory.path().string()}), "") << name;
}

TEST(ModuleFile, OtherMachinesAndCutFilesAreRefused) {
    const test::TempDir directory;
    std::ifstream in{path_of("worker_module_good"), std::ios::binary};
    const std::string whole{std::istreambuf_iterator<char>{in}, {}};
    ASSERT_GT(whole.size(), 4096U);
    std::string other = whole;
    other[18] = 40;  // e_machine: 32-bit ARM.
    other[19] = 0;
    directory.write("other.so", other);
    EXPECT_NE(failure_of({"other"}, {directory.path().string()}).find("another machine"),
              std::string::npos);
    directory.write("cut.so", whole.substr(0, 100));
    EXPECT_NE(failure_of({"cut"}, {directory.path().string()}).find("cut short"),
              std::string::npos);
}

TEST(ModuleFile, HeadersThatLieNeverLeadOutsideTheFile) {
    const test::TempDir directory;
    std::ifstream in{path_of("worker_module_good"), std::ios::binary};
    const std::string whole{std::istreambuf_iterator<char>{in}, {}};
    // Every byte of the ELF header and of the first program headers, each set to its extremes.
    for (std::size_t at = 24; at < 512; at += 7) {
        for (const char value : {'\0', '\x7f', '\xff'}) {
            std::string lying = whole.substr(0, 8192);
            lying[at] = value;
            const fs::path file = directory.write("lying.so", lying);
            static_cast<void>(check_module_file(file.string()));
        }
    }
}

}  // namespace
}  // namespace forkmill::worker
