// SPDX-License-Identifier: Apache-2.0
// docs/protocol.md against the code: every kind, code, field and limit it names, every example it
// shows.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>

#include "tests/fuzz/decode_any.h"
#include "tests/unit/wire/frames.h"

namespace forkmill::wire {
namespace {

std::string file(const char* path) {
    std::ifstream in{std::string{FORKMILL_TEST_SOURCE_DIR} + "/" + path};
    EXPECT_TRUE(in) << path;
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

const std::string& protocol() {
    static const std::string text = file("docs/protocol.md");
    return text;
}

TEST(ProtocolDoc, NamesEveryKindWithItsNumber) {
    for (int number = 0; number <= 0xff; ++number) {
        const std::string name{name_of(static_cast<Kind>(number))};
        if (name == "unknown") continue;
        EXPECT_NE(protocol().find("| " + name + " | " + std::to_string(number) + " |"),
                  std::string::npos)
            << name;
    }
}

TEST(ProtocolDoc, HasARowForEveryCode) {
    for (int number = 0; number <= 0xffff; ++number) {
        const CodeInfo& info = info_of(static_cast<Code>(number));
        if (info.code == Code::None && number != 0) continue;
        const std::string ran = info.ran == Ran::No ? "no" : info.ran == Ran::Yes ? "yes" : "maybe";
        const std::string row = "| " + std::to_string(number) + " | " + std::string{info.name} +
                                " | " + ran + " | " + (info.retryable ? "yes" : "no") + " |";
        EXPECT_NE(protocol().find(row), std::string::npos) << row;
    }
}

TEST(ProtocolDoc, NamesNothingThatTheHeadersDoNotDeclare) {
    // Enumerators that were added to a header but not to name_of() would escape the tests above.
    const auto enumerators = [](const char* path, const char* open) {
        std::string text = file(path);
        text = text.substr(text.find(open));
        text = text.substr(text.find('{') + 1);
        text = text.substr(0, text.find("};"));
        text = std::regex_replace(text, std::regex{"//[^\n]*"}, "");
        const std::regex word{"[A-Z][A-Za-z]*"};
        return std::distance(std::sregex_iterator{text.begin(), text.end(), word},
                             std::sregex_iterator{});
    };
    std::ptrdiff_t kinds = 0;
    for (int number = 0; number <= 0xff; ++number)
        kinds += name_of(static_cast<Kind>(number)) != "unknown";
    EXPECT_EQ(enumerators("core/wire/kinds.h", "enum class Kind"), kinds);
    std::ptrdiff_t codes = 1;
    for (int number = 1; number <= 0xffff; ++number)
        codes += info_of(static_cast<Code>(number)).code != Code::None;
    EXPECT_EQ(enumerators("core/wire/codes.h", "enum class Code"), codes);
}

/// The ```hex NAME blocks.
std::map<std::string, std::string> examples() {
    std::map<std::string, std::string> found;
    const std::string open = "```hex ";
    for (std::size_t at = protocol().find(open); at != std::string::npos;
         at = protocol().find(open, at + 1)) {
        const std::size_t line = protocol().find('\n', at);
        const std::size_t end = protocol().find("```", line);
        found[protocol().substr(at + open.size(), line - at - open.size())] =
            test::from_hex(protocol().substr(line, end - line));
    }
    return found;
}

TEST(ProtocolDoc, ExamplesAreSoundFramesOfTheirKind) {
    const auto all = examples();
    EXPECT_GE(all.size(), 8U);
    for (const auto& [name, bytes] : all) {
        const base::Message message{test::blob_of(bytes), {}};
        Header header{};
        Cursor cursor;
        ASSERT_EQ(decode_header(message, header, cursor), Code::None) << name;
        EXPECT_EQ(name_of(header.kind), name);
        EXPECT_EQ(fuzz::decode_any(message), Code::None) << name;
    }
}

TEST(ProtocolDoc, ExamplesSayWhatTheTextSays) {
    const auto all = examples();
    const base::Message submit{test::blob_of(all.at("SUBMIT")), {}};
    Header header{};
    Cursor cursor;
    ASSERT_EQ(decode_header(submit, header, cursor), Code::None);
    EXPECT_EQ(header.number, 2U);
    EXPECT_EQ(header.floor, 1U);
    SubmitReader submits{cursor, submit};
    SubmitRecord record;
    ASSERT_EQ(submits.count(), 2U);
    ASSERT_TRUE(submits.next(record));
    EXPECT_EQ(record.seq, 1U);
    EXPECT_EQ(base::text_of(record.body.body.view), "\x92\x01\x02");

    const base::Message results{test::blob_of(all.at("RESULTS")), {}};
    ASSERT_EQ(decode_header(results, header, cursor), Code::None);
    ResultsReader reader{cursor, results};
    ResultRecord result;
    ASSERT_TRUE(reader.next(result));
    EXPECT_EQ(result.ref, std::uint64_t{1} << 32);
    EXPECT_EQ(base::text_of(result.body.body.view), "\x03");
    ASSERT_TRUE(reader.next(result));
    EXPECT_EQ(result.outcome, Outcome::Failed);
    const auto error = unpack_error(result.body.body.view);
    ASSERT_TRUE(error.ok());
    EXPECT_EQ(error.value().type, "std::runtime_error");
    EXPECT_EQ(error.value().what, "no");
}

TEST(ProtocolDoc, OurEncoderSaysTheSameBytes) {
    const std::string expected = examples().at("ACCEPTED");
    const base::Message message = encode({Kind::Accepted, 1, 2, 0}, Accepted{{{1, 2}}});
    EXPECT_EQ(base::text_of(message.control.view()), expected);
    EXPECT_EQ(base::text_of(encode_ack(2, 1).control.view()), examples().at("ACK"));
}

TEST(ProtocolDoc, QuotesTheLimits) {
    const auto grouped = [](std::size_t number) {
        std::string text = std::to_string(number);
        for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
        return text;
    };
    for (const std::size_t limit :
         {kElementsMax, kRecordsMax, kTemplatesMax, kTextMax, kSignatureMax, kUntakenMax})
        EXPECT_NE(protocol().find(grouped(limit)), std::string::npos) << limit;
    EXPECT_NE(protocol().find("| frames of a message, control included | " +
                              std::to_string(kMessageFramesMax) + " |"),
              std::string::npos);
    EXPECT_NE(protocol().find("| nesting, the outermost array included | " +
                              std::to_string(kDepthMax) + " |"),
              std::string::npos);
    EXPECT_NE(
        protocol().find("| dependencies of a task | " + std::to_string(kDependenciesMax) + " |"),
        std::string::npos);
    EXPECT_NE(protocol().find("| unacked frames, bytes | " + std::to_string(kUnackedFramesMax) +
                              ", 4 MiB |"),
              std::string::npos);
}

}  // namespace
}  // namespace forkmill::wire
