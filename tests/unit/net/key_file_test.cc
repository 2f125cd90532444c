// SPDX-License-Identifier: Apache-2.0
#include "core/net/key_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace forkmill::net {
namespace {

using testing::HasSubstr;
using testing::Not;

class KeyFile : public testing::Test {
  protected:
    KeyFile() { EXPECT_TRUE(write_key_file(key_, pair_).ok()); }
    std::string write(const std::string& name, const std::string& text, mode_t mode = 0600) {
        const std::string path = (directory_ / name).string();
        std::ofstream{path} << text;
        EXPECT_EQ(::chmod(path.c_str(), mode), 0);
        return path;
    }
    static std::string refused(const std::string& path) {
        const auto read = read_key_file(path);
        EXPECT_FALSE(read.ok()) << "it was taken";
        return read.ok() ? "" : read.failure().text;
    }
    static std::string refused_list(const std::string& path) {
        const auto read = read_authorized_keys(path);
        EXPECT_FALSE(read.ok()) << "it was taken";
        return read.ok() ? "" : read.failure().text;
    }

    test::TempDir directory_;
    CurvePair pair_ = make_curve_pair();
    std::string key_ = (directory_ / "own.key").string();
};

TEST_F(KeyFile, ComesBackAsItWasWritten) {
    const auto read = read_key_file(key_);
    ASSERT_TRUE(read.ok()) << read.failure().text;
    EXPECT_EQ(read.value().public_key, pair_.public_key);
    EXPECT_EQ(read.value().secret_key, pair_.secret_key);
    struct stat status {};
    ASSERT_EQ(::stat(key_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
    EXPECT_FALSE(write_key_file(key_, make_curve_pair()).ok()) << "it was overwritten";
}

TEST_F(KeyFile, Case46WhatIsNotSafeOrNoKeyIsRefused) {
    ASSERT_EQ(::chmod(key_.c_str(), 0644), 0);
    EXPECT_THAT(refused(key_), HasSubstr("chmod 600"));
    ASSERT_EQ(::chmod(key_.c_str(), 0600), 0);

    const std::string link = (directory_ / "link").string();
    ASSERT_EQ(::symlink(key_.c_str(), link.c_str()), 0);
    EXPECT_THAT(refused(link), HasSubstr("symbolic link"));

    EXPECT_THAT(refused(write("short",
                              "public " + pair_.public_key + "\nsecret " +
                                  pair_.secret_key.substr(1) + "\n")),
                HasSubstr("short:2: expected 40 characters"));
    EXPECT_THAT(refused(write("half", "public " + pair_.public_key + "\n")),
                HasSubstr("no secret key"));
    EXPECT_THAT(
        refused(
            write("swapped", "public " + pair_.secret_key + "\nsecret " + pair_.public_key + "\n")),
        HasSubstr("not that of its secret key"));
    EXPECT_THAT(refused(write("bare", pair_.secret_key + "\n")),
                testing::AllOf(HasSubstr("bare:1: expected"), Not(HasSubstr(pair_.secret_key))));
    EXPECT_THAT(refused(write("empty", "")), HasSubstr("no secret key"));
    EXPECT_THAT(refused((directory_ / "nowhere").string()), HasSubstr("cannot be opened"));
    EXPECT_THAT(refused(directory_.path().string()), HasSubstr("not a regular file"));
    const std::string fifo = (directory_ / "fifo").string();
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_THAT(refused(fifo), HasSubstr("not a regular file"));
    if (::geteuid() == 0) {
        ASSERT_EQ(::chown(key_.c_str(), 12345, 12345), 0);
        EXPECT_THAT(refused(key_), HasSubstr("another user"));
    }
}

TEST_F(KeyFile, AListNamesWhoMayDoWhat) {
    const auto other = make_curve_pair();
    const auto read = read_authorized_keys(write("list",
                                                 "# the cluster\n" + pair_.public_key +
                                                     " ann submit,admin  # at the desk\n\n" +
                                                     other.public_key + "\thost-7 work\r\n",
                                                 0644));
    ASSERT_TRUE(read.ok()) << read.failure().text;
    ASSERT_EQ(read.value().size(), 2U);
    EXPECT_EQ(read.value()[0].public_key, pair_.public_key);
    EXPECT_EQ(read.value()[0].name, "ann");
    EXPECT_THAT(read.value()[0].roles, testing::ElementsAre("submit", "admin"));
    EXPECT_EQ(read.value()[1].name, "host-7");
    EXPECT_THAT(read.value()[1].roles, testing::ElementsAre("work"));
}

TEST_F(KeyFile, AListWithAFaultIsRefusedAtItsLine) {
    const std::string key = pair_.public_key;
    EXPECT_THAT(refused_list(write("a", "\n" + key + " ann\n")), HasSubstr("a:2: expected `KEY"));
    EXPECT_THAT(refused_list(write("b", key + " ann boss\n")), HasSubstr("b:1: unknown role"));
    EXPECT_THAT(refused_list(write("c", key + " ann submit,\n")), HasSubstr("unknown role"));
    EXPECT_THAT(refused_list(write("d", key + " local work\n")), HasSubstr("expected a name"));
    EXPECT_THAT(refused_list(write("e", key + " uid:0 work\n")), HasSubstr("expected a name"));
    EXPECT_THAT(refused_list(write("f", key.substr(2) + " ann work\n")), HasSubstr("f:1: "));
    EXPECT_FALSE(refused_list(write("g", key + " ann work\n" + key + " bob work\n")).empty());
    EXPECT_THAT(refused_list(write("h", "# nobody\n")), HasSubstr("allows nobody"));
    EXPECT_THAT(refused_list(write("i", key + " ann work\n", 0666)), HasSubstr("go-w"));
}

TEST_F(KeyFile, AClientNamesBothKeysOrNone) {
    EXPECT_FALSE(client_keys({}).value().has_value());
    const auto both = client_keys({pair_.public_key, key_});
    ASSERT_TRUE(both.ok() && both.value().has_value());
    EXPECT_EQ(both.value()->secret_key, pair_.secret_key);
    EXPECT_FALSE(client_keys({pair_.public_key, ""}).ok());
    EXPECT_FALSE(client_keys({"", key_}).ok());
    EXPECT_FALSE(client_keys({"short", key_}).ok());
}

}  // namespace
}  // namespace forkmill::net
