// SPDX-License-Identifier: Apache-2.0
// Locks as the port sees them: what is dropped, lost in a silence, or given away by a wait.
#include <gtest/gtest.h>

#include "forkmill/shared.h"
#include "sdk/src/object_port.h"
#include "tests/unit/client/fake_objects.h"

namespace forkmill::detail {
namespace {

using namespace std::chrono_literals;
using wire::Code;

template <std::uint64_t token>
void under(wire::ObjectReply& reply) {
    reply.token = token;
    reply.value = 1;
}

/// An RLock that is held, and a condition of it.
struct HeldWithACondition {
    FakeObjects fake;
    RLock lock = made(fake, [this] { return RLock{fake.pool}; });
    Condition condition = made(fake, [this] { return Condition{fake.pool, lock}; });
    HeldWithACondition() {
        auto acquire = lock.lock_async();
        fake.pump();
        fake.answer(fake.of(wire::ObjectVerb::Acquire).at(0), Code::None, under<9>);
        acquire.get();
    }
};

TEST(ObjectPortLock, ADroppedLockIsReleased) {
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

TEST(ObjectPortLock, SilenceOfEightSecondsLosesALock) {
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

TEST(ObjectPortLock, ALockThatIsGrantedAfterASilenceIsLost) {
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

TEST(ObjectPortLock, ALockThatWasLetGoOfDuringADroppedWaitIsNotKept) {
    HeldWithACondition held;
    auto& [fake, lock, condition] = held;
    {
        auto dropped = condition.wait_async();
        fake.pump();
    }
    lock.unlock();  // As a guard does after an exception of the wait.
    fake.pump();
    fake.answer(fake.of(wire::ObjectVerb::Wait).at(0), Code::TaskCancelled, under<12>);
    fake.pump();
    EXPECT_FALSE(lock.owns());
    ASSERT_EQ(fake.count(wire::ObjectVerb::Release), 1U) << "nobody else would release it";
    EXPECT_EQ(fake.of(wire::ObjectVerb::Release)[0].token, 12U);
}

/// The broker has given the lock away: whoever locks again stands in line.
TEST(ObjectPortLock, ALockThatAWaitGivesAwayIsNotHeldMeanwhile) {
    HeldWithACondition held;
    auto& [fake, lock, condition] = held;
    auto wait = condition.wait_async();
    EXPECT_FALSE(lock.owns());
    EXPECT_EQ(lock.token(), 0U);
    EXPECT_THROW(condition.notify(), NotOwner);
    auto again = lock.try_lock_async(std::chrono::seconds{5});
    fake.pump();
    ASSERT_EQ(fake.count(wire::ObjectVerb::Acquire), 2U) << "the broker is asked";
    fake.answer(fake.of(wire::ObjectVerb::Wait).at(0), Code::None, under<12>);
    wait.get();
    EXPECT_EQ(lock.token(), 12U);
    fake.answer(fake.of(wire::ObjectVerb::Acquire).at(1), Code::WaitTimeout);
    EXPECT_FALSE(again.get());
    // One that is refused never gave it away; one that is lost took it along.
    for (const Code code : {Code::ObjectLimit, Code::LockLost}) {
        auto refused = condition.wait_async();
        EXPECT_FALSE(lock.owns());
        fake.pump();
        fake.answer(fake.of(wire::ObjectVerb::Wait).back(), code);
        EXPECT_THROW(refused.get(), Error);
        EXPECT_EQ(lock.owns(), code == Code::ObjectLimit);
    }
}

}  // namespace
}  // namespace forkmill::detail
