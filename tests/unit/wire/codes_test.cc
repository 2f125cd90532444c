// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "core/wire/codec.h"

namespace forkmill::wire {
namespace {

TEST(Codes, EveryNumberHasOneNameAndOneAnswer) {
    std::set<std::string_view> names;
    int known = 0;
    for (int number = 1; number < 1000; ++number) {
        const CodeInfo& info = info_of(static_cast<Code>(number));
        if (info.code == Code::None) continue;
        ++known;
        EXPECT_EQ(info.code, static_cast<Code>(number));
        EXPECT_TRUE(names.insert(info.name).second) << info.name;
    }
    EXPECT_EQ(known, 66);
    EXPECT_EQ(name_of(Code::SignatureMismatch), "signature_mismatch");
    EXPECT_EQ(name_of(Code::BrokenBarrier), "broken_barrier");
    EXPECT_EQ(info_of(Code::Busy).ran, Ran::No);
    EXPECT_TRUE(info_of(Code::Busy).retryable);
    EXPECT_EQ(info_of(Code::TaskThrew).ran, Ran::Yes);
}

TEST(Codes, AnUnknownCodeMayHaveRun) {
    const CodeInfo& info = info_of(static_cast<Code>(65535));
    EXPECT_EQ(info.code, Code::None);
    EXPECT_EQ(info.ran, Ran::Maybe);
    EXPECT_FALSE(info.retryable);
}

TEST(Codes, NumbersNeverChangeTheirMeaning) {
    // They stand in other programs and in stored errors: the last of each block, by number.
    EXPECT_EQ(static_cast<int>(Code::UnknownTransfer), 17);
    EXPECT_EQ(static_cast<int>(Code::FrameRejected), 120);
    EXPECT_EQ(static_cast<int>(Code::InitializerFailed), 210);
    EXPECT_EQ(static_cast<int>(Code::AuthFailed), 305);
    EXPECT_EQ(static_cast<int>(Code::BrokenBarrier), 408);
    EXPECT_EQ(static_cast<int>(Code::ValueChanged), 410);
}

TEST(Codes, OutcomesAndKindsHaveTheirWords) {
    EXPECT_EQ(name_of(Outcome::Succeeded), "succeeded");
    EXPECT_EQ(name_of(Outcome::Dead), "dead");
    EXPECT_EQ(name_of(static_cast<Outcome>(9)), "unknown");
    EXPECT_EQ(name_of(Kind::CancelLease), "CANCEL_LEASE");
    EXPECT_EQ(name_of(static_cast<Kind>(0)), "unknown");
}

}  // namespace
}  // namespace forkmill::wire
