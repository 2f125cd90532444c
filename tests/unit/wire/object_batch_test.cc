// SPDX-License-Identifier: Apache-2.0
// Operations on shared objects: said, understood, within every limit; strangers' bytes are refused.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/wire/frames.h"

namespace forkmill::wire {
namespace {

using test::blob_of;
using test::from_hex;
using test::numbered;

template <class Reader, class Record>
std::vector<Record> read(base::Message&&) = delete;  // Records view the message.
template <class Reader, class Record>
std::vector<Record> read(const base::Message& message) {
    Header header{};
    Cursor cursor;
    EXPECT_EQ(decode_header(message, header, cursor), Code::None);
    Reader reader{cursor, message};
    EXPECT_EQ(reader.code(), Code::None) << "at byte " << reader.error_offset();
    std::vector<Record> records;
    Record record;
    while (reader.next(record)) records.push_back(record);
    EXPECT_EQ(records.size(), reader.count());
    return records;
}

ObjectItem item(std::string key, std::string_view value, std::vector<std::uint64_t> refs = {}) {
    return {std::move(key), BodyRef::of(base::bytes_of(value)), std::move(refs)};
}

TEST(ObjectBatch, AnOperationKeepsEveryField) {
    ObjectOp in;
    in.op = UINT64_MAX;
    in.verb = ObjectVerb::Open;
    in.object = 2;
    in.flags = kOpCreate | kOpOld;
    in.owner = 3;
    in.timeout_ns = -1;
    in.token = 4;
    in.version = 5;
    in.index = -6;
    in.count = 7;
    in.items = {item("k", "v", {8, 9}), item("", "")};
    in.name = "jöbs";
    in.type = "queue<i32>";
    in.shaped = true;
    in.shape = {ObjectKind::Array, 10, 11, 12, CellKind::F64, 13};
    ObjectWriter writer;
    writer.add(in);
    ObjectOp plain;
    plain.op = 1;
    plain.verb = ObjectVerb::Info;
    writer.add(plain);
    const base::Message message = writer.finish({Kind::Object, 1, 2, 3});
    const auto out = read<ObjectReader, ObjectOp>(message);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].op, in.op);
    EXPECT_EQ(out[0].verb, in.verb);
    EXPECT_EQ(out[0].object, 2U);
    EXPECT_EQ(out[0].flags, in.flags);
    EXPECT_EQ(out[0].owner, 3U);
    EXPECT_EQ(out[0].timeout_ns, -1);
    EXPECT_EQ(out[0].token, 4U);
    EXPECT_EQ(out[0].version, 5U);
    EXPECT_EQ(out[0].index, -6);
    EXPECT_EQ(out[0].count, 7U);
    ASSERT_EQ(out[0].items.size(), 2U);
    EXPECT_EQ(out[0].items[0].key, "k");
    EXPECT_EQ(base::text_of(out[0].items[0].body.body.view), "v");
    EXPECT_EQ(out[0].items[0].refs, (std::vector<std::uint64_t>{8, 9}));
    EXPECT_TRUE(out[0].items[1].refs.empty());
    EXPECT_EQ(out[0].name, "jöbs");
    EXPECT_EQ(out[0].type, "queue<i32>");
    ASSERT_TRUE(out[0].shaped);
    EXPECT_EQ(out[0].shape.kind, ObjectKind::Array);
    EXPECT_EQ(out[0].shape.capacity, 10U);
    EXPECT_EQ(out[0].shape.bytes, 11U);
    EXPECT_EQ(out[0].shape.initial, 12U);
    EXPECT_EQ(out[0].shape.cell, CellKind::F64);
    EXPECT_EQ(out[0].shape.lock, 13U);
    EXPECT_EQ(out[1].verb, ObjectVerb::Info);
    EXPECT_FALSE(out[1].shaped);
    EXPECT_TRUE(out[1].items.empty());
    EXPECT_TRUE(out[1].name.empty());
    EXPECT_EQ(out[1].timeout_ns, kNoTimeout);
}

