// SPDX-License-Identifier: Apache-2.0
// Holders of locks and consumers of leased items that are killed at any moment (L04, Q05).
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <set>

#include "forkmill/shared.h"
#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;
using forkmill::Lock;
using forkmill::Queue;

namespace {

constexpr int kItems = 20;
constexpr int kWays = 6;

[[noreturn]] void die() {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
}

/// Dies with a lock, with an item, with both, between the two, or while it waits for one.
void die_somewhere(Lock lock, Queue<int> items, int way) {
    switch (way) {
        case 0:
            lock.lock();
            die();
        case 1:
            static_cast<void>(items.get());
            die();
        case 2: {
            lock.lock();
            static_cast<void>(items.get());
            die();
        }
        case 3: {
            lock.lock();
            items.put(items.get());
            items.task_done();
            lock.unlock();
            die();
        }
        case 4: {
            const auto waits = lock.lock_async();
            die();
        }
        default: {
            const auto waits = items.get_async();
            die();
        }
    }
}

}  // namespace

CONFORMANCE(L04, KilledHoldersAndConsumersNeitherBlockNorLose, "EIT") {
    // Masters give birth to at most 50 workers a second.
    const int kills = forkmill::test::full_or_twentieth(size == Size::E ? 10'000 : 4'000);
    Cluster cluster{size, {.workers = 4}};
    forkmill::Pool pool{cluster.options()};
    Lock lock{pool};
    Queue<int> items{pool, {.leased = true}};
    for (int i = 0; i < kItems; ++i) items.put(i);
    std::vector<forkmill::AsyncResult<void>> deaths;
    const auto settle = [&] {
        for (auto& death : deaths) EXPECT_THROW(death.get(60s), forkmill::WorkerLost);
        deaths.clear();
    };
    for (int i = 0; i < kills; ++i) {
        deaths.push_back(pool.apply_async(
            forkmill::function(die_somewhere, {.at_most_once = true}), lock, items, i % kWays));
        if (deaths.size() == 100) settle();
    }
    settle();
    EXPECT_TRUE(lock.try_lock_for(20s)) << "nobody is left who could have it";
    lock.unlock();
    // Way 3 may be killed between its put and its task_done, with whoever dies in its worker: then
    // the item is there twice.
    std::set<int> left;
    while (left.size() < kItems) left.insert(items.get_for(20s));
    while (const std::optional<int> again = items.try_get()) left.insert(*again);
    EXPECT_EQ(left.size(), static_cast<std::size_t>(kItems));
    EXPECT_EQ(*left.rbegin(), kItems - 1);
}

}  // namespace conformance
