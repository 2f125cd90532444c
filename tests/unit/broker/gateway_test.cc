// SPDX-License-Identifier: Apache-2.0
// The gateway in front of the real engine: who may say what, resume and fencing, custody of
// results.
#include "broker/gateway.h"
#include "broker/engine/status.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <optional>

#include "core/wire/codec.h"

namespace forkmill::broker {
namespace {

using base::Message;
using wire::Code;
using wire::Kind;

base::ByteView bytes(std::string_view text) {
    return base::bytes_of(text);
}

/// A broker and the handles of a few raw peers; what is sent to each is kept.
class Broker {
  public:
    explicit Broker(std::uint64_t incarnation = 1)
        : engine(engine::Config{}, incarnation, now, 1),
          gateway(config(incarnation), engine, now) {}

    void hear(std::uint64_t conn, Message message) {
        gateway.on_message({0, conn}, std::move(message), now, 1);
        turn();
    }
    void turn(base::Duration pass = std::chrono::microseconds{10}) {
        now += pass;
        gateway.pump(now, 1);
        for (Outgoing& out : gateway.out()) sent.emplace_back(out.to.conn, std::move(out.message));
        gateway.out().clear();
        EXPECT_EQ(gateway.check_invariants(), "");
    }
    /// The first message of that kind to conn, taken out.
    std::optional<Message> take(std::uint64_t conn, Kind kind) {
        for (std::size_t i = 0; i < sent.size(); ++i) {
            wire::Header header;
            wire::Cursor cursor;
            if (sent[i].first != conn || sent[i].second.control.empty()) continue;
            EXPECT_EQ(wire::decode_header(sent[i].second, header, cursor), Code::None);
            if (header.kind != kind) continue;
            Message message = std::move(sent[i].second);
            sent.erase(sent.begin() + static_cast<std::ptrdiff_t>(i));
            return message;
        }
        return std::nullopt;
    }
    template <class T>
    std::optional<T> take_as(std::uint64_t conn, Kind kind) {
        const auto message = take(conn, kind);
        if (!message) return std::nullopt;
        wire::Header header;
        wire::Cursor cursor;
        T value;
        EXPECT_EQ(wire::decode_header(*message, header, cursor), Code::None);
        EXPECT_EQ(wire::decode(cursor, value), Code::None);
        last_floor = header.floor;
        return value;
    }

    static GatewayConfig config(std::uint64_t incarnation) {
        GatewayConfig config;
        config.incarnation = incarnation;
        config.host_key = "host";
        return config;
    }