TEST(ObjectBatch, AnswersAndEventsKeepEveryField) {
    ObjectReply in{1, Code::LockLost, -2, 3, 4, 5, kReplyAct, {item("a", "b", {7})}, "no"};
    ObjectReplyWriter replies;
    replies.add(in);
    const base::Message replied = replies.finish({Kind::ObjectReply, 1, 0, 0});
    const auto out = read<ObjectReplyReader, ObjectReply>(replied);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].op, 1U);
    EXPECT_EQ(out[0].code, Code::LockLost);
    EXPECT_EQ(out[0].value, -2);
    EXPECT_EQ(out[0].count, 3U);
    EXPECT_EQ(out[0].token, 4U);
    EXPECT_EQ(out[0].version, 5U);
    EXPECT_EQ(out[0].flags, kReplyAct);
    EXPECT_EQ(out[0].text, "no");
    ASSERT_EQ(out[0].items.size(), 1U);
    EXPECT_EQ(out[0].items[0].key, "a");
    ObjectEventWriter events;
    events.add({9, ObjectChange::Written, 8, {item("k", "v")}});
    events.add({10, ObjectChange::Gone, 0, {}});
    const base::Message happened = events.finish({Kind::ObjectEvent, 1, 0, 0});
    const auto told = read<ObjectEventReader, ObjectEvent>(happened);
    ASSERT_EQ(told.size(), 2U);
    EXPECT_EQ(told[0].watch, 9U);
    EXPECT_EQ(told[0].change, ObjectChange::Written);
    EXPECT_EQ(told[0].version, 8U);
    EXPECT_EQ(base::text_of(told[0].items.at(0).body.body.view), "v");
    EXPECT_EQ(told[1].change, ObjectChange::Gone);
}

TEST(ObjectBatch, BodiesOfEveryFormComeBack) {
    ObjectOp in;
    in.op = 1;
    in.verb = ObjectVerb::Put;
    const std::string big(kInlineBodyMax, 'x');
    in.items = {item("", "small"),
                {"", BodyRef::of(blob_of(big)), {}},
                {"", BodyRef::of_transfer(5, 1 << 20), {}}};
    ObjectWriter writer;
    writer.add(in);
    const base::Message message = writer.finish({Kind::Object, 1, 0, 0});
    EXPECT_EQ(message.payloads.size(), 1U);
    const auto out = read<ObjectReader, ObjectOp>(message);
    ASSERT_EQ(out.at(0).items.size(), 3U);
    EXPECT_EQ(base::text_of(out[0].items[1].body.body.view), big);
    EXPECT_EQ(out[0].items[2].body.transfer, 5U);
    EXPECT_EQ(out[0].items[2].body.size, 1U << 20);
}

// The largest record a sender may make: what BodyBudget lets pass fits one message.
TEST(ObjectBatch, WhateverTheBudgetLetsPassFitsAMessage) {
    for (const std::size_t size : {std::size_t{0},
                                   std::size_t{700},
                                   kInlineBodyMax - 1,
                                   kInlineBodyMax,
                                   std::size_t{40'000},
                                   kBodyFrameMax,
                                   kBodyFrameMax + 1}) {
        ObjectOp op;
        op.verb = ObjectVerb::Write;
        op.name = std::string(kTextMax, 'n');
        op.type = std::string(kTextMax, 't');
        op.shaped = true;
        BodyBudget budget;
        const base::Blob blob = base::Blob::allocate(size);
        for (std::size_t i = 0; i < kObjectItemsMax; ++i) {
            const base::Body body = base::Body::of(blob);
            op.items.push_back(
                {std::string(kObjectKeyMax, 'k'),
                 budget.fits_record(body) ? BodyRef::of(body) : BodyRef::of_transfer(i + 1, size),
                 std::vector<std::uint64_t>(kObjectRefsMax, UINT64_MAX)});
        }
        ObjectWriter writer;
        EXPECT_TRUE(writer.fits(op));
        writer.add(op);
        EXPECT_FALSE(writer.fits(op)) << size;
        const base::Message message = writer.finish({Kind::Object, 1, 0, 0});
        const auto out = read<ObjectReader, ObjectOp>(message);
        EXPECT_EQ(out.at(0).items.size(), kObjectItemsMax);
    }
}

TEST(ObjectBatch, FitsStopsBeforeTheLimitOfRecords) {
    ObjectReplyWriter writer;
    ObjectReply reply;
    std::size_t count = 0;
    while (writer.fits(reply)) {
        writer.add(reply);
        ++count;
    }
    EXPECT_GT(count, 500U);
    EXPECT_LE(count, kRecordsMax);
    const base::Message replied = writer.finish({Kind::ObjectReply, 1, 0, 0});
    const auto out = read<ObjectReplyReader, ObjectReply>(replied);
    EXPECT_EQ(out.size(), count);
}

TEST(ObjectBatch, ANewerPeersTailIsIgnored) {
    // An operation with everything and a 15th element; an item and a shape with one more each.
    const base::Message message = numbered(
        Kind::Object,
        1,
        from_hex("9f 01 04 02 00 00 ff 00 00 00 00 91 94 c4 00 c4 01 41 90 07 a0 a0 97 01 02 03 04 "
                 "05 06 07 c0"));
    const auto out = read<ObjectReader, ObjectOp>(message);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].verb, ObjectVerb::Info);
    EXPECT_EQ(out[0].shape.lock, 6U);
    EXPECT_EQ(base::text_of(out[0].items.at(0).body.body.view), "A");
}

