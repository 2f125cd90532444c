// SPDX-License-Identifier: Apache-2.0
// Every kind that is one struct: said, understood, and tolerant of a newer or older peer's tail.
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/unit/wire/frames.h"

namespace forkmill::wire {
namespace {

using test::decode_message;

constexpr std::uint64_t kBig = std::numeric_limits<std::uint64_t>::max();

template <class T>
T again(Kind kind, const T& in) {
    const base::Message message = encode({kind, 5, 4, 3}, in);
    Header header{};
    T out{};
    EXPECT_EQ(decode_message(message, header, out), Code::None) << name_of(kind);
    EXPECT_EQ(header.kind, kind);
    EXPECT_EQ(header.number, 5U);
    EXPECT_EQ(header.ack, 4U);
    EXPECT_EQ(header.floor, 3U);
    return out;
}

TEST(Struct, HelloKeepsEveryField) {
    Hello in;
    in.minor = 3;
    in.role = Role::Worker;
    in.session = {kBig, 2};
    in.generation = 9;
    in.incarnation = 8;
    in.received = 7;
    in.stream = 6;
    in.host = "büro";
    in.pid = 4242;
    in.build = "00ff";
    in.pool = "gpu";
    in.slot = 5;
    in.birth = 4;
    in.host_key = "büro:1";
    in.threads = 2;
    in.offers = {{"thumb.resize", "(i32)->bin"}, {"@00ff", ""}};
    in.session_ttl_ms = 1000;
    in.queues = {"default", "gpu"};
    const Hello out = again(Kind::Hello, in);
    EXPECT_EQ(out.minor, 3U);
    EXPECT_EQ(out.role, Role::Worker);
    EXPECT_EQ(out.session, in.session);
    EXPECT_EQ(out.generation, 9U);
    EXPECT_EQ(out.incarnation, 8U);
    EXPECT_EQ(out.received, 7U);
    EXPECT_EQ(out.stream, 6U);
    EXPECT_EQ(out.host, "büro");
    EXPECT_EQ(out.pid, 4242);
    EXPECT_EQ(out.build, "00ff");
    EXPECT_EQ(out.pool, "gpu");
    EXPECT_EQ(out.slot, 5U);
    EXPECT_EQ(out.birth, 4U);
    EXPECT_EQ(out.host_key, "büro:1");
    EXPECT_EQ(out.threads, 2U);
    ASSERT_EQ(out.offers.size(), 2U);
    EXPECT_EQ(out.offers[0].name, "thumb.resize");
    EXPECT_EQ(out.offers[0].signature, "(i32)->bin");
    EXPECT_EQ(out.offers[1].name, "@00ff");
    EXPECT_EQ(out.session_ttl_ms, 1000U);
    EXPECT_EQ(out.queues, in.queues);
}

TEST(Struct, WelcomeKeepsEveryField) {
    const Welcome in{1, 2, true, 3, 4, 5, 6, 7, 8, 9, "sqlite", "head:77", 10};
    const Welcome out = again(Kind::Welcome, in);
    EXPECT_EQ(out.minor, 1U);
    EXPECT_EQ(out.incarnation, 2U);
    EXPECT_TRUE(out.resumed);
    EXPECT_EQ(out.received, 3U);
    EXPECT_EQ(out.ping_ms, 4U);
    EXPECT_EQ(out.gone_ms, 5U);
    EXPECT_EQ(out.session_ttl_ms, 6U);
    EXPECT_EQ(out.payload_max, 7U);
    EXPECT_EQ(out.credit_records, 8U);
    EXPECT_EQ(out.credit_bytes, 9U);
    EXPECT_EQ(out.durability, "sqlite");
    EXPECT_EQ(out.broker, "head:77");
    EXPECT_EQ(out.generation, 10U);
}

TEST(Struct, TemplateKeepsEveryField) {
    const TemplateDef in{4095, "a.b", "(i32)->i32", "gpu", -7, 1, 2, 3, 4, 5, true, true};
    const TemplateDef out = again(Kind::Template, in);
    EXPECT_EQ(out.id, 4095U);
    EXPECT_EQ(out.name, "a.b");
    EXPECT_EQ(out.signature, "(i32)->i32");
    EXPECT_EQ(out.queue, "gpu");
    EXPECT_EQ(out.priority, -7);
    EXPECT_EQ(out.soft_timeout_ns, 1U);
    EXPECT_EQ(out.timeout_ns, 2U);
    EXPECT_EQ(out.delay_ns, 3U);
    EXPECT_EQ(out.max_retries, 4U);
    EXPECT_EQ(out.crash_limit, 5U);
    EXPECT_TRUE(out.at_most_once);
    EXPECT_TRUE(out.detached);
}

TEST(Struct, SmallSessionKindsKeepEveryField) {
    const Reject reject = again(Kind::Reject, Reject{Code::BrokerFull, "full", 1000});
    EXPECT_EQ(reject.code, Code::BrokerFull);
    EXPECT_EQ(reject.text, "full");
    EXPECT_EQ(reject.retry_after_ms, 1000U);
    const Ping ping = again(Kind::Pong, Ping{kBig, 2, 3, 4});
    EXPECT_EQ(ping.echo, kBig);
    EXPECT_EQ(ping.busy_ns, 2U);
    EXPECT_EQ(ping.running, 3U);
    EXPECT_EQ(ping.waiting, 4U);
    const Err err = again(Kind::Err, Err{Code::Decode, Kind::Submit, "at byte 7"});
    EXPECT_EQ(err.code, Code::Decode);
    EXPECT_EQ(err.about, Kind::Submit);
    EXPECT_EQ(err.text, "at byte 7");
    const Credit credit = again(Kind::Credit, Credit{kBig, 1});
    EXPECT_EQ(credit.records, kBig);
    EXPECT_EQ(credit.bytes, 1U);
    for (const Kind kind : {Kind::Fenced, Kind::Who, Kind::Bye})
        EXPECT_EQ(again(kind, Bye{"why\nnot"}).reason, "why\nnot");
    EXPECT_EQ(again(Kind::Drain, DrainMsg{30000}).timeout_ms, 30000U);
}

TEST(Struct, ClientKindsKeepEveryField) {
    const auto ranges = [](const std::vector<Range>& out) {
        ASSERT_EQ(out.size(), 2U);
        EXPECT_EQ(out[0].first, 1U);
        EXPECT_EQ(out[0].count, 2U);
        EXPECT_EQ(out[1].first, kBig);
        EXPECT_EQ(out[1].count, 1U);
    };
    const std::vector<Range> two = {{1, 2}, {kBig, 1}};
    ranges(again(Kind::Accepted, Accepted{two}).ranges);
    ranges(again(Kind::Forgotten, Forgotten{two}).ranges);
    ranges(again(Kind::Release, Release{two}).ranges);
    const Refused refused = again(Kind::Refused, Refused{kBig, Code::Busy, "full", 10});
    EXPECT_EQ(refused.seq, kBig);
    EXPECT_EQ(refused.code, Code::Busy);
    EXPECT_EQ(refused.text, "full");
    EXPECT_EQ(refused.retry_after_ms, 10U);
    const Cancel cancel = again(Kind::Cancel, Cancel{{3, kBig}, true, true});
    EXPECT_EQ(cancel.seqs, (std::vector<std::uint64_t>{3, kBig}));
    EXPECT_TRUE(cancel.kill);
    EXPECT_TRUE(cancel.all);
    const Attach attach = again(Kind::Attach, Attach{1, {kBig, 3}});
    EXPECT_EQ(attach.seq, 1U);
    EXPECT_EQ(attach.task, (base::TaskId{kBig, 3}));
    const Query query = again(Kind::Query, Query{1, "status", "--all"});
    EXPECT_EQ(query.id, 1U);
    EXPECT_EQ(query.what, "status");
    EXPECT_EQ(query.argument, "--all");
    const std::string json(100'000, 'x');
    const Reply reply = again(Kind::Reply, Reply{1, Code::NotFound, json});
    EXPECT_EQ(reply.id, 1U);
    EXPECT_EQ(reply.code, Code::NotFound);
    EXPECT_EQ(reply.body, json);
}

TEST(Struct, WorkerKindsKeepEveryField) {
    const std::vector<std::uint64_t> leases = {1, kBig};
    EXPECT_EQ(again(Kind::Started, Started{leases}).leases, leases);
    EXPECT_EQ(again(Kind::Return, Return{leases}).leases, leases);
    EXPECT_EQ(again(Kind::Stale, Stale{leases}).leases, leases);
    const Held held = again(Kind::Held, Held{{{1, {2, 3}, 4, 5, HeldState::Done}}, false});
    ASSERT_EQ(held.tasks.size(), 1U);
    EXPECT_EQ(held.tasks[0].lease, 1U);
    EXPECT_EQ(held.tasks[0].task, (base::TaskId{2, 3}));
    EXPECT_EQ(held.tasks[0].attempt, 4U);
    EXPECT_EQ(held.tasks[0].crashes, 5U);
    EXPECT_EQ(held.tasks[0].state, HeldState::Done);
    EXPECT_FALSE(held.last);
    const Adopt adopt = again(Kind::Adopt, Adopt{{{1, 2}, {3, 0}}});
    ASSERT_EQ(adopt.leases.size(), 2U);
    EXPECT_EQ(adopt.leases[0].new_lease, 2U);
    EXPECT_EQ(adopt.leases[1].old_lease, 3U);
    const CancelLease cancel = again(Kind::CancelLease, CancelLease{kBig, true});
    EXPECT_EQ(cancel.lease, kBig);
    EXPECT_TRUE(cancel.kill);
    EXPECT_EQ(again(Kind::Blocked, Blocked{7}).lease, 7U);
    EXPECT_EQ(again(Kind::Unblocked, Unblocked{8}).lease, 8U);
    const Partial partial = again(Kind::Partial, Partial{1, 0.25, "a quarter"});
    EXPECT_EQ(partial.ref, 1U);
    EXPECT_EQ(partial.fraction, 0.25);
    EXPECT_EQ(partial.note, "a quarter");
}

TEST(Struct, HostKeepsEveryField) {
    const HostRecord in{"h:1",
                        2,
                        3,
                        "gpu",
                        4,
                        5,
                        6,
                        -9,
                        {7, 8},
                        "Segmentation\x1b[31m\xff fault",
                        5'000'000'000,
                        true};
    for (const Kind kind : {Kind::Host, Kind::HostVerb}) {
        const HostRecord out = again(kind, in);
        EXPECT_EQ(out.host_key, "h:1");
        EXPECT_EQ(out.verb, 2U);
        EXPECT_EQ(out.cause, 3U);
        EXPECT_EQ(out.pool, "gpu");
        EXPECT_EQ(out.slot, 4U);
        EXPECT_EQ(out.pid, 5);
        EXPECT_EQ(out.birth, 6U);
        EXPECT_EQ(out.detail, -9);
        EXPECT_EQ(out.leases, in.leases);
        EXPECT_EQ(out.text, in.text) << "a dead worker's stderr is bytes, not UTF-8";
        EXPECT_EQ(out.rss_peak, 5'000'000'000U);
        EXPECT_TRUE(out.core_dumped);
    }
}

TEST(Struct, ChunkCarriesOnePayloadFrame) {
    const base::Message message =
        encode_chunk({Kind::Chunk, 1, 0, 0}, 77, true, test::blob_of("bytes"));
    Header header{};
    Cursor cursor;
    ASSERT_EQ(decode_header(message, header, cursor), Code::None);
    Chunk chunk;
    ASSERT_EQ(decode(cursor, message, chunk), Code::None);
    EXPECT_EQ(chunk.transfer, 77U);
    EXPECT_TRUE(chunk.last);
    ASSERT_EQ(message.payloads.size(), 1U);
    EXPECT_EQ(base::text_of(message.payloads[0].view()), "bytes");
}

TEST(Struct, ChunkWithoutItsPayloadIsRefused) {
    base::Message message = encode_chunk({Kind::Chunk, 1, 0, 0}, 77, true, test::blob_of("bytes"));
    message.payloads.clear();
    Header header{};
    Cursor cursor;
    ASSERT_EQ(decode_header(message, header, cursor), Code::None);
    Chunk chunk;
    EXPECT_EQ(decode(cursor, message, chunk), Code::ProtoParts);
}

TEST(Struct, AnEmptyChunkCanOnlyBeTheLast) {
    for (const bool last : {true, false}) {
        const base::Message message = encode_chunk({Kind::Chunk, 1, 0, 0}, 77, last, {});
        Header header{};
        Cursor cursor;
        ASSERT_EQ(decode_header(message, header, cursor), Code::None);
        Chunk chunk;
        EXPECT_EQ(decode(cursor, message, chunk), last ? Code::None : Code::ProtoParts);
    }
}

TEST(Struct, AckIsAHeaderAlone) {
    const base::Message message = encode_ack(12, 34);
    Header header{};
    Cursor cursor;
    ASSERT_EQ(decode_header(message, header, cursor), Code::None);
    EXPECT_EQ(header.kind, Kind::Ack);
    EXPECT_EQ(header.number, 0U);
    EXPECT_EQ(header.ack, 12U);
    EXPECT_EQ(header.floor, 34U);
    EXPECT_EQ(cursor.finish(), Code::None);
    EXPECT_EQ(message.control.size(), kHeaderSize);
}

TEST(Struct, StampRewritesTheNumbersInPlace) {
    base::Message message = encode({Kind::Credit, 1, 2, 3}, Credit{10, 20});
    stamp(message, kBig, 8, 9);
    Header header{};
    Credit credit;
    ASSERT_EQ(decode_message(message, header, credit), Code::None);
    EXPECT_EQ(header.number, kBig);
    EXPECT_EQ(header.ack, 8U);
    EXPECT_EQ(header.floor, 9U);
    EXPECT_EQ(credit.records, 10U);
    EXPECT_EQ(credit.bytes, 20U);
}

TEST(Struct, ANewerPeersTailIsIgnored) {
    // CREDIT with two known fields and three that a later minor might append.
    const std::string known = test::from_hex("0a 14");
    const std::string tail =
        test::from_hex("93 01 a1 78 92 c0 c3  c4 02 ff ff  cb 3ff0000000000000");
    Header header{};
    Credit credit;
    ASSERT_EQ(decode_message(test::numbered(Kind::Credit, 5, known + tail), header, credit),
              Code::None);
    EXPECT_EQ(credit.records, 10U);
    EXPECT_EQ(credit.bytes, 20U);
}

TEST(Struct, AnOlderPeersMissingFieldsKeepTheirDefaults) {
    const std::string four = test::from_hex("00 07 c2 05");
    Header header{};
    Welcome welcome;
    ASSERT_EQ(decode_message(test::numbered(Kind::Welcome, 4, four), header, welcome), Code::None);
    EXPECT_EQ(welcome.incarnation, 7U);
    EXPECT_EQ(welcome.received, 5U);
    EXPECT_EQ(welcome.ping_ms, Welcome{}.ping_ms);
    EXPECT_EQ(welcome.durability, "");
}

TEST(Struct, AMissingRequiredFieldIsRefused) {
    Header header{};
    Welcome welcome;
    EXPECT_EQ(decode_message(
                  test::numbered(Kind::Welcome, 3, test::from_hex("00 07 c2")), header, welcome),
              Code::Decode);
}

TEST(Struct, LongTextsAreCutByTheSenderAtACharacter) {
    std::string text;
    while (text.size() < 2 * kTextMax) text += "ö";
    text.insert(0, "x");  // Characters now begin at odd offsets: the limit falls into one.
    const Bye out = again(Kind::Bye, Bye{text});
    EXPECT_EQ(out.reason.size(), kTextMax - 1);
    EXPECT_TRUE(valid_utf8(out.reason));
}

TEST(Struct, LongListsKeepWithinOneFrame) {
    Accepted in;
    for (std::uint64_t i = 0; i < kListMax; ++i) in.ranges.push_back({kBig - 2 * i, 1});
    EXPECT_EQ(again(Kind::Accepted, in).ranges.size(), kListMax);
    Held held;
    held.tasks.resize(kRecordsMax);
    EXPECT_EQ(again(Kind::Held, held).tasks.size(), kRecordsMax);
}

}  // namespace
}  // namespace forkmill::wire
