// SPDX-License-Identifier: Apache-2.0
#include "core/net/poll_loop.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/wait_until.h"

namespace forkmill::net {
namespace {

using namespace std::chrono_literals;

bool is_readable(int fd) {
    pollfd look{fd, POLLIN, 0};
    return ::poll(&look, 1, 0) == 1;
}

base::Time in(base::Duration wait) {
    return base::monotonic_now() + wait;
}

/// A transport that says what the test tells it to.
class FakeTransport final : public Transport {
  public:
    int fd() const override { return fd_.get(); }
    bool pending() override { return is_pending; }
    bool receive(Incoming&) override { return false; }
    Sent send(ConnId, const base::Message&) override { return Sent::Gone; }
    void flush() override {}
    void disconnect(ConnId) override {}
    base::Time wake_at() const override { return wake; }
    bool unsent() const override { return false; }
    bool is_pending = false;
    base::Time wake = base::kNever;

  private:
    UniqueFd fd_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
};

TEST(PollLoop, CallsWhatIsReadyAndNothingElse) {
    PollLoop loop;
    UniqueFd ready{::eventfd(1, EFD_NONBLOCK)};
    UniqueFd silent{::eventfd(0, EFD_NONBLOCK)};
    int calls = 0;
    loop.add(ready.get(), [&] { ++calls; });
    loop.add(silent.get(), [] { FAIL(); });
    EXPECT_TRUE(loop.run_once(base::kNever));
    EXPECT_EQ(calls, 1);
    loop.remove(ready.get());
    EXPECT_FALSE(loop.run_once(base::Time::min()));
    EXPECT_EQ(calls, 1);
}

TEST(PollLoop, ReturnsWhenItsTimeHasComeAndNotBefore) {
    PollLoop loop;
    const base::Time begin = base::monotonic_now();
    EXPECT_FALSE(loop.run_once(begin + 20ms));
    const base::Duration took = base::monotonic_now() - begin;
    EXPECT_GE(took, 20ms);
    EXPECT_LT(took, test::stretched(2s));
}

TEST(PollLoop, DoesNotSleepWhileATransportIsPending) {
    PollLoop loop{base::Duration::zero()};
    FakeTransport transport;
    transport.is_pending = true;
    int calls = 0;
    loop.add(transport, [&] { ++calls; });
    EXPECT_TRUE(loop.run_once(base::kNever));
    EXPECT_EQ(calls, 1);
}

TEST(PollLoop, WakesForATransportsTimer) {
    PollLoop loop;
    FakeTransport transport;
    transport.wake = in(5ms);
    int calls = 0;
    loop.add(transport, [&] {
        ++calls;
        transport.wake = base::kNever;
    });
    EXPECT_TRUE(loop.run_once(base::kNever));
    EXPECT_EQ(calls, 1);
    EXPECT_FALSE(loop.run_once(in(1ms)));
}

TEST(PollLoop, ACallbackMayRemoveItselfAndOthersAndAddNewOnes) {
    PollLoop loop;
    UniqueFd one{::eventfd(1, EFD_NONBLOCK)};
    UniqueFd two{::eventfd(1, EFD_NONBLOCK)};
    UniqueFd three{::eventfd(1, EFD_NONBLOCK)};
    std::vector<int> calls;
    loop.add(one.get(), [&] {
        calls.push_back(1);
        loop.remove(one.get());
        loop.remove(two.get());
        loop.add(three.get(), [&] { calls.push_back(3); });
    });
    loop.add(two.get(), [&] { calls.push_back(2); });
    EXPECT_TRUE(loop.run_once(base::kNever));
    EXPECT_EQ(calls, std::vector<int>{1});
    EXPECT_TRUE(loop.run_once(base::kNever));
    EXPECT_EQ(calls, (std::vector<int>{1, 3}));
}

TEST(Wakeup, CostsNoSystemCallWhileTheLoopIsAwake) {
    Wakeup wakeup;
    wakeup.notify();
    EXPECT_FALSE(is_readable(wakeup.fd()));
    EXPECT_TRUE(wakeup.notified());
    EXPECT_FALSE(wakeup.prepare_sleep());
    wakeup.clear();
    EXPECT_FALSE(wakeup.notified());
    EXPECT_TRUE(wakeup.prepare_sleep());
    wakeup.notify();
    EXPECT_TRUE(is_readable(wakeup.fd()));
    wakeup.awake();
    wakeup.clear();
    EXPECT_FALSE(is_readable(wakeup.fd()));
    EXPECT_TRUE(wakeup.prepare_sleep());
    wakeup.awake();
    wakeup.notify();
    EXPECT_FALSE(is_readable(wakeup.fd()));
}

/// Every item pushed by any thread is taken, whatever the interleaving of push, notify and sleep.
void hand_over(base::Duration spin) {
    constexpr int kThreads = 3;
    constexpr int kEach = 30'000;
    PollLoop loop{spin};
    Wakeup wakeup;
    std::mutex mutex;
    std::vector<int> inbox;
    int taken = 0;
    loop.add(wakeup, [&] {
        std::vector<int> batch;
        {
            const std::lock_guard lock{mutex};
            batch.swap(inbox);
        }
        taken += static_cast<int>(batch.size());
    });
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < kEach; ++i) {
                {
                    const std::lock_guard lock{mutex};
                    inbox.push_back(i);
                }
                wakeup.notify();
                if (i % 64 == 0) std::this_thread::yield();
            }
        });
    }
    // A lost wake-up shows as a turn that ends by its limit although all was pushed.
    const base::Time end = in(test::stretched(20s));
    while (taken < kThreads * kEach && base::monotonic_now() < end) loop.run_once(end);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(taken, kThreads * kEach);
    EXPECT_LT(base::monotonic_now(), end);
}

TEST(Wakeup, LosesNothingWhenTheLoopSleepsAtOnce) {
    hand_over(base::Duration::zero());
}
TEST(Wakeup, LosesNothingWhenTheLoopSpinsFirst) {
    hand_over(50us);
}

/// Each look has a thread of its own: one that lost its slice to a stranger would not spin.
void in_a_thread(const std::function<void()>& body) {
    std::thread{body}.join();
}

TEST(Spin, StopsAtItsLimitAndLooksOnceEvenWhenOff) {
    in_a_thread([] {
        int looks = 0;
        EXPECT_FALSE(base::spin_until([&] { return ++looks > 1; }, base::Duration::zero()));
        EXPECT_EQ(looks, 1);
    });
    in_a_thread([] {
        const base::Time begin = base::monotonic_now();
        EXPECT_FALSE(base::spin_until([] { return false; }, 2ms));
        EXPECT_GE(base::monotonic_now() - begin, 2ms);
    });
    in_a_thread([] {
        int looks = 0;
        EXPECT_TRUE(base::spin_until([&] { return ++looks == 10; }, 10s));
    });
}

TEST(Spin, AThreadWhoseYieldWentToAStrangerSleepsForAWhile) {
    in_a_thread([] {
        // The look stands for the lost slice: it is part of what a yield costs.
        EXPECT_FALSE(base::spin_until(
            [looks = 0]() mutable {
                if (++looks == 2) {
                    const base::Time end = base::monotonic_now() + 2 * base::kLostSlice;
                    while (base::monotonic_now() < end) continue;
                }
                return false;
            },
            1ms));
        int looks = 0;
        EXPECT_FALSE(base::spin_until([&] { return ++looks == 2; }, 10s));
        EXPECT_EQ(looks, 1);
    });
}

}  // namespace
}  // namespace forkmill::net
