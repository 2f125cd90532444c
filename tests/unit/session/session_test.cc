// SPDX-License-Identifier: Apache-2.0
#include "core/session/session.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "core/wire/codec.h"

namespace forkmill::session {
namespace {

/// A message that remembers its number.
base::Message numbered(std::uint64_t number, std::size_t bytes = 0) {
    base::Message message =
        wire::encode({wire::Kind::Credit, number, 0, 0}, wire::Credit{number, 0});
    if (bytes > message.control.size())
        message.payloads.push_back(base::Blob::allocate(bytes - message.control.size()));
    return message;
}

std::uint64_t number_of(const base::Message& message) {
    wire::Header header{};
    wire::Cursor cursor;
    EXPECT_EQ(wire::decode_header({message.control, {}}, header, cursor), wire::Code::None);
    return header.number;
}

void queue(Session& session, int count, std::size_t bytes = 0) {
    for (int i = 0; i < count; ++i) session.queue(numbered(session.next_number(), bytes));
}

std::vector<std::uint64_t> transmitted(Session& session) {
    std::vector<std::uint64_t> numbers;
    while (const base::Message* message = session.next_transmit())
        numbers.push_back(number_of(*message));
    return numbers;
}

using Numbers = std::vector<std::uint64_t>;

TEST(Session, NumbersAreDenseFromOne) {
    Session session;
    EXPECT_EQ(session.next_number(), 1U);
    queue(session, 3);
    EXPECT_EQ(session.next_number(), 4U);
    EXPECT_EQ(transmitted(session), (Numbers{1, 2, 3}));
    ASSERT_TRUE(session.on_ack(2));
    EXPECT_EQ(session.next_number(), 4U) << "an ack frees messages, not numbers";
    queue(session, 1);
    EXPECT_EQ(transmitted(session), (Numbers{4}));
}

TEST(Session, KeepsMessagesUntilTheyAreAcked) {
    Session session;
    queue(session, 3, 1000);
    transmitted(session);
    EXPECT_EQ(session.queued_bytes(), 3000U);
    ASSERT_TRUE(session.on_ack(1));
    EXPECT_EQ(session.unacked(), 2U);
    EXPECT_EQ(session.queued_bytes(), 2000U);
    EXPECT_EQ(session.acked(), 1U);
    EXPECT_FALSE(session.all_acked());
    ASSERT_TRUE(session.on_ack(3));
    EXPECT_TRUE(session.all_acked());
    EXPECT_EQ(session.queued_bytes(), 0U);
}

TEST(Session, AnOldAckIsNoError) {
    Session session;
    queue(session, 3);
    transmitted(session);
    ASSERT_TRUE(session.on_ack(3));
    EXPECT_TRUE(session.on_ack(1)) << "frames cross on their way";
    EXPECT_EQ(session.acked(), 3U);
}

TEST(Session, AnAckOfWhatNeverLeftChangesNothing) {
    Session session;
    queue(session, 3);
    EXPECT_FALSE(session.on_ack(1)) << "queued is not transmitted";
    ASSERT_NE(session.next_transmit(), nullptr);
    EXPECT_FALSE(session.on_ack(2));
    EXPECT_FALSE(session.on_ack(UINT64_MAX));
    EXPECT_EQ(session.unacked(), 3U);
    EXPECT_EQ(session.acked(), 0U);
    EXPECT_TRUE(session.on_ack(1));
}

TEST(Session, OnlyTheNextNumberIsProcessed) {
    Session session;
    EXPECT_EQ(session.on_number(2, 10), Verdict::Gap);
    EXPECT_EQ(session.on_number(1, 10), Verdict::Process);
    EXPECT_EQ(session.on_number(1, 10), Verdict::Duplicate);
    EXPECT_EQ(session.on_number(3, 10), Verdict::Gap);
    EXPECT_EQ(session.on_number(UINT64_MAX, 10), Verdict::Gap);
    EXPECT_EQ(session.on_number(0, 10), Verdict::Duplicate);
    EXPECT_EQ(session.on_number(2, 10), Verdict::Process);
    EXPECT_EQ(session.received(), 2U);
}

TEST(Session, ResumeTransmitsTheUnprocessedRestAgain) {
    Session session;
    queue(session, 4);
    transmitted(session);
    ASSERT_TRUE(session.on_ack(1));
    ASSERT_TRUE(session.resume(2)) << "the peer processed one more than we had heard";
    EXPECT_EQ(session.acked(), 2U);
    queue(session, 1);
    EXPECT_EQ(transmitted(session), (Numbers{3, 4, 5}));
}

TEST(Session, AnImpossibleResumeChangesNothing) {
    Session session;
    queue(session, 4);
    transmitted(session);
    ASSERT_TRUE(session.on_ack(2));
    EXPECT_FALSE(session.resume(1)) << "what it acked it cannot take back";
    EXPECT_FALSE(session.resume(5)) << "it cannot have processed what never left";
    EXPECT_EQ(session.acked(), 2U);
    EXPECT_EQ(session.unacked(), 2U);
    EXPECT_EQ(session.next_transmit(), nullptr) << "nothing is on the way twice";
}

/// The first copy arrived after the peer had said how far it came, and the ack of it before we sent
/// the second: a connection that was greeted twice (bin/sim --seed=324).
TEST(Session, AnAckMayComeBeforeTheResentIsTransmittedAgain) {
    Session session;
    queue(session, 3, 100);
    transmitted(session);
    ASSERT_TRUE(session.resume(1));
    EXPECT_TRUE(session.on_ack(2));
    EXPECT_EQ(transmitted(session), (std::vector<std::uint64_t>{3}));
    ASSERT_TRUE(session.resume(2));
    EXPECT_TRUE(session.resume(3));
    EXPECT_TRUE(session.all_acked());
    EXPECT_EQ(session.queued_bytes(), 0U);
    queue(session, 1);
    EXPECT_FALSE(session.on_ack(4)) << "it never left";
}

TEST(Session, FramesThatNobodyAcksForTheLimitAreALostConnection) {
    constexpr base::Duration kLimit = std::chrono::seconds{8};
    const base::Time begin{std::chrono::seconds{100}};
    Session session;
    EXPECT_FALSE(session.stalled(begin, kLimit));
    EXPECT_EQ(session.stalls_at(kLimit), base::kNever);
    queue(session, 2);
    transmitted(session);
    EXPECT_FALSE(session.stalled(begin + 1 * kLimit, kLimit))
        << "counted from when it was on its way";
    EXPECT_EQ(session.stalls_at(kLimit), begin + 2 * kLimit);
    EXPECT_TRUE(session.on_ack(1));
    EXPECT_FALSE(session.stalled(begin + 2 * kLimit, kLimit)) << "an ack begins the wait anew";
    EXPECT_TRUE(session.stalled(begin + 3 * kLimit, kLimit));
    ASSERT_TRUE(session.resume(1));
    EXPECT_FALSE(session.stalled(begin + 4 * kLimit, kLimit)) << "nothing is on the way";
}

TEST(Session, TheWindowOfFramesHoldsTransmissionBack) {
    Session session;
    queue(session, static_cast<int>(wire::kUnackedFramesMax) + 10);
    EXPECT_FALSE(session.can_send());
    EXPECT_EQ(transmitted(session).size(), wire::kUnackedFramesMax);
    ASSERT_TRUE(session.on_ack(4));
    EXPECT_EQ(transmitted(session).size(), 4U);
    ASSERT_TRUE(session.on_ack(wire::kUnackedFramesMax));
    EXPECT_TRUE(session.can_send());
    EXPECT_EQ(transmitted(session).size(), 6U);
}

TEST(Session, TheWindowOfBytesMayBeOvershotByOneMessage) {
    Session session;
    queue(session, 3, wire::kUnackedBytesMax - 1);
    EXPECT_FALSE(session.can_send());
    EXPECT_EQ(transmitted(session), (Numbers{1, 2}));
    ASSERT_TRUE(session.on_ack(1));
    EXPECT_EQ(transmitted(session), (Numbers{3}));
    ASSERT_TRUE(session.on_ack(3));
    queue(session, 1, 2 * wire::kUnackedBytesMax);
    EXPECT_EQ(transmitted(session), (Numbers{4}))
        << "a message larger than the window gets through";
}

TEST(Session, TheWindowHoldsAfterAResumeToo) {
    Session session;
    queue(session, static_cast<int>(wire::kUnackedFramesMax) + 10);
    transmitted(session);
    ASSERT_TRUE(session.resume(0));
    EXPECT_EQ(transmitted(session).size(), wire::kUnackedFramesMax);
}

TEST(Session, AnAckIsDueAfterManyFramesOrBytes) {
    Session session;
    EXPECT_FALSE(session.ack_owed());
    for (std::uint64_t n = 1; n < wire::kAckFrames; ++n) session.on_number(n, 10);
    EXPECT_TRUE(session.ack_owed());
    EXPECT_FALSE(session.ack_due());
    session.on_number(wire::kAckFrames, 10);
    EXPECT_TRUE(session.ack_due());
    session.ack_told();
    EXPECT_FALSE(session.ack_due());
    EXPECT_FALSE(session.ack_owed());
    session.on_number(wire::kAckFrames, wire::kAckBytes);
    EXPECT_FALSE(session.ack_owed()) << "a duplicate owes nothing by itself";
    session.on_number(wire::kAckFrames + 1, wire::kAckBytes);
    EXPECT_TRUE(session.ack_due());
}

TEST(Session, ANewIncarnationStartsFromNothing) {
    Session session;
    queue(session, 3, 1000);
    transmitted(session);
    session.on_number(1, 10);
    session.reset();
    EXPECT_EQ(session.next_number(), 1U);
    EXPECT_EQ(session.received(), 0U);
    EXPECT_EQ(session.queued_bytes(), 0U);
    EXPECT_FALSE(session.ack_owed());
    EXPECT_EQ(session.next_transmit(), nullptr);
    EXPECT_EQ(session.on_number(1, 10), Verdict::Process);
}

/// One direction over a link that loses everything in flight when it is cut.
struct Link {
    Session sender;
    Session receiver;
    std::deque<std::uint64_t> flight;
    Numbers processed;