    base::Time now{std::chrono::seconds{100}};
    engine::Engine engine;
    Gateway gateway;
    std::vector<std::pair<std::uint64_t, Message>> sent;
    std::uint64_t last_floor = 0;
};

wire::Hello client_hello(std::uint64_t key = 7) {
    wire::Hello hello;
    hello.role = wire::Role::Client;
    hello.session = {key, key};
    hello.stream = key;
    hello.generation = 1;
    return hello;
}

wire::Hello worker_hello() {
    wire::Hello hello;
    hello.role = wire::Role::Worker;
    hello.session = {99, 99};
    hello.stream = 99;
    hello.generation = 1;
    hello.host_key = "host";
    hello.pool = "default";
    hello.queues = {"default"};
    hello.offers = {{"t", "s"}};
    return hello;
}

wire::TemplateDef plain_template() {
    wire::TemplateDef def;
    def.id = 1;
    def.name = "t";
    def.signature = "s";
    return def;
}

Message submit(std::uint64_t number,
               std::uint64_t seq,
               std::string_view body,
               std::uint64_t ack = 0) {
    wire::SubmitWriter writer;
    wire::SubmitRecord record;
    record.seq = seq;
    record.template_id = 1;
    record.body = wire::BodyRef::of(bytes(body));
    writer.add(record);
    return writer.finish({Kind::Submit, number, ack, 0});
}

/// Client 1 and worker 2 are there; the client has submitted one task, and the worker holds it.
struct Running : Broker {
    Running() {
        hear(1, wire::encode({Kind::Hello}, client_hello()));
        hear(2, wire::encode({Kind::Hello}, worker_hello()));
        hear(1, wire::encode({Kind::Template, 1}, plain_template()));
        hear(1, submit(2, 1, "arguments"));
        const auto tasks = take(2, Kind::Tasks);
        EXPECT_TRUE(tasks.has_value());
        wire::Header header;
        wire::Cursor cursor;
        EXPECT_EQ(wire::decode_header(*tasks, header, cursor), Code::None);
        wire::TasksReader reader{cursor, *tasks};
        wire::TaskRecord record;
        EXPECT_TRUE(reader.next(record));
        EXPECT_EQ(base::text_of(record.body.body.view), "arguments");
        lease = record.lease;
    }
    Message result(std::uint64_t number, std::string_view body) const {
        wire::ResultsWriter writer;
        writer.add(lease, wire::Outcome::Succeeded, wire::BodyRef::of(bytes(body)));
        return writer.finish({Kind::Results, number, 0, 0});
    }
    std::uint64_t lease = 0;
};

TEST(Gateway, AnswersAnythingBeforeHelloWithWho) {
    Broker broker;
    broker.hear(1, submit(1, 1, "x"));
    EXPECT_TRUE(broker.take(1, Kind::Who));
    EXPECT_EQ(broker.engine.counters().submitted, 0U);
}

TEST(Gateway, WelcomesAClientWithCredit) {
    Broker broker{5};
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    const auto welcome = broker.take_as<wire::Welcome>(1, Kind::Welcome);
    ASSERT_TRUE(welcome);
    EXPECT_EQ(welcome->incarnation, 5U);
    EXPECT_FALSE(welcome->resumed);
    EXPECT_GT(welcome->credit_records, 0U);
    EXPECT_GT(welcome->credit_bytes, 0U);
}

TEST(Gateway, AnotherMajorVersionIsRejectedBeforeItIsParsed) {
    Broker broker;
    Message message = wire::encode({Kind::Hello}, client_hello());
    base::Blob control = base::Blob::copy(message.control);
    control.mutable_data()[2] = std::byte{9};
    message.control = control;
    broker.hear(1, message);
    const auto reject = broker.take_as<wire::Reject>(1, Kind::Reject);
    ASSERT_TRUE(reject);
    EXPECT_EQ(reject->code, Code::ProtoVersion);
}

TEST(Gateway, ResultsReachTheClientOnceAndInItsNumbers) {
    Running broker;
    broker.hear(2, broker.result(1, "value"));
    const auto results = broker.take(1, Kind::Results);
    ASSERT_TRUE(results);
    wire::Header header;
    wire::Cursor cursor;
    ASSERT_EQ(wire::decode_header(*results, header, cursor), Code::None);
    wire::ResultsReader reader{cursor, *results};
    wire::ResultRecord record;
    ASSERT_TRUE(reader.next(record));
    EXPECT_EQ(record.ref, 1U);
    EXPECT_EQ(base::text_of(record.body.body.view), "value");
    broker.hear(2, broker.result(1, "value"));
    EXPECT_FALSE(broker.take(1, Kind::Results)) << "a resent frame is processed once";
    EXPECT_EQ(broker.gateway.counters().duplicates, 1U);
}

TEST(Gateway, AStaleResultIsToldAndChangesNothing) {
    Running broker;
    broker.lease += 1ULL << 40;
    broker.hear(2, broker.result(1, "value"));
    const auto stale = broker.take_as<wire::Stale>(2, Kind::Stale);
    ASSERT_TRUE(stale);
    EXPECT_EQ(stale->leases, std::vector<std::uint64_t>{broker.lease});
    EXPECT_FALSE(broker.take(1, Kind::Results));
}

TEST(Gateway, TheFloorPassesAWorkersFrameOnlyWhenTheClientAckedItsResult) {
    Running broker;
    broker.hear(2, broker.result(1, "value"));
    EXPECT_EQ(broker.gateway.unsettled_custody(), 1U);
    const auto results = broker.take(1, Kind::Results);
    ASSERT_TRUE(results);
    wire::Header header;
    wire::Cursor cursor;
    ASSERT_EQ(wire::decode_header(*results, header, cursor), Code::None);
    broker.hear(1, wire::encode_ack(header.number, 0));
    EXPECT_EQ(broker.gateway.unsettled_custody(), 0U);
    broker.turn(std::chrono::milliseconds{60});
    broker.hear(2, wire::encode({Kind::Ping}, wire::Ping{}));
    ASSERT_TRUE(broker.take_as<wire::Ping>(2, Kind::Pong));
    EXPECT_EQ(broker.last_floor, 1U);
}

TEST(Gateway, AnAwayClientDoesNotHoldTheWorkersCustody) {
    Running broker;
    broker.gateway.on_disconnected({0, 1}, broker.now);
    broker.hear(2, broker.result(1, "value"));
    EXPECT_EQ(broker.gateway.unsettled_custody(), 0U);
    wire::Hello again = client_hello();
    again.generation = 2;
    again.incarnation = 1;
    broker.hear(3, wire::encode({Kind::Hello}, again));
    EXPECT_TRUE(broker.take(3, Kind::Welcome));
    broker.turn();
    EXPECT_TRUE(broker.take(3, Kind::Results)) << "the result waited for its client";
}

TEST(Gateway, AResumedSessionIsSentWhatItMissed) {
    Running broker;
    broker.hear(2, broker.result(1, "value"));
    ASSERT_TRUE(broker.take(1, Kind::Results)) << "lost on the way";
    wire::Hello again = client_hello();
    again.generation = 2;
    again.incarnation = 1;
    again.received = 0;
    broker.hear(3, wire::encode({Kind::Hello}, again));
    const auto welcome = broker.take_as<wire::Welcome>(3, Kind::Welcome);
    ASSERT_TRUE(welcome);
    EXPECT_TRUE(welcome->resumed);
    EXPECT_EQ(welcome->received, 2U);
    EXPECT_TRUE(broker.take(3, Kind::Results));
}

TEST(Gateway, AnOlderGenerationIsFencedAndANewerOneTakesOver) {
    Broker broker;
    wire::Hello hello = client_hello();
    hello.generation = 5;
    broker.hear(1, wire::encode({Kind::Hello}, hello));
    hello.generation = 4;
    broker.hear(2, wire::encode({Kind::Hello}, hello));
    EXPECT_TRUE(broker.take(2, Kind::Fenced));
    hello.generation = 6;
    broker.hear(3, wire::encode({Kind::Hello}, hello));
    EXPECT_TRUE(broker.take(3, Kind::Welcome));
    EXPECT_TRUE(broker.take(1, Kind::Fenced));
}

TEST(Gateway, AGapIsAnsweredWithWhoAndNothingIsProcessed) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    broker.hear(1, submit(5, 1, "x"));
    EXPECT_TRUE(broker.take(1, Kind::Who));
    EXPECT_EQ(broker.engine.counters().submitted, 0U);
}

TEST(Gateway, ANumberedKindWithoutANumberIsRefused) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    broker.hear(1, submit(0, 1, "x"));
    const auto err = broker.take_as<wire::Err>(1, Kind::Err);
    ASSERT_TRUE(err);
    EXPECT_EQ(err->code, Code::ProtoNumber);
}

