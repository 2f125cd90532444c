// SPDX-License-Identifier: Apache-2.0
#include "core/session/transfers.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/wire/codec.h"

namespace forkmill::session {
namespace {

base::Blob pattern(std::size_t size) {
    base::Blob blob = base::Blob::allocate(size);
    for (std::size_t i = 0; i < size; ++i)
        blob.mutable_data()[i] = static_cast<std::byte>(i * 31 >> 3);
    return blob;
}

std::string joined(const base::Body& body) {
    if (!body.chunks) return std::string{base::text_of(body.view)};
    std::string whole;
    for (const base::Blob& part : *body.chunks) whole += base::text_of(part.view());
    return whole;
}

/// Everything the session would transmit, given to the receiver and acked.
base::Status pass_on(Session& session, Transfers& receiver) {
    while (const base::Message* message = session.next_transmit()) {
        wire::Header header{};
        wire::Cursor cursor;
        wire::Chunk chunk;
        EXPECT_EQ(wire::decode_header(*message, header, cursor), wire::Code::None);
        EXPECT_EQ(wire::decode(cursor, *message, chunk), wire::Code::None);
        const base::Status taken = receiver.on_chunk(chunk, *message);
        if (!taken.ok()) return taken;
        EXPECT_TRUE(session.on_ack(header.number));
    }
    return base::Done{};
}

base::Status one_chunk(Transfers& receiver, std::uint64_t transfer, bool last, std::size_t bytes) {
    const base::Message message =
        wire::encode_chunk({wire::Kind::Chunk, 1, 0, 0}, transfer, last, pattern(bytes));
    return receiver.on_chunk(wire::Chunk{transfer, last}, message);
}

TEST(Transfers, ALargeBodyArrivesWholeWhateverItsForm) {
    const base::Blob whole = pattern(3 * wire::kChunkSize + 17);
    const auto parts = std::make_shared<const std::vector<base::Blob>>(
        std::vector<base::Blob>{whole.slice(0, 1000), whole.slice(1000, whole.size() - 1000)});
    for (const base::Body& body :
         {base::Body::of(whole), base::Body::of(whole.view()), base::Body::of(parts)}) {
        Session session;
        Transfers sender;
        Transfers receiver;
        const auto number = sender.send(session, 0, body);
        ASSERT_TRUE(number.has_value());
        EXPECT_EQ(session.unacked(), 4U);
        ASSERT_TRUE(pass_on(session, receiver).ok());
        const auto taken = receiver.take(*number, whole.size());
        ASSERT_TRUE(taken.ok()) << taken.failure().text;
        EXPECT_EQ(joined(taken.value()), base::text_of(whole.view()));
        EXPECT_FALSE(receiver.take(*number, whole.size()).ok()) << "a body is named once";
    }
}

TEST(Transfers, AFullWindowHoldsABodyBackAndItGoesOnLater) {
    Session session;
    Transfers sender;
    Transfers receiver;
    const base::Blob whole = pattern(2 * wire::kUnackedBytesMax + 5);
    std::optional<std::uint64_t> number;
    int turns = 0;
    while (!(number = sender.send(session, 0, base::Body::of(whole)))) {
        EXPECT_TRUE(sender.sending());
        ASSERT_LT(++turns, 100);
        ASSERT_TRUE(pass_on(session, receiver).ok());
    }
    EXPECT_GE(turns, 2);
    EXPECT_FALSE(sender.sending());
    ASSERT_TRUE(pass_on(session, receiver).ok());
    EXPECT_EQ(joined(receiver.take(*number, whole.size()).value()), base::text_of(whole.view()));
}

TEST(Transfers, ManyWholeBodiesMayWaitForTheirRecord) {
    // A task with 64 large dependencies, or a batch of large results, is named after all its
    // bodies.
    Transfers receiver;
    for (std::uint64_t n = 1; n <= wire::kUntakenMax; ++n)
        ASSERT_TRUE(one_chunk(receiver, n, true, 9).ok()) << n;
    EXPECT_FALSE(one_chunk(receiver, wire::kUntakenMax + 1, true, 9).ok());
    EXPECT_TRUE(receiver.take(7, 9).ok());
    EXPECT_TRUE(one_chunk(receiver, wire::kUntakenMax + 1, true, 9).ok());
}

TEST(Transfers, FewUnfinishedBodiesMayComeAtOnce) {
    Transfers receiver;
    for (std::uint64_t n = 1; n <= wire::kReassembliesMax; ++n)
        ASSERT_TRUE(one_chunk(receiver, n, false, 9).ok());
    EXPECT_FALSE(one_chunk(receiver, 99, false, 9).ok());
    EXPECT_TRUE(one_chunk(receiver, 1, true, 9).ok());
    EXPECT_TRUE(one_chunk(receiver, 99, false, 9).ok());
}

TEST(Transfers, AGivenUpBodyMakesRoomForTheNext) {
    Session session;
    Transfers sender;
    Transfers receiver;
    const base::Blob whole = pattern(2 * wire::kUnackedBytesMax);
    for (std::size_t round = 0; round < 3 * wire::kReassembliesMax; ++round) {
        ASSERT_FALSE(sender.send(session, 0, base::Body::of(whole)).has_value());
        sender.give_up(session, 0);
        ASSERT_TRUE(pass_on(session, receiver).ok()) << round;
        EXPECT_FALSE(receiver.take(round + 1, 0).ok());
    }
}

TEST(Transfers, AnEmptyLastChunkLeavesNothingBehind) {
    Transfers receiver;
    for (std::uint64_t n = 1; n <= wire::kUntakenMax + 1; ++n) {
        ASSERT_TRUE(one_chunk(receiver, n, false, 9).ok()) << n;
        ASSERT_TRUE(one_chunk(receiver, n, true, 0).ok()) << n;
        ASSERT_FALSE(receiver.take(n, 9).ok());
    }
}

TEST(Transfers, WhatARecordNamesMustHaveComeWhole) {
    Transfers receiver{100};
    EXPECT_FALSE(receiver.take(1, 9).ok()) << "unknown";
    ASSERT_TRUE(one_chunk(receiver, 1, false, 9).ok());
    EXPECT_FALSE(receiver.take(1, 9).ok()) << "unfinished";
    ASSERT_TRUE(one_chunk(receiver, 1, true, 9).ok());
    EXPECT_FALSE(one_chunk(receiver, 1, true, 9).ok()) << "after its last";
    EXPECT_FALSE(receiver.take(1, 17).ok()) << "of another size";
    EXPECT_TRUE(receiver.take(1, 18).ok());
    ASSERT_TRUE(one_chunk(receiver, 2, false, 100).ok());
    EXPECT_FALSE(one_chunk(receiver, 2, true, 1).ok()) << "above the payload limit";
}

TEST(Transfers, ANewIncarnationForgetsBothDirections) {
    Session session;
    Transfers sender;
    Transfers receiver;
    ASSERT_TRUE(one_chunk(receiver, 1, true, 9).ok());
    receiver.reset();
    EXPECT_FALSE(receiver.take(1, 9).ok());
    ASSERT_FALSE(
        sender.send(session, 0, base::Body::of(pattern(2 * wire::kUnackedBytesMax))).has_value());
    sender.reset();
    session.reset();
    EXPECT_FALSE(sender.sending());
    EXPECT_EQ(sender.send(session, 0, base::Body::of(pattern(9))), std::optional<std::uint64_t>{1});
}

}  // namespace
}  // namespace forkmill::session
