// SPDX-License-Identifier: Apache-2.0
// Locks, semaphores, conditions, events, barriers.
#include "tests/unit/engine/sharing.h"

namespace forkmill::engine::test {

TEST(ObjectLock, GrantsGoInOrderWithGrowingTokens) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto lock = s.lock(a);
    s.share(b, lock);
    const auto first = s.acquire(a, lock, 1);
    const auto second = s.acquire(b, lock, 1);
    const auto third = s.acquire(a, lock, 2);
    EXPECT_EQ(s.code(first), Code::None);
    EXPECT_TRUE(s.waiting(second));
    s.release(a, lock, 1);
    EXPECT_EQ(s.code(second), Code::None);
    EXPECT_TRUE(s.waiting(third));
    s.release(b, lock, 1);
    EXPECT_LT(s.answer(first).token, s.answer(second).token);
    EXPECT_LT(s.answer(second).token, s.answer(third).token);
    EXPECT_EQ(s.answer(third).flags & wire::kReplyOwnerDied, 0U);
}

TEST(ObjectCondition, BelongsToOneLock) {
    Sharing s;
    const auto a = s.client();
    const auto lock = s.lock(a);
    const auto other = s.lock(a);
    s.open(a, {.kind = Kind::Condition, .lock = lock}, 0, "c");
    const auto again = [&](ObjectId with) {
        return s.code_of(
            a, {.verb = Verb::Open, .name = "c", .shape = {.kind = Kind::Condition, .lock = with}});
    };
    EXPECT_EQ(again(lock), Code::None);
    EXPECT_EQ(again(0), Code::None);
    EXPECT_EQ(again(other), Code::TypeMismatch);
}

TEST(ObjectLock, TokensOfALaterIncarnationAreGreater) {
    Sharing early;
    Sharing late{Config{}, 2};
    const auto a = early.client();
    const auto b = late.client();
    const auto first = early.lock(a);
    const auto again = late.lock(b);
    EXPECT_LT(early.answer(early.acquire(a, first)).token,
              late.answer(late.acquire(b, again)).token);
    EXPECT_EQ(late.code(late.acquire(b, first)), Code::ObjectLost);
    EXPECT_EQ(early.code(early.acquire(a, again)), Code::NotFound);
}

TEST(ObjectLock, OnlyItsOwnerReleasesIt) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto lock = s.lock(a);
    s.share(b, lock);
    EXPECT_EQ(s.code(s.release(a, lock)), Code::NotOwner);
    s.acquire(a, lock, 1);
    EXPECT_EQ(s.code(s.release(a, lock, 2)), Code::NotOwner);
    EXPECT_EQ(s.code(s.release(b, lock, 1)), Code::NotOwner);
    EXPECT_EQ(s.code(s.release(a, lock, 1)), Code::None);
}

TEST(ObjectLock, AReentrantLockIsReleasedAsOftenAsItWasAcquired) {
    Sharing s;
    const auto a = s.client();
    const auto lock = s.lock(a, wire::kOpReentrant);
    const auto first = s.acquire(a, lock, 1);
    EXPECT_EQ(s.answer(s.acquire(a, lock, 1)).value, 2);
    EXPECT_EQ(s.answer(s.acquire(a, lock, 1)).token, s.answer(first).token);
    const auto other = s.acquire(a, lock, 2);
    s.release(a, lock, 1);
    s.release(a, lock, 1);
    EXPECT_TRUE(s.waiting(other));
    s.release(a, lock, 1);
    EXPECT_EQ(s.code(other), Code::None);
}

TEST(ObjectLock, AWaiterThatTimesOutLeavesTheLine) {
    Sharing s;
    const auto a = s.client();
    const auto lock = s.lock(a);
    s.acquire(a, lock, 1);
    const auto second =
        s.ask(a, {.verb = Verb::Acquire, .object = lock, .owner = 2, .timeout = 5ms});
    const auto third = s.acquire(a, lock, 3);
    s.pass(5ms);
    EXPECT_EQ(s.code(second), Code::WaitTimeout);
    s.release(a, lock, 1);
    EXPECT_EQ(s.code(third), Code::None);
}

