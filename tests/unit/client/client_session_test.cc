// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "tests/unit/client/fake_broker.h"

namespace forkmill::test {
namespace {

using session::ClientState;

std::vector<std::uint64_t> seqs_of(const std::vector<Heard>& frames) {
    std::vector<std::uint64_t> all;
    for (const Heard& frame : frames) all.insert(all.end(), frame.seqs.begin(), frame.seqs.end());
    return all;
}

TEST(ClientSession, SaysHelloFirstAndNothingNumberedBeforeWelcome) {
    FakeTasks tasks;
    tasks.add("a");
    FakeBroker broker{tasks};
    broker.connect();
    const auto first = broker.heard();
    ASSERT_EQ(first.size(), 1U);
    EXPECT_EQ(first[0].header.kind, wire::Kind::Hello);
    EXPECT_EQ(first[0].hello.stream, 77U);
    EXPECT_EQ(first[0].hello.incarnation, 0U);
    broker.welcome(5, false, 0);
    std::vector<wire::Kind> kinds;
    for (const Heard& frame : broker.heard()) kinds.push_back(frame.header.kind);
    EXPECT_EQ(
        kinds,
        (std::vector<wire::Kind>{wire::Kind::Credit, wire::Kind::Template, wire::Kind::Submit}));
}

TEST(ClientSession, TellsATemplateOnceAndBatchesSubmits) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    broker.connect();
    broker.welcome(5, false, 0);
    for (int i = 0; i < 1000; ++i) tasks.add("body" + std::to_string(i), i < 500 ? 0 : 1);
    int templates = 0;
    int submits = 0;
    std::vector<std::string> bodies;
    for (const Heard& frame : broker.heard()) {
        templates += frame.header.kind == wire::Kind::Template;
        submits += frame.header.kind == wire::Kind::Submit;
        bodies.insert(bodies.end(), frame.bodies.begin(), frame.bodies.end());
    }
    EXPECT_EQ(templates, 2);
    EXPECT_LE(submits, 6);
    ASSERT_EQ(bodies.size(), 1000U);
    EXPECT_EQ(bodies[999], "body999");
}

TEST(ClientSession, NeverSubmitsBeyondTheCredit) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    for (int i = 0; i < 100; ++i) tasks.add("x");
    broker.connect();
    broker.welcome(5, false, 0, 30);
    EXPECT_EQ(seqs_of(broker.heard(wire::Kind::Submit)).size(), 30U);
    broker.tell(wire::Kind::Credit,
                wire::Credit{20, 1 << 20});  // Lower than before: the maximum counts.
    EXPECT_TRUE(broker.heard(wire::Kind::Submit).empty());
    broker.tell(wire::Kind::Credit, wire::Credit{70, 1 << 20});
    EXPECT_EQ(seqs_of(broker.heard(wire::Kind::Submit)).size(), 40U);
}

TEST(ClientSession, StopsWhenTheByteCreditIsUsedUp) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    for (int i = 0; i < 10; ++i) tasks.add(std::string(1000, 'x'));
    broker.connect();
    broker.welcome(5, false, 0, 1000, 2500);
    EXPECT_EQ(seqs_of(broker.heard(wire::Kind::Submit)).size(), 3U);
}

TEST(ClientSession, DeliversEachOutcomeOnceThoughFramesComeTwice) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("x");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    wire::ResultsWriter writer;
    writer.add(1, wire::Outcome::Succeeded, wire::BodyRef::of(base::bytes_of("42")));
    const base::Message frame = writer.finish({wire::Kind::Results, broker.next++, 0, 0});
    broker.say(frame);
    broker.say(frame);
    EXPECT_EQ(tasks.tasks[1].outcomes, 1);
    EXPECT_EQ(tasks.tasks[1].result, "42");
    EXPECT_EQ(broker.session.session().received(), 1U);
}

