// SPDX-License-Identifier: Apache-2.0
// Task threads: order, batches, lending, budget, stop requests, blame. Run under ThreadSanitizer
// too.
#include "worker/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/wait_until.h"

namespace forkmill::worker {
namespace {

using namespace std::chrono_literals;

std::string text(base::ByteView bytes) {
    return std::string{base::text_of(bytes)};
}

/// An executor whose jobs run a function; the test's thread is the I/O thread.
class Bench {
  public:
    using Body = std::function<void(TaskThread&, detail::Buffer&)>;

    explicit Bench(Body body, std::uint32_t threads = 1, std::uint64_t budget = UINT64_MAX)
        : body_(std::move(body)),
          executor_({threads, budget, &cells, [this] { ++wakes; }},
                    [this](TaskThread& thread, detail::Buffer& result) {
                        body_(thread, result);
                        return wire::Outcome::Succeeded;
                    }) {}

    std::vector<Job*> jobs(std::size_t count) {
        std::vector<Job*> made;
        for (std::size_t i = 0; i < count; ++i) {
            auto job = std::make_unique<Job>();
            job->lease = all.size() + 1;
            job->tmpl = &tmpl;
            made.push_back(job.get());
            all.push_back(std::move(job));
        }
        return made;
    }
    std::vector<Job*> start(std::size_t count) {
        std::vector<Job*> made = jobs(count);
        executor_.start(made);
        return made;
    }
    void collect() {
        FinishedBatch batch;
        std::vector<TaskEvent> events;
        executor_.collect(batch, events);
        for (Finished& done : batch.list) {
            finished.push_back(done.job->lease);
            bodies.push_back(text(done.body.view()));
        }
        busy += batch.busy;
        for (TaskEvent& event : events) seen.push_back(std::move(event));
    }
    [[nodiscard]] bool wait_finished(std::size_t count) {
        return test::wait_until([&] {
            collect();
            return finished.size() >= count;
        });
    }

    supervisor::SlotCells cells;
    Template tmpl;
    std::vector<std::unique_ptr<Job>> all;
    std::vector<std::uint64_t> finished;
    std::vector<std::string> bodies;
    std::vector<TaskEvent> seen;
    base::Duration busy{};
    std::atomic<int> wakes{0};

  private:
    Body body_;