TEST(ObjectLock, TheOwnersEndFreesItAndIsTold) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto lock = s.lock(a);
    s.share(b, lock);
    s.acquire(b, lock);
    const auto next = s.acquire(a, lock);
    s.close(b);
    EXPECT_EQ(s.code(next), Code::None);
    EXPECT_NE(s.answer(next).flags & wire::kReplyOwnerDied, 0U);
    s.release(a, lock);
    EXPECT_EQ(s.answer(s.acquire(a, lock)).flags & wire::kReplyOwnerDied, 0U) << "told once";
}

TEST(ObjectLock, ADisconnectIsNoDeathBeforeTenSeconds) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto lock = s.lock(a);
    s.share(b, lock);
    const auto held = s.acquire(b, lock);
    const auto next = s.acquire(a, lock);
    s.disconnect(b);
    s.pass(9s);
    s.reconnect(b);
    s.pass(20s);
    EXPECT_TRUE(s.waiting(next)) << "it came back in time";
    s.disconnect(b);
    s.pass(9999ms);
    EXPECT_TRUE(s.waiting(next));
    s.pass(1ms);
    EXPECT_NE(s.answer(next).flags & wire::kReplyOwnerDied, 0U);
    s.reconnect(b);
    EXPECT_EQ(s.code(s.release(b, lock, 1, s.answer(held).token)), Code::LockLost);
    EXPECT_EQ(s.code(s.release(a, lock, 1, s.answer(next).token)), Code::None);
}

/// An attempt in a worker has a lock, and a client waits for it.
struct HeldByAttempt : Sharing {
    SessionIx a = client();
    SessionIx w = worker();
    Task task = submit("x", {}, a);
    ObjectId held = lock(a);
    std::uint64_t next = 0;

    HeldByAttempt() {
        share(w, held);
        ask(w,
            {.verb = Verb::Acquire, .object = held, .flags = wire::kOpTask, .owner = lease(task)});
        next = acquire(a, held);
    }
};

TEST(ObjectLock, AnEndedAttemptHoldsNothing) {
    HeldByAttempt s;
    s.finish(s.task);
    EXPECT_NE(s.answer(s.next).flags & wire::kReplyOwnerDied, 0U);
}

TEST(ObjectLock, AKilledAttemptHoldsUntilItsProcessIsGone) {
    HeldByAttempt s;
    s.cancel(s.task, true);
    s.settle(s.w, s.lease(s.task), wire::Outcome::Cancelled, "");
    EXPECT_TRUE(s.waiting(s.next)) << "its code may still run";
    s.lose(s.w);
    EXPECT_NE(s.answer(s.next).flags & wire::kReplyOwnerDied, 0U);
}

TEST(ObjectLock, AKilledAttemptWhoseProcessLivesOnHoldsForTenSeconds) {
    HeldByAttempt s;
    s.cancel(s.task, true);
    s.settle(s.w, s.lease(s.task), wire::Outcome::Cancelled, "");
    s.pass(9999ms);
    EXPECT_TRUE(s.waiting(s.next));
    s.pass(1ms);
    EXPECT_EQ(s.code(s.next), Code::None);
}

TEST(ObjectLock, AWorkersDeathFreesWhatItsTasksHeld) {
    HeldByAttempt s;
    s.lose(s.w, {s.task});
    EXPECT_NE(s.answer(s.next).flags & wire::kReplyOwnerDied, 0U);
}

TEST(ObjectLock, AnAttemptThatEndsWhileItsWorkerIsAwayLosesItsLockWhenThatComesBack) {
    HeldByAttempt s;
    s.disconnect(s.w);
    s.pass(9s);
    EXPECT_EQ(s.state(s.task), "ready") << "leases return after eight seconds of silence";
    EXPECT_TRUE(s.waiting(s.next)) << "its owner may believe to have it until the tenth";
    s.reconnect(s.w);
    EXPECT_NE(s.answer(s.next).flags & wire::kReplyOwnerDied, 0U);
}

TEST(ObjectLock, AdminsBreakIt) {
    Sharing s;
    const auto a = s.client();
    const auto lock = s.lock(a);
    const auto held = s.acquire(a, lock, 1);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Break, .object = lock}), Code::Denied);
    const auto next = s.acquire(a, lock, 2);
    const auto admin = s.client("root", 0, wire::Role::Admin);
    EXPECT_EQ(s.code_of(admin, {.verb = Verb::Break, .object = lock}), Code::None);
    EXPECT_NE(s.answer(next).flags & wire::kReplyOwnerDied, 0U);
    EXPECT_EQ(s.code(s.release(a, lock, 1, s.answer(held).token)), Code::LockLost);
}

