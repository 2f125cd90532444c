// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/object_port.h"

#include <gtest/gtest.h>

#include <coroutine>

#include "forkmill/shared.h"
#include "tests/support/suspended.h"
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

TEST(ObjectPort, WhoWaitsAtTheBrokerGetsWhatIsKeptHere) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    auto waits = queue.get_async();
    auto waits_too = queue.get_async();
    fake.pump();
    for (int i = 0; i < 2; ++i) {
        auto dropped = queue.get_async();
        fake.pump();
    }
    fake.pump();
    const auto gets = fake.of(wire::ObjectVerb::Get);
    ASSERT_EQ(gets.size(), 4U);
    const auto called_back = [&](const wire::ObjectOp& get) {
        fake.pump();
        const auto all = fake.of(wire::ObjectVerb::Interrupt);
        return std::count_if(
            all.begin(), all.end(), [&](const wire::ObjectOp& op) { return op.token == get.op; });
    };
    EXPECT_EQ(called_back(gets[0]), 0);
    fake.answer(gets[2], Code::None, [](auto& reply) { reply.items.push_back(item_of(7)); });
    EXPECT_EQ(called_back(gets[0]), 1) << "an item came, and it waits elsewhere";
    fake.answer(gets[0], Code::TaskCancelled);
    EXPECT_EQ(waits.get(), 7);

    fake.answer(gets[3], Code::None, [](auto& reply) { reply.items.push_back(item_of(8)); });
    EXPECT_EQ(called_back(gets[1]), 1);
    EXPECT_EQ(queue.get(), 8) << "another was faster";
    fake.answer(gets[1], Code::TaskCancelled);
    fake.pump();
    EXPECT_FALSE(waits_too.ready()) << "it goes on waiting";
    ASSERT_EQ(fake.count(wire::ObjectVerb::Get), 5U);
    fake.answer(fake.of(wire::ObjectVerb::Get)[4], Code::None, [](auto& reply) {
        reply.items.push_back(item_of(9));
    });
    EXPECT_EQ(waits_too.get(), 9);
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

TEST(ObjectPort, AnOpenThatEndedBeforeItLeftDoesNotLeaveLater) {
    FakeObjects fake;
    std::thread opener{[&] { EXPECT_THROW(Queue<int>{fake.pool}, Cancelled); }};
    ASSERT_TRUE(test::wait_until([&] { return fake.port().peek_operation() != nullptr; }, 10s));
    fake.port().end(Code::TaskCancelled, "the session was given up");
    opener.join();
    fake.port().revive();
    fake.port().on_objects_lost();
    fake.pump();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Open), 0U) << "nobody would close what it opens";
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

using test::Suspended;
Suspended resumes(Queue<int> queue, std::atomic<int>& resumed) {
    try {
        static_cast<void>(co_await queue.get_async());
    } catch (const Error&) {
    }
    ++resumed;
}

TEST(ObjectPort, ACoroutineThatIsDestroyedIsNotResumed) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    std::atomic<int> resumed{0};
    const Suspended waits = resumes(queue, resumed);
    fake.pump();
    waits.handle.destroy();
    fake.answer(fake.of(wire::ObjectVerb::Get).at(0), Code::TaskCancelled);
    std::atomic<bool> after{false};
    auto next = queue.put_async(1);
    std::move(next).then([&] { after = true; }, [](const Error&) {});
    fake.pump();
    fake.answer(fake.of(wire::ObjectVerb::Put).at(0), Code::None);
    ASSERT_TRUE(test::wait_until([&] { return after.load(); }, 10s));
    EXPECT_EQ(resumed, 0);
}

TEST(ObjectPort, WhatWasKeptIsKeptAgainWhenItIsDroppedAgain) {
    FakeObjects fake;
    auto [here, there] = made(fake, [&] { return pipe<int>(fake.pool); });
    fake.answerer = [](const wire::ObjectOp& op, wire::ObjectReply& reply) {
        if (op.verb == wire::ObjectVerb::Get) reply.items.push_back(item_of(7));
        return true;
    };
    fake.serve();
    EXPECT_TRUE(here.poll());
    { auto dropped = here.recv_async(); }
    { auto dropped = here.recv_async(); }
    EXPECT_EQ(here.recv(), 7);
    fake.stop();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Get), 1U) << "the item that poll() found";
}

TEST(ObjectPort, ALentItemThatWasKeptIsDoneByWhoGetsIt) {
    FakeObjects fake;
    auto queue = made(fake, [&] { return Queue<int>{fake.pool, {.leased = true}}; });
    {
        auto dropped = queue.get_async();
        fake.pump();
    }
    fake.answer(fake.of(wire::ObjectVerb::Get).at(0), Code::None, [](auto& reply) {
        reply.items.push_back(item_of(5));
        reply.token = 77;
    });
    EXPECT_THROW(queue.task_done(), UsageError) << "nobody has it yet";
    EXPECT_EQ(queue.get(), 5);
    fake.answerer = [](const wire::ObjectOp&, wire::ObjectReply&) { return true; };
    fake.serve();
    EXPECT_NO_THROW(queue.task_done());
    fake.stop();
    ASSERT_EQ(fake.count(wire::ObjectVerb::Done), 1U);
    EXPECT_EQ(fake.of(wire::ObjectVerb::Done)[0].token, 77U);
}

