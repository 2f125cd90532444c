// SPDX-License-Identifier: Apache-2.0
#include "core/base/config_values.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>

namespace forkmill::base {
namespace {

using namespace std::chrono_literals;

TEST(ParseInteger, AcceptsDecimalOnly) {
    EXPECT_EQ(parse_integer("0").value(), 0);
    EXPECT_EQ(parse_integer("-17").value(), -17);
    EXPECT_EQ(parse_integer("9223372036854775807").value(),
              std::numeric_limits<std::int64_t>::max());
    for (const char* text : {"",
                             "-",
                             "+1",
                             "012",
                             "-0",
                             "0x10",
                             "1e3",
                             "1_000",
                             "4.0",
                             "4 ",
                             " 4",
                             "yes",
                             "9223372036854775808",
                             "1000000000000000000000"}) {
        EXPECT_FALSE(parse_integer(text).ok()) << text;
    }
}

TEST(ParseBoolean, AcceptsTrueAndFalseOnly) {
    EXPECT_TRUE(parse_boolean("true").value());
    EXPECT_FALSE(parse_boolean("false").value());
    for (const char* text : {"yes", "on", "True", "1", "y", ""}) {
        EXPECT_FALSE(parse_boolean(text).ok()) << text;
    }
}

TEST(ParseDuration, RequiresAUnit) {
    EXPECT_EQ(parse_duration("250ms").value(), 250ms);
    EXPECT_EQ(parse_duration("30s").value(), 30s);
    EXPECT_EQ(parse_duration("5m").value(), 5min);
    EXPECT_EQ(parse_duration("1h").value(), 1h);
    EXPECT_EQ(parse_duration("0s").value(), 0s);
    for (const char* text : {"30",
                             "s",
                             "",
                             "-1s",
                             "1.5s",
                             "01s",
                             "1 s",
                             "1d",
                             "1h30m",
                             "999999999h",
                             "99999999999999999999s"}) {
        EXPECT_FALSE(parse_duration(text).ok()) << text;
    }
}

TEST(ParseDuration, SaysWhichUnitWasMeant) {
    EXPECT_NE(parse_duration("30sec").failure().text.find("did you mean 30s"), std::string::npos);
    EXPECT_NE(parse_duration("5Min").failure().text.find("did you mean 5m"), std::string::npos);
}

TEST(ParseSize, RequiresABinaryUnit) {
    EXPECT_EQ(parse_size("0B").value(), 0U);
    EXPECT_EQ(parse_size("64MiB").value(), 64ULL << 20);
    EXPECT_EQ(parse_size("1GiB").value(), 1ULL << 30);
    for (const char* text :
         {"64", "64MB", "MiB", "1.5GiB", "-1B", "99999999999999999999B", "99999999999GiB"}) {
        EXPECT_FALSE(parse_size(text).ok()) << text;
    }
    EXPECT_NE(parse_size("64MB").failure().text.find("did you mean 64MiB"), std::string::npos);
}

TEST(FormatValue, ReadsBackToTheSame) {
    for (const Duration duration : {Duration{0ms}, Duration{1ms}, Duration{90s}, Duration{2h}}) {
        EXPECT_EQ(parse_duration(format_duration(duration)).value(), duration);
    }
    EXPECT_EQ(format_duration(90s), "90s");
    EXPECT_EQ(format_duration(120s), "2m");
    for (const std::uint64_t size : {0ULL, 1ULL, 1023ULL, 4096ULL, 3ULL << 30}) {
        EXPECT_EQ(parse_size(format_size(size)).value(), size);
    }
}

TEST(Nearest, FindsASlipButNotAStranger) {
    const std::vector<std::string> keys{"workers", "threads", "queues"};
    EXPECT_EQ(nearest("worker", keys), "workers");
    EXPECT_EQ(nearest("wrokers", keys), "workers");
    EXPECT_EQ(nearest("Threads", keys), "threads");
    EXPECT_EQ(nearest("colour", keys), "");
    EXPECT_EQ(nearest(std::string(100'000, 'w'), keys), "");
}

TEST(Quoted, EscapesControlBytesAndCutsLongTexts) {
    EXPECT_EQ(shown("a\x1b[2Jb"), "'a\\x1b[2Jb'");
    EXPECT_LT(shown(std::string(1000, 'a')).size(), 80U);
}

TEST(ConfigName, AcceptsWhatFitsInALogAndAPath) {
    EXPECT_TRUE(is_config_name("gpu-2.large_A"));
    for (const char* text : {"", "-a", ".a", "a b", "a/b", "ä"}) EXPECT_FALSE(is_config_name(text));
    EXPECT_FALSE(is_config_name(std::string(65, 'a')));
}

}  // namespace
}  // namespace forkmill::base