    void transmit() {
        while (const base::Message* message = sender.next_transmit())
            flight.push_back(number_of(*message));
    }
    void deliver() {
        if (flight.empty()) return;
        const std::uint64_t number = flight.front();
        flight.pop_front();
        const Verdict verdict = receiver.on_number(number, 1);
        EXPECT_NE(verdict, Verdict::Gap) << "a link keeps order";
        if (verdict == Verdict::Process) processed.push_back(number);
    }
    void ack() { EXPECT_TRUE(sender.on_ack(receiver.received())); }
    void cut() {
        flight.clear();
        EXPECT_TRUE(sender.resume(receiver.received()));
    }
};

TEST(Session, EveryMessageIsProcessedOnceAndInOrderOverALinkThatIsCut) {
    for (unsigned seed = 0; seed < 50; ++seed) {
        std::mt19937 random{seed};
        Link link;
        constexpr std::uint64_t kMessages = 500;
        std::uint64_t queued = 0;
        for (int step = 0; step < 100'000 && !(queued == kMessages && link.sender.all_acked());
             ++step) {
            const auto dice = random() % 100;
            if (dice < 30 && queued < kMessages) {
                queue(link.sender, 1);
                ++queued;
            } else if (dice < 60) {
                link.transmit();
            } else if (dice < 90) {
                link.deliver();
            } else if (dice < 97) {
                link.ack();
            } else {
                link.cut();
            }
        }
        ASSERT_EQ(link.processed.size(), kMessages) << "seed " << seed;
        for (std::uint64_t i = 0; i < kMessages; ++i)
            ASSERT_EQ(link.processed[i], i + 1) << "seed " << seed;
    }
}

}  // namespace
}  // namespace forkmill::session