TEST(ObjectBatch, WhatCannotBeIsRefusedWithItsCode) {
    const auto op = [](std::string_view hex, std::uint8_t fields = 1, std::size_t payloads = 0) {
        return test::read_code<ObjectReader>(
            numbered(Kind::Object, fields, from_hex(hex), payloads));
    };
    EXPECT_EQ(op("93 01 04 02"), Code::None);
    EXPECT_EQ(op("92 01 04"), Code::Decode);
    EXPECT_EQ(op("93 01 a0 02"), Code::BadType);
    EXPECT_EQ(op("93 01 cd 01 00 02"), Code::InvalidRange);
    EXPECT_EQ(op("9b 01 04 02 00 00 ff 00 00 00 00 dd ff ff ff ff"), Code::LimitElements);
    EXPECT_EQ(op("9b 01 04 02 00 00 ff 00 00 00 00 91 92 c5 04 01 c4 00"), Code::Decode);
    EXPECT_EQ(op("9b 01 04 02 00 00 ff 00 00 00 00 91 92 c4 00 00"), Code::ProtoParts);
    EXPECT_EQ(op("9b 01 04 02 00 00 ff 00 00 00 00 91 92 c4 00 00", 1, 1), Code::None);
    EXPECT_EQ(op("93 01 04 02", 1, 1), Code::ProtoParts);
    EXPECT_EQ(op("9b 01 04 02 00 00 ff 00 00 00 00 91 92 c4 00 92 00 01"), Code::UnknownTransfer);
    EXPECT_EQ(op("9b 01 04 02 00 00 ff 00 00 00 00 91 93 c4 00 c4 00 dc 00 11"), Code::Decode);
    EXPECT_EQ(test::read_code<ObjectReplyReader>(
                  numbered(Kind::ObjectReply, 1, from_hex("92 01 ce 00 01 00 00"))),
              Code::InvalidRange);
    const std::string key(kObjectKeyMax + 1, 'k');
    EXPECT_EQ(
        test::read_code<ObjectReader>(numbered(
            Kind::Object,
            1,
            from_hex("9b 01 04 02 00 00 ff 00 00 00 00 91 92 c5 04 01") + key + from_hex("c4 00"))),
        Code::LimitText);
}

TEST(ObjectBatch, EveryTruncationIsRefused) {
    ObjectWriter writer;
    ObjectOp in;
    in.verb = ObjectVerb::Open;
    in.name = "n";
    in.items = {item("k", "v", {1})};
    in.shaped = true;
    writer.add(in);
    const base::Message whole = writer.finish({Kind::Object, 1, 0, 0});
    for (std::size_t size = kHeaderSize; size < whole.control.size(); ++size) {
        const base::Message cut{blob_of(base::text_of(whole.control.view().first(size))), {}};
        EXPECT_EQ(test::read_code<ObjectReader>(cut), Code::Decode) << size;
    }
}

}  // namespace
}  // namespace forkmill::wire
