// SPDX-License-Identifier: Apache-2.0
// Locks that sessions take by a word in shared memory, beside those who ask for them.
#include <array>

#include "core/base/lock_words.h"
#include "tests/unit/engine/sharing.h"

namespace forkmill::engine::test {

namespace {

constexpr std::uint32_t kNumber = (1U << base::kLockWordBits) - 1;

struct Memory {
    std::array<base::LockWord, 4> memory;
    base::LockWords words{memory};
    Config config() {
        Config config;
        config.lock_words = &words;
        return config;
    }
};

/// Two sessions with a lock, and what each knows of its word.
struct Words : Memory, Sharing {
    Words() : Sharing(config()) {
        const auto made =
            ask(a, {.verb = Verb::Open, .flags = wire::kOpCreate, .shape = {.kind = Kind::Lock}});
        lock = answer(made).token;
        place = answer(made).count;
        mark_a = static_cast<std::uint32_t>(place);
        const auto opened = ask(b, {.verb = Verb::Open, .object = lock});
        mark_b = static_cast<std::uint32_t>(answer(opened).count);
    }
    base::LockWord& word() {
        return words.at((static_cast<std::uint32_t>(place >> 32) & kNumber) - 1);
    }

    SessionIx a = client();
    SessionIx b = client();
    ObjectId lock = 0;
    std::uint64_t place = 0;
    std::uint32_t mark_a = 0;
    std::uint32_t mark_b = 0;
};

constexpr std::uint64_t kTaskBit = 1ULL << 63;

}  // namespace

TEST(ObjectWord, IsToldToWhoOpensALockAndToNobodyElse) {
    Words s;
    EXPECT_NE(s.place, 0U);
    EXPECT_NE(s.mark_a, s.mark_b);
    const auto queue = s.ask(s.a,
                             {.verb = Verb::Open,
                              .flags = wire::kOpCreate,
                              .shape = {.kind = Kind::Queue, .capacity = 1}});
    EXPECT_EQ(s.answer(queue).count, 0U);
    Sharing without;
    const auto other = without.client();
    const auto plain = without.ask(
        other, {.verb = Verb::Open, .flags = wire::kOpCreate, .shape = {.kind = Kind::Lock}});
    EXPECT_EQ(without.answer(plain).count, 0U);
}

TEST(ObjectWord, WhoAsksWaitsForWhoTookItByTheWord) {
    Words s;
    const auto held = s.word().take(s.word().use(), s.mark_a, 1);
    ASSERT_TRUE(held);
    const auto second = s.acquire(s.b, s.lock);
    EXPECT_TRUE(s.waiting(second));
    EXPECT_FALSE(s.word().give(s.word().use(), s.mark_a, held->token))
        << "somebody waits: the broker must know";
    s.release(s.a, s.lock, 1, held->token);
    ASSERT_EQ(s.code(second), Code::None);
    EXPECT_GT(s.answer(second).token, held->token);
    EXPECT_EQ(s.answer(second).flags & wire::kReplyOwnerDied, 0U);
    EXPECT_TRUE(s.word().give(s.word().use(), s.mark_b, s.answer(second).token))
        << "nobody waits any more";
    EXPECT_GT(s.word().take(s.word().use(), s.mark_a, 1)->token, s.answer(second).token);
}

TEST(ObjectWord, ALineKeepsTheWordUntilTheLastOfItHasTheLock) {
    Words s;
    const auto first = s.acquire(s.a, s.lock, 1);
    const auto second = s.acquire(s.b, s.lock, 1);
    const auto third = s.acquire(s.a, s.lock, 2);
    EXPECT_FALSE(s.word().give(s.word().use(), s.mark_a, s.answer(first).token));
    s.release(s.a, s.lock, 1, s.answer(first).token);
    EXPECT_FALSE(s.word().give(s.word().use(), s.mark_b, s.answer(second).token));
    EXPECT_FALSE(s.word().take(s.word().use(), s.mark_b, 9));
    s.release(s.b, s.lock, 1, s.answer(second).token);
    EXPECT_TRUE(s.word().give(s.word().use(), s.mark_a, s.answer(third).token));
}

TEST(ObjectWord, ATimeoutInTheLineGivesTheWordBack) {
    Words s;
    const auto held = s.word().take(s.word().use(), s.mark_a, 1);
    const auto late = s.ask(
        s.b,
        {.verb = Verb::Acquire, .object = s.lock, .owner = 1, .timeout = std::chrono::seconds{1}});
    s.pass(std::chrono::seconds{1});
    EXPECT_EQ(s.code(late), Code::WaitTimeout);
    EXPECT_TRUE(s.word().give(s.word().use(), s.mark_a, held->token));
}

TEST(ObjectWord, TheEndOfItsProcessFreesItAndIsTold) {
    Words s;
    ASSERT_TRUE(s.word().take(s.word().use(), s.mark_a, 1));
    const auto next = s.acquire(s.b, s.lock);
    s.close(s.a);
    ASSERT_EQ(s.code(next), Code::None);
    EXPECT_NE(s.answer(next).flags & wire::kReplyOwnerDied, 0U);
}

TEST(ObjectWord, TheEndOfItsProcessIsToldToWhoTakesItByTheWord) {
    Words s;
    ASSERT_TRUE(s.word().take(s.word().use(), s.mark_a, 1));
    s.close(s.a);
    const auto next = s.word().take(s.word().use(), s.mark_b, 1);
    ASSERT_TRUE(next);
    EXPECT_TRUE(next->died);
}

TEST(ObjectWord, TheEndOfAnIdleProcessIsNoDeathOfAnOwner) {
    Words s;
    const auto held = s.word().take(s.word().use(), s.mark_a, 1);
    s.word().give(s.word().use(), s.mark_a, held->token);
    s.close(s.a);
    EXPECT_FALSE(s.word().take(s.word().use(), s.mark_b, 1)->died);
}

TEST(ObjectWord, OneThatIsTakenAfterItsSessionEndedIsFreedForWhoAsks) {
    Words s;
    s.close(s.a);
    ASSERT_TRUE(s.word().take(s.word().use(), s.mark_a, 1));  // It was stopped in between.
    const auto next = s.acquire(s.b, s.lock);
    ASSERT_EQ(s.code(next), Code::None);
    EXPECT_NE(s.answer(next).flags & wire::kReplyOwnerDied, 0U);
}

TEST(ObjectWord, TheLastHandleOfItsSessionFreesIt) {
    Words s;
    ASSERT_TRUE(s.word().take(s.word().use(), s.mark_a, 1));
    s.ask(s.a, {.verb = Verb::Close, .object = s.lock});
    const auto next = s.word().take(s.word().use(), s.mark_b, 1);
    ASSERT_TRUE(next);
    EXPECT_TRUE(next->died);
}

TEST(ObjectWord, ReleasesOfOthersAreRefused) {
    Words s;
    const auto held = s.word().take(s.word().use(), s.mark_a, 1);
    EXPECT_EQ(s.code(s.release(s.b, s.lock, 1)), Code::NotOwner);
    EXPECT_EQ(s.code(s.release(s.b, s.lock, 1, held->token)), Code::NotOwner);
    EXPECT_EQ(s.code(s.release(s.a, s.lock, 1, held->token - 1)), Code::LockLost);
    EXPECT_TRUE(s.word().give(s.word().use(), s.mark_a, held->token)) << "it is a's as before";
}

TEST(ObjectWord, ABrokenLockIsLostToWhoHadIt) {
    Words s;
    const auto held = s.word().take(s.word().use(), s.mark_a, 1);
    const auto admin = s.client("root", 0, wire::Role::Admin);
    EXPECT_EQ(s.code_of(admin, {.verb = Verb::Break, .object = s.lock}), Code::None);
    EXPECT_FALSE(s.word().give(s.word().use(), s.mark_a, held->token));
    EXPECT_EQ(s.code(s.release(s.a, s.lock, 1, held->token)), Code::LockLost);
    EXPECT_TRUE(s.word().take(s.word().use(), s.mark_b, 1)->died);
}

TEST(ObjectWord, AConditionReturnsItToWhoTookItByTheWord) {
    Words s;
    const ObjectId condition = s.open(s.a, {.kind = Kind::Condition, .lock = s.lock});
    s.share(s.b, condition);
    const auto held = s.word().take(s.word().use(), s.mark_a, 1);
    const auto wait =
        s.ask(s.a, {.verb = Verb::Wait, .object = condition, .owner = 1, .token = held->token});
    EXPECT_TRUE(s.waiting(wait));
    const auto other = s.word().take(s.word().use(), s.mark_b, 1);
    ASSERT_TRUE(other) << "the wait gave it back";
    s.ask(s.b, {.verb = Verb::Notify, .object = condition, .owner = 1, .token = other->token});
    EXPECT_TRUE(s.waiting(wait));
    EXPECT_FALSE(s.word().give(s.word().use(), s.mark_b, other->token));
    s.release(s.b, s.lock, 1, other->token);
    ASSERT_EQ(s.code(wait), Code::None);
    EXPECT_TRUE(s.word().give(s.word().use(), s.mark_a, s.answer(wait).token));
}

TEST(ObjectWord, AnAttemptsEndFreesWhatItTook) {
    Words s;
    const auto w = s.worker({.threads = 2});
    const Task other = s.submit("x", {}, s.a);
    const Task taker = s.submit("x", {}, s.a);
    const auto opened = s.ask(w, {.verb = Verb::Open, .object = s.lock});
    const auto mark = static_cast<std::uint32_t>(s.answer(opened).count);
    ASSERT_TRUE(s.word().take(s.word().use(), mark, s.lease(taker) | kTaskBit));
    s.finish(other);
    EXPECT_FALSE(s.word().take(s.word().use(), s.mark_b, 1)) << "another attempt has it";
    s.finish(taker);
    const auto next = s.word().take(s.word().use(), s.mark_b, 1);
    ASSERT_TRUE(next);
    EXPECT_TRUE(next->died);
}

/// Between its swap and its word of who it is, a process may be interrupted.
TEST(ObjectWord, AnOwnerThatIsToldLateIsFoundAtItsEnd) {
    for (const bool gripped_long : {true, false}) {
        Words s;
        const auto w = s.worker();
        const Task taker = s.submit("x", {}, s.a);
        const auto opened = s.ask(w, {.verb = Verb::Open, .object = s.lock});
        const auto mark = static_cast<std::uint32_t>(s.answer(opened).count);
        ASSERT_TRUE(s.word().take(s.word().use(), mark, 0));
        const auto next = s.ask(s.b,
                                {.verb = Verb::Acquire,
                                 .object = s.lock,
                                 .owner = 1,
                                 .timeout = gripped_long ? base::Duration{-1} : base::Duration{0}});
        EXPECT_EQ(s.waiting(next), gripped_long);
        s.word().tell_owner(s.lease(taker) | kTaskBit);
        s.finish(taker);
        if (gripped_long) {
            EXPECT_NE(s.answer(next).flags & wire::kReplyOwnerDied, 0U);
        } else {
            EXPECT_TRUE(s.word().take(s.word().use(), s.mark_b, 1)->died);
        }
    }
}

TEST(ObjectWord, ObjectsOfOneNameNeverRepeatAToken) {
    Words s;
    const auto name = [&] {
        return s.ask(s.a,
                     {.verb = Verb::Open,
                      .flags = wire::kOpCreate,
                      .name = "again",
                      .shape = {.kind = Kind::Lock}});
    };
    std::uint64_t last = 0;
    for (int round = 0; round < 10; ++round) {
        const auto opened = name();
        base::LockWord& word =
            s.words.at((static_cast<std::uint32_t>(s.answer(opened).count >> 32) & kNumber) - 1);
        for (int i = 0; i < 20; ++i) {
            const auto held = word.take(word.use(), s.mark_a, 1);
            ASSERT_TRUE(held);
            ASSERT_GT(held->token, last);
            last = held->token;
            ASSERT_TRUE(word.give(word.use(), s.mark_a, last));
        }
        s.ask(s.a, {.verb = Verb::Remove, .object = s.answer(opened).token});
        EXPECT_FALSE(word.take(word.use(), s.mark_a, 1)) << "it ended";
    }
}

TEST(ObjectWord, LocksBeyondTheMemoryWorkWithoutOne) {
    Words s;
    for (int i = 0; i < 6; ++i) {
        const ObjectId lock = s.Sharing::lock(s.a);
        const auto held = s.acquire(s.a, lock, 1);
        EXPECT_EQ(s.code(held), Code::None);
        EXPECT_EQ(s.code(s.release(s.a, lock, 1, s.answer(held).token)), Code::None);
    }
}

}  // namespace forkmill::engine::test
