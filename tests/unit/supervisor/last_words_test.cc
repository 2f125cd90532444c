// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/last_words.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/supervisor/stack_dump.h"

namespace forkmill::supervisor {
namespace {

const std::string kReport =
    "forkmill: crashed by SIGSEGV at address 0x0 in thread 7\n"
    "  #0 _ZN3foo3barEv+0x1c (libx.so+0x1234)\n"
    "  #1 (libx.so+0x99)\n";

TEST(DemangleStack, MangledWordsAreReplacedAndAllElseStays) {
    EXPECT_EQ(demangle_stack("  #0 _ZN3foo3barEv+0x1c (libx.so+0x1234)\n"),
              "  #0 foo::bar()+0x1c (libx.so+0x1234)\n");
    EXPECT_EQ(demangle_stack("_Z1fi"), "f(int)");
    EXPECT_EQ(demangle_stack("(_Z1fi,_Z1gv)"), "(f(int),g())");
    EXPECT_EQ(demangle_stack(""), "");
    EXPECT_EQ(demangle_stack("\n\n a  b\t"), "\n\n a  b\t");
    EXPECT_EQ(demangle_stack("x_Z1fi main+0x1 i"), "x_Z1fi main+0x1 i")
        << "only words that begin so; `i` alone is no int";
}

TEST(DemangleStack, GarbageStaysAsItIs) {
    constexpr char kBytes[] = "\0\xff_Z\x80 _Z _ZN _Znotaname \x01";
    const std::string bytes(kBytes, sizeof kBytes - 1);
    EXPECT_EQ(demangle_stack(bytes), bytes);
    const std::string endless = "_ZN" + std::string(100'000, '9');
    EXPECT_EQ(demangle_stack(endless), endless);
}

TEST(DemangleStack, LongNamesLoseTheirMiddle) {
    const std::string inner(150, 'a');
    const std::string name = demangle_stack("_ZN3foo150" + inner + "3endEi (x+0x1)");
    EXPECT_EQ(name.size(), kShownNameMax + 8);
    EXPECT_TRUE(name.starts_with("foo::aaa")) << name;
    EXPECT_TRUE(name.ends_with("::end(int) (x+0x1)")) << name;
    EXPECT_NE(name.find("..."), std::string::npos);
}

/// f(pair<pair<…>, pair<…>>): every level doubles the name.
std::string doubled(std::size_t levels) {
    constexpr std::string_view kIds = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    std::string name = "_Z1fSt4pairIiiE";
    for (const char id : kIds.substr(0, levels)) {
        const std::string reference = std::string{"S"} + id + "_";
        name.append("S_I").append(reference).append(reference).append("E");
    }
    return name;
}

TEST(DemangleStack, ANameThatStandsForGigabytesStaysMangled) {
    EXPECT_EQ(demangle_stack(doubled(36)), doubled(36));
    EXPECT_TRUE(demangle_stack(doubled(4)).starts_with("f(std::pair<int, int>, std::pair<std::"));
}

TEST(LastWords, WithoutAReportTheyAreTheLastBytes) {
    EXPECT_EQ(last_words(std::string(5000, 'x') + "the end", 10), "xxxthe end");
    EXPECT_EQ(last_words("first line\nabout to die\n"), "first line\nabout to die\n");
    EXPECT_EQ(last_words(""), "");
}

TEST(LastWords, AReportBeginsWithItsHead) {
    EXPECT_EQ(last_words(std::string(5000, 'x') + "\n" + kReport),
              "forkmill: crashed by SIGSEGV at address 0x0 in thread 7\n"
              "  #0 foo::bar()+0x1c (libx.so+0x1234)\n"
              "  #1 (libx.so+0x99)\n");
}

TEST(LastWords, WhatWasWrittenJustBeforeAReportIsKept) {
    const std::string before = "terminate called after throwing\n  what():  boom\n";
    EXPECT_TRUE(last_words(std::string(500, 'x') + "\n" + before + kReport)
                    .starts_with(before + "forkmill: crashed by"));
    EXPECT_TRUE(last_words("\n" + kReport).starts_with("\nforkmill: crashed by"));
}

TEST(LastWords, FramesOfOtherThreadsBeforeAReportAreNot) {
    EXPECT_TRUE(last_words("forkmill: thread 9 (x)\n  #0 (a+0x1)\n" + kReport)
                    .starts_with("forkmill: crashed by"));
}

TEST(LastWords, TheLastReportCountsAndOnlyAtALinesBegin) {
    const std::string text = last_words("forkmill: crashed by SIGOLD\n  #0 (a+0x1)\n" + kReport +
                                        "said: forkmill: crashed by me\n");
    EXPECT_TRUE(text.starts_with("forkmill: crashed by SIGSEGV")) << text;
}

TEST(LastWords, ALongReportLosesWholeFramesAtItsEnd) {
    std::string report = "forkmill: crashed by SIGABRT in thread 1\n";
    for (int i = 0; i < 100; ++i)
        report.append("  #").append(std::to_string(i)).append(" (a.so+0x1234567890)\n");
    const std::string text = last_words(report);
    EXPECT_LE(text.size(), kStderrTail);
    EXPECT_GT(text.size(), kStderrTail - 40);
    EXPECT_TRUE(report.starts_with(text));
    EXPECT_TRUE(text.ends_with("\n"));
}

}  // namespace
}  // namespace forkmill::supervisor