TEST(ClientSession, AnswersAGapWithHelloOfAHigherGeneration) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    broker.connect();
    const std::uint64_t generation = broker.heard().at(0).hello.generation;
    broker.welcome(5, false, 0);
    broker.heard();
    broker.next = 3;
    broker.tell(wire::Kind::Accepted, wire::Accepted{});
    const auto hello = broker.heard(wire::Kind::Hello);
    ASSERT_EQ(hello.size(), 1U);
    EXPECT_GT(hello[0].hello.generation, generation);
    EXPECT_EQ(hello[0].hello.received, 0U);
    EXPECT_EQ(hello[0].hello.incarnation, 5U);
}

TEST(ClientSession, ResendsWhatTheBrokerDidNotProcessAfterAReconnect) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("a");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();  // 1: CREDIT, 2: TEMPLATE, 3: SUBMIT
    broker.cut();
    tasks.add("b");
    EXPECT_TRUE(broker.heard().empty());
    broker.connect();
    EXPECT_EQ(broker.heard().at(0).header.kind, wire::Kind::Hello);
    broker.welcome(5, true, 2);
    const auto again = broker.heard();
    ASSERT_EQ(again.size(), 2U);
    EXPECT_EQ(again[0].header.number, 3U);
    EXPECT_EQ(again[0].seqs, std::vector<std::uint64_t>{1});
    EXPECT_EQ(again[0].resent, std::vector<bool>{false})
        << "within an incarnation the frame itself is repeated";
    EXPECT_EQ(again[1].seqs, std::vector<std::uint64_t>{2});
}

TEST(ClientSession, SubmitsAgainAsResentUnderANewIncarnation) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    for (int i = 0; i < 4; ++i) tasks.add("t" + std::to_string(i));
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    broker.result(2, "done");
    tasks.add("new");
    broker.cut();
    broker.connect();
    EXPECT_EQ(broker.heard().at(0).hello.incarnation, 5U);
    broker.welcome(6, false, 0);
    std::map<std::uint64_t, bool> resent;
    int templates = 0;
    for (const Heard& frame : broker.heard()) {
        templates += frame.header.kind == wire::Kind::Template;
        for (std::size_t i = 0; i < frame.seqs.size(); ++i) resent[frame.seqs[i]] = frame.resent[i];
    }
    EXPECT_EQ(templates, 1) << "a new incarnation knows no template";
    EXPECT_EQ(resent, (std::map<std::uint64_t, bool>{{1, true}, {3, true}, {4, true}, {5, false}}));
}

TEST(ClientSession, NumbersFromOneAgainUnderANewIncarnation) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("a");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    broker.tell(wire::Kind::Accepted, wire::Accepted{});
    broker.cut();
    broker.connect();
    broker.welcome(6, false, 0);
    broker.spoken();
    EXPECT_EQ(broker.heard().at(0).header.number, 1U);
    EXPECT_EQ(broker.session.session().received(), 0U);
    broker.result(1, "r");
    EXPECT_EQ(tasks.tasks[1].result, "r");
}

TEST(ClientSession, ResendsAPendingCancelAsCancelNeverAsSubmit) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("a");
    tasks.add("b");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    tasks.cancel(1);
    EXPECT_EQ(seqs_of(broker.heard(wire::Kind::Cancel)), std::vector<std::uint64_t>{1});
    broker.cut();
    broker.connect();
    broker.welcome(6, false, 0);
    std::vector<std::uint64_t> submitted;
    std::vector<std::uint64_t> cancelled;
    for (const Heard& frame : broker.heard()) {
        if (frame.header.kind == wire::Kind::Submit) submitted = frame.seqs;
        if (frame.header.kind == wire::Kind::Cancel) cancelled = frame.seqs;
    }
    EXPECT_EQ(submitted, std::vector<std::uint64_t>{2});
    EXPECT_EQ(cancelled, std::vector<std::uint64_t>{1});
}

