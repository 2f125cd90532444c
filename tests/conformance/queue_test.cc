// SPDX-License-Identifier: Apache-2.0
// Queues and pipes between processes and hosts (Q01-Q09).
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "forkmill/shared.h"
#include "tests/conformance/cluster.h"
#include "tests/conformance/shared_tasks.h"
#include "tests/conformance/tasks.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;
using forkmill::Queue;
using Clock = std::chrono::steady_clock;

namespace {

int put_numbers(Queue<int> queue, int first, int count) {
    std::vector<forkmill::Operation<void>> under_way;
    for (int i = 0; i < count; ++i) {
        under_way.push_back(queue.put_async(first + i));
        if (under_way.size() < 64) continue;
        for (auto& put : under_way) put.get();
        under_way.clear();
    }
    for (auto& put : under_way) put.get();
    return ::getpid();
}

/// Everything until the queue is shut.
std::vector<int> drain(Queue<int> queue) {
    std::vector<int> got;
    try {
        for (;;) got.push_back(queue.get());
    } catch (const forkmill::ObjectClosed&) {
        return got;
    }
}

int get_and_mark(Queue<int> queue, int count) {
    for (int i = 0; i < count; ++i) {
        queue.get();
        queue.task_done();
    }
    return ::getpid();
}

int get_and_die(Queue<int> queue) {
    queue.get();
    ::kill(::getpid(), SIGKILL);
    return 0;
}

int echo(forkmill::Connection<std::string> end, int count) {
    for (int i = 0; i < count; ++i) end.send(end.recv());
    return ::getpid();
}

int talk_and_die(forkmill::Connection<std::string> end) {
    end.send("last words");
    ::kill(::getpid(), SIGKILL);
    return 0;
}

}  // namespace

CONFORMANCE(Q01, FifoBetweenProcessesWithTypedErrorsAtTheTimeout, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    Queue<int> queue{pool};
    EXPECT_NE(pool.apply(put_numbers, queue, 0, 100), ::getpid());
    for (int i = 0; i < 100; ++i) ASSERT_EQ(queue.get(), i);
    EXPECT_EQ(queue.try_get(), std::nullopt);
    const auto empty_since = Clock::now();
    EXPECT_THROW(queue.get_for(100ms), forkmill::QueueEmpty);
    EXPECT_GE(seconds_since(empty_since), 0.099);
    EXPECT_LT(seconds_since(empty_since), 5.0);

    Queue<int> small{pool, {.maxsize = 1}};
    EXPECT_TRUE(small.try_put(1));
    EXPECT_FALSE(small.try_put(2));
    const auto full_since = Clock::now();
    EXPECT_THROW(small.put_for(2, 100ms), forkmill::QueueFull);
    EXPECT_GE(seconds_since(full_since), 0.099);
    auto blocked = small.put_async(3);
    EXPECT_EQ(small.get(), 1);
    blocked.get();
    EXPECT_EQ(small.get_for(5s), 3);
}

