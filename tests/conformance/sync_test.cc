// SPDX-License-Identifier: Apache-2.0
// Locks, semaphores, conditions, events, barriers between processes and hosts (L01-L08).
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <thread>

#include "forkmill/shared.h"
#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

/// How many it woke; by the name alone.
int change_under_named_condition(forkmill::Value<int> state) {
    forkmill::Condition condition{forkmill::context().pool(), {.name = "named", .create = false}};
    for (;;) {
        const std::scoped_lock guard{condition};
        state.set(1);
        if (const std::size_t woken = condition.notify_all(); woken != 0)
            return static_cast<int>(woken);
    }
}

/// Adds without an atomic operation: only a lock makes it right.
int add_under_lock(forkmill::Lock lock, forkmill::Value<int> value, int times) {
    for (int i = 0; i < times; ++i) {
        const std::scoped_lock guard{lock};
        value.set(value.get() + 1);
    }
    return ::getpid();
}

bool try_it(forkmill::Lock lock) {
    if (!lock.try_lock()) return false;
    lock.unlock();
    return true;
}

std::string release_of_another(forkmill::RLock lock) {
    try {
        lock.release();
        return "released";
    } catch (const forkmill::NotOwner&) {
        return "not owner";
    }
}

int hold_and_die(forkmill::Lock lock) {
    lock.lock();
    ::kill(::getpid(), SIGKILL);
    return 0;
}

/// Holds it at the task's end.
std::uint64_t hold_and_return(forkmill::Lock lock) {
    lock.lock();
    return lock.token();
}

bool wait_event(forkmill::Event event, int ms) {
    return event.wait_for(std::chrono::milliseconds{ms});
}

int wait_condition(forkmill::Condition condition, forkmill::Value<int> waiting) {
    const std::scoped_lock guard{condition};
    waiting.fetch_add(1);
    condition.wait();
    return ::getpid();
}

int pass_barrier(forkmill::Barrier barrier, forkmill::Array<int> rounds, int passes) {
    int firsts = 0;
    for (int i = 0; i < passes; ++i) {
        const int before = rounds.fetch_add(0, 1);
        if (before / static_cast<int>(barrier.parties()) != i)
            throw std::logic_error("no lockstep");
        if (barrier.wait_for(60s) == 0) ++firsts;
    }
    return firsts;
}

std::string wait_broken(forkmill::Barrier barrier) {
    try {
        barrier.wait();
        return "passed";
    } catch (const forkmill::BrokenBarrier&) {
        return "broken";
    }
}

int take_permit(forkmill::Semaphore semaphore, forkmill::Value<int> inside) {
    semaphore.acquire();
    const int before = inside.fetch_add(1);
    inside.fetch_add(-1);
    semaphore.release();
    return before;
}

}  // namespace