TEST(Gateway, AnAckOfWhatWasNeverSentIsRefused) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    broker.hear(1, wire::encode_ack(1000, 0));
    const auto err = broker.take_as<wire::Err>(1, Kind::Err);
    ASSERT_TRUE(err);
    EXPECT_EQ(err->code, Code::ProtoNumber);
}

TEST(Gateway, AClientMayNotSpeakAsAWorker) {
    Running broker;
    wire::ResultsWriter writer;
    writer.add(broker.lease, wire::Outcome::Succeeded, wire::BodyRef::of(bytes("forged")));
    broker.hear(1, writer.finish({Kind::Results, 3, 0, 0}));
    const auto err = broker.take_as<wire::Err>(1, Kind::Err);
    ASSERT_TRUE(err);
    EXPECT_EQ(err->code, Code::DeniedRole);
    EXPECT_FALSE(broker.take(1, Kind::Results));
}

TEST(Gateway, TwentyProtocolErrorsEndTheSession) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    for (int i = 0; i < 25; ++i) broker.hear(1, submit(0, 1, "x"));
    EXPECT_TRUE(broker.take(1, Kind::Reject));
    EXPECT_EQ(broker.engine.snapshot(broker.now).sessions.size(), 0U);
}

TEST(Gateway, AKnownBrokerThatForgotTheSessionSaysSo) {
    Broker broker{3};
    wire::Hello hello = client_hello();
    hello.incarnation = 3;
    broker.hear(1, wire::encode({Kind::Hello}, hello));
    const auto reject = broker.take_as<wire::Reject>(1, Kind::Reject);
    ASSERT_TRUE(reject);
    EXPECT_EQ(reject->code, Code::SessionExpired);
}