TEST(ObjectPort, ATryToReceiveNeverWaits) {
    FakeObjects fake;
    auto [here, there] = made(fake, [&] { return pipe<int>(fake.pool); });
    fake.answerer = [](const wire::ObjectOp& op, wire::ObjectReply& reply) {
        EXPECT_EQ(op.timeout_ns, 0);
        reply.code = Code::QueueEmpty;
        return true;
    };
    fake.serve();
    EXPECT_EQ(here.try_recv(), std::nullopt);
    fake.answerer = [](const wire::ObjectOp& op, wire::ObjectReply& reply) {
        EXPECT_EQ(op.timeout_ns, 0);
        reply.items.push_back(item_of(7));
        return true;
    };
    EXPECT_EQ(here.try_recv(), 7);
    fake.stop();
    EXPECT_EQ(fake.count(wire::ObjectVerb::Get), 2U);
}

TEST(ObjectPort, WhatACallbackThrowsIsNotTheOperationsError) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    std::atomic<int> values{0};
    std::atomic<int> errors{0};
    const auto get = [&] {
        auto got = queue.get_async();
        std::move(got).then(
            [&](int) {
                ++values;
                throw UsageError("of the user");
            },
            [&](const Error&) { ++errors; });
        fake.pump();
        fake.answer(fake.of(wire::ObjectVerb::Get).back(), Code::None, [](auto& reply) {
            reply.items.push_back(item_of(7));
        });
    };
    get();
    get();
    ASSERT_TRUE(test::wait_until([&] { return values == 2; }, 10s));
    EXPECT_EQ(errors, 0);
}

TEST(ObjectPort, WhatNoFrameMayCarryIsRefusedHere) {
    FakeObjects fake;
    auto dict = made(fake, [&] { return Dict<std::string, int>{fake.pool}; });
    auto queue = queue_of<std::vector<Queue<int>>>(fake);
    auto inner = made(fake, [&] {
        std::vector<Queue<int>> all;
        for (std::size_t i = 0; i <= wire::kObjectRefsMax; ++i) all.emplace_back(fake.pool);
        return all;
    });
    fake.answerer = [](const wire::ObjectOp&, wire::ObjectReply&) { return true; };
    fake.serve();
    EXPECT_THROW(dict.set(std::string(wire::kObjectKeyMax, 'k'), 1), TooBig);
    EXPECT_NO_THROW(dict.set(std::string(wire::kObjectKeyMax - 3, 'k'), 1));
    EXPECT_THROW(queue.put(inner), TooBig);
    inner.pop_back();
    EXPECT_NO_THROW(queue.put(inner));
    fake.stop();
}

TEST(ObjectPort, ATimeoutBeyondAllTimeIsNone) {
    FakeObjects fake;
    auto queue = queue_of<int>(fake);
    fake.answerer = [](const wire::ObjectOp&, wire::ObjectReply& reply) {
        reply.items.push_back(item_of(7));
        return true;
    };
    fake.serve();
    EXPECT_EQ(queue.get_for(Duration::max() - 1ns), 7);
    EXPECT_EQ(queue.get_for(Duration::min()), 7);
    fake.stop();
}

TEST(ObjectPort, HandlesThatAWatchBringsAreAdoptedAndTheRestClosed) {
    FakeObjects fake;
    auto value = made(fake, [&] { return Value<Queue<int>>{fake.pool, Queue<int>{fake.pool}}; });
    fake.answerer = [](const wire::ObjectOp&, wire::ObjectReply&) { return true; };
    std::atomic<std::uint64_t> seen{0};
    fake.serve();
    auto watch = std::make_unique<Watch>(value.watch([&](std::optional<Queue<int>> now) {
        if (now) seen = now->id();
    }));
    fake.stop();
    fake.pump();
    const std::size_t opens = fake.count(wire::ObjectVerb::Open);
    const auto closes = [&](std::uint64_t id) {
        fake.pump();
        std::size_t count = 0;
        for (const wire::ObjectOp& op : fake.of(wire::ObjectVerb::Close)) count += op.object == id;
        return count;
    };
    wire::ObjectEvent event;
    event.watch = fake.of(wire::ObjectVerb::Watch).at(0).op;
    event.change = wire::ObjectChange::Written;
    event.items.push_back(item_of(std::uint64_t{555}, {555, 777}));
    fake.port().on_event(event);
    ASSERT_TRUE(test::wait_until([&] { return seen == 555 && closes(777) == 1; }, 10s));
    EXPECT_TRUE(test::wait_until([&] { return closes(555) == 1; }, 10s)) << "its copy is gone";
    EXPECT_EQ(fake.count(wire::ObjectVerb::Open), opens) << "the event brought the handle";
    watch.reset();
    fake.port().on_event(event);
    EXPECT_TRUE(test::wait_until([&] { return closes(555) == 2 && closes(777) == 2; }, 10s));
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
