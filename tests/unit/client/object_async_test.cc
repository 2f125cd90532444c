// SPDX-License-Identifier: Apache-2.0
// Operations that are awaited, given callbacks, and dropped.
#include <gtest/gtest.h>

#include <coroutine>
#include <future>
#include <latch>

#include "forkmill/shared.h"
#include "sdk/src/object_port.h"
#include "tests/unit/client/fake_objects.h"

namespace forkmill::detail {
namespace {

using namespace std::chrono_literals;
using wire::Code;
using wire::ObjectVerb;

/// A coroutine whose frame is this handle's.
struct Owned {
    struct promise_type {
        Owned get_return_object() {
            return Owned{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
    explicit Owned(std::coroutine_handle<promise_type> made) : handle(made) {}
    Owned(Owned&& other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
    Owned& operator=(Owned&&) = delete;
    ~Owned() {
        if (handle) handle.destroy();
    }
    std::coroutine_handle<promise_type> handle;
};
Owned take_one(Queue<int> queue, std::promise<int>& result) {
    result.set_value(co_await queue.get_async());
}

/// Waits until what is due on the callback thread has run.
void run_callbacks(FakeObjects& fake) {
    const Value<int> value = made(fake, [&] { return Value<int>{fake.pool}; });
    std::promise<void> ran;
    auto read = value.get_async();
    std::move(read).then([&](int) { ran.set_value(); }, [&](const Error&) { ran.set_value(); });
    fake.pump();
    fake.answer(fake.said.back(), Code::NotFound);
    ran.get_future().get();
}

/// Keeps the callback thread busy while it lives.
class Occupied {
  public:
    explicit Occupied(FakeObjects& fake) : queue_(queue_of<int>(fake)) {
        auto get = queue_.get_async();
        std::move(get).then([](int) {},
                            [this](const Error&) {
                                began_.count_down();
                                end_.wait();
                            });
        fake.pump();
        fake.answer(fake.said.back(), Code::QueueEmpty);
        began_.wait();
    }
    void end() { end_.count_down(); }

  private:
    Queue<int> queue_;
    std::latch began_{1};
    std::latch end_{1};
};

TEST(ObjectAsync, WhatDoesNotWaitHappensThoughItIsDropped) {
    FakeObjects fake;
    auto value = made(fake, [&] { return Value<int>{fake.pool}; });
    { const auto dropped = value.set_async(1); }
    fake.pump();
    EXPECT_EQ(fake.count(ObjectVerb::Write), 1U) << "it leaves, dropped before or not";
    {
        const auto dropped = value.exchange_async(2);
        fake.pump();
    }
    EXPECT_EQ(fake.count(ObjectVerb::Swap), 1U);
    fake.pump();
    EXPECT_EQ(fake.count(ObjectVerb::Interrupt), 0U);
}

TEST(ObjectAsync, HandlesInAnAnswerThatNobodyTakesAreClosed) {
    FakeObjects fake;
    auto dict = made(fake, [&] { return Dict<int, Queue<int>>{fake.pool}; });
    {
        const auto dropped = dict.pop_async(1);
        fake.pump();
    }
    fake.answer(fake.of(ObjectVerb::Erase).at(0), Code::None, [](wire::ObjectReply& reply) {
        reply.items.push_back(item_of(std::uint64_t{555}, {555}));
    });
    fake.pump();
    ASSERT_EQ(fake.count(ObjectVerb::Close), 1U);
    EXPECT_EQ(fake.of(ObjectVerb::Close)[0].object, 555U);
}

TEST(ObjectAsync, ACoroutineThatIsDestroyedTakesItsOperationBack) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    std::promise<int> result;
    {
        const Owned waiting = take_one(queue, result);
        fake.pump();
    }
    fake.pump();
    ASSERT_EQ(fake.count(ObjectVerb::Interrupt), 1U);
    const wire::ObjectOp get = fake.of(ObjectVerb::Get).at(0);
    EXPECT_EQ(fake.of(ObjectVerb::Interrupt)[0].token, get.op);
    fake.answer(get, Code::None, [](auto& reply) { reply.items.push_back(item_of(7)); });
    run_callbacks(fake);
    EXPECT_EQ(result.get_future().wait_for(0s), std::future_status::timeout) << "not resumed";
    EXPECT_EQ(queue.get(), 7) << "the item is for the next";
}

TEST(ObjectAsync, ACallThatWasDueIsNotMadeOnceItsOperationIsDropped) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    const SharedPtr shared = fake.port().known(queue.id(), 0);
    bool called = false;
    const AskPtr ask = ask_get(shared, forever);
    then_answered(ask, [&] { called = true; });
    fake.pump();
    const wire::ObjectOp get = fake.said.back();
    Occupied callbacks{fake};
    fake.answer(get, Code::None, [](auto& reply) { reply.items.push_back(item_of(7)); });
    EXPECT_TRUE(answered(*ask));
    abandon(ask);
    callbacks.end();
    run_callbacks(fake);
    EXPECT_FALSE(called);
    EXPECT_EQ(queue.get(), 7);
}

TEST(ObjectAsync, ThenTellsTheErrorOrTheValueAndNotBoth) {
    FakeObjects fake;
    auto dict = made(fake, [&] { return Dict<std::string, int>{fake.pool}; });
    std::promise<std::string> told;
    auto absent = dict.at_async("k");
    std::move(absent).then([&](int) { told.set_value("a value"); },
                           [&](const Error& error) {
                               const bool typed = dynamic_cast<const NotFound*>(&error) != nullptr;
                               told.set_value(typed ? "NotFound" : error.what());
                           });
    fake.pump();
    fake.answer(fake.said.back(), Code::NotFound);
    EXPECT_EQ(told.get_future().get(), "NotFound");
    auto there = dict.get_async("k");
    std::promise<bool> found;
    std::move(there).then([&](std::optional<int> value) { found.set_value(value.has_value()); },
                          [&](const Error&) { found.set_value(true); });
    fake.pump();
    fake.answer(fake.said.back(), Code::NotFound);
    EXPECT_FALSE(found.get_future().get()) << "absence is a value of get()";
}

TEST(ObjectAsync, SetdefaultGivesWhatWasThereOrWhatItSet) {
    FakeObjects fake;
    auto dict = made(fake, [&] { return Dict<int, Queue<int>>{fake.pool}; });
    const auto queue = queue_of<int>(fake);
    auto first = dict.setdefault_async(1, queue);
    auto second = dict.setdefault_async(1, queue);
    fake.pump();
    const auto writes = fake.of(ObjectVerb::Write);
    ASSERT_EQ(writes.size(), 2U);
    fake.answer(writes[0], Code::None);
    EXPECT_EQ(first.get(), queue);
    EXPECT_THROW(first.get(), UsageError) << "it is taken";
    fake.answer(writes[1], Code::None, [](wire::ObjectReply& reply) {
        reply.items.push_back(item_of(std::uint64_t{555}, {555}));
    });
    EXPECT_EQ(second.get().id(), 555U);
}

TEST(ObjectAsync, CompareExchangeTellsWhatIsThereInstead) {
    FakeObjects fake;
    auto value = made(fake, [&] { return Value<std::string>{fake.pool, "a"}; });
    auto set = value.compare_exchange_async("a", "b");
    auto other = value.compare_exchange_async("a", "c");
    fake.pump();
    const auto swaps = fake.of(ObjectVerb::Swap);
    ASSERT_EQ(swaps.size(), 2U);
    const auto with = [](const std::string& text) {
        return [text](wire::ObjectReply& reply) { reply.items.push_back(item_of(text)); };
    };
    fake.answer(swaps[0], Code::None, with("a"));
    fake.answer(swaps[1], Code::ValueChanged, with("b"));
    EXPECT_EQ(set.get(), std::nullopt);
    EXPECT_EQ(other.get(), "b");
}

Owned read_all(Dict<int, int> dict, std::promise<std::vector<std::pair<int, int>>>& result) {
    result.set_value(co_await dict.items_async());
}

TEST(ObjectAsync, WhatIsTooBigForAnAnswerIsReadInPartsByWhoeverTakesIt) {
    FakeObjects fake;
    auto dict = made(fake, [&] { return Dict<int, int>{fake.pool}; });
    const auto key_of = [](int i) { return std::string(1, static_cast<char>(i)); };
    fake.answerer = [&](const wire::ObjectOp& op, wire::ObjectReply& reply) {
        const bool keys = op.has(wire::kOpKeysOnly);
        if (op.has(wire::kOpAll) && !keys) {
            reply.code = Code::ResultTooBig;
            return true;
        }
        if (!keys && op.items.size() > 1) {
            reply.code = Code::ResultTooBig;
            return true;
        }
        for (int i = 1; i <= 3; ++i) {
            if (!keys && op.items[0].key != key_of(i)) continue;
            reply.items.push_back(item_of(10 * i));
            reply.items.back().key = key_of(i);
        }
        return true;
    };
    std::promise<std::vector<std::pair<int, int>>> result;
    fake.serve();
    const Owned reading = read_all(dict, result);
    auto all = result.get_future();
    ASSERT_EQ(all.wait_for(10s), std::future_status::ready);
    fake.stop();
    const std::size_t reads = fake.count(ObjectVerb::Read);
    fake.answerer = nullptr;
    run_callbacks(fake);  // The coroutine ended on their thread.
    EXPECT_EQ(all.get(), (std::vector<std::pair<int, int>>{{1, 10}, {2, 20}, {3, 30}}));
    EXPECT_EQ(reads, 1U + 1U + 5U) << "all, keys, and parts in halves";
}

TEST(ObjectAsync, AnOperationWithNothingToAskIsDoneAtOnce) {
    FakeObjects fake;
    auto semaphore = made(fake, [&] { return Semaphore{fake.pool, 1}; });
    auto none = semaphore.release_async(0);
    EXPECT_TRUE(none.ready());
    EXPECT_NO_THROW(none.get());
    std::promise<void> told;
    semaphore.release_async(0).then([&] { told.set_value(); }, [](const Error&) {});
    told.get_future().get();
    fake.pump();
    EXPECT_EQ(fake.count(ObjectVerb::Release), 0U);
}

TEST(ObjectAsync, WhatPollFindsIsForTheNextReceiver) {
    FakeObjects fake;
    auto [in, out] = made(fake, [&] { return pipe<int>(fake.pool, {.duplex = false}); });
    auto poll = in.poll_async(forever);
    fake.pump();
    EXPECT_FALSE(poll.ready());
    const auto with = [](int number) {
        return [number](wire::ObjectReply& reply) { reply.items.push_back(item_of(number)); };
    };
    fake.answer(fake.said.back(), Code::None, with(4));
    EXPECT_TRUE(poll.get());
    EXPECT_TRUE(in.poll()) << "it waits in this process";
    EXPECT_EQ(in.try_recv(), 4);
    {
        auto dropped = in.poll_async(forever);
        fake.pump();
    }
    fake.answer(fake.of(ObjectVerb::Get).back(), Code::None, with(5));
    EXPECT_EQ(in.recv(), 5) << "a dropped one loses nothing";
}

TEST(ObjectAsync, WhatCanBeToldAtOnceIsThrownByTheCall) {
    FakeObjects fake;
    EXPECT_THROW(static_cast<void>(Value<int>{}.set_async(1)), UsageError);
    EXPECT_THROW(static_cast<void>(Semaphore{}.release_async(0)), UsageError);
    auto lock = made(fake, [&] { return Lock{fake.pool}; });
    EXPECT_THROW(static_cast<void>(lock.release_async()), NotOwner);
    auto condition = made(fake, [&] { return Condition{fake.pool, lock}; });
    EXPECT_THROW(static_cast<void>(condition.notify_async()), NotOwner);
}

}  // namespace
}  // namespace forkmill::detail