TEST(Gateway, ASilentPeerIsAskedThenDropped) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    broker.turn(std::chrono::milliseconds{2100});
    EXPECT_TRUE(broker.take(1, Kind::Ping));
    broker.turn(std::chrono::milliseconds{6000});
    broker.hear(1, submit(1, 1, "x"));
    EXPECT_TRUE(broker.take(1, Kind::Who)) << "its handle is void";
}

TEST(Gateway, ADeathNoticeWaitsForTheResultThatIsOnItsWay) {
    Running broker;
    supervisor::Notice notice;
    notice.verb = supervisor::Verb::Died;
    notice.cause = supervisor::Cause::Signal;
    notice.detail = 9;
    notice.lease_count = 1;
    notice.leases[0] = broker.lease;
    broker.gateway.on_notice("host", "default", notice, broker.now);
    broker.turn(std::chrono::microseconds{100});
    broker.hear(2, broker.result(1, "just in time"));
    EXPECT_TRUE(broker.take(1, Kind::Results));
    broker.turn(std::chrono::milliseconds{10});
    EXPECT_EQ(broker.engine.counters().crashes, 0U);
    EXPECT_EQ(broker.engine.snapshot(broker.now).workers.size(), 0U);
}

TEST(Gateway, ABodyInChunksArrivesWhole) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    broker.hear(2, wire::encode({Kind::Hello}, worker_hello()));
    broker.hear(1, wire::encode({Kind::Template, 1}, plain_template()));
    const std::string half(wire::kChunkSize, 'a');
    for (std::uint64_t i = 0; i < 3; ++i)
        broker.hear(
            1, wire::encode_chunk({Kind::Chunk, 2 + i}, 1, i == 2, base::Blob::copy(bytes(half))));
    wire::SubmitWriter writer;
    wire::SubmitRecord record;
    record.seq = 1;
    record.template_id = 1;
    record.body = wire::BodyRef::of_transfer(1, 3 * half.size());
    writer.add(record);
    broker.hear(1, writer.finish({Kind::Submit, 5, 0, 0}));
    int chunks = 0;
    while (broker.take(2, Kind::Chunk)) ++chunks;
    EXPECT_EQ(chunks, 3);
    EXPECT_TRUE(broker.take(2, Kind::Tasks));
}

Message chunk(std::uint64_t number, std::uint64_t transfer, bool last, std::size_t size) {
    return wire::encode_chunk({Kind::Chunk, number}, transfer, last, base::Blob::allocate(size));
}

TEST(Gateway, ATransferThatIsGivenUpLeavesNothing) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    std::uint64_t number = 1;
    // More than may wait unfinished, and more bytes than may wait unnamed.
    for (std::uint64_t transfer = 1; transfer <= 600; ++transfer) {
        broker.hear(1, chunk(number++, transfer, false, wire::kChunkSize));
        broker.hear(1, chunk(number++, transfer, true, 0));
    }
    EXPECT_FALSE(broker.take(1, Kind::Err));
    broker.hear(1, chunk(number++, 601, false, 0));
    EXPECT_EQ(broker.take_as<wire::Err>(1, Kind::Err)->code, Code::LimitSize) << "empty, not last";
}

TEST(Gateway, BodiesThatNothingNamesAreBoundedInBytes) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    std::uint64_t bytes_sent = 0;
    std::uint64_t number = 1;
    while (!broker.take(1, Kind::Err)) {
        ASSERT_LE(bytes_sent, 2 * wire::kPayloadMaxDefault + wire::kUnackedBytesMax);
        broker.hear(1, chunk(number, number, true, wire::kChunkSize));
        bytes_sent += wire::kChunkSize;
        ++number;
    }
    EXPECT_GT(bytes_sent, 2 * wire::kPayloadMaxDefault);
}

