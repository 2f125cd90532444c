// SPDX-License-Identifier: Apache-2.0
// What a worker host tells about its workers, whoever listens and whenever.
#include "worker/uplink_core.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace forkmill::worker {
namespace {

using namespace std::chrono_literals;
using supervisor::Verb;

supervisor::Notice notice(Verb verb, std::uint32_t slot, std::uint32_t birth = 1) {
    supervisor::Notice made;
    made.verb = verb;
    made.slot = slot;
    made.generation = birth;
    made.pid = static_cast<std::int32_t>(1000 + slot);
    return made;
}

class Line {
  public:
    Line() : core({{1, 2}, "host", "host:1", "default", 7, 3}, now) {}

    void connect(std::uint64_t incarnation) {
        core.on_connected(now, out);
        read();
        const bool resumed = incarnation == known;
        if (!resumed) session.reset();
        known = incarnation;
        wire::Welcome welcome;
        welcome.incarnation = incarnation;
        welcome.resumed = resumed;
        welcome.received = session.received();
        core.on_message(wire::encode({wire::Kind::Welcome}, welcome), now, out);
        turn();
    }
    void turn() {
        core.pump(now, out);
        read();
    }
    void read() {
        for (const base::Message& message : std::exchange(out.messages, {})) {
            wire::Header header;
            wire::Cursor cursor;
            ASSERT_EQ(wire::decode_header(message, header, cursor), wire::Code::None);
            if (header.kind == wire::Kind::Hello) {
                hello = {};
                ASSERT_EQ(wire::decode(cursor, hello), wire::Code::None);
            }
            if (!wire::is_numbered(header.kind) || deaf) continue;
            if (session.on_number(header.number, message.bytes()) != session::Verdict::Process)
                continue;
            if (header.kind == wire::Kind::Bye) bye = true;
            if (header.kind != wire::Kind::Host) continue;
            wire::HostRecord record;
            ASSERT_EQ(wire::decode(cursor, record), wire::Code::None);
            told.emplace_back(static_cast<Verb>(record.verb), record.slot);
            last = record;
        }
    }
    void ack() {
        core.on_message(wire::encode_ack(session.received(), 0), now, out);
        turn();
    }

