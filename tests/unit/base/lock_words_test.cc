// SPDX-License-Identifier: Apache-2.0
#include "core/base/lock_words.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace forkmill::base {

namespace {

/// A word that nobody has, with tokens above 100.
struct Free {
    std::array<LockWord, 2> memory;
    LockWords words{memory};
    std::uint32_t index = words.allot().value();
    LockWord& word = words.at(index);
    std::uint32_t use = 0;
    Free() {
        word.begin(100);
        use = word.use();
        word.let_go(0, 0, false);
    }
};

}  // namespace

TEST(LockWord, HasOneHolderAndGrowingTokens) {
    Free f;
    const auto first = f.word.take(f.use, 1, 11);
    ASSERT_TRUE(first);
    EXPECT_GT(first->token, 100U);
    EXPECT_FALSE(f.word.take(f.use, 2, 22));
    EXPECT_FALSE(f.word.give(f.use, 2, first->token));
    EXPECT_FALSE(f.word.give(f.use, 1, first->token - 1));
    EXPECT_TRUE(f.word.give(f.use, 1, first->token));
    EXPECT_FALSE(f.word.give(f.use, 1, first->token));
    const auto second = f.word.take(f.use, 2, 22);
    ASSERT_TRUE(second);
    EXPECT_GT(second->token, first->token);
    EXPECT_FALSE(second->died);
}

TEST(LockWord, WhatTheBrokerGripsIsItsOwn) {
    Free f;
    const auto held = f.word.take(f.use, 7, 70);
    ASSERT_TRUE(held);
    const LockWord::Hold seen = f.word.grip();
    EXPECT_EQ(seen.mark, 7U);
    EXPECT_EQ(seen.owner, 70U);
    EXPECT_EQ(seen.token, held->token);
    EXPECT_FALSE(f.word.give(f.use, 7, held->token));
    EXPECT_FALSE(f.word.take(f.use, 8, 80));
    f.word.let_go(0, 0, true);  // Taken from it: it died.
    EXPECT_FALSE(f.word.give(f.use, 7, held->token));
    const auto next = f.word.take(f.use, 8, 80);
    ASSERT_TRUE(next);
    EXPECT_TRUE(next->died);
    EXPECT_TRUE(f.word.give(f.use, 8, next->token));
    EXPECT_FALSE(f.word.take(f.use, 9, 90)->died) << "it is told once";
}

TEST(LockWord, GrantsOfTheBrokerShareTheTokens) {
    Free f;
    const auto before = f.word.take(f.use, 1, 1);
    f.word.give(f.use, 1, before->token);
    f.word.grip();
    const std::uint64_t drawn = f.word.draw();
    EXPECT_GT(drawn, before->token);
    f.word.let_go(3, 33, false);
    EXPECT_EQ(f.word.look().owner, 33U);
    EXPECT_TRUE(f.word.give(f.use, 3, drawn));
    EXPECT_GT(f.word.take(f.use, 1, 1)->token, drawn);
}

TEST(LockWord, TokensGoOnWhenItIsUsedAgain) {
    Free f;
    const auto last = f.word.take(f.use, 1, 1);
    f.word.grip();
    f.words.give_back(f.index);
    static_cast<void>(f.words.allot());
    ASSERT_EQ(f.words.allot(), f.index) << "the longest unused comes first";
    f.word.begin(5);
    f.word.let_go(0, 0, false);
    EXPECT_FALSE(f.word.give(f.use, 1, last->token));
    EXPECT_FALSE(f.word.take(f.use, 1, 1)) << "it is another lock's";
    EXPECT_GT(f.word.take(f.word.use(), 1, 1)->token, last->token);
    EXPECT_FALSE(f.words.allot()) << "there are no more than two";
}

TEST(LockWord, TheBrokerRenewsTokensThatRanOut) {
    Free f;
    std::uint64_t token = 0;
    constexpr int kAll = (1 << 14) - 1;  // The count's bits.
    for (int i = 0; i < kAll; ++i) {
        const auto hold = f.word.take(f.use, 1, 1);
        ASSERT_TRUE(hold);
        EXPECT_GT(hold->token, token);
        token = hold->token;
        EXPECT_TRUE(f.word.give(f.use, 1, token));
    }
    EXPECT_FALSE(f.word.take(f.use, 1, 1));
    f.word.grip();
    const std::uint64_t drawn = f.word.draw();
    EXPECT_GT(drawn, token);
    f.word.let_go(1, 1, false);
    EXPECT_TRUE(f.word.give(f.use, 1, drawn));
    EXPECT_GT(f.word.take(f.use, 1, 1)->token, drawn);
}

/// A broker that grips and lets go at any moment takes the lock from nobody.
TEST(LockWord, ExcludesThreadsWhileTheBrokerGripsIt) {
    Free f;
    constexpr int kRounds = 20'000;
    std::uint64_t inside = 0;
    std::uint64_t last_token = 0;
    std::atomic<std::uint64_t> released{0};  ///< (token << 8 | mark) of one that must be freed.
    std::atomic<int> left{2};
    const auto user = [&](std::uint32_t mark) {
        for (int i = 0; i < kRounds; ++i) {
            std::optional<LockWord::Hold> hold;
            while (!(hold = f.word.take(f.use, mark, mark))) std::this_thread::yield();
            ++inside;
            EXPECT_GT(hold->token, last_token);
            last_token = hold->token;
            if (f.word.give(f.use, mark, hold->token)) continue;
            released.store(hold->token << 8 | mark, std::memory_order_release);
            while (released.load(std::memory_order_acquire) != 0) std::this_thread::yield();
        }
        --left;
    };
    std::thread a{user, 1};
    std::thread b{user, 2};
    while (left.load() > 0) {
        const LockWord::Hold hold = f.word.grip();
        if (hold.mark == 0) static_cast<void>(f.word.draw());  // Tokens would run out.
        std::this_thread::yield();
        const std::uint64_t request = released.load(std::memory_order_acquire);
        if (request != 0) {
            EXPECT_EQ(request >> 8, hold.token);
            EXPECT_EQ(request & 255, hold.mark);
            f.word.let_go(0, 0, false);
            released.store(0, std::memory_order_release);
        } else {
            f.word.let_go(hold.mark, hold.owner, hold.died);
        }
        std::this_thread::yield();
    }
    a.join();
    b.join();
    EXPECT_EQ(inside, 2ULL * kRounds);
}

}  // namespace forkmill::base
