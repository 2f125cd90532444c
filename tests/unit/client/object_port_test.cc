// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/object_port.h"

#include <gtest/gtest.h>

#include <coroutine>

#include "forkmill/shared.h"
#include "tests/unit/client/fake_objects.h"

namespace forkmill::detail {
namespace {

using namespace std::chrono_literals;
using wire::Code;

TEST(ObjectPort, AnAnswerInPartsIsOneAnswer) {
    FakeObjects fake;
    auto dict = made(fake, [&] { return Dict<std::string, int>{fake.pool}; });
    fake.answerer = [&](const wire::ObjectOp& op, wire::ObjectReply& reply) {
        for (int i = 0; i < 3; ++i) {
            wire::ObjectReply part;
            part.op = op.op;
            part.items.push_back(item_of(i));
            part.items.back().key = "\xa1" + std::string(1, static_cast<char>('a' + i));
            if (i == 2) {
                reply = part;
                break;
            }
            part.flags = wire::kReplyMore;
            fake.port().on_answer(part);
        }
        return true;
    };
    fake.serve();
    const auto items = dict.items();
    fake.stop();
    ASSERT_EQ(items.size(), 3U);
    EXPECT_EQ(items[0], (std::pair<std::string, int>{"a", 0}));
    EXPECT_EQ(items[2], (std::pair<std::string, int>{"c", 2}));
}

TEST(ObjectPort, AHandleIsClosedWithItsLastCopy) {
    FakeObjects fake;
    {
        Queue<int> queue = queue_of<int>(fake);
        const Queue<int> copy = queue;
        queue = {};
        fake.pump();
        EXPECT_EQ(fake.count(wire::ObjectVerb::Close), 0U);
        EXPECT_EQ(copy.id(), 100U);
    }
    fake.pump();
    ASSERT_EQ(fake.count(wire::ObjectVerb::Close), 1U);
    EXPECT_EQ(fake.of(wire::ObjectVerb::Close)[0].object, 100U);
    EXPECT_FALSE(fake.port().wants_pings());
}

TEST(ObjectPort, ANameOpenedTwiceIsOneHandle) {
    FakeObjects fake;
    const Queue<int> first = queue_of<int>(fake);
    fake.next_id = 100;  // As a broker answers for a name that is open.
    const Queue<int> second = queue_of<int>(fake);
    EXPECT_EQ(first, second);
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Close), 1U);
}

TEST(ObjectPort, HandlesInAnAnswerAreAdoptedAndTheRestClosed) {
    FakeObjects fake;
    auto outer = queue_of<Queue<int>>(fake);
    auto got = outer.get_async();
    auto dropped = outer.get_async();
    fake.pump();
    const auto gets = fake.of(wire::ObjectVerb::Get);
    ASSERT_EQ(gets.size(), 2U);
    fake.answer(gets[0], Code::None, [](wire::ObjectReply& reply) {
        reply.items.push_back(item_of(std::uint64_t{555}, {555, 777}));
    });
    const std::size_t opens = fake.count(wire::ObjectVerb::Open);
    {
        const Queue<int> inner = got.get();
        EXPECT_EQ(inner.id(), 555U);
        fake.pump();
        EXPECT_EQ(fake.count(wire::ObjectVerb::Open), opens) << "the answer brought the handle";
        ASSERT_EQ(fake.count(wire::ObjectVerb::Close), 1U) << "one of the two was not taken";
        EXPECT_EQ(fake.of(wire::ObjectVerb::Close)[0].object, 777U);
    }
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Close), 2U);
}

TEST(ObjectPort, ANestedHandleNamesItsObject) {
    FakeObjects fake;
    auto outer = queue_of<Queue<int>>(fake);
    const auto inner = queue_of<int>(fake);
    auto put = outer.put_async(inner);
    fake.pump();
    const auto puts = fake.of(wire::ObjectVerb::Put);
    ASSERT_EQ(puts.size(), 1U);
    EXPECT_EQ(puts[0].items[0].refs, std::vector<std::uint64_t>{inner.id()});
}

TEST(ObjectPort, ADroppedGetIsInterruptedAndALateItemIsForTheNext) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    { auto dropped = queue.get_async(); }
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Get), 0U) << "taken back before it left";
    {
        auto dropped = queue.get_async();
        fake.pump();
    }
    fake.pump();
    ASSERT_EQ(fake.count(wire::ObjectVerb::Interrupt), 1U);
    const wire::ObjectOp get = fake.of(wire::ObjectVerb::Get).at(0);
    EXPECT_EQ(fake.of(wire::ObjectVerb::Interrupt)[0].token, get.op);
    fake.answer(
        get, Code::None, [](wire::ObjectReply& reply) { reply.items.push_back(item_of(42)); });
    EXPECT_EQ(queue.get(), 42);
    EXPECT_EQ(fake.count(wire::ObjectVerb::Get), 1U);
}