TEST(ClientSession, LosesWhatWasPendingWhenTheSameBrokerForgotTheSession) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("a");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    broker.cut();
    broker.connect();
    wire::Reject reject;
    reject.code = wire::Code::SessionExpired;
    reject.text = "closed after its silence";
    broker.spoken();
    broker.say(wire::encode({wire::Kind::Reject}, reject));
    ASSERT_FALSE(tasks.states.empty());
    EXPECT_EQ(tasks.states.back(), ClientState::Lost);
    EXPECT_EQ(tasks.last_code, wire::Code::BrokerLost);
    const auto hello = broker.spoken();
    ASSERT_EQ(hello.size(), 1U);
    EXPECT_EQ(hello[0].hello.incarnation, 0U) << "it starts anew";
}

TEST(ClientSession, SendsALargeBodyInChunksAheadOfItsRecordWithinTheWindow) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    const std::string big(10U << 20, 'b');
    tasks.add(big);
    tasks.add("small");
    broker.connect();
    broker.welcome(5, false, 0);
    std::size_t bytes = 0;
    std::vector<std::string> bodies;
    int turns = 0;
    for (; bodies.size() < 2 && turns < 100; ++turns) {
        std::size_t in_flight = 0;
        for (const Heard& frame : broker.heard()) {
            if (frame.header.kind == wire::Kind::Chunk) {
                EXPECT_TRUE(bodies.empty());
                bytes += frame.chunk_bytes;
                in_flight += frame.chunk_bytes;
            }
            bodies.insert(bodies.end(), frame.bodies.begin(), frame.bodies.end());
        }
        EXPECT_LE(in_flight, wire::kUnackedBytesMax + wire::kChunkSize);
        broker.say(wire::encode_ack(broker.received, 0));
    }
    EXPECT_EQ(bytes, big.size());
    EXPECT_GT(turns, 2) << "10 MiB do not fit one window";
    ASSERT_EQ(bodies.size(), 2U);
    EXPECT_EQ(bodies[0], "#1:" + std::to_string(big.size()));
    EXPECT_EQ(bodies[1], "small");
}

TEST(ClientSession, PutsAChunkedResultTogether) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("x");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    const std::string half(wire::kChunkSize, 'h');
    broker.say(wire::encode_chunk({wire::Kind::Chunk, broker.next++, 0, 0},
                                  9,
                                  false,
                                  base::Blob::copy(base::bytes_of(half))));
    broker.say(wire::encode_chunk({wire::Kind::Chunk, broker.next++, 0, 0},
                                  9,
                                  true,
                                  base::Blob::copy(base::bytes_of("end"))));
    wire::ResultsWriter writer;
    writer.add(1, wire::Outcome::Succeeded, wire::BodyRef::of_transfer(9, half.size() + 3));
    broker.say(writer.finish({wire::Kind::Results, broker.next++, 0, 0}));
    EXPECT_EQ(tasks.tasks[1].result, half + "end");
}

TEST(ClientSession, DropsABrokerThatNamesABodyThatNeverCame) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("x");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    wire::ResultsWriter writer;
    writer.add(1, wire::Outcome::Succeeded, wire::BodyRef::of_transfer(9, 100));
    broker.say(writer.finish({wire::Kind::Results, broker.next++, 0, 0}));
    broker.spoken();
    EXPECT_EQ(broker.disconnects, 1);
    EXPECT_FALSE(tasks.tasks[1].settled);
}

TEST(ClientSession, RefusesAFifthBodyInPieces) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    for (std::uint64_t transfer = 1; transfer <= wire::kReassembliesMax + 1; ++transfer) {
        broker.say(wire::encode_chunk({wire::Kind::Chunk, broker.next++, 0, 0},
                                      transfer,
                                      false,
                                      base::Blob::copy(base::bytes_of("piece"))));
    }
    broker.spoken();
    EXPECT_EQ(broker.disconnects, 1);
}