  public:
    Executor executor_;
};

TEST(Executor, RunsJobsInOrderAndTellsEachOnce) {
    Bench bench{[](TaskThread& thread, detail::Buffer& result) {
        const std::string name = std::to_string(thread.job().lease);
        for (const char c : name) result.push_back(static_cast<std::byte>(c));
    }};
    bench.start(500);
    bench.start(500);
    ASSERT_TRUE(bench.wait_finished(1000));
    for (std::size_t i = 0; i < 1000; ++i) {
        ASSERT_EQ(bench.finished[i], i + 1);
        ASSERT_EQ(bench.bodies[i], std::to_string(i + 1));
    }
    EXPECT_GT(bench.busy, 0ns);
    EXPECT_GE(bench.wakes, 1);
}

TEST(Executor, HandsOverLargeResultsWhole) {
    Bench bench{
        [](TaskThread&, detail::Buffer& result) { result.assign(1UL << 20, std::byte{'x'}); }};
    bench.start(2);
    ASSERT_TRUE(bench.wait_finished(2));
    EXPECT_EQ(bench.bodies[0], std::string(1UL << 20, 'x'));
    EXPECT_EQ(bench.bodies[1].size(), 1UL << 20);
}

TEST(Executor, RunsAsManyAtOnceAsItHasThreads) {
    std::latch together{3};
    Bench bench{[&](TaskThread&, detail::Buffer&) { together.arrive_and_wait(); }, 3};
    bench.start(3);
    ASSERT_TRUE(bench.wait_finished(3));
}

TEST(Executor, TellsALongRunAtOnceAndWakesTheSleeper) {
    std::latch go{1};
    Bench bench{[&](TaskThread& thread, detail::Buffer&) {
        if (thread.job().lease == 2) go.wait();
    }};
    bench.start(2);
    // The first result may keep company with the second, but not for long: patience() looks.
    ASSERT_TRUE(test::wait_until([&] {
        static_cast<void>(bench.executor_.patience());
        if (bench.executor_.ready()) bench.collect();
        return bench.finished.size() == 1;
    }));
    go.count_down();
    ASSERT_TRUE(bench.wait_finished(2));
}

TEST(Executor, TakesBackWhatHasNotBegun) {
    std::latch begun{1};
    std::latch go{1};
    Bench bench{[&](TaskThread& thread, detail::Buffer&) {
        if (thread.job().lease != 1) return;
        begun.count_down();
        go.wait();
    }};
    const std::vector<Job*> jobs = bench.start(3);
    begun.wait();
    EXPECT_FALSE(bench.executor_.take_back(*jobs[0]));
    EXPECT_TRUE(bench.executor_.take_back(*jobs[1]));
    EXPECT_FALSE(bench.executor_.take_back(*jobs[1]));
    go.count_down();
    ASSERT_TRUE(bench.wait_finished(2));
    EXPECT_EQ(bench.finished, (std::vector<std::uint64_t>{1, 3}));
}

TEST(Executor, StopReachesTheRunningJobAndNoOther) {
    std::latch begun{1};
    std::atomic<bool> second_stopped{false};
    Bench bench{[&](TaskThread& thread, detail::Buffer&) {
        if (thread.job().lease == 1) {
            begun.count_down();
            ASSERT_TRUE(test::wait_until([&] { return thread.stop_token().stop_requested(); }));
        } else {
            second_stopped = thread.stop_token().stop_requested();
        }
    }};
    const std::vector<Job*> jobs = bench.start(2);
    begun.wait();
    bench.executor_.request_stop(*jobs[1]);  // It waits: without effect.
    bench.executor_.request_stop(*jobs[0]);
    ASSERT_TRUE(bench.wait_finished(2));
    EXPECT_FALSE(second_stopped);
}

TEST(Executor, ScoreboardNamesTheLeaseWhileItRuns) {
    std::latch begun{1};
    std::latch go{1};
    Bench bench{[&](TaskThread&, detail::Buffer&) {
        begun.count_down();
        go.wait();
    }};
    bench.tmpl.def.timeout_ns = 1'000'000'000;
    const std::vector<Job*> jobs = bench.start(1);
    begun.wait();
    supervisor::ThreadCell& cell = bench.cells.cells[0];
    EXPECT_EQ(cell.lease, 1U);
    EXPECT_EQ(cell.hard_limit_ns - cell.started_ns, 1'000'000'000);
    bench.executor_.rekey(*jobs[0], 77);
    EXPECT_EQ(cell.lease, 77U);
    std::vector<Running> running;
    bench.executor_.running(running);
    ASSERT_EQ(running.size(), 1U);
    EXPECT_EQ(running[0].job, jobs[0]);
    go.count_down();
    ASSERT_TRUE(bench.wait_finished(1));
    EXPECT_EQ(cell.lease, 0U);
    EXPECT_EQ(cell.started_ns, 0);
    EXPECT_EQ(cell.tasks_done, 1U);
}

TEST(Executor, BeginsNoMoreThanItsBudget) {
    Bench bench{[](TaskThread&, detail::Buffer&) {}, 2, 5};
    const std::vector<Job*> jobs = bench.start(8);
    ASSERT_TRUE(bench.wait_finished(5));
    EXPECT_TRUE(bench.executor_.exhausted());
    for (std::size_t i = 5; i < 8; ++i) EXPECT_TRUE(bench.executor_.take_back(*jobs[i]));
    EXPECT_EQ(bench.finished.size(), 5U);
}

TEST(Executor, AWaitingTaskLendsItsPlaceAndGetsItBack) {
    std::latch inner_ran{1};
    std::atomic<int> at_once{0};
    std::atomic<int> most{0};
    Bench bench{[&](TaskThread& thread, detail::Buffer&) {
        const int now = ++at_once;
        if (now > most) most = now;
        if (thread.job().lease == 1) {
            --at_once;
            ASSERT_TRUE(thread.block());
            inner_ran.wait();
            thread.unblock();
            const int back = ++at_once;
            if (back > most) most = back;
        } else {
            inner_ran.count_down();
        }
        --at_once;
    }};
    bench.start(2);
    ASSERT_TRUE(bench.wait_finished(2));
    EXPECT_EQ(most, 1);  // Two threads, never two tasks at once.
    ASSERT_GE(bench.seen.size(), 2U);
    EXPECT_EQ(bench.seen[0].kind, TaskEvent::Kind::Blocked);
    EXPECT_EQ(bench.seen[1].kind, TaskEvent::Kind::Unblocked);
}

TEST(Executor, LendsNoMorePlacesThanItsBound) {
    std::atomic<std::uint32_t> waiting{0};
    std::atomic<bool> refused{false};
    Bench bench{[&](TaskThread& thread, detail::Buffer&) {
        if (!thread.block()) {
            refused = true;
            return;
        }
        ++waiting;
        EXPECT_TRUE(test::wait_until([&] { return refused.load(); }));
        thread.unblock();
    }};
    bench.start(kLentMax + 1);
    ASSERT_TRUE(bench.wait_finished(kLentMax + 1));
    EXPECT_EQ(waiting, kLentMax);
    EXPECT_TRUE(refused);
}

TEST(Executor, KeepsOnlyTheNewestProgress) {
    std::latch told{1};
    std::latch go{1};
    Bench bench{[&](TaskThread& thread, detail::Buffer&) {
        thread.progress(0.25, "a");
        thread.progress(0.5, "b");
        told.count_down();
        go.wait();
    }};
    bench.start(1);
    told.wait();
    bench.collect();
    ASSERT_EQ(bench.seen.size(), 1U);
    EXPECT_EQ(bench.seen[0].note, "b");
    EXPECT_EQ(bench.seen[0].fraction, 0.5);
    go.count_down();
    ASSERT_TRUE(bench.wait_finished(1));
}

TEST(Executor, FourThreadsShareManyJobs) {
    std::atomic<std::uint64_t> sum{0};
    Bench bench{[&](TaskThread& thread, detail::Buffer&) { sum += thread.job().lease; }, 4};
    for (int i = 0; i < 50; ++i) bench.start(100);
    ASSERT_TRUE(bench.wait_finished(5000));
    EXPECT_EQ(sum, 5000ULL * 5001 / 2);
    EXPECT_EQ(std::set<std::uint64_t>(bench.finished.begin(), bench.finished.end()).size(), 5000U);
}

}  // namespace
}  // namespace forkmill::worker
