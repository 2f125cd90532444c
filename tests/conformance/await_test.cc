// SPDX-License-Identifier: Apache-2.0
// Operations on shared objects in coroutines, with callbacks, and dropped (M10-M12).
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <coroutine>
#include <exception>
#include <future>
#include <memory>
#include <utility>

#include "forkmill/shared.h"
#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"

namespace conformance {

using namespace std::chrono_literals;

namespace {

/// A coroutine that begins at once; its frame is this handle's.
class Routine {
  public:
    struct State {
        std::atomic<bool> done{false};
        std::exception_ptr error;
    };
    struct promise_type {
        struct End {
            bool await_ready() const noexcept { return false; }
            /// It is suspended here, so whoever sees `done` may destroy it.
            void await_suspend(std::coroutine_handle<promise_type> ended) const noexcept {
                const std::shared_ptr<State> kept = ended.promise().state;
                kept->done = true;
            }
            void await_resume() const noexcept {}
        };
        Routine get_return_object() {
            return Routine{std::coroutine_handle<promise_type>::from_promise(*this), state};
        }
        std::suspend_never initial_suspend() noexcept { return {}; }
        End final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { state->error = std::current_exception(); }

        std::shared_ptr<State> state = std::make_shared<State>();
    };

    Routine(std::coroutine_handle<promise_type> made, std::shared_ptr<State> state)
        : handle_(made), state_(std::move(state)) {}
    Routine(Routine&& other) noexcept
        : handle_(std::exchange(other.handle_, nullptr)), state_(std::move(other.state_)) {}
    Routine& operator=(Routine&&) = delete;
    ~Routine() {
        if (handle_) handle_.destroy();
    }

    bool done() const { return state_->done; }
    /// Its end, or what it threw.
    void expect_end() {
        ASSERT_TRUE(wait_until(30, [this] { return done(); }));
        if (state_->error) std::rethrow_exception(state_->error);
    }