CONFORMANCE(Q02, MaxsizeAndSizes, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    Queue<std::string> three{pool, {.maxsize = 3}};
    EXPECT_TRUE(three.empty());
    EXPECT_FALSE(three.full());
    for (const char* text : {"a", "b", "c"}) three.put(text);
    EXPECT_TRUE(three.full());
    EXPECT_EQ(three.size(), 3U);
    EXPECT_FALSE(three.empty());
    Queue<int> many{pool};
    put_numbers(many, 0, 5000);
    EXPECT_EQ(many.size(), 5000U);
    EXPECT_FALSE(many.full());
    Queue<std::string> bounded{pool, {.bytes_max = 10'000}};
    bounded.put(std::string(6'000, 'x'));
    EXPECT_FALSE(bounded.try_put(std::string(6'000, 'x'))) << "its bytes are bounded as well";
}

CONFORMANCE(Q03, JoinWaitsUntilEverythingIsDone, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    Queue<int> queue{pool};
    put_numbers(queue, 0, 20);
    EXPECT_FALSE(queue.join_for(50ms));
    auto worker = pool.apply_async(get_and_mark, queue, 19);
    worker.get(20s);
    EXPECT_FALSE(queue.join_for(50ms)) << "one is left";
    queue.get();
    queue.task_done();
    EXPECT_TRUE(queue.join_for(10s));
    queue.join();
    EXPECT_THROW(queue.task_done(), forkmill::UsageError);
}

CONFORMANCE(Q04, EightProducersEightConsumersEachItemOnce, "EIT") {
    Cluster cluster{size, {.workers = 4, .threads = 4}};
    forkmill::Pool pool{cluster.options()};
    Queue<int> queue{pool, {.maxsize = 1000}};
    const int each = forkmill::test::full_or_twentieth(12'500);
    std::vector<forkmill::AsyncResult<std::vector<int>>> consumers;
    std::vector<forkmill::AsyncResult<int>> producers;
    for (int i = 0; i < 8; ++i) consumers.push_back(pool.apply_async(drain, queue));
    for (int i = 0; i < 8; ++i)
        producers.push_back(pool.apply_async(put_numbers, queue, i * each, each));
    for (auto& producer : producers) producer.get(120s);
    queue.shut();
    std::vector<int> all;
    for (auto& consumer : consumers) {
        const std::vector<int>& got = consumer.get(120s);
        all.insert(all.end(), got.begin(), got.end());
    }
    std::sort(all.begin(), all.end());
    std::vector<int> wanted(static_cast<std::size_t>(8 * each));
    std::iota(wanted.begin(), wanted.end(), 0);
    EXPECT_EQ(all, wanted);
}

CONFORMANCE(Q05, AnItemOfADeadConsumerReturnsIfItWasLeased, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    const auto once = [](auto function) {
        return forkmill::function(function, {.at_most_once = true});
    };
    Queue<int> leased{pool, {.leased = true}};
    leased.put(1);
    leased.put(2);
    EXPECT_THROW(pool.apply(once(get_and_die), leased), forkmill::WorkerLost);
    EXPECT_EQ(leased.get_for(20s), 1) << "it is at the head again";
    EXPECT_EQ(leased.get_for(1s), 2);
    leased.task_done();
    leased.task_done();
    EXPECT_TRUE(leased.join_for(1s));

    Queue<int> plain{pool};
    plain.put(1);
    plain.put(2);
    EXPECT_THROW(pool.apply(once(get_and_die), plain), forkmill::WorkerLost);
    EXPECT_EQ(plain.get_for(20s), 2) << "what it had is gone";
    EXPECT_EQ(plain.try_get(), std::nullopt);
}

CONFORMANCE(Q06, ABlockedGetEndsWithTheQueueOrTheBroker, "EIT") {
    Cluster cluster{size};
    auto pool = std::make_unique<forkmill::Pool>(cluster.options());
    {
        Queue<int> queue{*pool};
        auto waiter = pool->apply_async(drain, queue);
        auto blocked = queue.get_async();
        queue.shut();
        EXPECT_THROW(blocked.get(), forkmill::ObjectClosed);
        EXPECT_TRUE(waiter.get(10s).empty());
        Queue<int> never{*pool};
        auto cancelled = pool->apply_async(drain, never);
        never.put(1);
        EXPECT_FALSE(never.join_for(20ms));
        EXPECT_TRUE(wait_until(20, [&] { return never.empty(); })) << "it waits for the next";
        cancelled.cancel();
        EXPECT_THROW(cancelled.get(10s), forkmill::Cancelled) << "cancel() ends a blocked get";
        Queue<int> removed{*pool};
        auto lost = removed.get_async();
        removed.remove();
        EXPECT_THROW(lost.get(), forkmill::ObjectLost);
    }
    Queue<int> queue{*pool};
    std::atomic<int> ended{0};
    std::vector<std::thread> waiters;
    for (int i = 0; i < 3; ++i) {
        waiters.emplace_back([&] {
            EXPECT_THROW(queue.get(), forkmill::Error);
            ++ended;
        });
    }
    EXPECT_THROW(queue.get_for(50ms), forkmill::QueueEmpty) << "the waiters are in line by now";
    const auto since = Clock::now();
    if (size == Size::E) {
        pool->terminate();
    } else {
        ASSERT_TRUE(kill_router(cluster.broker().pid()));
    }
    EXPECT_TRUE(wait_until(20, [&] { return ended == 3; }));
    EXPECT_LT(seconds_since(since), 10.0);
    for (std::thread& waiter : waiters) waiter.join();
    if (size != Size::E) {
        EXPECT_THROW(queue.put(1), forkmill::ObjectLost) << "an object of the broker that died";
        Queue<int> again{*pool};
        again.put(7);
        EXPECT_EQ(again.get_for(10s), 7);
    }
}

CONFORMANCE(Q07, AHandleIsAnArgument, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    Queue<int> queue{pool, {.name = "of.q07"}};
    for (int i = 0; i < 5; ++i) pool.apply(put_numbers, queue, i, 1);
    std::vector<int> got;
    for (int i = 0; i < 5; ++i) got.push_back(queue.get_for(5s));
    EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4}));
    Queue<int> by_name{pool, {.name = "of.q07", .create = false}};
    EXPECT_EQ(by_name.id(), queue.id());
    EXPECT_THROW((Queue<int>{pool, {.name = "of.q07", .exclusive = true}}), forkmill::Conflict);
    EXPECT_THROW((Queue<int>{pool, {.name = "not.there", .create = false}}), forkmill::NotFound);
}

CONFORMANCE(Q08, PipesKeepBoundariesAndTellTheirEnd, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    auto [here, there] = forkmill::pipe<std::string>(pool);
    auto worker = pool.apply_async(echo, there, 4);
    EXPECT_FALSE(here.poll());
    here.send("hello");
    EXPECT_TRUE(here.poll(20s));
    EXPECT_EQ(here.recv(), "hello");
    here.send("");
    EXPECT_EQ(here.recv_for(20s), "") << "an empty message is a message";
    std::string large(16UL << 20, 'x');
    large[12'345'678] = 'y';
    here.send(large);
    EXPECT_EQ(here.recv_for(20s), large);
    here.send("a");
    EXPECT_EQ(here.recv_for(20s), "a");
    worker.get(20s);
    there.close();
    EXPECT_THROW(here.recv_for(20s), forkmill::ObjectClosed);
    EXPECT_TRUE(here.poll());
    EXPECT_THROW(here.send("x"), forkmill::ObjectClosed);

    auto [reader, writer] = forkmill::pipe<std::string>(pool, {.duplex = false});
    EXPECT_FALSE(reader.writable());
    EXPECT_FALSE(writer.readable());
    EXPECT_THROW(reader.send("x"), forkmill::UsageError);
    auto dies = pool.apply_async(forkmill::function(talk_and_die, {.at_most_once = true}), writer);
    EXPECT_EQ(reader.recv_for(20s), "last words");
    EXPECT_THROW(dies.get(20s), forkmill::WorkerLost);
    writer.close();
    EXPECT_THROW(reader.recv_for(20s), forkmill::ObjectClosed) << "the other end died";
}

CONFORMANCE(Q09, APutAndAGetAreOneMessageEach, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    Queue<int> queue{pool};
    constexpr int kItems = 500;
    if (size != Size::E) {
        const std::int64_t before = messages_in(cluster.endpoint());
        for (int i = 0; i < kItems; ++i) queue.put(i);
        for (int i = 0; i < kItems; ++i) ASSERT_EQ(queue.get(), i);
        const std::int64_t said = messages_in(cluster.endpoint()) - before;
        EXPECT_GE(said, 2 * kItems) << "each was waited for";
        // One in 64 is acked; PINGs and the question itself come on top.
        EXPECT_LT(said, 2 * kItems * 11 / 10 + 30);
    }
    // Those under way together share messages.
    const std::int64_t before = size == Size::E ? 0 : messages_in(cluster.endpoint());
    std::vector<forkmill::Operation<void>> puts;
    std::vector<forkmill::Operation<int>> gets;
    for (int i = 0; i < kItems; ++i) puts.push_back(queue.put_async(i));
    for (int i = 0; i < kItems; ++i) gets.push_back(queue.get_async());
    for (auto& put : puts) put.get();
    for (int i = 0; i < kItems; ++i) ASSERT_EQ(gets[static_cast<std::size_t>(i)].get(), i);
    if (size != Size::E) {
        EXPECT_LT(messages_in(cluster.endpoint()) - before, kItems);
    }
}

}  // namespace conformance
