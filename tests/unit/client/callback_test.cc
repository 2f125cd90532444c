// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "forkmill/dispatcher.h"
#include "forkmill/log.h"
#include "sdk/src/callback_queue.h"
#include "sdk/src/pending.h"
#include "sdk/src/remote_workers.h"
#include "tests/support/wait_until.h"

namespace forkmill::detail {
namespace {

using namespace std::chrono_literals;

struct Queue {
    explicit Queue(Dispatcher* dispatcher = nullptr)
        : queue(std::make_shared<CallbackQueue>(dispatcher)), table(*queue, [] {}) {
        queue->attach(table);
    }
    void call(std::function<void()> function) {
        std::vector<Job> jobs;
        jobs.push_back(Job{kNoSlot, nullptr, std::move(function), false});
        queue->post(jobs);
    }
    std::shared_ptr<CallbackQueue> queue;
    PendingTable table;
};

TEST(CallbackQueue, RunsCallbacksInOrderOnOneThreadOfItsOwn) {
    Queue q;
    q.queue->start(q.queue);
    std::vector<int> order;
    std::set<std::thread::id> threads;
    for (int i = 0; i < 100; ++i)
        q.call([&, i] {
            order.push_back(i);
            threads.insert(std::this_thread::get_id());
        });
    EXPECT_TRUE(q.queue->wait_idle(base::monotonic_now() + 10s));
    ASSERT_EQ(order.size(), 100U);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_EQ(threads.size(), 1U);
    EXPECT_EQ(threads.count(std::this_thread::get_id()), 0U);
    q.queue->stop();
}

TEST(CallbackQueue, ReportsACallbackThatThrowsAndGoesOn) {
    std::mutex mutex;
    std::vector<std::string> said;
    set_log_handler([&](Level, std::string_view text) {
        const std::lock_guard lock{mutex};
        said.emplace_back(text);
    });
    Queue q;
    q.queue->start(q.queue);
    std::atomic<bool> later{false};
    q.call([] { throw std::runtime_error{"oops"}; });
    q.call([] { throw 42; });
    q.call([&] { later = true; });
    EXPECT_TRUE(q.queue->wait_idle(base::monotonic_now() + 10s));
    q.queue->stop();
    set_log_handler({});
    EXPECT_TRUE(later);
    ASSERT_EQ(said.size(), 2U);
    EXPECT_NE(said[0].find("oops"), std::string::npos);
}

TEST(CallbackQueue, KnowsTheThreadThatRunsItsCallback) {
    Queue q;
    q.queue->start(q.queue);
    std::atomic<bool> inside{false};
    q.call([&] { inside = q.queue->on_this_thread(); });
    EXPECT_TRUE(q.queue->wait_idle(base::monotonic_now() + 10s));
    EXPECT_TRUE(inside);
    EXPECT_FALSE(q.queue->on_this_thread());
    q.queue->stop();
}

TEST(CallbackQueue, RunsEverythingThatIsQueuedBeforeItStops) {
    Queue q;
    q.queue->start(q.queue);
    std::atomic<int> ran{0};
    for (int i = 0; i < 1000; ++i) q.call([&] { ++ran; });
    q.queue->stop();
    EXPECT_EQ(ran, 1000);
    q.call([&] { ++ran; });
    EXPECT_EQ(ran, 1001) << "a handle that survived its pool is called back on its own thread";
}

TEST(CallbackQueue, MayBeEndedByItsOwnCallback) {
    std::atomic<bool> ended{false};
    std::atomic<bool> last{false};
    auto q = std::make_unique<Queue>();
    q->queue->start(q->queue);
    q->call([&] {
        q->call([&] { last = true; });
        q->queue->stop();
        ended = true;
    });
    EXPECT_TRUE(test::wait_until([&] { return ended && last; }));
}

bool readable(int fd) {
    pollfd wanted{fd, POLLIN, 0};
    return ::poll(&wanted, 1, 0) == 1;
}

TEST(Dispatcher, RunsCallbacksOfSeveralPoolsWhereItIsCalled) {
    Dispatcher dispatcher;
    Queue one{&dispatcher};
    Queue two{&dispatcher};
    EXPECT_FALSE(readable(dispatcher.fd()));
    std::vector<int> order;
    one.call([&] { order.push_back(1); });
    two.call([&] { order.push_back(2); });
    one.call([&] { order.push_back(3); });
    EXPECT_TRUE(readable(dispatcher.fd()));
    EXPECT_TRUE(order.empty());
    EXPECT_EQ(dispatcher.dispatch(), 3U);
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
    EXPECT_FALSE(readable(dispatcher.fd()));
    EXPECT_EQ(dispatcher.dispatch(), 0U);
    one.queue->stop();
    two.queue->stop();
}

TEST(Dispatcher, LeavesWhatBecomesDueMeanwhileForTheNextCall) {
    Dispatcher dispatcher;
    Queue q{&dispatcher};
    int ran = 0;
    q.call([&] {
        ++ran;
        q.call([&] { ++ran; });
    });
    EXPECT_EQ(dispatcher.dispatch(), 1U);
    EXPECT_TRUE(readable(dispatcher.fd()));
    EXPECT_EQ(dispatcher.dispatch(), 1U);
    EXPECT_EQ(ran, 2);
    q.queue->stop();
}

TEST(Dispatcher, ForgetsAPoolThatEnded) {
    Dispatcher dispatcher;
    int ran = 0;
    {
        Queue q{&dispatcher};
        q.call([&] { ++ran; });
        q.queue->stop();
    }
    EXPECT_EQ(ran, 1) << "queued callbacks run at the latest when the pool ends";
    EXPECT_EQ(dispatcher.dispatch(), 0U);
    EXPECT_FALSE(readable(dispatcher.fd()));
}

TEST(WorkersOfReply, ReadsTheRowsOfABroker) {
    const auto rows = workers_of_reply(
        R"({"api":"v1","workers":[{"pool":"a","host":"h\"1","pid":12,"slot":3,"state":"idle",)"
        R"("done":7,"task":""},{"host":"two","pid":13,"lent":0}]})");
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].host, "h\"1");
    EXPECT_EQ(rows[0].pid, 12);
    EXPECT_EQ(rows[0].slot, 3U);
    EXPECT_EQ(rows[0].done, 7U);
    EXPECT_EQ(rows[1].host, "two");
}

TEST(WorkersOfReply, TakesNothingFromGarbage) {
    EXPECT_TRUE(workers_of_reply("").empty());
    EXPECT_TRUE(workers_of_reply("{\"workers\":").empty());
    EXPECT_TRUE(workers_of_reply("{\"workers\":[{\"host\":\"x").empty());
    EXPECT_TRUE(workers_of_reply("{\"workers\":[{\"pid\":").empty());
    EXPECT_TRUE(workers_of_reply("[1,2,3]").empty());
}

}  // namespace
}  // namespace forkmill::detail
