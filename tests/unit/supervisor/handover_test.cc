// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/handover.h"

#include <gtest/gtest.h>

namespace forkmill::supervisor {
namespace {

SavedMaster example() {
    SavedMaster saved;
    saved.owner = std::string{"any bytes: \0\n3:", 15};
    saved.relay_identity = "router 1";
    saved.relay.emplace();
    saved.relay->pid = 41;
    SavedPool& pool = saved.pools.emplace_back();
    pool.name = "images";
    pool.workers = 3;
    pool.children.emplace_back();
    pool.children.back().generation = 9;
    pool.children.back().doom = Cause::Oom;
    return saved;
}

TEST(Handover, WhatIsWrittenIsReadAgain) {
    const std::string text = to_text(example());
    const base::Result<SavedMaster> read = saved_from_text(text);
    ASSERT_TRUE(read.ok()) << read.failure().text;
    EXPECT_EQ(to_text(read.value()), text);
    EXPECT_EQ(read.value().owner, example().owner);
    EXPECT_EQ(read.value().pools.at(0).children.at(0).generation, 9U);
}

TEST(Handover, ATextThatEndsTooSoonOrTooLateIsRefused) {
    const std::string text = to_text(example());
    for (std::size_t size = 0; size < text.size(); ++size)
        EXPECT_FALSE(saved_from_text(text.substr(0, size)).ok()) << size;
    EXPECT_FALSE(saved_from_text(text + "1:x").ok());
}

TEST(Handover, APieceNeedsASizeAndThatManyBytes) {
    for (const char* text : {"",
                             "3",
                             ":abc",
                             "x:abc",
                             "-1:abc",
                             "4:abc",
                             "3 :abc",
                             "99999999999999999999:abc",
                             "000000000000000000000003:abc"}) {
        PieceReader in{text};
        EXPECT_EQ(in.text(), "") << text;
        EXPECT_FALSE(in.good()) << text;
        EXPECT_TRUE(in.at_end()) << text;
    }
}

// Minutes, not milliseconds, when each piece moves all that follow it.
TEST(Handover, AMillionPiecesAreReadInOnePass) {
    constexpr std::int64_t kPieces = 1'000'000;
    PieceWriter out;
    for (std::int64_t i = 0; i < kPieces; ++i) out.number(i);
    PieceReader in{out.take()};
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kPieces; ++i) sum += in.number();
    EXPECT_EQ(sum, kPieces * (kPieces - 1) / 2);
    EXPECT_TRUE(in.good() && in.at_end());
}

}  // namespace
}  // namespace forkmill::supervisor