TEST(ObjectSemaphore, CountsAndRefusesToGoAboveItsBound) {
    Sharing s;
    const auto a = s.client();
    const auto sem = s.open(a, {.kind = Kind::Semaphore, .capacity = 2, .initial = 2});
    EXPECT_EQ(s.code(s.acquire(a, sem)), Code::None);
    EXPECT_EQ(s.code(s.acquire(a, sem)), Code::None);
    const auto third = s.acquire(a, sem);
    EXPECT_TRUE(s.waiting(third));
    s.release(a, sem);
    EXPECT_EQ(s.code(third), Code::None);
    s.release(a, sem);
    s.release(a, sem);
    EXPECT_EQ(s.code(s.release(a, sem)), Code::InvalidRange);
}

TEST(ObjectSemaphore, WhoWantsManyIsNotOvertaken) {
    Sharing s;
    const auto a = s.client();
    const auto sem = s.open(a, {.kind = Kind::Semaphore, .capacity = 9, .initial = 1});
    const auto many = s.ask(a, {.verb = Verb::Acquire, .object = sem, .timeout = 1s, .count = 3});
    const auto one = s.acquire(a, sem);
    EXPECT_TRUE(s.waiting(one));
    s.ask(a, {.verb = Verb::Release, .object = sem, .count = 2});
    EXPECT_EQ(s.code(many), Code::None);
    EXPECT_TRUE(s.waiting(one));
    s.release(a, sem);
    EXPECT_EQ(s.code(one), Code::None);
}

TEST(ObjectSemaphore, WhoGivesUpLetsTheNextGoOn) {
    Sharing s;
    const auto a = s.client();
    const auto sem = s.open(a, {.kind = Kind::Semaphore, .capacity = 9, .initial = 1});
    s.ask(a, {.verb = Verb::Acquire, .object = sem, .timeout = 1s, .count = 3});
    const auto one = s.acquire(a, sem);
    s.pass(1s);
    EXPECT_EQ(s.code(one), Code::None);
}

TEST(ObjectSemaphore, WhoGoesAwayLetsTheNextGoOn) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto sem = s.open(a, {.kind = Kind::Semaphore, .capacity = 9, .initial = 1});
    s.share(b, sem);
    const auto many = s.ask(b, {.verb = Verb::Acquire, .object = sem, .count = 3});
    const auto one = s.acquire(a, sem);
    EXPECT_TRUE(s.waiting(one));
    s.disconnect(b);
    EXPECT_EQ(s.code(one), Code::None) << "it was first among those who are there";
    s.reconnect(b);
    s.ask(a, {.verb = Verb::Release, .object = sem, .count = 3});
    EXPECT_EQ(s.code(many), Code::None) << "its place was kept";
}

struct WithCondition : Sharing {
    SessionIx a = client();
    ObjectId held = lock(a, wire::kOpReentrant);
    ObjectId condition = open(a, {.kind = Kind::Condition, .lock = held});

    std::uint64_t wait(std::uint64_t owner, base::Duration timeout = base::Duration{-1}) {
        return ask(a,
                   {.verb = Verb::Wait, .object = condition, .owner = owner, .timeout = timeout});
    }
    std::uint64_t notify(std::uint64_t owner, std::uint64_t count, std::uint32_t flags = 0) {
        return ask(a,
                   {.verb = Verb::Notify,
                    .object = condition,
                    .flags = flags,
                    .owner = owner,
                    .count = count});
    }
};

TEST(ObjectCondition, AWaiterLetsTheLockGoAndAnswersWithItAgain) {
    WithCondition c;
    const auto before = c.acquire(c.a, c.held, 1);
    c.acquire(c.a, c.held, 1);
    const auto waits = c.wait(1);
    EXPECT_EQ(c.code(c.acquire(c.a, c.held, 2)), Code::None) << "the lock is free meanwhile";
    EXPECT_EQ(c.answer(c.notify(2, 1)).value, 1);
    EXPECT_TRUE(c.waiting(waits)) << "the notifier still has the lock";
    c.release(c.a, c.held, 2);
    EXPECT_EQ(c.code(waits), Code::None);
    EXPECT_EQ(c.answer(waits).value, 2) << "as deep as before";
    EXPECT_GT(c.answer(waits).token, c.answer(before).token);
}

