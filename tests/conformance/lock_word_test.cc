// SPDX-License-Identifier: Apache-2.0
// Locks of embedded pools are taken by a word in shared memory while nobody waits (L01, L02, L04):
// nothing of what a lock promises may depend on it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <vector>

#include "forkmill/process.h"
#include "forkmill/shared.h"
#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;

namespace {

/// Of this program and all that it forks; made before anything is.
struct Page {
    std::uint64_t count = 0;  ///< Not atomic: only a lock makes it right.
    std::uint64_t token = 0;
    int inside = 0;
};
volatile Page* const page = static_cast<Page*>(
    ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

void clear_page() {
    page->count = 0;
    page->token = 0;
}

/// How often something was wrong.
template <class L>
int hammer(L& lock, int times) {
    int wrong = 0;
    for (int i = 0; i < times; ++i) {
        const std::scoped_lock guard{lock};
        page->inside = page->inside + 1;
        wrong += page->inside != 1;
        wrong += lock.token() <= page->token;
        page->token = lock.token();
        page->count = page->count + 1;
        page->inside = page->inside - 1;
    }
    return wrong;
}
int hammer_lock(forkmill::Lock lock, int times) {
    return hammer(lock, times);
}
int hammer_rlock(forkmill::RLock lock, int times) {
    return hammer(lock, times);
}

int lock_and_forget(forkmill::Lock lock) {
    lock.lock();
    return static_cast<int>(::getpid());
}
int lock_and_give(forkmill::Lock lock) {
    const std::scoped_lock guard{lock};
    return static_cast<int>(::getpid());
}

void hammer_in_process(forkmill::Lock lock, int times) {
    std::exit(hammer(lock, times) == 0 ? 0 : 1);
}

/// A program of its own: its locks and its parent's are not mixed up.
void with_a_pool_of_its_own(int times) {
    int wrong = 0;
    {
        forkmill::Pool pool{2};
        forkmill::Lock lock{pool};
        auto a = pool.apply_async(hammer_lock, lock, times);
        auto b = pool.apply_async(hammer_lock, lock, times);
        wrong = a.get(60s) + b.get(60s) + (lock.owns() ? 1 : 0);
    }
    std::exit(wrong == 0 && page->count == 2U * static_cast<unsigned>(times) ? 0 : 1);
}

}  // namespace

CONFORMANCE(L01, ManyProcessesHammerOneLock, "E") {
    Cluster cluster{size, {.workers = 4}};
    forkmill::Pool pool{cluster.options()};
    constexpr int kTimes = 5'000;
    forkmill::Lock lock{pool};
    clear_page();
    std::vector<forkmill::AsyncResult<int>> all;
    for (int i = 0; i < 4; ++i) all.push_back(pool.apply_async(hammer_lock, lock, kTimes));
    EXPECT_EQ(hammer(lock, kTimes), 0);
    for (auto& one : all) EXPECT_EQ(one.get(60s), 0);
    EXPECT_EQ(page->count, 5U * kTimes);
    forkmill::RLock rlock{pool};
    page->token = 0;
    all.clear();
    for (int i = 0; i < 2; ++i) all.push_back(pool.apply_async(hammer_rlock, rlock, kTimes));
    {
        const std::scoped_lock again{rlock};
        EXPECT_EQ(hammer(rlock, 0), 0);
        rlock.lock();
        rlock.unlock();
        EXPECT_TRUE(rlock.owns());
    }
    for (auto& one : all) EXPECT_EQ(one.get(60s), 0);
    EXPECT_EQ(page->count, 7U * kTimes);
}

CONFORMANCE(L01, ProcessesHammerALockThatTheyWereGiven, "E") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    constexpr int kTimes = 3'000;
    forkmill::Lock lock{pool};
    clear_page();
    forkmill::Process a{hammer_in_process, lock, kTimes};
    forkmill::Process b{hammer_in_process, lock, kTimes};
    a.start();
    b.start();
    EXPECT_EQ(hammer(lock, kTimes), 0);
    EXPECT_TRUE(a.join(60s));
    EXPECT_TRUE(b.join(60s));
    EXPECT_EQ(a.exit_code(), 0);
    EXPECT_EQ(b.exit_code(), 0);
    EXPECT_EQ(page->count, 3U * kTimes);
}

CONFORMANCE(L01, MoreLocksThanThereIsSharedMemoryFor, "E") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    std::vector<forkmill::Lock> locks;
    for (int i = 0; i < 4'200; ++i) locks.emplace_back(pool);
    for (forkmill::Lock& lock : locks) {
        ASSERT_TRUE(lock.try_lock());
        ASSERT_TRUE(lock.owns());
        lock.release();
    }
    EXPECT_GT(pool.apply(lock_and_give, locks.front()), 0);
    EXPECT_GT(pool.apply(lock_and_give, locks.back()), 0);
}

CONFORMANCE(L02, ReleasesAreJudgedWhoeverHasTheWord, "E") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Lock lock{pool};
    EXPECT_THROW(lock.release(), forkmill::NotOwner);
    lock.lock();
    lock.release();
    EXPECT_THROW(lock.release(), forkmill::NotOwner);
    forkmill::Lock copy = lock;
    lock.lock();
    EXPECT_TRUE(copy.owns());
    copy.release();
    EXPECT_FALSE(lock.owns());
    lock.remove();
    EXPECT_THROW(lock.lock(), forkmill::ObjectLost);
    EXPECT_THROW(static_cast<void>(lock.try_lock()), forkmill::ObjectLost);
    forkmill::Lock last{pool};
    pool.terminate();
    EXPECT_THROW(last.lock(), forkmill::Error);
}

CONFORMANCE(L04, WhatATaskForgotIsFreeAndTold, "E") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Lock lock{pool};
    pool.apply(lock_and_give, lock);
    lock.lock();
    EXPECT_FALSE(lock.owner_died());
    lock.release();
    for (int i = 0; i < 20; ++i) {
        pool.apply(lock_and_forget, lock);
        ASSERT_TRUE(lock.try_lock_for(10s)) << i;
        EXPECT_TRUE(lock.owner_died()) << i;
        lock.release();
    }
}

CONFORMANCE(L04, TheDeathOfOneWhoGaveItBackIsNoOwnersDeath, "E") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Lock lock{pool};
    const int first = pool.apply(lock_and_give, lock);
    ::kill(first, SIGKILL);
    ASSERT_NE(pool.apply(lock_and_give, lock), first);
    lock.lock();
    EXPECT_FALSE(lock.owner_died());
    lock.release();
}

CONFORMANCE(L01, AProcessWithAPoolOfItsOwnHasItsOwnLocks, "E") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Lock lock{pool};
    clear_page();
    const std::scoped_lock held{lock};
    forkmill::Process process{with_a_pool_of_its_own, 500};
    process.start();
    EXPECT_TRUE(process.join(60s));
    EXPECT_EQ(process.exit_code(), 0);
    EXPECT_TRUE(lock.owns());
}

}  // namespace conformance