TEST(Gateway, AListBeyondOneMessageGoesOutInSeveral) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    broker.hear(2, wire::encode({Kind::Hello}, worker_hello()));
    // Results of leases that never were are stale, each of them.
    std::uint64_t number = 1;
    constexpr std::uint64_t kResults = 2 * wire::kListMax + 100;
    for (std::uint64_t sent = 0; sent < kResults;) {
        wire::ResultsWriter writer;
        for (std::size_t i = 0; i < wire::kRecordsMax && sent < kResults; ++i, ++sent)
            writer.add(1'000'000 + sent, wire::Outcome::Succeeded, wire::BodyRef{});
        broker.gateway.on_message(
            {0, 2}, writer.finish({Kind::Results, number++, 0, 0}), broker.now, 1);
    }
    broker.turn();
    std::size_t told = 0;
    int messages = 0;
    while (const auto stale = broker.take_as<wire::Stale>(2, Kind::Stale)) {
        EXPECT_LE(stale->leases.size(), wire::kListMax);
        told += stale->leases.size();
        ++messages;
    }
    EXPECT_EQ(told, kResults);
    EXPECT_EQ(messages, 3);
}

TEST(Gateway, ATransferThatNeverCameIsRefused) {
    Broker broker;
    broker.hear(1, wire::encode({Kind::Hello}, client_hello()));
    broker.hear(1, wire::encode({Kind::Template, 1}, plain_template()));
    wire::SubmitWriter writer;
    wire::SubmitRecord record;
    record.seq = 1;
    record.template_id = 1;
    record.body = wire::BodyRef::of_transfer(9, 3000000);
    writer.add(record);
    broker.hear(1, writer.finish({Kind::Submit, 2, 0, 0}));
    const auto err = broker.take_as<wire::Err>(1, Kind::Err);
    ASSERT_TRUE(err);
    EXPECT_EQ(err->code, Code::UnknownTransfer);
}

/// A client with a queue, on connection 1, that starts processes.
struct Parent : Broker {
    Parent() {
        hear(1, wire::encode({Kind::Hello}, client_hello()));
        wire::ObjectOp op = about(wire::ObjectVerb::Open);
        op.object = 0;
        op.shaped = true;
        op.shape.kind = wire::ObjectKind::Queue;
        op.shape.capacity = 10;
        queue = ask(1, op).token;
    }
    wire::ObjectOp about(wire::ObjectVerb verb, std::string name = {}) const {
        wire::ObjectOp op;
        op.verb = verb;
        op.object = queue;
        op.name = std::move(name);
        return op;
    }
    /// The answer; it acks nothing, for a window holds more than a test says.
    wire::ObjectReply ask(std::uint64_t conn, wire::ObjectOp op) {
        op.op = ++said[conn];
        wire::ObjectWriter writer;
        writer.add(op);
        hear(conn, writer.finish({Kind::Object, said[conn]}));
        return answer(conn);
    }
    wire::ObjectReply answer(std::uint64_t conn) {
        wire::ObjectReply reply;
        const auto message = take(conn, Kind::ObjectReply);
        if (!message) {
            reply.code = Code::WaitTimeout;
            return reply;
        }
        wire::Header header;
        wire::Cursor cursor;
        EXPECT_EQ(wire::decode_header(*message, header, cursor), Code::None);
        wire::ObjectReplyReader reader{cursor, *message};
        EXPECT_TRUE(reader.next(reply));
        return reply;
    }
    static std::string name_of(std::uint64_t key) {
        return base::to_string(base::SessionKey{key, key});
    }
    /// The process of that session speaks for the first time.
    wire::Welcome greet(std::uint64_t conn, std::uint64_t key) {
        wire::Hello hello = client_hello(key);
        hello.incarnation = 1;
        hear(conn, wire::encode({Kind::Hello}, hello));
        return take_as<wire::Welcome>(conn, Kind::Welcome).value_or(wire::Welcome{});
    }
    std::size_t sessions() { return engine.snapshot(now).sessions.size(); }

    std::uint64_t queue = 0;
    std::map<std::uint64_t, std::uint64_t> said;
};

