// SPDX-License-Identifier: Apache-2.0
// What a stranger may send: each case has its Code, changes nothing and costs nothing.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/wire/allocations.h"
#include "tests/unit/wire/frames.h"

namespace forkmill::wire {
namespace {

using test::blob_of;
using test::decode_message;
using test::frame;
using test::from_hex;
using test::numbered;

Code header_code(const base::Message& message) {
    Header header{};
    Cursor cursor;
    return decode_header(message, header, cursor);
}

template <class T>
Code code_of(const base::Message& message) {
    Header header{};
    T out{};
    return decode_message(message, header, out);
}

TEST(Hostile, AnEmptyMessageIsProtoEmpty) {
    EXPECT_EQ(header_code({}), Code::ProtoEmpty);
}

TEST(Hostile, ForeignTextIsProtoMagic) {
    EXPECT_EQ(header_code({blob_of("GET / HTTP/1.1\r\n"), {}}), Code::ProtoMagic);
    EXPECT_EQ(header_code({blob_of("FM\x01"), {}}), Code::ProtoMagic);
    EXPECT_EQ(header_code({blob_of("fm\x01\x01\x90"), {}}), Code::ProtoMagic);
}

TEST(Hostile, AnotherMajorIsProtoVersion) {
    EXPECT_EQ(header_code({blob_of(std::string{"FM\x02\x01\x93\0\0\0", 8}), {}}),
              Code::ProtoVersion);
}

TEST(Hostile, AnUnknownKindIsProtoKind) {
    for (int kind = 0; kind <= 0xff; ++kind) {
        const auto named = static_cast<Kind>(kind);
        const Code expected = name_of(named) == "unknown" ? Code::ProtoKind : Code::None;
        EXPECT_EQ(header_code(numbered(named, 0, "")), expected) << kind;
    }
    EXPECT_EQ(header_code(numbered(static_cast<Kind>(0x7f), 0, "")), Code::ProtoKind);
}

TEST(Hostile, EveryTruncationIsRefusedAndNamesItsPlace) {
    const base::Message whole =
        encode({Kind::Template, 1, 2, 3},
               TemplateDef{1, "a.b", "(i32)", "gpu", -7, 1, 2, 3, 4, 5, true, false});
    for (std::size_t size = kPrefixSize; size < whole.control.size(); ++size) {
        const base::Message cut{blob_of(base::text_of(whole.control.view().first(size))), {}};
        Header header{};
        Cursor cursor;
        Code code = decode_header(cut, header, cursor);
        TemplateDef out;
        if (code == Code::None) code = decode(cursor, out);
        EXPECT_EQ(code, Code::Decode) << size;
        EXPECT_LE(cursor.offset(), size);
        EXPECT_GE(cursor.offset(), kPrefixSize);
    }
}

TEST(Hostile, TrailingBytesAreDecodeTrailing) {
    EXPECT_EQ(code_of<Credit>(numbered(Kind::Credit, 2, from_hex("01 02"))), Code::None);
    EXPECT_EQ(code_of<Credit>(numbered(Kind::Credit, 2, from_hex("01 02 03"))),
              Code::DecodeTrailing);
}

TEST(Hostile, ArrayBombsAllocateNothing) {
    const auto bombs = {
        frame(Kind::Accepted, from_hex("dd ff ff ff ff")),
        numbered(Kind::Accepted, 1, from_hex("dd ff ff ff ff")),
        numbered(Kind::Accepted, 1, from_hex("dd 02 fa f0 80 01")),
        numbered(Kind::Credit, 3, from_hex("01 02 dd ff ff ff ff")),
        numbered(Kind::Held, 1, from_hex("dc ff ff")),
    };
    for (const base::Message& bomb : bombs) {
        Header header{};
        Accepted accepted;
        Held held;
        Credit credit;
        const std::size_t before = test::allocations();
        const Code code =
            bomb.control.view()[3] == std::byte{static_cast<std::uint8_t>(Kind::Held)}
                ? decode_message(bomb, header, held)
            : bomb.control.view()[3] == std::byte{static_cast<std::uint8_t>(Kind::Credit)}
                ? decode_message(bomb, header, credit)
                : decode_message(bomb, header, accepted);
        EXPECT_EQ(test::allocations(), before);
        EXPECT_EQ(code, Code::LimitElements);
    }
}

TEST(Hostile, BatchBombsAllocateNothing) {
    const base::Message tasks =
        numbered(Kind::Tasks, 1, from_hex("97 01 02 03 01 00 00 dd ff ff ff ff"));
    const base::Message submit = numbered(Kind::Submit, 1, from_hex("94 01 01 00 dd ff ff ff ff"));
    const base::Message results = numbered(Kind::Results, 2, from_hex("00 dd ff ff ff ff"));
    const base::Message dependencies =
        numbered(Kind::Submit, 1, from_hex("95 01 01 00 91 c4 00 93 00 a0 dd ff ff ff ff"));
    const std::size_t before = test::allocations();
    EXPECT_EQ(test::read_code<TasksReader>(tasks), Code::LimitElements);
    EXPECT_EQ(test::read_code<SubmitReader>(submit), Code::LimitElements);
    EXPECT_EQ(test::read_code<ResultsReader>(results), Code::LimitElements);
    EXPECT_EQ(test::read_code<SubmitReader>(dependencies), Code::LimitElements);
    EXPECT_EQ(test::allocations(), before);
}

TEST(Hostile, AClaimedLengthIsNotBelieved) {
    // bin32 and str32 that claim 4 GiB, and a list that claims more items than there are bytes.
    static_cast<void>(test::take_largest_allocation());
    EXPECT_EQ(test::read_code<SubmitReader>(
                  numbered(Kind::Submit, 1, from_hex("94 01 01 00 91 c6 ff ff ff ff"))),
              Code::Decode);
    EXPECT_EQ(code_of<Bye>(numbered(Kind::Bye, 1, from_hex("db ff ff ff ff"))), Code::LimitText);
    EXPECT_EQ(code_of<Bye>(numbered(Kind::Bye, 1, from_hex("db 00 00 10 00"))), Code::Decode);
    EXPECT_EQ(code_of<Started>(numbered(Kind::Started, 1, from_hex("dc 3f 00 01 02"))),
              Code::Decode);
    EXPECT_LT(test::take_largest_allocation(), 1024U);
}

TEST(Hostile, DepthIsLimited) {
    const auto nested = [](std::size_t arrays) {
        return numbered(
            Kind::Credit, 3, from_hex("01 02") + std::string(arrays, '\x91') + from_hex("c0"));
    };
    EXPECT_EQ(code_of<Credit>(nested(kDepthMax - 1)), Code::None);
    EXPECT_EQ(code_of<Credit>(nested(kDepthMax)), Code::LimitDepth);
    EXPECT_EQ(code_of<Credit>(nested(1'000'000)), Code::LimitDepth);
}

TEST(Hostile, ExtensionsAndMapsAreBadType) {
    for (const char* value :
         {"d4 01 00", "d6 ff 00 00 00 00", "c7 01 05 00", "80", "81 01 02", "de 00 00", "c1"}) {
        EXPECT_EQ(code_of<Credit>(numbered(Kind::Credit, 2, from_hex("01") + from_hex(value))),
                  Code::BadType)
            << value;
        EXPECT_EQ(code_of<Credit>(numbered(Kind::Credit, 3, from_hex("01 02") + from_hex(value))),
                  Code::BadType)
            << value << " in the tail";
    }
}

TEST(Hostile, WrongTypesAreBadType) {
    EXPECT_EQ(code_of<Credit>(numbered(Kind::Credit, 2, from_hex("01 ff"))), Code::BadType);
    EXPECT_EQ(code_of<Credit>(numbered(Kind::Credit, 2, from_hex("01 a1 31"))), Code::BadType);
    EXPECT_EQ(code_of<Credit>(numbered(Kind::Credit, 2, from_hex("01 cb 3ff0000000000000"))),
              Code::BadType);
    EXPECT_EQ(code_of<CancelLease>(numbered(Kind::CancelLease, 2, from_hex("01 01"))),
              Code::BadType);
    EXPECT_EQ(header_code(frame(Kind::Credit, from_hex("95 a1 31 00 00 01 02"))), Code::BadType);
    EXPECT_EQ(header_code(frame(Kind::Credit, from_hex("01"))), Code::BadType);
}

TEST(Hostile, NumbersOutOfRangeAreNeverClamped) {
    // A slot of 2^32, a role of 0 and of 5, a state of 3, a priority of 2^31.
    EXPECT_EQ(
        code_of<TemplateDef>(numbered(Kind::Template, 2, from_hex("cf 0000000100000000 a1 61"))),
        Code::InvalidRange);
    EXPECT_EQ(
        code_of<TemplateDef>(numbered(Kind::Template, 5, from_hex("01 a1 61 a0 a0 ce 80000000"))),
        Code::InvalidRange);
    EXPECT_EQ(code_of<Hello>(numbered(Kind::Hello, 7, from_hex("00 00 01 02 03 04 05"))),
              Code::InvalidRange);
    EXPECT_EQ(code_of<Hello>(numbered(Kind::Hello, 7, from_hex("00 05 01 02 03 04 05"))),
              Code::InvalidRange);
    EXPECT_EQ(code_of<Held>(numbered(Kind::Held, 1, from_hex("91 96 01 02 03 01 00 03"))),
              Code::InvalidRange);
}

TEST(Hostile, ADeadlineOutOfRangeIsRefused) {
    const auto deadline = [](const char* value) {
        return test::read_code<SubmitReader>(
            numbered(Kind::Submit, 1, from_hex("95 01 01 00 91 c4 00 91") + from_hex(value)));
    };
    EXPECT_EQ(deadline("00"), Code::None);
    EXPECT_EQ(deadline("ff"), Code::InvalidRange);
    EXPECT_EQ(deadline("cf 8000000000000000"), Code::InvalidRange);
    EXPECT_EQ(deadline("cb 7ff8000000000000"), Code::BadType);
}

TEST(Hostile, NamesThatAreNoneAreInvalidName) {
    for (const std::string name :
         {"", ".", "..", "../x", "a b", "a\n", "a\x1b[31m", "\xff", "ä", "@", "@zz+1", "a/b"}) {
        TemplateDef named;
        named.name = name;
        const base::Message message = encode({Kind::Template, 1, 0, 0}, named);
        EXPECT_EQ(code_of<TemplateDef>(message), Code::InvalidName) << escape_for_log(name);
    }
    const std::string with_nul("a\0b", 3);
    TemplateDef def;
    def.name = with_nul;
    EXPECT_EQ(code_of<TemplateDef>(encode({Kind::Template, 1, 0, 0}, def)), Code::InvalidName);
    Hello hello;
    hello.host = "evil\x1b]0;title";
    EXPECT_EQ(code_of<Hello>(encode({Kind::Hello}, hello)), Code::InvalidName);
    hello = {};
    hello.queues = {"../../etc"};
    EXPECT_EQ(code_of<Hello>(encode({Kind::Hello}, hello)), Code::InvalidName);
    hello = {};
    hello.offers = {{"two words", ""}};
    EXPECT_EQ(code_of<Hello>(encode({Kind::Hello}, hello)), Code::InvalidName);
}

TEST(Hostile, TextsLongerThanTheirLimitAreLimitText) {
    const std::string text = from_hex("da 20 01") + std::string(kTextMax + 1, 'x');
    EXPECT_EQ(code_of<Bye>(numbered(Kind::Bye, 1, text)), Code::LimitText);
    const std::string name = from_hex("01 d9 81") + std::string(kTaskNameMax + 1, 'x');
    EXPECT_EQ(code_of<TemplateDef>(numbered(Kind::Template, 2, name)), Code::LimitText);
}

TEST(Hostile, FramesAndPartsBeyondTheLimitsAreRefused) {
    base::Message message = numbered(Kind::Results, 2, from_hex("00 90"));
    message.payloads.assign(kMessageFramesMax - 1, blob_of("x"));
    EXPECT_EQ(header_code(message), Code::None);
    message.payloads.push_back(blob_of("x"));
    EXPECT_EQ(header_code(message), Code::ProtoParts);

    message.payloads = {base::Blob::allocate(kBodyFrameMax + 1)};
    EXPECT_EQ(header_code(message), Code::LimitSize);
    message.payloads.assign(2, base::Blob::allocate(kBodyFrameMax));
    EXPECT_EQ(header_code(message), Code::LimitSize) << "2 MiB of payload and a control frame";
    message.payloads = {};
    message.control = blob_of("FM\x01\x30" + std::string(kFrameMax, '\0'));
    EXPECT_EQ(header_code(message), Code::LimitSize);
}

TEST(Hostile, PayloadsWhereNoneBelongAreProtoParts) {
    EXPECT_EQ(header_code(numbered(Kind::Credit, 2, from_hex("01 02"), 1)), Code::ProtoParts);
    EXPECT_EQ(header_code(numbered(Kind::Hello, 2, from_hex("01 02"), 1)), Code::ProtoParts);
}

TEST(Hostile, PayloadsMustBeNamedOnceAndInOrder) {
    const auto results = [](const char* records, std::size_t payloads) {
        return test::read_code<ResultsReader>(
            numbered(Kind::Results, 2, from_hex("00") + from_hex(records), payloads));
    };
    EXPECT_EQ(results("96 01 00 00 02 00 01", 2), Code::None);
    EXPECT_EQ(results("96 01 00 01 02 00 00", 2), Code::ProtoParts);
    EXPECT_EQ(results("96 01 00 00 02 00 00", 2), Code::ProtoParts);
    EXPECT_EQ(results("93 01 00 00", 2), Code::ProtoParts);
    EXPECT_EQ(results("93 01 00 00", 0), Code::ProtoParts);
    EXPECT_EQ(results("93 01 00 cf ffffffffffffffff", 1), Code::ProtoParts);
}

TEST(Hostile, AFrameThatIsWrongAtItsEndHandsOutNothing) {
    const base::Message good =
        numbered(Kind::Results, 2, from_hex("00 96 01 00 c4 01 61 02 00 c4 01 62"));
    const base::Message bad =
        numbered(Kind::Results, 2, from_hex("00 96 01 00 c4 01 61 02 09 c4 01 62"));
    Header header{};
    Cursor cursor;
    ResultRecord record;
    ASSERT_EQ(decode_header(good, header, cursor), Code::None);
    ResultsReader sound{cursor, good};
    EXPECT_EQ(sound.code(), Code::None);
    EXPECT_TRUE(sound.next(record));
    ASSERT_EQ(decode_header(bad, header, cursor), Code::None);
    ResultsReader broken{cursor, bad};
    EXPECT_EQ(broken.code(), Code::InvalidRange);
    EXPECT_EQ(broken.count(), 0U);
    EXPECT_FALSE(broken.next(record));
}

TEST(Hostile, TaskNumbersMustNotRunOver) {
    EXPECT_EQ(test::read_code<SubmitReader>(numbered(
                  Kind::Submit, 1, from_hex("94 01 cf ffffffffffffffff 00 92 c4 00 c4 00"))),
              Code::InvalidRange);
    EXPECT_EQ(test::read_code<TasksReader>(
                  numbered(Kind::Tasks,
                           1,
                           from_hex("97 01 02 cf ffffffffffffffff 01 00 00 94 01 c4 00 02 c4 00"))),
              Code::InvalidRange);
}

TEST(Hostile, GroupsThatHoldNothingOrHalfARecordAreRefused) {
    EXPECT_EQ(test::read_code<SubmitReader>(numbered(Kind::Submit, 1, from_hex("94 01 01 00 90"))),
              Code::Decode);
    EXPECT_EQ(test::read_code<SubmitReader>(numbered(Kind::Submit, 1, from_hex("93 01 01 00"))),
              Code::Decode);
    EXPECT_EQ(test::read_code<TasksReader>(
                  numbered(Kind::Tasks, 1, from_hex("97 01 02 03 01 00 00 93 01 c4 00 02"))),
              Code::Decode);
    EXPECT_EQ(test::read_code<ResultsReader>(numbered(Kind::Results, 2, from_hex("00 92 01 00"))),
              Code::Decode);
    EXPECT_EQ(test::read_code<ResultsReader>(numbered(Kind::Results, 1, from_hex("00"))),
              Code::Decode);
}

TEST(Hostile, ExtrasBelongToGroupsOfOne) {
    EXPECT_EQ(test::read_code<SubmitReader>(
                  numbered(Kind::Submit, 1, from_hex("95 01 01 00 92 c4 00 c4 00 90"))),
              Code::InvalidRange);
    EXPECT_EQ(test::read_code<SubmitReader>(
                  numbered(Kind::Submit, 1, from_hex("95 01 01 00 92 c4 00 c4 00 c0"))),
              Code::None)
        << "nil stands for none";
}

TEST(Hostile, MoreRecordsThanAMessageMayHoldAreLimitElements) {
    const auto results = [](std::uint16_t records) {
        std::string body = from_hex("00 dc");
        const auto elements = static_cast<std::uint16_t>(3 * records);
        body.push_back(static_cast<char>(elements >> 8));
        body.push_back(static_cast<char>(elements & 0xff));
        for (std::uint16_t i = 0; i < records; ++i) body += from_hex("01 00 c4 00");
        return test::read_code<ResultsReader>(numbered(Kind::Results, 2, body));
    };
    EXPECT_EQ(results(kRecordsMax), Code::None);
    EXPECT_EQ(results(kRecordsMax + 1), Code::LimitElements);
}

TEST(Hostile, TransfersAreNamedSoundly) {
    const auto body = [](const char* pair) {
        return test::read_code<ResultsReader>(
            numbered(Kind::Results, 2, from_hex("00 93 01 00") + from_hex(pair)));
    };
    EXPECT_EQ(body("92 01 ce 00200000"), Code::None);
    EXPECT_EQ(body("92 00 ce 00200000"), Code::UnknownTransfer);
    EXPECT_EQ(body("92 01 ce 40000001"), Code::LimitSize);
    EXPECT_EQ(body("91 01"), Code::Decode);
}

TEST(Hostile, MoreDependenciesThanATaskMayHaveAreRefused) {
    const auto submit = [](std::size_t dependencies) {
        std::string body = from_hex("95 01 01 00 91 c4 00 93 00 a0 dc 00");
        body.push_back(static_cast<char>(2 * dependencies));
        for (std::size_t i = 0; i < dependencies; ++i) body += from_hex("00 01");
        return test::read_code<SubmitReader>(numbered(Kind::Submit, 1, body));
    };
    EXPECT_EQ(submit(kDependenciesMax), Code::None);
    EXPECT_EQ(submit(kDependenciesMax + 1), Code::TooManyDependencies);
}

}  // namespace
}  // namespace forkmill::wire