CONFORMANCE(L01, ALockExcludesAndIsLockable, "EIT") {
    Cluster cluster{size, {.workers = 2, .threads = 2}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Lock lock{pool};
    forkmill::Value<int> value{pool};
    std::vector<forkmill::AsyncResult<int>> adders;
    for (int i = 0; i < 4; ++i) adders.push_back(pool.apply_async(add_under_lock, lock, value, 50));
    for (auto& adder : adders) adder.get(60s);
    EXPECT_EQ(value.get(), 200);
    {
        const std::scoped_lock guard{lock};
        EXPECT_TRUE(lock.owns());
        EXPECT_NE(lock.token(), 0U);
        EXPECT_FALSE(pool.apply(try_it, lock));
        const auto since = Clock::now();
        EXPECT_FALSE(lock.try_lock_for(100ms)) << "a Lock is not reentrant";
        EXPECT_GE(seconds_since(since), 0.099);
    }
    EXPECT_FALSE(lock.owns());
    EXPECT_TRUE(pool.apply(try_it, lock));
    {
        std::unique_lock guard{lock, 5s};
        EXPECT_TRUE(guard.owns_lock());
        guard.unlock();
        EXPECT_TRUE(guard.try_lock());
    }
    EXPECT_THROW(lock.release(), forkmill::NotOwner);
    lock.lock();
    std::thread{[&] { EXPECT_NO_THROW(lock.release()); }}.join();
    EXPECT_TRUE(pool.apply(try_it, lock)) << "any thread of the program may release a Lock";
}

CONFORMANCE(L02, AnRLockIsReentrantForItsOwner, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::RLock lock{pool};
    for (int i = 0; i < 3; ++i) lock.lock();
    EXPECT_EQ(pool.apply(release_of_another, lock), "not owner");
    std::thread{[&] {
        EXPECT_THROW(lock.release(), forkmill::NotOwner);
        EXPECT_FALSE(lock.try_lock());
    }}.join();
    for (int i = 0; i < 2; ++i) lock.release();
    std::thread{[&] { EXPECT_FALSE(lock.try_lock()); }}.join();
    EXPECT_TRUE(lock.owns());
    lock.release();
    std::thread{[&] {
        EXPECT_TRUE(lock.try_lock());
        lock.unlock();
    }}.join();
    EXPECT_THROW(lock.release(), forkmill::NotOwner);
}

CONFORMANCE(L03, SemaphoresCountAndBoundedOnesHaveABound, "EIT") {
    Cluster cluster{size, {.workers = 2, .threads = 4}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Semaphore semaphore{pool, 2};
    forkmill::Value<int> inside{pool};
    std::vector<forkmill::AsyncResult<int>> takers;
    for (int i = 0; i < 8; ++i) takers.push_back(pool.apply_async(take_permit, semaphore, inside));
    for (auto& taker : takers) EXPECT_LT(taker.get(60s), 2) << "never more than two are inside";
    EXPECT_EQ(semaphore.value(), 2U);
    semaphore.acquire();
    semaphore.acquire();
    EXPECT_FALSE(semaphore.try_acquire());
    EXPECT_FALSE(semaphore.try_acquire_for(50ms));
    auto blocked = semaphore.acquire_async();
    semaphore.release();
    blocked.get();
    semaphore.release(5);
    EXPECT_EQ(semaphore.value(), 5U) << "a plain semaphore goes above its start";
    forkmill::BoundedSemaphore bounded{pool, 1};
    EXPECT_THROW(bounded.release(), forkmill::UsageError);
    bounded.acquire();
    bounded.release();
    EXPECT_THROW(bounded.release(), forkmill::UsageError);
}

CONFORMANCE(L04, ADeadHolderFreesItAndTokensGrow, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Lock lock{pool};
    lock.lock();
    const std::uint64_t first = lock.token();
    EXPECT_FALSE(lock.owner_died());
    lock.unlock();
    EXPECT_THROW(pool.apply(forkmill::function(hold_and_die, {.at_most_once = true}), lock),
                 forkmill::WorkerLost);
    ASSERT_TRUE(lock.try_lock_for(20s));
    EXPECT_TRUE(lock.owner_died());
    const std::uint64_t second = lock.token();
    EXPECT_GT(second, first);
    lock.release();
    const std::uint64_t third = pool.apply(hold_and_return, lock);
    EXPECT_GT(third, second);
    ASSERT_TRUE(lock.try_lock_for(20s)) << "a task that ended holds nothing";
    EXPECT_TRUE(lock.owner_died());
    EXPECT_GT(lock.token(), third);
    lock.release();
    lock.lock();
    EXPECT_FALSE(lock.owner_died()) << "told once";
    lock.release();
}

CONFORMANCE(L05, ConditionsWakeOneManyOrAll, "EIT") {
    Cluster cluster{size, {.workers = 2, .threads = 4}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Lock lock{pool};
    forkmill::Condition condition{pool, lock};
    forkmill::Value<int> waiting{pool};
    EXPECT_THROW(condition.notify(), forkmill::NotOwner);
    std::vector<forkmill::AsyncResult<int>> waiters;
    for (int i = 0; i < 6; ++i)
        waiters.push_back(pool.apply_async(wait_condition, condition, waiting));
    ASSERT_TRUE(wait_until(20, [&] { return waiting.get() == 6; }));
    const auto done = [&] {
        return std::count_if(waiters.begin(), waiters.end(), [](auto& one) { return one.ready(); });
    };
    {
        const std::scoped_lock guard{condition};
        EXPECT_EQ(condition.notify(), 1U);
        EXPECT_EQ(done(), 0) << "the lock is still ours";
    }
    EXPECT_TRUE(wait_until(20, [&] { return done() == 1; }));
    {
        const std::scoped_lock guard{condition};
        EXPECT_EQ(condition.notify(2), 2U);
    }
    EXPECT_TRUE(wait_until(20, [&] { return done() == 3; }));
    {
        const std::scoped_lock guard{condition};
        EXPECT_EQ(condition.notify_all(), 3U);
        EXPECT_EQ(condition.notify_all(), 0U);
    }
    EXPECT_TRUE(wait_until(20, [&] { return done() == 6; }));
    {
        const std::scoped_lock guard{condition};
        const auto since = Clock::now();
        EXPECT_FALSE(condition.wait_for(100ms));
        EXPECT_GE(seconds_since(since), 0.099);
        EXPECT_TRUE(lock.owns()) << "it has the lock again";
        EXPECT_FALSE(condition.wait_for(50ms, [] { return false; }));
        EXPECT_TRUE(condition.wait_for(50ms, [] { return true; }));
        std::thread changes{[&] {
            const std::scoped_lock inner{condition};
            waiting.set(100);
            condition.notify_all();
        }};
        EXPECT_TRUE(condition.wait_for(20s, [&] { return waiting.get() == 100; }));
        changes.join();
    }
    EXPECT_FALSE(lock.owns());
}

CONFORMANCE(L05, ANamedConditionHasOneLockForAllWhoOpenIt, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Condition condition{pool, {.name = "named"}};
    forkmill::Value<int> state{pool};
    auto changed = pool.apply_async(change_under_named_condition, state);
    const std::scoped_lock guard{condition};
    EXPECT_TRUE(condition.wait_for(20s, [&] { return state.get() == 1; }));
    EXPECT_EQ(changed.get(20s), 1);
    EXPECT_THROW((forkmill::Condition{pool, forkmill::Lock{pool}, {.name = "named"}}),
                 forkmill::TypeMismatch);
}

CONFORMANCE(L06, ASetEventReleasesAllWhoWait, "EIT") {
    Cluster cluster{size, {.workers = 2, .threads = 2}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Event event{pool};
    EXPECT_FALSE(event.is_set());
    EXPECT_FALSE(event.wait_for(50ms));
    EXPECT_FALSE(pool.apply(wait_event, event, 50));
    std::vector<forkmill::AsyncResult<bool>> waiters;
    for (int i = 0; i < 4; ++i) waiters.push_back(pool.apply_async(wait_event, event, 20'000));
    auto own = event.wait_async();
    EXPECT_FALSE(own.ready());
    event.set();
    own.get();
    for (auto& waiter : waiters) EXPECT_TRUE(waiter.get(20s));
    EXPECT_TRUE(event.is_set());
    event.wait();
    event.clear();
    EXPECT_FALSE(event.is_set());
    EXPECT_FALSE(event.wait_for(10ms));
}

CONFORMANCE(L07, BarriersKeepPartiesInStep, "EIT") {
    Cluster cluster{size, {.workers = 3, .threads = 2}};
    forkmill::Pool pool{cluster.options()};
    for (const int passes : {10, forkmill::test::full_or_twentieth(1000)}) {
        forkmill::Barrier barrier{pool, 5};
        forkmill::Array<int> rounds{pool, 1};
        std::vector<forkmill::AsyncResult<int>> parties;
        for (int i = 0; i < 5; ++i)
            parties.push_back(pool.apply_async(pass_barrier, barrier, rounds, passes));
        int firsts = 0;
        for (auto& party : parties) firsts += party.get(120s);
        EXPECT_EQ(firsts, passes) << "exactly one of each round has index 0";
        EXPECT_EQ(rounds.get(0), 5 * passes);
    }
    int acted = 0;
    forkmill::Barrier acting{pool, 3, [&] { ++acted; }};
    for (int round = 1; round <= 3; ++round) {
        std::vector<std::thread> parties;
        for (int i = 0; i < 3; ++i)
            parties.emplace_back([&] {
                acting.wait();
                EXPECT_EQ(acted, round) << "nobody goes on before the action ran";
            });
        for (std::thread& party : parties) party.join();
    }
    EXPECT_EQ(acted, 3);
    forkmill::Barrier two{pool, 2};
    EXPECT_THROW(two.wait_for(50ms), forkmill::BrokenBarrier);
    EXPECT_TRUE(two.broken());
    EXPECT_THROW(two.wait(), forkmill::BrokenBarrier);
    two.reset();
    EXPECT_FALSE(two.broken());
    auto waits = pool.apply_async(wait_broken, two);
    ASSERT_TRUE(wait_until(20, [&] { return two.waiting() == 1; }));
    two.abort();
    EXPECT_EQ(waits.get(20s), "broken");
    two.reset();
    auto again = pool.apply_async(wait_broken, two);
    two.wait_for(20s);
    EXPECT_EQ(again.get(20s), "passed");
    auto third = pool.apply_async(wait_broken, two);
    ASSERT_TRUE(wait_until(20, [&] { return two.waiting() == 1; }));
    two.reset();
    EXPECT_EQ(third.get(20s), "broken") << "a reset ends the round of those who wait";
}

CONFORMANCE(L08, LocksAreGrantedInOrderOfArrival, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Lock lock{pool};
    lock.lock();
    auto first = lock.lock_async();
    {
        EXPECT_FALSE(lock.try_lock_for(30ms)) << "it leaves the line";
        auto dropped = lock.lock_async();
    }
    auto second = lock.lock_async();
    auto third = lock.lock_async();
    for (auto* next : {&first, &second, &third}) {
        lock.release();
        next->get();
        EXPECT_FALSE(next != &third && third.ready());
        EXPECT_FALSE(next == &first && second.ready());
    }
    lock.release();
    EXPECT_TRUE(lock.try_lock());
    lock.release();
}

}  // namespace conformance