TEST(ClientSession, GrantsResultCreditOnArrivalOrWhenCallbacksFinish) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    broker.connect();
    broker.welcome(5, false, 0);
    const auto first = broker.heard(wire::Kind::Credit);
    ASSERT_EQ(first.size(), 1U);
    const std::uint64_t window = session::ClientCore::kResultRecords;
    EXPECT_EQ(first[0].credit.records, window);
    tasks.keep_results = true;
    const std::string body(1024, 'x');
    const auto deliver = [&](std::uint64_t count) {
        while (count > 0) {
            wire::ResultsWriter writer;
            for (; count > 0 && !writer.full(); --count)
                writer.add(tasks.add("t"),
                           wire::Outcome::Succeeded,
                           wire::BodyRef::of(base::bytes_of(body)));
            broker.say(writer.finish({wire::Kind::Results, broker.next++, broker.received, 0}));
        }
    };
    deliver(40'000);
    tasks.cursor = tasks.end;
    EXPECT_TRUE(broker.heard(wire::Kind::Credit).empty()) << "nothing was consumed yet";
    tasks.consumed = 40'000;
    tasks.consumed_bytes = 40'000 * body.size();
    const auto later = broker.heard(wire::Kind::Credit);
    ASSERT_EQ(later.size(), 1U);
    EXPECT_EQ(later[0].credit.bytes, 40'000 * body.size() + session::ClientCore::kResultBytes);
}

TEST(ClientSession, PingsASilentBrokerThenIsSilentThenLost) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("x");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    broker.pass(std::chrono::milliseconds{2100});
    ASSERT_EQ(broker.spoken().size(), 1U);
    EXPECT_EQ(broker.session.state(), ClientState::Live);
    broker.pass(std::chrono::seconds{6});
    EXPECT_EQ(broker.session.state(), ClientState::Silent);
    broker.spoken();
    EXPECT_EQ(broker.disconnects, 1);
    broker.pass(std::chrono::seconds{51});
    EXPECT_EQ(broker.session.state(), ClientState::Silent);
    broker.pass(std::chrono::seconds{2});
    EXPECT_EQ(broker.session.state(), ClientState::Lost);
    EXPECT_EQ(tasks.last_code, wire::Code::BrokerLost);
}

TEST(ClientSession, IsLiveAgainWhenASilentBrokerComesBack) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("x");
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    broker.pass(std::chrono::seconds{9});
    EXPECT_EQ(broker.session.state(), ClientState::Silent);
    broker.connect();
    broker.welcome(5, true, broker.received);
    EXPECT_EQ(broker.session.state(), ClientState::Live);
    broker.result(1, "late");
    EXPECT_EQ(tasks.tasks[1].result, "late");
}

TEST(ClientSession, AnswersPingAndStaysLive) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    for (int i = 0; i < 20; ++i) {
        broker.pass(std::chrono::seconds{1});
        const std::uint64_t heard = broker.session.session().next_number() - 1;
        broker.say(wire::encode({wire::Kind::Ping, 0, heard}, wire::Ping{7, 0, 0, 0}));
        const auto said = broker.spoken();
        ASSERT_FALSE(said.empty());
        EXPECT_EQ(said.back().header.kind, wire::Kind::Pong);
    }
    EXPECT_EQ(broker.session.state(), ClientState::Live);
}

/// Something of shared objects is held.
class HoldingLink final : public session::ObjectLink {
  public:
    const wire::ObjectOp* peek_operation() override { return nullptr; }
    void pop_operation() override {}
    void on_answer(const wire::ObjectReply&) override {}
    void on_event(const wire::ObjectEvent&) override {}
    void on_objects_lost() override {}
    void on_heard(base::Time sent) override { heard = sent; }
    bool wants_pings() const override { return true; }

    std::optional<base::Time> heard;
};

TEST(ClientSession, PingsForWhatIsHeldThoughTheBrokerIsHeard) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    HoldingLink link;
    broker.session.core().set_objects(&link);
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    std::vector<base::Time> pinged;
    for (int i = 0; i < 9; ++i) {
        broker.pass(std::chrono::milliseconds{500});
        for (const Heard& frame : broker.spoken())
            if (frame.header.kind == wire::Kind::Ping) pinged.push_back(broker.now);
        const std::uint64_t received = broker.session.session().next_number() - 1;
        broker.say(wire::encode({wire::Kind::Ping, 0, received}, wire::Ping{7, 0, 0, 0}));
    }
    ASSERT_GE(pinged.size(), 2U);
    const std::uint64_t received = broker.session.session().next_number() - 1;
    broker.say(wire::encode({wire::Kind::Pong, 0, received}, wire::Ping{1, 0, 0, 0}));
    EXPECT_FALSE(link.heard) << "the answer to an older PING proves less than is asked for";
    broker.say(wire::encode({wire::Kind::Pong, 0, received}, wire::Ping{pinged.size(), 0, 0, 0}));
    EXPECT_EQ(link.heard, pinged.back());
}