TEST(ObjectPort, ADroppedLockIsReleased) {
    FakeObjects fake;
    auto lock = made(fake, [&] { return Lock{fake.pool}; });
    {
        auto dropped = lock.lock_async();
        fake.pump();
        fake.answer(fake.of(wire::ObjectVerb::Acquire).at(0), Code::None, [](auto& reply) {
            reply.token = 9;
            reply.value = 1;
        });
    }
    fake.pump();
    EXPECT_FALSE(lock.owns());
    ASSERT_EQ(fake.count(wire::ObjectVerb::Release), 1U);
    EXPECT_EQ(fake.of(wire::ObjectVerb::Release)[0].token, 9U);
}

TEST(ObjectPort, ANewIncarnationEndsWhatWasAskedButForOpens) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    auto answered_never = queue.get_async();
    fake.pump();
    auto not_sent = queue.get_async();
    std::thread opener{[&] {
        auto opened = Queue<int>{fake.pool};
        EXPECT_NO_THROW(static_cast<void>(opened.put_async(1))) << "it is of the new incarnation";
    }};
    ASSERT_TRUE(test::wait_until([&] { return fake.wakes >= 3; }, 10s));
    fake.port().on_objects_lost();
    EXPECT_THROW(answered_never.get(), ObjectLost);
    EXPECT_THROW(not_sent.get(), ObjectLost);
    EXPECT_THROW(queue.put(1), ObjectLost);
    fake.serve();
    opener.join();
    fake.stop();
    queue = {};
    fake.pump();
    for (const wire::ObjectOp& op : fake.of(wire::ObjectVerb::Close))
        EXPECT_NE(op.object, 100U) << "ids of an earlier incarnation never leave";
}

TEST(ObjectPort, TheEndOfThePoolEndsWhoWaits) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    std::atomic<bool> cancelled{false};
    std::thread waiter{[&] {
        try {
            queue.get();
        } catch (const Cancelled&) {
            cancelled = true;
        }
    }};
    ASSERT_TRUE(test::wait_until(
        [&] {
            fake.pump();
            return fake.count(wire::ObjectVerb::Get) == 1;
        },
        10s));
    fake.port().end(Code::TaskCancelled, "the pool was terminated");
    waiter.join();
    EXPECT_TRUE(cancelled);
    EXPECT_THROW(queue.put(1), Cancelled);
}

TEST(ObjectPort, SilenceOfEightSecondsLosesALock) {
    FakeObjects fake;
    auto lock = made(fake, [&] { return Lock{fake.pool}; });
    const auto grant = [&](std::uint64_t token) {
        auto acquire = lock.lock_async();
        fake.pump();
        fake.answer(fake.of(wire::ObjectVerb::Acquire).back(), Code::None, [&](auto& reply) {
            reply.token = token;
            reply.value = 1;
        });
        acquire.get();
    };
    const base::Time now = base::monotonic_now();
    fake.port().begin_silence(now);
    EXPECT_TRUE(fake.port().wants_pings());
    grant(11);
    EXPECT_TRUE(lock.owns());
    EXPECT_EQ(lock.token(), 11U);
    fake.port().begin_silence(now - 9s);
    EXPECT_FALSE(lock.owns()) << "the last answered PING is nine seconds old";
    EXPECT_THROW(lock.release(), LockLost);
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Release), 1U) << "the broker may not know yet";
    EXPECT_THROW(lock.release(), NotOwner);

    fake.port().begin_silence(now);
    grant(12);
    fake.port().on_heard(now + 9s);
    EXPECT_FALSE(lock.owns()) << "it was silent long enough, though it is heard again";
    fake.pump();
    EXPECT_EQ(fake.of(wire::ObjectVerb::Release).back().token, 12U);
}

TEST(ObjectPort, ALockThatIsGrantedAfterASilenceIsLost) {
    FakeObjects fake;
    auto lock = made(fake, [&] { return Lock{fake.pool}; });
    const base::Time now = base::monotonic_now();
    fake.port().begin_silence(now);
    auto acquire = lock.lock_async();
    fake.pump();
    fake.port().on_heard(now + 20s);
    fake.answer(fake.of(wire::ObjectVerb::Acquire).at(0), Code::None, [](auto& reply) {
        reply.token = 5;
        reply.value = 1;
    });
    EXPECT_THROW(acquire.get(), LockLost) << "it may be another's by now";
    EXPECT_FALSE(lock.owns());
    fake.pump();
    ASSERT_EQ(fake.count(wire::ObjectVerb::Release), 1U);
    EXPECT_EQ(fake.of(wire::ObjectVerb::Release)[0].token, 5U);
}