    base::Time now{1s};
    UplinkCore core;
    UplinkOut out;
    session::Session session;
    std::uint64_t known = 0;
    bool deaf = false;
    bool bye = false;
    wire::Hello hello;
    wire::HostRecord last;
    std::vector<std::pair<Verb, std::uint32_t>> told;
};

using Told = std::vector<std::pair<Verb, std::uint32_t>>;

TEST(UplinkCore, TellsTheLivingAndThenThatThisIsAll) {
    Line line;
    line.core.on_notice(notice(Verb::Born, 0));
    line.core.on_notice(notice(Verb::Born, 1));
    line.core.on_notice(notice(Verb::Ready, 1));
    line.core.on_notice(notice(Verb::Roster, 0));
    line.connect(1);
    EXPECT_EQ(line.hello.role, wire::Role::Uplink);
    EXPECT_EQ(line.told,
              (Told{{Verb::Born, 0}, {Verb::Born, 1}, {Verb::Ready, 1}, {Verb::Roster, 0}}));
    EXPECT_EQ(line.last.host_key, "host:1");
}

TEST(UplinkCore, ADeathBeforeTheFirstWelcomeIsToldWithWhatRan) {
    Line line;
    line.core.on_notice(notice(Verb::Born, 0, 1));
    supervisor::Notice died = notice(Verb::Died, 0, 1);
    died.lease_count = 1;
    died.leases[0] = 5;
    line.core.on_notice(died);
    line.connect(1);
    ASSERT_EQ(line.told, (Told{{Verb::Died, 0}}));
    EXPECT_EQ(line.last.leases, std::vector<std::uint64_t>{5});
}

TEST(UplinkCore, ADeathThatNoBrokerAckedIsToldToTheNextWithoutLeases) {
    Line line;
    line.connect(1);
    line.core.on_notice(notice(Verb::Born, 0, 1));
    supervisor::Notice died = notice(Verb::Died, 0, 1);
    died.lease_count = 1;
    died.leases[0] = 5;
    line.core.on_notice(died);
    line.turn();
    line.core.on_disconnected();
    line.told.clear();
    line.connect(2);
    EXPECT_EQ(line.told, (Told{{Verb::Died, 0}}));
    EXPECT_TRUE(line.last.leases.empty());
    line.ack();
    line.core.on_disconnected();
    line.told.clear();
    line.connect(3);
    EXPECT_TRUE(line.told.empty());
}

TEST(UplinkCore, TellsDeathsAsTheyComeWithWhatRan) {
    Line line;
    line.connect(1);
    line.core.on_notice(notice(Verb::Born, 3));
    supervisor::Notice died = notice(Verb::Died, 3);
    died.cause = supervisor::Cause::Signal;
    died.detail = 11;
    died.lease_count = 2;
    died.leases[0] = 5;
    died.leases[1] = 6;
    died.set_text("segfault");
    line.core.on_notice(died);
    line.turn();
    EXPECT_EQ(line.told, (Told{{Verb::Born, 3}, {Verb::Died, 3}}));
    EXPECT_EQ(line.last.leases, (std::vector<std::uint64_t>{5, 6}));
    EXPECT_EQ(line.last.detail, 11);
    EXPECT_EQ(line.last.text, "segfault");
    EXPECT_EQ(line.last.cause, static_cast<std::uint8_t>(supervisor::Cause::Signal));
}

TEST(UplinkCore, ANewBrokerIsToldWhatIsAndWhoDiedUnheard) {
    Line line;
    line.core.on_notice(notice(Verb::Roster, 0));
    line.connect(1);
    line.core.on_notice(notice(Verb::Born, 0));
    line.core.on_notice(notice(Verb::Died, 0));
    line.core.on_notice(notice(Verb::Born, 0, 2));
    line.core.on_notice(notice(Verb::Stopped, 0, 2));
    line.turn();
    line.told.clear();
    line.core.on_disconnected();
    line.connect(2);
    EXPECT_EQ(line.told,
              (Told{{Verb::Died, 0}, {Verb::Born, 0}, {Verb::Stopped, 0}, {Verb::Roster, 0}}));
}

TEST(UplinkCore, ALateDeathOfAnEarlierBirthKeepsTheLivingOne) {
    Line line;
    line.core.on_notice(notice(Verb::Roster, 0));
    line.core.on_notice(notice(Verb::Born, 0, 2));
    line.core.on_notice(notice(Verb::Died, 0, 1));
    line.connect(1);
    EXPECT_EQ(line.told, (Told{{Verb::Died, 0}, {Verb::Born, 0}, {Verb::Roster, 0}}));
}

TEST(UplinkCore, WhatWasLostOnTheWayIsSentAgain) {
    Line line;
    line.connect(1);
    line.deaf = true;
    line.core.on_notice(notice(Verb::Born, 4));
    line.turn();
    EXPECT_TRUE(line.told.empty());
    line.deaf = false;
    line.core.on_disconnected();
    line.connect(1);
    EXPECT_EQ(line.told, (Told{{Verb::Born, 4}}));
    EXPECT_EQ(line.hello.generation, 2U);
}

TEST(UplinkCore, KillsTheProcessThatIsMeantAndNoLaterOne) {
    Line line;
    line.connect(1);
    line.core.on_notice(notice(Verb::Born, 2, 9));
    wire::HostRecord order;
    order.verb = static_cast<std::uint8_t>(Verb::Kill);
    order.slot = 2;
    order.birth = 8;
    const auto deliver = [&] {
        line.session.queue(
            wire::encode({wire::Kind::HostVerb, line.session.next_number(), 0, 0}, order));
        line.core.on_message(*line.session.next_transmit(), line.now, line.out);
    };
    deliver();
    EXPECT_TRUE(line.core.kills().empty());
    order.birth = 9;
    order.cause = static_cast<std::uint8_t>(supervisor::Cause::HardTimeout);
    deliver();
    ASSERT_EQ(line.core.kills().size(), 1U);
    EXPECT_EQ(line.core.kills()[0].pid, 1002);
    EXPECT_EQ(line.core.kills()[0].cause, supervisor::Cause::HardTimeout);
}

TEST(UplinkCore, ComesAsANewSessionWhenNobodyListenedForLong) {
    Line line;
    line.connect(1);
    const base::SessionKey first = line.hello.session;
    line.core.on_disconnected();
    line.core.on_notice(notice(Verb::Roster, 0));
    line.core.on_notice(notice(Verb::Born, 1));
    for (std::size_t i = 0; i <= UplinkCore::kUntoldMax; ++i)
        line.core.on_notice(notice(Verb::Recycle, 1));
    line.known = 0;
    line.connect(1);
    EXPECT_NE(line.hello.session, first);
    EXPECT_EQ(line.told, (Told{{Verb::Born, 1}, {Verb::Roster, 0}}));
}

TEST(UplinkCore, SaysByeAfterTheLastWord) {
    Line line;
    line.connect(1);
    line.core.on_notice(notice(Verb::Born, 0));
    line.core.leave();
    line.turn();
    EXPECT_TRUE(line.bye);
    EXPECT_EQ(line.told.size(), 1U);
    EXPECT_FALSE(line.core.done());
    line.ack();
    EXPECT_TRUE(line.core.done());
}

TEST(UplinkCore, PingsAndGivesUpASilentBroker) {
    Line line;
    line.connect(1);
    line.now += 2s;
    line.core.tick(line.now, line.out);
    EXPECT_EQ(line.out.messages.size(), 1U);
    line.out.messages.clear();
    line.now += 6s;
    line.core.tick(line.now, line.out);
    EXPECT_TRUE(line.out.disconnect);
    EXPECT_FALSE(line.core.welcomed());
}

}  // namespace
}  // namespace forkmill::worker
