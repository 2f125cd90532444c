// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "core/wire/limits.h"
#include "core/wire/names.h"

namespace forkmill::wire {
namespace {

TEST(Names, TaskNamesAreOfFewCharacters) {
    for (const char* name : {"a", "thumb.resize", "A-z_0.9", "...x"})
        EXPECT_TRUE(valid_task_name(name)) << name;
    for (const char* name : {"", ".", "..", "a b", "a/b", "a\n", "é", "a:b", "+a"})
        EXPECT_FALSE(valid_task_name(name)) << name;
    EXPECT_TRUE(valid_task_name(std::string(kTaskNameMax, 'x')));
    EXPECT_FALSE(valid_task_name(std::string(kTaskNameMax + 1, 'x')));
}

TEST(Names, BareFunctionsAreBuildAndOffset) {
    for (const char* name : {"@0af+1c0", "@0af+1c0:0af+99"}) {
        EXPECT_TRUE(is_function_name(name)) << name;
        EXPECT_TRUE(valid_task_name(name)) << name;
        EXPECT_FALSE(valid_offer_name(name)) << name;
    }
    for (const char* name : {"@",
                             "@0af",
                             "@0af+",
                             "@+1",
                             "@0AF+1",
                             "@0af+1:",
                             "@0af+1:0af",
                             "@0af+1:0af+1:",
                             "@0af+1 "})
        EXPECT_FALSE(valid_task_name(name)) << name;
    EXPECT_TRUE(valid_offer_name("@0af"));
    EXPECT_TRUE(valid_offer_name("thumb.resize"));
    EXPECT_FALSE(valid_offer_name("@"));
    EXPECT_FALSE(valid_task_name("@" + std::string(kTaskNameMax, 'a') + "+1"));
}

TEST(Names, QueuesAndKeysHaveLimits) {
    EXPECT_TRUE(valid_queue_name("gpu-1"));
    EXPECT_FALSE(valid_queue_name(""));
    EXPECT_FALSE(valid_queue_name(std::string(kQueueNameMax + 1, 'q')));
    EXPECT_TRUE(valid_key(""));
    EXPECT_TRUE(valid_key("order 7/ä"));
    EXPECT_FALSE(valid_key("a\nb"));
    EXPECT_FALSE(valid_key(std::string(kKeyMax + 1, 'k')));
}

TEST(Names, Utf8IsJudgedStrictly) {
    for (const char* text : {"", "abc", "ä", "€", "😀", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
        EXPECT_TRUE(valid_utf8(text)) << text;
    for (const char* text : {"\x80",
                             "\xc0\x80",
                             "\xc1\xbf",
                             "\xc3",
                             "\xe0\x80\x80",
                             "\xed\xa0\x80",
                             "\xe2\x82",
                             "\xf0\x80\x80\x80",
                             "\xf4\x90\x80\x80",
                             "\xf5\x80\x80\x80",
                             "\xff"})
        EXPECT_FALSE(valid_utf8(text)) << escape_for_log(text);
    EXPECT_TRUE(clean_text("a b ä"));
    for (const char* text : {"\n", "\t", "\x1b[0m", "\x7f", "\xc2\x9b"})
        EXPECT_FALSE(clean_text(text));
}

TEST(Names, TextsAreCutBetweenCharacters) {
    EXPECT_EQ(cut_text("aäb", 4), "aäb");
    EXPECT_EQ(cut_text("aäb", 3), "aä");
    EXPECT_EQ(cut_text("aäb", 2), "a");
    EXPECT_EQ(cut_text("😀😀", 7), "😀");
    EXPECT_EQ(cut_text("😀", 0), "");
    EXPECT_EQ(cut_text("\x80\x80\x80\x80\x80\x80", 4), "\x80\x80\x80\x80")
        << "no UTF-8: cut anywhere";
}

TEST(Names, LogsShowEveryByteOfAStranger) {
    EXPECT_EQ(escape_for_log("plain ä"), "plain ä");
    EXPECT_EQ(escape_for_log("a\nb\x1b[31m\\\xff\xc2\x9b"), "a\\x0ab\\x1b[31m\\\\\\xff\\xc2\\x9b");
    EXPECT_EQ(escape_for_log(std::string("a\0b", 3)), "a\\x00b");
    EXPECT_EQ(escape_for_log(std::string(1000, 'x'), 10), "xxxxxxxxxx…");
}

}  // namespace
}  // namespace forkmill::wire