TEST(ObjectCondition, NotifyWakesAsManyAsItSays) {
    WithCondition c;
    std::vector<std::uint64_t> waits;
    for (std::uint64_t owner = 1; owner <= 4; ++owner) {
        c.acquire(c.a, c.held, owner);
        waits.push_back(c.wait(owner));
    }
    c.acquire(c.a, c.held, 9);
    EXPECT_EQ(c.answer(c.notify(9, 2)).value, 2);
    c.release(c.a, c.held, 9);
    EXPECT_EQ(c.code(waits[0]), Code::None);
    c.release(c.a, c.held, 1);
    EXPECT_EQ(c.code(waits[1]), Code::None);
    EXPECT_EQ(c.answer(c.notify(2, 0, wire::kOpAll)).value, 2);
    c.release(c.a, c.held, 2);
    c.release(c.a, c.held, 3);
    EXPECT_EQ(c.code(waits[3]), Code::None);
}

TEST(ObjectCondition, ATimeoutAnswersWithTheLockAsWell) {
    WithCondition c;
    c.acquire(c.a, c.held, 1);
    const auto waits = c.wait(1, 5ms);
    c.acquire(c.a, c.held, 2);
    c.pass(6ms);
    EXPECT_TRUE(c.waiting(waits)) << "another has the lock";
    c.release(c.a, c.held, 2);
    EXPECT_EQ(c.code(waits), Code::WaitTimeout);
    EXPECT_EQ(c.code(c.release(c.a, c.held, 1, c.answer(waits).token)), Code::None);
}

TEST(ObjectCondition, OnlyTheLocksOwnerWaitsOrNotifies) {
    WithCondition c;
    EXPECT_EQ(c.code(c.wait(1)), Code::NotOwner);
    c.acquire(c.a, c.held, 1);
    EXPECT_EQ(c.code(c.notify(2, 1)), Code::NotOwner);
}

TEST(ObjectCondition, ItEndsWithItsLock) {
    WithCondition c;
    c.acquire(c.a, c.held, 1);
    const auto waits = c.wait(1);
    c.ask(c.a, {.verb = Verb::Remove, .object = c.held});
    EXPECT_EQ(c.code(waits), Code::ObjectLost);
    EXPECT_EQ(c.code(c.wait(1)), Code::ObjectLost);
}

TEST(ObjectCondition, AnInterruptedWaitHasItsLockAgain) {
    WithCondition c;
    c.acquire(c.a, c.held, 1);
    const auto waits = c.wait(1);
    EXPECT_EQ(c.answer(c.ask(c.a, {.verb = Verb::Interrupt, .token = waits})).value, 1);
    EXPECT_EQ(c.code(waits), Code::TaskCancelled);
    EXPECT_NE(c.answer(waits).token, 0U);
}

TEST(ObjectCondition, AWaiterThatWasNotifiedIsNotInterruptedAnyMore) {
    WithCondition c;
    c.acquire(c.a, c.held, 1);
    const auto first = c.wait(1);
    c.acquire(c.a, c.held, 2);
    const auto second = c.wait(2);
    c.acquire(c.a, c.held, 3);
    c.notify(3, 1);
    const auto told = c.ask(c.a, {.verb = Verb::Interrupt, .token = first});
    EXPECT_EQ(c.answer(told).value, 0);
    c.release(c.a, c.held, 3);
    EXPECT_EQ(c.code(first), Code::None) << "else nobody would act on what it was notified of";
    EXPECT_TRUE(c.waiting(second));
}

