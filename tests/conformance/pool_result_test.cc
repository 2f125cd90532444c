// SPDX-License-Identifier: Apache-2.0
// What comes back: callbacks, timeouts, exceptions, results that cannot be packed (P09-P17, P43).
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <coroutine>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"
#include "tests/support/suspended.h"

namespace conformance {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

CONFORMANCE(P09, MapAsyncCallbackFiresOnceWithTheWholeList, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    std::atomic<int> values{0};
    std::atomic<int> errors{0};
    std::atomic<std::size_t> list_length{0};
    pool.map_async(square, std::vector<int>{1, 2, 3})
        .then(
            [&](std::vector<int> list) {
                list_length = list.size();
                ++values;
            },
            [&](const forkmill::Error&) { ++errors; });
    ASSERT_TRUE(wait_until(10, [&] { return values == 1; }));
    EXPECT_EQ(list_length, 3U);
    pool.starmap_async(fail,
                       std::vector<std::tuple<std::string, std::string>>{{"runtime_error", "a"},
                                                                         {"logic_error", "b"}})
        .then([&](std::vector<int>) { ++values; }, [&](const forkmill::Error&) { ++errors; });
    ASSERT_TRUE(wait_until(10, [&] { return errors == 1; }));
    expect_alive(pool);
    EXPECT_EQ(values, 1);
    EXPECT_EQ(errors, 1);
}

CONFORMANCE(P10, CallbacksRunInTheSubmitterInCompletionOrder, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    std::mutex mutex;
    std::vector<int> order;
    std::atomic<int> foreign{0};
    std::atomic<int> fired{0};
    for (int i = 0; i < 200; ++i) {
        pool.apply_async(square, i).then(
            [&](int value) {
                if (::getpid() != static_cast<pid_t>(::syscall(SYS_getpid))) ++foreign;
                const std::lock_guard lock{mutex};
                order.push_back(value);
                ++fired;
            },
            [&](const forkmill::Error&) { ++fired; });
    }
    ASSERT_TRUE(wait_until(20, [&] { return fired == 200; }));
    EXPECT_EQ(foreign, 0);
    ASSERT_EQ(order.size(), 200U);
    // At T there are two workers on two hosts: their results come in any order.
    for (int i = 0; i < 200 && size != Size::T; ++i)
        EXPECT_EQ(order[static_cast<std::size_t>(i)], i * i)
            << "one worker completes in submit order";
}

CONFORMANCE(P11, ThrowingCallbackIsReportedAndLaterOnesFire, "EIT") {
    Cluster cluster{size};
    std::atomic<int> reports{0};
    forkmill::set_log_handler([&](forkmill::Level, std::string_view text) {
        if (text.find("callback") != std::string_view::npos) ++reports;
    });
    {
        forkmill::Pool pool{cluster.options()};
        std::atomic<int> fired{0};
        for (int i = 0; i < 5; ++i) {
            pool.apply_async(square, i).then(
                [&](int value) {
                    ++fired;
                    if (value == 4) throw std::runtime_error("thrown by a callback");
                },
                [](const forkmill::Error&) {});
        }
        EXPECT_TRUE(wait_until(10, [&] { return fired == 5; }));
        expect_alive(pool);
    }
    forkmill::set_log_handler(nullptr);
    EXPECT_EQ(reports, 1);
}

namespace {

using forkmill::test::Suspended;
template <class T>
Suspended counts(forkmill::AsyncResult<T> result, std::atomic<int>& resumed) {
    static_cast<void>(co_await std::move(result));
    ++resumed;
}

}  // namespace

CONFORMANCE(P11, ACoroutineThatIsDestroyedIsNotResumed, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    std::atomic<int> resumed{0};
    std::atomic<int> waited{0};
    const Suspended one = counts(pool.apply_async(sleep_ms, 100), resumed);
    const Suspended many = counts(pool.map_async(sleep_ms, std::vector<int>{1, 1}), resumed);
    counts(pool.apply_async(sleep_ms, 1), waited);
    one.handle.destroy();
    many.handle.destroy();
    EXPECT_TRUE(wait_until(10, [&] { return waited == 1; })) << "it waits still";
    EXPECT_EQ(resumed, 0);
}

CONFORMANCE(P12, GetWithTimeoutLeavesTheResultUsable, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    const std::string gate = cluster.directory() + "/gate";
    auto result = pool.apply_async(wait_file, gate);
    const auto start = Clock::now();
    EXPECT_THROW(result.get(200ms), forkmill::TimeoutError);
    EXPECT_GE(seconds_since(start), 0.19);
    EXPECT_LT(seconds_since(start), 1.0);
    std::ofstream{gate} << "open";
    EXPECT_GT(result.get(10s), 0);
    EXPECT_GT(result.get(1s), 0) << "get() may be repeated";
}

CONFORMANCE(P13, ReadySuccessfulAndWait, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    const std::string gate = cluster.directory() + "/gate";
    auto result = pool.apply_async(wait_file, gate);
    EXPECT_FALSE(result.ready());
    EXPECT_THROW(static_cast<void>(result.successful()), forkmill::UsageError);
    EXPECT_FALSE(result.wait(50ms));
    std::ofstream{gate} << "open";
    EXPECT_TRUE(result.wait(10s));
    EXPECT_TRUE(result.ready());
    EXPECT_TRUE(result.successful());
    auto failed = pool.apply_async(fail, "runtime_error", "x");
    EXPECT_TRUE(failed.wait(10s));
    EXPECT_FALSE(failed.successful());
}

CONFORMANCE(P14, AnExceptionArrivesWithItsOrigin, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    auto result = pool.apply_async(fail, "runtime_error", "what it says");
    try {
        result.get(10s);
        FAIL() << "it did not throw";
    } catch (const forkmill::TaskError& error) {
        EXPECT_NE(std::string{error.what()}.find("what it says"), std::string::npos)
            << error.what();
        EXPECT_EQ(error.type(), "std::runtime_error");
        EXPECT_GT(error.origin().pid, 0);
        EXPECT_NE(error.origin().pid, ::getpid());
        EXPECT_FALSE(error.origin().host.empty());
        EXPECT_EQ(error.origin().task, "test.fail");
        EXPECT_EQ(error.origin().attempt, 1);
    }
}

CONFORMANCE(P15, ThrowingAnIntIsATypedErrorAndTheWorkerLives, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    const int pid = pool.apply(pid_of_worker);
    EXPECT_THROW(pool.apply(fail, "int", ""), forkmill::TaskError);
    if (size != Size::T) {
        EXPECT_EQ(pool.apply(pid_of_worker), pid);
    }
    expect_alive(pool);
}

CONFORMANCE(P16, AResultThatCannotBePackedIsATypedErrorTwentyTimes, "EIT") {
    Cluster cluster{size, {.workers = 1, .extra_broker_yaml = "limits: {payload: 1MiB}\n"}};
    forkmill::Pool pool{cluster.options()};
    const int pid = pool.apply(pid_of_worker);
    for (int i = 0; i < 20; ++i) EXPECT_THROW(pool.apply(unpackable), forkmill::TaskError);
    if (size != Size::E) {
        for (int i = 0; i < 20; ++i)
            EXPECT_THROW(pool.apply(text_of_size, std::size_t{3} << 20), forkmill::Error);
    }
    if (size != Size::T) {
        EXPECT_EQ(pool.apply(pid_of_worker), pid);
    }
    expect_alive(pool);
}

CONFORMANCE(P17, AnArgumentThatCannotBePackedThrowsInTheSubmitter, "EIT") {
    Cluster cluster{size, {.workers = 1, .extra_broker_yaml = "limits: {payload: 1MiB}\n"}};
    forkmill::Pool pool{cluster.options()};
    EXPECT_EQ(pool.apply(length, std::string(1000, 'x')), 1000U);
    if (size != Size::E) {
        EXPECT_THROW(
            static_cast<void>(pool.apply_async(length, std::string(std::size_t{2} << 20, 'x'))),
            forkmill::Error);
    }
    EXPECT_EQ(pool.apply(square, 3), 9);
}

namespace {

template <class E>
void expect_as_itself(forkmill::Pool& pool, const char* kind) {
    bool as_itself = false;
    bool as_task_error = false;
    try {
        pool.apply(fail, kind, "text");
    } catch (const E& error) {
        as_itself = true;
        as_task_error = dynamic_cast<const forkmill::TaskError*>(&error) != nullptr;
    } catch (const std::exception& error) {
        ADD_FAILURE() << kind << " arrived as " << error.what();
    }
    EXPECT_TRUE(as_itself) << kind;
    EXPECT_TRUE(as_task_error) << kind;
}

}  // namespace

CONFORMANCE(P43, StandardExceptionsAreCaughtAsThemselves, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    expect_as_itself<std::runtime_error>(pool, "runtime_error");
    expect_as_itself<std::logic_error>(pool, "logic_error");
    expect_as_itself<std::out_of_range>(pool, "out_of_range");
    expect_as_itself<std::invalid_argument>(pool, "invalid_argument");
    expect_as_itself<std::length_error>(pool, "length_error");
    expect_as_itself<std::domain_error>(pool, "domain_error");
    expect_as_itself<std::range_error>(pool, "range_error");
    expect_as_itself<std::overflow_error>(pool, "overflow_error");
    expect_as_itself<std::underflow_error>(pool, "underflow_error");
    expect_as_itself<std::bad_alloc>(pool, "bad_alloc");
    expect_as_itself<std::system_error>(pool, "system_error");
    try {
        pool.apply(fail, "system_error", "text");
    } catch (const std::system_error& error) {
        EXPECT_EQ(error.code().value(), ENOENT);
    }
}

}  // namespace conformance
