// SPDX-License-Identifier: Apache-2.0
// The fuzzer's corpus, in every build: what it found once stays found.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "tests/fuzz/decode_any.h"

namespace forkmill::wire {
namespace {

std::filesystem::path corpus() {
    return std::filesystem::path{FORKMILL_TEST_SOURCE_DIR} / "tests/fuzz/corpus/decode";
}

std::string bytes_of_file(const std::filesystem::path& file) {
    std::ifstream in{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

TEST(Corpus, EveryFileIsAnsweredAndNamedForItsAnswer) {
    for (const auto& entry : std::filesystem::directory_iterator{corpus()}) {
        const std::string bytes = bytes_of_file(entry.path());
        const Code code = fuzz::decode_any(fuzz::message_of(base::bytes_of(bytes)));
        fuzz::unpack_any(base::bytes_of(bytes));
        const std::string name = entry.path().filename();
        if (name == "error_info") continue;  // No frame, but what a result's body holds.
        EXPECT_EQ(code != Code::None, name.starts_with("bad_")) << name << ": " << name_of(code);
    }
}

TEST(Corpus, HoldsASoundFrameOfEveryKind) {
    std::set<std::uint8_t> kinds;
    for (const auto& entry : std::filesystem::directory_iterator{corpus()}) {
        const std::string bytes = bytes_of_file(entry.path());
        if (bytes.size() > kPrefixSize &&
            fuzz::decode_any(fuzz::message_of(base::bytes_of(bytes))) == Code::None)
            kinds.insert(static_cast<std::uint8_t>(bytes[kPrefixSize]));
    }
    for (int kind = 0; kind <= 0xff; ++kind) {
        const std::string_view name = name_of(static_cast<Kind>(kind));
        EXPECT_EQ(kinds.contains(static_cast<std::uint8_t>(kind)), name != "unknown") << name;
    }
}

}  // namespace
}  // namespace forkmill::wire