TEST(ObjectEvent, ASetReleasesEveryWaiter) {
    Sharing s;
    const auto a = s.client();
    const auto event = s.open(a, {.kind = Kind::Event});
    const auto first = s.ask(a, {.verb = Verb::Wait, .object = event});
    const auto second = s.ask(a, {.verb = Verb::Wait, .object = event, .timeout = 1ms});
    s.pass(1ms);
    EXPECT_EQ(s.code(second), Code::WaitTimeout);
    EXPECT_EQ(s.answer(s.ask(a, {.verb = Verb::Notify, .object = event})).value, 1);
    EXPECT_EQ(s.code(first), Code::None);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Wait, .object = event}), Code::None);
    EXPECT_NE(s.answer(s.ask(a, {.verb = Verb::Info, .object = event})).flags & wire::kReplySet,
              0U);
    s.ask(a, {.verb = Verb::Reset, .object = event});
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Wait, .object = event, .timeout = 0ns}),
              Code::WaitTimeout);
}

struct WithBarrier : Sharing {
    explicit WithBarrier(std::uint32_t flags = 0)
        : barrier(open(a, {.kind = Kind::Barrier, .capacity = 3}, flags)) {}
    SessionIx a = client();
    ObjectId barrier;
    std::uint64_t wait(std::uint64_t owner = 0, base::Duration timeout = base::Duration{-1}) {
        return ask(a, {.verb = Verb::Wait, .object = barrier, .owner = owner, .timeout = timeout});
    }
};

TEST(ObjectBarrier, AllPartiesGoOnTogetherAndOneHasIndexZero) {
    WithBarrier b;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t waits[] = {b.wait(), b.wait(), b.wait()};
        std::set<std::int64_t> indexes;
        for (const auto each : waits) indexes.insert(b.answer(each).value);
        EXPECT_EQ(indexes, (std::set<std::int64_t>{0, 1, 2}));
    }
}

TEST(ObjectBarrier, ItsActionRunsOnceBeforeTheOthersGoOn) {
    WithBarrier b{wire::kOpAction};
    const auto first = b.wait(1);
    const auto second = b.wait(2);
    const auto third = b.wait(3);
    EXPECT_NE(b.answer(third).flags & wire::kReplyAct, 0U);
    const auto early = b.wait(1);
    EXPECT_TRUE(b.waiting(first));
    EXPECT_EQ(b.code(b.release(b.a, b.barrier, 2)), Code::NotOwner);
    EXPECT_EQ(b.code(b.release(b.a, b.barrier, 3, b.answer(third).token)), Code::None);
    EXPECT_EQ(b.code(first), Code::None);
    EXPECT_EQ(b.code(second), Code::None);
    EXPECT_TRUE(b.waiting(early)) << "it is of the next round";
}

TEST(ObjectBarrier, ATimeoutBreaksItForAll) {
    WithBarrier b;
    const auto first = b.wait();
    const auto second = b.wait(0, 5ms);
    b.pass(5ms);
    EXPECT_EQ(b.code(first), Code::BrokenBarrier);
    EXPECT_EQ(b.code(second), Code::BrokenBarrier);
    EXPECT_EQ(b.code(b.wait()), Code::BrokenBarrier);
    b.ask(b.a, {.verb = Verb::Reset, .object = b.barrier});
    EXPECT_TRUE(b.waiting(b.wait()));
}

TEST(ObjectBarrier, ALostPartyBreaksItSoDoesALostActor) {
    WithBarrier b{wire::kOpAction};
    const auto other = b.client();
    b.share(other, b.barrier);
    const auto first = b.wait();
    b.ask(other, {.verb = Verb::Wait, .object = b.barrier});
    b.close(other);
    EXPECT_EQ(b.code(first), Code::BrokenBarrier);
    b.ask(b.a, {.verb = Verb::Reset, .object = b.barrier});
    const auto actor = b.client();
    b.share(actor, b.barrier);
    const auto second = b.wait();
    b.wait();
    b.ask(actor, {.verb = Verb::Wait, .object = b.barrier});
    EXPECT_TRUE(b.waiting(second));
    b.close(actor);
    EXPECT_EQ(b.code(second), Code::BrokenBarrier);
}

TEST(ObjectBarrier, AbortBreaksIt) {
    WithBarrier b;
    const auto first = b.wait();
    b.ask(b.a, {.verb = Verb::Abort, .object = b.barrier});
    EXPECT_EQ(b.code(first), Code::BrokenBarrier);
    EXPECT_EQ(b.code(b.wait(0, 0ns)), Code::BrokenBarrier);
}

}  // namespace forkmill::engine::test