TEST(ClientSession, AcksAtTheLatestAfterSixtyFourFramesOrHundredMilliseconds) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    broker.connect();
    broker.welcome(5, false, 0);
    broker.heard();
    for (std::size_t i = 0; i < wire::kAckFrames; ++i)
        broker.tell(wire::Kind::Accepted, wire::Accepted{});
    const auto acked = broker.heard(wire::Kind::Ack);
    ASSERT_EQ(acked.size(), 1U);
    EXPECT_EQ(acked[0].header.ack, wire::kAckFrames);
    broker.tell(wire::Kind::Accepted, wire::Accepted{});
    EXPECT_TRUE(broker.heard(wire::Kind::Ack).empty());
    EXPECT_LE(broker.session.next_timer(), broker.now + std::chrono::milliseconds{100});
    broker.pass(std::chrono::milliseconds{101});
    EXPECT_EQ(broker.spoken().at(0).header.ack, wire::kAckFrames + 1);
}

TEST(ClientSession, StopsAtTheUnackedWindowAndGoesOnAfterAnAck) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    for (int i = 0; i < 40; ++i) tasks.add(std::string(300'000, 'x'));
    broker.connect();
    broker.welcome(5, false, 0);
    const std::size_t first = seqs_of(broker.heard(wire::Kind::Submit)).size();
    EXPECT_LT(first, 40U);
    EXPECT_TRUE(broker.heard(wire::Kind::Submit).empty());
    broker.say(wire::encode_ack(broker.received, 0));
    EXPECT_GT(seqs_of(broker.heard(wire::Kind::Submit)).size(), 0U);
}

TEST(ClientSession, LeavesAPeerThatOnlySaysWhoAlone) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    broker.connect();
    int hellos = 0;
    for (int i = 0; i < 50; ++i) {
        broker.say(wire::encode({wire::Kind::Who}, wire::Bye{"who"}));
        for (const Heard& frame : broker.spoken()) hellos += frame.header.kind == wire::Kind::Hello;
    }
    EXPECT_LE(hellos, 10);
    EXPECT_EQ(broker.disconnects, 1);
}

TEST(ClientSession, IsRejectedForGoodOrTriesAgainAsTold) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    broker.connect();
    broker.spoken();
    wire::Reject busy;
    busy.code = wire::Code::BrokerFull;
    busy.retry_after_ms = 500;
    broker.say(wire::encode({wire::Kind::Reject}, busy));
    broker.pass(std::chrono::milliseconds{501});
    EXPECT_EQ(broker.spoken().at(0).header.kind, wire::Kind::Hello);
    wire::Reject denied;
    denied.code = wire::Code::Denied;
    denied.text = "not on the list";
    broker.say(wire::encode({wire::Kind::Reject}, denied));
    EXPECT_EQ(broker.session.state(), ClientState::Rejected);
    EXPECT_EQ(tasks.last_code, wire::Code::Denied);
}

TEST(ClientSession, SurvivesGarbage) {
    FakeTasks tasks;
    FakeBroker broker{tasks};
    tasks.add("x");
    for (int round = 0; round < 3; ++round) {
        broker.connect();
        broker.welcome(5 + static_cast<std::uint64_t>(round), false, 0);
        broker.heard();
        base::Message garbage;
        garbage.control = base::Blob::copy(base::bytes_of("FM\x01\x10 this is no array"));
        broker.say(garbage);
        broker.spoken();
    }
    EXPECT_EQ(broker.session.protocol_errors(), 3U);
    EXPECT_EQ(broker.disconnects, 3);
}

}  // namespace
}  // namespace forkmill::test