TEST(GatewayHeirs, AHandleThatWasPassedIsThereBeforeItsProcessIs) {
    Parent broker;
    const wire::ObjectReply passed =
        broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(8)));
    EXPECT_EQ(passed.code, Code::None);
    EXPECT_EQ(passed.version, 1U) << "the incarnation, for its HELLO";
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Close)).code, Code::None);
    // Longer than a session waits for who was there once.
    for (int i = 0; i < 60; ++i) {
        broker.turn(std::chrono::seconds{5});
        broker.hear(1, wire::encode({Kind::Ping, 0, broker.said[1]}, wire::Ping{}));
    }
    EXPECT_EQ(broker.sessions(), 2U);
    EXPECT_TRUE(broker.greet(2, 8).resumed);
    EXPECT_EQ(broker.ask(2, broker.about(wire::ObjectVerb::Info)).code, Code::None);
}

TEST(GatewayHeirs, ABurialEndsTheSessionAndWhatItHolds) {
    Parent broker;
    broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(8)));
    broker.greet(2, 8);
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Bury, Parent::name_of(8))).value, 1);
    EXPECT_EQ(broker.sessions(), 2U) << "what it said last may be on its way";
    broker.turn(std::chrono::milliseconds{10});
    EXPECT_EQ(broker.sessions(), 1U);
    EXPECT_TRUE(broker.take(2, Kind::Reject).has_value());
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Bury, Parent::name_of(8))).value, 0);
}

TEST(GatewayHeirs, WhatIsNotConnectedIsBuriedAtOnce) {
    Parent broker;
    broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(8)));
    broker.ask(1, broker.about(wire::ObjectVerb::Bury, Parent::name_of(8)));
    broker.turn();
    EXPECT_EQ(broker.sessions(), 1U);
    wire::Hello late = client_hello(8);
    late.incarnation = 1;
    broker.hear(2, wire::encode({Kind::Hello}, late));
    EXPECT_TRUE(broker.take(2, Kind::Reject).has_value()) << "it does not come back to life";
}

TEST(GatewayHeirs, ATreeOfSessionsEndsWithItsRoot) {
    Parent broker;
    broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(8)));
    broker.greet(2, 8);
    EXPECT_EQ(broker.ask(2, broker.about(wire::ObjectVerb::Pass, Parent::name_of(9))).code,
              Code::None);
    EXPECT_EQ(broker.sessions(), 3U);
    broker.hear(1, wire::encode({Kind::Bye, ++broker.said[1]}, wire::Bye{"done"}));
    broker.turn();
    EXPECT_EQ(broker.sessions(), 0U);
    EXPECT_TRUE(broker.engine.objects({}, 10).empty());
}

TEST(GatewayHeirs, NobodyPassesOrBuriesWhatIsAnothers) {
    Parent broker;
    broker.hear(3, wire::encode({Kind::Hello}, client_hello(30)));
    EXPECT_EQ(broker.ask(3, broker.about(wire::ObjectVerb::Pass, Parent::name_of(8))).code,
              Code::ObjectClosed)
        << "there is no handle of it";
    EXPECT_EQ(broker.sessions(), 2U) << "nothing was passed, so nobody is to come";
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(8))).code,
              Code::None);
    EXPECT_EQ(broker.ask(3, broker.about(wire::ObjectVerb::Pass, Parent::name_of(8))).code,
              Code::Denied);
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(30))).code,
              Code::Denied);
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Bury, Parent::name_of(30))).value, 0);
    broker.turn(std::chrono::milliseconds{10});
    EXPECT_EQ(broker.sessions(), 3U);
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Pass, "no key")).code,
              Code::InvalidRange);
}

TEST(GatewayHeirs, ThereAreSoManyAndNoMore) {
    Parent broker;
    const std::uint32_t most = GatewayConfig{}.heirs_max;
    for (std::uint64_t key = 100; key < 100 + most; ++key) {
        ASSERT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(key))).code,
                  Code::None);
        broker.hear(1, wire::encode({Kind::Ping, 0, broker.said[1]}, wire::Ping{}));
    }
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(99))).code,
              Code::BrokerFull);
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Bury, Parent::name_of(100))).value, 1);
    broker.turn();
    EXPECT_EQ(broker.ask(1, broker.about(wire::ObjectVerb::Pass, Parent::name_of(99))).code,
              Code::None);
}

}  // namespace
}  // namespace forkmill::broker
