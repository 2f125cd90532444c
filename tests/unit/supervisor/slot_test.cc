// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/slot.h"

#include <gtest/gtest.h>

#include <vector>

namespace forkmill::supervisor {
namespace {

using namespace std::chrono_literals;
using S = SlotState;
using E = SlotEvent;
using A = SlotAct;

const SlotTimeouts kTimeouts{.start = 30s,
                             .dump = 2s,
                             .drain = 60s,
                             .term = 5s,
                             .kill = 6s,
                             .stop = 10s};

struct Driver {
    Slot slot;
    base::Time now{1000s};

    A go(E event, std::optional<base::Duration> limit = std::nullopt) {
        return slot.step(event, now, kTimeouts, limit);
    }
    Driver& then(E event) {
        go(event);
        return *this;
    }
    base::Duration left() const { return slot.deadline() - now; }
};

TEST(Slot, GoesFromStartingToReadyToDrainingToDead) {
    Driver d;
    EXPECT_EQ(d.slot.state(), S::Empty);
    EXPECT_EQ(d.go(E::Launched), A::None);
    EXPECT_EQ(d.slot.state(), S::Starting);
    EXPECT_EQ(d.left(), 30s);
    EXPECT_EQ(d.go(E::Up), A::None);
    EXPECT_EQ(d.slot.state(), S::Ready);
    EXPECT_EQ(d.slot.deadline(), base::kNever);
    EXPECT_EQ(d.go(E::Drain), A::TellDrain);
    EXPECT_EQ(d.slot.state(), S::Draining);
    EXPECT_EQ(d.left(), 60s);
    EXPECT_EQ(d.go(E::Died), A::None);
    EXPECT_EQ(d.slot.state(), S::Reaped);
    EXPECT_FALSE(d.slot.has_process());
    EXPECT_EQ(d.go(E::Retire), A::None);
    EXPECT_EQ(d.slot.state(), S::Empty);
}

TEST(Slot, EscalatesFromDrainToTermToKillToUnkillable) {
    Driver d;
    d.then(E::Launched).then(E::Up).then(E::Drain);
    EXPECT_EQ(d.go(E::Deadline), A::SendTerm);
    EXPECT_EQ(d.left(), 5s);
    EXPECT_EQ(d.go(E::Deadline), A::SendKill);
    EXPECT_EQ(d.left(), 6s);
    EXPECT_EQ(d.go(E::Deadline), A::Alarm);
    EXPECT_EQ(d.slot.state(), S::Unkillable);
    EXPECT_TRUE(d.slot.has_process());
    EXPECT_EQ(d.slot.deadline(), base::kNever);
    d.go(E::Died);
    EXPECT_EQ(d.slot.state(), S::Reaped);
}

TEST(Slot, AbortsAWorkerThatNeverComesUpAndThenKillsIt) {
    Driver d;
    d.then(E::Launched);
    EXPECT_EQ(d.go(E::Deadline), A::SendAbort);
    EXPECT_EQ(d.left(), 2s);
    EXPECT_EQ(d.go(E::Deadline), A::SendKill);
}

TEST(Slot, SuspendedWorkerResumesWhereItWas) {
    for (const bool ready : {false, true}) {
        Driver d;
        d.then(E::Launched);
        if (ready) d.then(E::Up);
        d.then(E::Paused);
        EXPECT_EQ(d.slot.state(), S::Suspended);
        EXPECT_EQ(d.left(), 10s);
        d.then(E::Resumed);
        EXPECT_EQ(d.slot.state(), ready ? S::Ready : S::Starting);
    }
}

TEST(Slot, SuspendedWorkerIsKilledAtItsDeadline) {
    Driver d;
    d.then(E::Launched).then(E::Up).then(E::Paused);
    EXPECT_EQ(d.go(E::Deadline), A::SendKill);
}

TEST(Slot, UpAndDrainOfASuspendedWorkerTakeEffectWhenItResumes) {
    Driver d;
    d.then(E::Launched).then(E::Paused).then(E::Up).then(E::Resumed);
    EXPECT_EQ(d.slot.state(), S::Ready);
    d.then(E::Paused);
    EXPECT_EQ(d.go(E::Drain), A::TellDrain);
    EXPECT_EQ(d.slot.state(), S::Suspended);
    EXPECT_EQ(d.left(), 10s) << "draining is no excuse to stay stopped";
    d.then(E::Resumed);
    EXPECT_EQ(d.slot.state(), S::Draining);
    EXPECT_EQ(d.left(), 60s);
}

TEST(Slot, StopKillsAWorkerThatIsSuspended) {
    Driver d;
    d.then(E::Launched).then(E::Up).then(E::Paused);
    EXPECT_EQ(d.go(E::Stop), A::SendKill);
}

TEST(Slot, ALimitReplacesTheTimeoutOfTheStateEntered) {
    Driver d;
    d.then(E::Launched).then(E::Up);
    d.go(E::Drain, 7s);
    EXPECT_EQ(d.left(), 7s);
    d.go(E::Drain, base::Duration::max());
    EXPECT_EQ(d.slot.deadline(), base::kNever);
}

TEST(Slot, DiedIsUnderstoodInEveryStateWithAProcess) {
    const std::vector<std::vector<E>> ways{
        {E::Launched},
        {E::Launched, E::Up},
        {E::Launched, E::Up, E::Drain},
        {E::Launched, E::Up, E::Stop},
        {E::Launched, E::Deadline},
        {E::Launched, E::Kill},
        {E::Launched, E::Paused},
        {E::Launched, E::Kill, E::Deadline},
    };
    for (const std::vector<E>& way : ways) {
        Driver d;
        for (const E event : way) d.then(event);
        ASSERT_TRUE(d.slot.has_process());
        d.then(E::Died);
        EXPECT_EQ(d.slot.state(), S::Reaped) << "after " << way.size() << " events";
    }
}

TEST(Slot, EveryStateButReadyThatHasALivingProcessHasADeadline) {
    const std::vector<std::vector<E>> ways{
        {E::Launched},
        {E::Launched, E::Up, E::Drain},
        {E::Launched, E::Up, E::Stop},
        {E::Launched, E::Deadline},
        {E::Launched, E::Kill},
        {E::Launched, E::Paused},
        {E::Launched, E::Up, E::Leave},
    };
    for (const std::vector<E>& way : ways) {
        Driver d;
        for (const E event : way) d.then(event);
        EXPECT_NE(d.slot.deadline(), base::kNever) << name_of(d.slot.state());
    }
}

TEST(Slot, NothingRevivesWhatIsKilledOrDead) {
    for (const E last : {E::Kill, E::Died}) {
        Driver d;
        d.then(E::Launched).then(last);
        const S state = d.slot.state();
        for (const E event :
             {E::Up, E::Leave, E::Drain, E::Stop, E::Paused, E::Resumed, E::Launched}) {
            EXPECT_EQ(d.go(event), A::None);
            EXPECT_EQ(d.slot.state(), state);
        }
    }
}

TEST(Slot, BackoffEndsByItselfAndFailedDoesNot) {
    Driver d;
    d.then(E::Launched).then(E::Died);
    d.go(E::Wait, 100ms);
    EXPECT_EQ(d.slot.state(), S::Backoff);
    EXPECT_EQ(d.left(), 100ms);
    d.then(E::Deadline);
    EXPECT_EQ(d.slot.state(), S::Empty);
    d.then(E::Launched).then(E::Died).then(E::Forbid);
    EXPECT_EQ(d.slot.state(), S::Failed);
    EXPECT_EQ(d.slot.deadline(), base::kNever);
}

}  // namespace
}  // namespace forkmill::supervisor