TEST(ObjectPort, NoMoreIsUnansweredThanTheBrokerStands) {
    FakeObjects fake;
    auto value = made(fake, [&] { return Value<int>{fake.pool}; });
    std::vector<Operation<int>> adds;
    for (std::size_t i = 0; i < ObjectPort::kUnansweredMax + 5; ++i)
        adds.push_back(value.fetch_add_async(1));
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Add), ObjectPort::kUnansweredMax);
    fake.answer(fake.of(wire::ObjectVerb::Add)[0], Code::None);
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Add), ObjectPort::kUnansweredMax + 1);
}

TEST(ObjectPort, TooMuchAtOnceIsBusy) {
    FakeObjects fake;
    auto queue = queue_of<std::string>(fake);
    std::vector<Operation<void>> puts;
    const std::string large(8UL << 20, 'x');
    for (int i = 0; i < 8; ++i) puts.push_back(queue.put_async(large));
    EXPECT_THROW(static_cast<void>(queue.put_async(large)), Busy);
    fake.pump();
    EXPECT_NO_THROW(puts.push_back(queue.put_async(large)));
}

TEST(ObjectPort, WhatIsAboveThePayloadLimitIsRefusedHere) {
    FakeObjects fake;
    fake.client->set_payload_max(1000);
    auto queue = queue_of<std::string>(fake);
    EXPECT_THROW(queue.put(std::string(2000, 'x')), TooBig);
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Put), 0U);
}

TEST(ObjectPort, AWatchTellsChangesUntilItGoes) {
    FakeObjects fake;
    auto value = made(fake, [&] { return Value<int>{fake.pool}; });
    std::vector<std::optional<int>> seen;
    std::mutex mutex;
    fake.answerer = [](const wire::ObjectOp&, wire::ObjectReply&) { return true; };
    fake.serve();
    auto watch = std::make_unique<Watch>(value.watch([&](std::optional<int> now) {
        const std::lock_guard lock{mutex};
        seen.push_back(now);
    }));
    fake.stop();
    wire::ObjectEvent event;
    event.watch = fake.of(wire::ObjectVerb::Watch).at(0).op;
    event.change = wire::ObjectChange::Written;
    event.items.push_back({});
    const std::int64_t five = 5;
    event.items[0].body.body = base::Body::of(base::Blob::copy(std::as_bytes(std::span{&five, 1})));
    fake.port().on_event(event);
    ASSERT_TRUE(test::wait_until(
        [&] {
            const std::lock_guard lock{mutex};
            return seen.size() == 1;
        },
        10s));
    EXPECT_EQ(seen[0], 5);
    watch.reset();
    fake.port().on_event(event);
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Unwatch), 1U);
    const std::lock_guard lock{mutex};
    EXPECT_EQ(seen.size(), 1U);
}

/// A coroutine that nobody waits for.
struct Detached {
    struct promise_type {
        Detached get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
};
Detached take_one(Queue<int> queue, std::atomic<int>& result) {
    try {
        result = co_await queue.get_async();
    } catch (const QueueEmpty&) {
        result = -1;
    }
}

TEST(ObjectPort, AnOperationIsAwaited) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    std::atomic<int> first{0};
    std::atomic<int> second{0};
    take_one(queue, first);
    take_one(queue, second);
    fake.pump();
    const auto gets = fake.of(wire::ObjectVerb::Get);
    ASSERT_EQ(gets.size(), 2U);
    fake.answer(gets[0], Code::None, [](auto& reply) { reply.items.push_back(item_of(7)); });
    fake.answer(gets[1], Code::QueueEmpty);
    EXPECT_TRUE(test::wait_until([&] { return first == 7 && second == -1; }, 10s));
}

TEST(ObjectPort, RefusalsArriveAsTheirErrors) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    const auto thrown = [&](Code code) {
        auto put = queue.put_async(1);
        fake.pump();
        fake.answer(fake.of(wire::ObjectVerb::Put).back(), code);
        put.get();
    };
    EXPECT_THROW(thrown(Code::QueueFull), QueueFull);
    EXPECT_THROW(thrown(Code::QueueFull), TimeoutError);
    EXPECT_THROW(thrown(Code::ObjectClosed), ObjectClosed);
    EXPECT_THROW(thrown(Code::ObjectLost), ObjectLost);
    EXPECT_THROW(thrown(Code::TypeMismatch), TypeMismatch);
    EXPECT_THROW(thrown(Code::ObjectLimit), Busy);
    EXPECT_THROW(thrown(Code::InvalidRange), UsageError);
    EXPECT_THROW(thrown(Code::StaleLease), Rejected);
}

}  // namespace
}  // namespace forkmill::detail
