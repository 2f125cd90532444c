// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/wire/frames.h"

namespace forkmill::wire {
namespace {

TEST(PackedError, KeepsEveryField) {
    ErrorInfo in;
    in.code = Code::WorkerLost;
    in.type = "std::out_of_range";
    in.what = "index 7\n\x1b[31m\xff";
    in.host = "node1";
    in.pid = 99;
    in.task = "a.b";
    in.attempt = 2;
    in.number = -11;
    in.cause = "signal";
    in.ran = Ran::Yes;
    in.nested = {{"A", "outer"}, {"B", "inner"}};
    in.detail = std::string("\0\xff\x01", 3);
    in.no_retry = true;
    const auto out = unpack_error(pack_error(in));
    ASSERT_TRUE(out.ok());
    const ErrorInfo& info = out.value();
    EXPECT_EQ(info.code, Code::WorkerLost);
    EXPECT_EQ(info.type, in.type);
    EXPECT_EQ(info.what, in.what);
    EXPECT_EQ(info.host, "node1");
    EXPECT_EQ(info.pid, 99);
    EXPECT_EQ(info.task, "a.b");
    EXPECT_EQ(info.attempt, 2U);
    EXPECT_EQ(info.number, -11);
    EXPECT_EQ(info.cause, "signal");
    EXPECT_EQ(info.ran, Ran::Yes);
    EXPECT_EQ(info.nested, in.nested);
    EXPECT_EQ(info.detail, in.detail);
    EXPECT_TRUE(info.no_retry);
}

TEST(PackedError, IsCutToItsLimits) {
    ErrorInfo in;
    in.what.assign(100'000'000, 'w');
    in.detail = std::string(kDetailMax + 1, 'd');
    in.nested.resize(1000, {std::string(kTextMax + 9, 't'), "x"});
    const auto packed = pack_error(in);
    const auto out = unpack_error(packed);
    ASSERT_TRUE(out.ok());
    EXPECT_LE(out.value().what.size(), kTextMax);
    EXPECT_TRUE(out.value().what.ends_with("… (cut)")) << "a reader sees that there was more";
    EXPECT_EQ(out.value().detail.size(), kDetailMax);
    ASSERT_EQ(out.value().nested.size(), kNestedMax);
    EXPECT_EQ(out.value().nested[0].first.size(), kTextMax);
}

TEST(PackedError, CanBePeekedAtInEveryFormOfABody) {
    ErrorInfo in;
    in.code = Code::TaskThrew;
    in.no_retry = true;
    in.what = "w";
    const auto packed = pack_error(in);
    const base::ByteView view{packed};
    Code code{};
    bool no_retry = false;
    ASSERT_TRUE(peek_error(base::Body::of(view), code, no_retry));
    EXPECT_EQ(code, Code::TaskThrew);
    EXPECT_TRUE(no_retry);
    const auto chunks = std::make_shared<const std::vector<base::Blob>>(1, base::Blob::copy(view));
    code = {};
    ASSERT_TRUE(peek_error(base::Body::of(chunks), code, no_retry));
    EXPECT_EQ(code, Code::TaskThrew);
}

TEST(PackedError, WhatIsNoneIsTold) {
    Code code = Code::Busy;
    bool no_retry = true;
    for (const char* hex :
         {"", "c0", "90", "91 01", "92 01 01", "dd ff ff ff ff", "92 cf 0000000000010000 c2"}) {
        const std::string bytes = test::from_hex(hex);
        EXPECT_FALSE(unpack_error(base::bytes_of(bytes)).ok()) << hex;
        EXPECT_FALSE(peek_error(base::Body::of(base::bytes_of(bytes)), code, no_retry)) << hex;
    }
    EXPECT_EQ(code, Code::Busy);
    EXPECT_TRUE(no_retry);
    EXPECT_FALSE(peek_error(
        base::Body::of(std::make_shared<const std::vector<base::Blob>>()), code, no_retry));
    const std::string two = test::from_hex("92 cc c8 c2");
    const auto least = unpack_error(base::bytes_of(two));
    ASSERT_TRUE(least.ok()) << "an older peer's error";
    EXPECT_EQ(least.value().code, Code::TaskThrew);
    const std::string trailing = two + "x";
    ASSERT_FALSE(unpack_error(base::bytes_of(trailing)).ok());
    EXPECT_NE(
        unpack_error(base::bytes_of(trailing)).failure().text.find("decode_trailing at byte 4"),
        std::string::npos);
}

}  // namespace
}  // namespace forkmill::wire
