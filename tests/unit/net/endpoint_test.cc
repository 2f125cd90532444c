// SPDX-License-Identifier: Apache-2.0
#include "core/net/endpoint.h"

#include <gtest/gtest.h>

#include <string>

namespace forkmill::net {
namespace {

Endpoint good(std::string_view text) {
    auto parsed = parse_endpoint(text);
    EXPECT_TRUE(parsed.ok()) << text << ": " << (parsed.ok() ? "" : parsed.failure().text);
    return parsed.ok() ? parsed.value() : Endpoint{};
}

TEST(Endpoint, ReadsEveryScheme) {
    EXPECT_EQ(good("local:4").workers, 4U);
    EXPECT_EQ(good("local:").workers, 0U);
    EXPECT_EQ(good("ipc:///run/forkmill/broker.sock").path, "/run/forkmill/broker.sock");
    EXPECT_EQ(good("ipc:///x").scheme, Scheme::Ipc);
    EXPECT_EQ(good("unix://relative/path").path, "relative/path");
    EXPECT_EQ(good("unix:///x").scheme, Scheme::Unix);
    EXPECT_EQ(good("tcp://head:7700").host, "head");
    EXPECT_EQ(good("tcp://head:7700").port, 7700);
    EXPECT_EQ(good("tcp://[::1]:1").host, "::1");
    EXPECT_EQ(good("tcp://*:7700").host, "*");
    EXPECT_EQ(good("tcp://127.0.0.1:*").port, 0);
}

TEST(Endpoint, WritesWhatItReads) {
    for (const char* text : {"local:4",
                             "local:",
                             "ipc:///a/b",
                             "unix://b",
                             "tcp://head:7700",
                             "tcp://[fe80::1]:9",
                             "tcp://*:1",
                             "tcp://a:*"})
        EXPECT_EQ(to_string(good(text)), text);
}

TEST(Endpoint, RefusesWhatIsNoEndpoint) {
    for (const std::string text : {"",
                                   "local",
                                   "local:0",
                                   "local:-1",
                                   "local:4x",
                                   "local:4097",
                                   "ipc://",
                                   "ipc://@abstract",
                                   "ipc:///dir/",
                                   "unix://",
                                   "http://x:1",
                                   "tcp://",
                                   "tcp://head",
                                   "tcp://:7700",
                                   "tcp://head:",
                                   "tcp://head:70000",
                                   "tcp://head:-1",
                                   "tcp://head:77a",
                                   "tcp://::1:7700",
                                   "tcp://[::1]",
                                   "tcp://[head]:1",
                                   "tcp://[]:1",
                                   "tcp://he ad:1",
                                   "tcp://he/ad:1",
                                   "tcp://a;b:1",
                                   "TCP://a:1",
                                   " tcp://a:1"}) {
        const auto parsed = parse_endpoint(text);
        EXPECT_FALSE(parsed.ok()) << text;
        if (!parsed.ok()) {
            EXPECT_FALSE(parsed.failure().text.empty());
        }
    }
    EXPECT_FALSE(parse_endpoint(std::string{"ipc:///a\0b", 10}).ok());
}

TEST(Endpoint, BoundsASocketsPath) {
    EXPECT_TRUE(parse_endpoint("ipc://" + std::string(107, 'p')).ok());
    const auto parsed = parse_endpoint("ipc://" + std::string(108, 'p'));
    ASSERT_FALSE(parsed.ok());
    EXPECT_NE(parsed.failure().text.find("107"), std::string::npos);
}

TEST(Endpoint, KnowsWhatOtherHostsCannotReach) {
    for (const char* text : {"local:1",
                             "ipc:///x",
                             "unix:///x",
                             "tcp://127.0.0.1:1",
                             "tcp://127.9.9.9:1",
                             "tcp://[::1]:1",
                             "tcp://localhost:1"})
        EXPECT_TRUE(is_loopback(good(text))) << text;
    for (const char* text : {"tcp://*:1",
                             "tcp://0.0.0.0:1",
                             "tcp://[::]:1",
                             "tcp://128.0.0.1:1",
                             "tcp://head:1",
                             "tcp://127.0.0.1.evil.example:1",
                             "tcp://localhost.evil.example:1",
                             "tcp://[::ffff:127.0.0.1]:1",
                             "tcp://0:1"})
        EXPECT_FALSE(is_loopback(good(text))) << text;
}

TEST(Endpoint, KnowsWhatListensEverywhere) {
    for (const char* text :
         {"tcp://*:1", "tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://0:1", "tcp://[::0]:1"})
        EXPECT_TRUE(is_wildcard(good(text))) << text;
    for (const char* text :
         {"tcp://127.0.0.1:1", "tcp://head:1", "ipc:///x", "local:2", "tcp://10.0.0.0:1"})
        EXPECT_FALSE(is_wildcard(good(text))) << text;
}

}  // namespace
}  // namespace forkmill::net