  private:
    std::coroutine_handle<promise_type> handle_;
    std::shared_ptr<State> state_;
};

Routine use_tables(forkmill::Pool& pool) {
    forkmill::Dict<std::string, int> dict{pool};
    co_await dict.set_async("a", 1);
    EXPECT_EQ(co_await dict.get_async("a"), 1);
    EXPECT_EQ(co_await dict.get_async("b"), std::nullopt);
    EXPECT_EQ(co_await dict.setdefault_async("b", 2), 2);
    EXPECT_EQ(co_await dict.setdefault_async("b", 3), 2);
    EXPECT_EQ(co_await dict.at_async("b"), 2);
    EXPECT_TRUE(co_await dict.contains_async("a"));
    EXPECT_EQ(co_await dict.pop_async("a"), 1);
    EXPECT_FALSE(co_await dict.erase_async("a"));
    EXPECT_EQ((co_await dict.keys_async()).at(0), "b");
    EXPECT_EQ((co_await dict.values_async()).at(0), 2);
    EXPECT_EQ((co_await dict.items_async()).size(), 1U);
    co_await dict.clear_async();
    EXPECT_EQ(co_await dict.size_async(), 0U);

    forkmill::Namespace space{pool};
    co_await space.set_async("text", std::string{"t"});
    EXPECT_EQ(co_await space.get_async<std::string>("text"), "t");
    EXPECT_TRUE(co_await space.contains_async("text"));
    EXPECT_EQ((co_await space.names_async()).at(0), "text");
    EXPECT_TRUE(co_await space.erase_async("text"));

    forkmill::List<int> list{pool};
    co_await list.append_async(1);
    co_await list.insert_async(0, 2);
    co_await list.set_async(-1, 3);
    const std::vector<int> items = co_await list.items_async();
    EXPECT_EQ(items, (std::vector<int>{2, 3}));
    EXPECT_EQ(co_await list.at_async(0), 2);
    EXPECT_EQ(co_await list.pop_async(), 3);
    co_await list.erase_async(0);
    co_await list.append_async(4);
    co_await list.clear_async();
    EXPECT_EQ(co_await list.size_async(), 0U);
}

Routine use_values(forkmill::Pool& pool) {
    forkmill::Value<int> value{pool, 5};
    EXPECT_EQ(co_await value.fetch_add_async(1), 5);
    EXPECT_EQ(co_await value.exchange_async(9), 6);
    EXPECT_EQ(co_await value.compare_exchange_async(8, 1), 9);
    EXPECT_EQ(co_await value.compare_exchange_async(9, 1), std::nullopt);
    co_await value.set_async(2);
    EXPECT_EQ(co_await value.get_async(), 2);

    forkmill::Array<std::string> array{pool, 2};
    co_await array.set_async(1, "x");
    EXPECT_EQ(co_await array.get_async(1), "x");
    EXPECT_EQ(co_await array.exchange_async(1, "y"), "x");
    EXPECT_EQ(co_await array.compare_exchange_async(0, "", "z"), std::nullopt);
    const std::vector<std::string> values = co_await array.values_async();
    EXPECT_EQ(values, (std::vector<std::string>{"z", "y"}));
    EXPECT_EQ(co_await array.size_async(), 2U);
    co_await array.remove_async();
    try {
        co_await array.get_async(0);
        ADD_FAILURE() << "it was removed";
    } catch (const forkmill::ObjectLost&) {
    }
}

Routine use_queues(forkmill::Pool& pool) {
    forkmill::Queue<int> queue{pool, {.maxsize = 2}};
    co_await queue.put_async(1);
    EXPECT_TRUE(co_await queue.try_put_async(2));
    EXPECT_FALSE(co_await queue.try_put_async(3));
    EXPECT_TRUE(co_await queue.full_async());
    EXPECT_EQ(co_await queue.get_async(), 1);
    EXPECT_EQ(co_await queue.try_get_async(), 2);
    EXPECT_EQ(co_await queue.try_get_async(), std::nullopt);
    EXPECT_FALSE(co_await queue.join_for_async(10ms));
    co_await queue.task_done_async();
    co_await queue.task_done_async();
    co_await queue.join_async();
    EXPECT_EQ(co_await queue.size_async(), 0U);
    co_await queue.shut_async();

    auto ends = forkmill::pipe<std::string>(pool, {.maxsize = 1});
    EXPECT_FALSE(co_await ends.second.poll_async());
    co_await ends.first.send_async("a");
    EXPECT_FALSE(co_await ends.first.try_send_async("b"));
    EXPECT_TRUE(co_await ends.second.poll_async());
    EXPECT_EQ(co_await ends.second.try_recv_async(), "a");
    EXPECT_EQ(co_await ends.second.try_recv_async(), std::nullopt);
    co_await ends.second.send_async("c");
    EXPECT_EQ(co_await ends.first.recv_async(), "c");
}

Routine use_flags(forkmill::Pool& pool) {
    forkmill::Semaphore semaphore{pool, 1};
    co_await semaphore.acquire_async();
    EXPECT_FALSE(co_await semaphore.try_acquire_async());
    co_await semaphore.release_async(2);
    EXPECT_EQ(co_await semaphore.value_async(), 2U);

    forkmill::Event event{pool};
    EXPECT_FALSE(co_await event.wait_for_async(10ms));
    co_await event.set_async();
    co_await event.wait_async();
    EXPECT_TRUE(co_await event.is_set_async());
    co_await event.clear_async();
    EXPECT_FALSE(co_await event.is_set_async());

    forkmill::Barrier barrier{pool, 2};
    EXPECT_EQ(co_await barrier.parties_async(), 2U);
    auto other = barrier.wait_async();
    EXPECT_EQ(co_await barrier.waiting_async(), 1U);
    const std::size_t own = co_await barrier.wait_async();
    EXPECT_NE(own, co_await std::move(other));
    co_await barrier.abort_async();
    EXPECT_TRUE(co_await barrier.broken_async());
    co_await barrier.reset_async();
    EXPECT_FALSE(co_await barrier.broken_async());
}

Routine wait_under(forkmill::Lock lock, forkmill::Condition condition, std::atomic<int>& stage) {
    co_await lock.lock_async();
    stage = 1;
    co_await condition.wait_async();
    stage = 2;
    EXPECT_FALSE(co_await condition.wait_for_async(10ms));
    co_await lock.release_async();
}
Routine notify_under(forkmill::Lock lock, forkmill::Condition condition) {
    EXPECT_TRUE(co_await lock.try_lock_async(20s)) << "who waits has let go of it";
    EXPECT_EQ(co_await condition.notify_async(), 1U);
    EXPECT_EQ(co_await condition.notify_all_async(), 0U);
    co_await lock.release_async();
}

Routine take(forkmill::Queue<int> queue, std::atomic<int>& taken) {
    taken = co_await queue.get_async();
}
Routine hold(forkmill::Lock lock, std::atomic<int>& held) {
    co_await lock.lock_async();
    ++held;
}

/// The type of the error that then() tells, "" for a value.
template <class T>
std::string told(forkmill::Operation<T> operation) {
    std::promise<std::string> type;
    const auto on_error = [&](const forkmill::Error& error) {
        if (dynamic_cast<const forkmill::NotFound*>(&error) != nullptr)
            type.set_value("NotFound");
        else if (dynamic_cast<const forkmill::OutOfRange*>(&error) != nullptr)
            type.set_value("OutOfRange");
        else if (dynamic_cast<const forkmill::TypeMismatch*>(&error) != nullptr)
            type.set_value("TypeMismatch");
        else if (dynamic_cast<const forkmill::QueueEmpty*>(&error) != nullptr)
            type.set_value("QueueEmpty");
        else if (dynamic_cast<const forkmill::BrokenBarrier*>(&error) != nullptr)
            type.set_value("BrokenBarrier");
        else if (dynamic_cast<const forkmill::ObjectLost*>(&error) != nullptr)
            type.set_value("ObjectLost");
        else
            type.set_value(error.what());
    };
    if constexpr (std::is_void_v<T>)
        std::move(operation).then([&] { type.set_value(""); }, on_error);
    else
        std::move(operation).then([&](const T&) { type.set_value(""); }, on_error);
    auto outcome = type.get_future();
    if (outcome.wait_for(30s) != std::future_status::ready) return "nothing";
    return outcome.get();
}

/// In a task, whose pool is the broker's.
int count_in_a_coroutine(forkmill::Value<int> value) {
    const auto count = [](forkmill::Value<int> of) -> Routine {
        for (int i = 0; i < 10; ++i) co_await of.fetch_add_async(1);
    };
    Routine counting = count(value);
    counting.expect_end();
    return value.get();
}

}  // namespace

CONFORMANCE(M10, AnOperationOfEveryTypeIsAwaited, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    for (const auto use : {use_tables, use_values, use_queues, use_flags}) {
        Routine using_them = use(pool);
        EXPECT_NO_THROW(using_them.expect_end());
    }
    forkmill::Lock lock{pool};
    const forkmill::Condition condition{pool, lock};
    std::atomic<int> stage{0};
    Routine waiting = wait_under(lock, condition, stage);
    ASSERT_TRUE(wait_until(20, [&] { return stage == 1; }));
    Routine notifying = notify_under(lock, condition);
    EXPECT_NO_THROW(notifying.expect_end());
    EXPECT_NO_THROW(waiting.expect_end());
    EXPECT_EQ(stage, 2);
    EXPECT_TRUE(lock.try_lock()) << "the coroutines released it";
    lock.release();
    EXPECT_EQ(pool.apply(count_in_a_coroutine, forkmill::Value<int>{pool, 1}), 11);
}

CONFORMANCE(M11, ThenTellsErrorsByTheirType, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Dict<int, int> dict{pool};
    EXPECT_EQ(told(dict.set_async(1, 2)), "");
    EXPECT_EQ(told(dict.at_async(1)), "");
    EXPECT_EQ(told(dict.at_async(7)), "NotFound");
    EXPECT_EQ(told(dict.pop_async(7)), "NotFound");
    EXPECT_EQ(told(dict.get_async(7)), "") << "absence is a value of get()";
    forkmill::Namespace space{pool};
    space.set("count", 3);
    EXPECT_EQ(told(space.get_async<std::string>("count")), "TypeMismatch");
    EXPECT_EQ(told(space.get_async<int>("absent")), "NotFound");
    forkmill::List<int> list{pool};
    EXPECT_EQ(told(list.pop_async()), "OutOfRange");
    EXPECT_EQ(told(list.set_async(3, 1)), "OutOfRange");
    forkmill::Array<int> array{pool, 2};
    EXPECT_EQ(told(array.get_async(2)), "OutOfRange");
    EXPECT_EQ(told(array.compare_exchange_async(2, 0, 1)), "OutOfRange");
    forkmill::Queue<int> queue{pool};
    EXPECT_EQ(told(queue.get_async(10ms)), "QueueEmpty");
    forkmill::Barrier barrier{pool, 2};
    EXPECT_EQ(told(barrier.wait_async(10ms)), "BrokenBarrier");
    auto waits = queue.get_async();
    EXPECT_EQ(told(queue.remove_async()), "");
    EXPECT_EQ(told(std::move(waits)), "ObjectLost");
}

CONFORMANCE(M12, WhatIsDroppedIsTakenBackOrHappens, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    std::atomic<int> taken{0};
    forkmill::Queue<int> queue{pool};
    { const Routine dropped = take(queue, taken); }
    queue.put(1);
    EXPECT_EQ(queue.get_for(20s), 1) << "nobody else waits for it";

    std::atomic<int> held{0};
    forkmill::Lock lock{pool};
    lock.lock();
    {
        const Routine dropped = hold(lock, held);
        EXPECT_FALSE(dropped.done());
    }
    Routine next = hold(lock, held);
    lock.release();
    next.expect_end();
    EXPECT_EQ(held, 1) << "one of the two had left the line";
    EXPECT_TRUE(lock.owns());
    lock.release();

    forkmill::Semaphore semaphore{pool, 0};
    { const auto dropped = semaphore.acquire_async(); }
    semaphore.release();
    EXPECT_TRUE(wait_until(20, [&] { return semaphore.value() == 1; })) << "the permit is back";

    forkmill::Value<int> value{pool};
    forkmill::List<int> list{pool};
    for (int i = 0; i < 100; ++i) {
        static_cast<void>(value.fetch_add_async(1));
        static_cast<void>(list.append_async(i));
    }
    EXPECT_EQ(value.get(), 100) << "what does not wait happens, before what is asked later";
    const std::vector<int> all = list.items();
    EXPECT_EQ(all.size(), 100U);
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end())) << "in its order";
    EXPECT_EQ(taken, 0);
}

}  // namespace conformance
