// SPDX-License-Identifier: Apache-2.0
// Executor: the task threads of a worker and the hand-over to and from its I/O thread.
//
// One mutex guards everything; a task thread takes it once per task, to leave a result and to take
// the next job. Invariants: (1) never more than `threads` threads run user code at once: one that
// waits in a task lends its place (semantics.md 17), at most kLentMax at a time; (2) a thread's
// scoreboard cell names the lease while user code may run under it and is cleared after the result
// was queued; (3) a finished job is never kept from the I/O thread for longer than kLinger, nor a
// millisecond if its thread went into a longer task. Threading: Hands and collect() by the I/O
// thread, TaskThread by its own thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "core/supervisor/scoreboard.h"
#include "forkmill/detail/nested.h"
#include "worker/job.h"

namespace forkmill::worker {

inline constexpr std::uint32_t kLentMax = 64;
inline constexpr std::size_t kFlushAt =
    256;  ///< Results after which the I/O thread is told at once.
inline constexpr base::Duration kTiny =
    std::chrono::microseconds{20};  ///< Shorter runs are reported in company …
inline constexpr base::Duration kLinger =
    std::chrono::microseconds{100};  ///< … after at most this long.
inline constexpr base::Duration kReplaceAhead =
    std::chrono::seconds{1};  ///< Time for several workers to start, one after another.
inline constexpr base::Duration kNap = std::chrono::milliseconds{1};

class Executor;

/// What the code that runs a job sees of its thread.
class TaskThread final : public detail::TaskScope {
  public:
    bool block() override;
    void unblock() override;
    std::uint64_t lease() const override;
    /// Progress of the running job; only the newest is kept.
    void progress(double fraction, std::string_view note);

    const Job& job() const { return *current_; }
    std::stop_token stop_token() const { return stop_source_.get_token(); }
    /// Changes with the token.
    std::uint64_t stop_epoch() const { return stop_epoch_; }

  private:
    friend class Executor;
    Executor* executor_ = nullptr;
    supervisor::ThreadCell* cell_ = nullptr;  ///< Null beyond kThreadCells.
    Job* current_ = nullptr;
    base::Time since_{};
    std::stop_source stop_source_;  ///< Shared by the jobs of this thread until it was used.
    bool stop_used_ = false;
    std::uint64_t stop_epoch_ = 1;
    std::thread thread_;
    std::atomic<pid_t> tid_{0};  ///< 0: it has not begun.
};

/// Runs one job to its end: the result into `result` (given empty), how it ended as value. Never
/// throws.
using RunJob = std::function<wire::Outcome(TaskThread& thread, detail::Buffer& result)>;

struct TaskEvent {
    enum class Kind : std::uint8_t { Blocked, Unblocked, Partial };
    Kind kind{};
    Job* job = nullptr;
    double fraction = 0;
    std::string note;
};

struct ExecutorOptions {
    std::uint32_t threads = 1;
    std::uint64_t budget = UINT64_MAX;  ///< Jobs it may begin in all (max_tasks_per_child).
    supervisor::SlotCells* cells = nullptr;
    std::function<void()> wake;  ///< There is something to collect; any thread.
};

class Executor final : public Hands {
  public:
    Executor(ExecutorOptions options, RunJob run);
    /// REQUIRES: running jobs end. (A worker process leaves by _exit instead.)
    ~Executor() override;

    void start(std::span<Job* const> jobs) override;
    bool take_back(Job& job) override;
    void request_stop(Job& job) override;
    void rekey(Job& job, std::uint64_t lease) override;
    void explain(Job& job, std::string_view head) override;
    void running(std::vector<Running>& out) override;

    /// True when collect() is worth its lock now.
    bool ready() const { return flush_wanted_.load(std::memory_order_acquire); }
    /// Moves out what finished and what happened; events come before the end of their job.
    void collect(FinishedBatch& finished, std::vector<TaskEvent>& events);
    /// For how long the I/O thread may sleep without looking by itself.
    base::Duration patience();
    /// The rest of the budget will last no longer than kReplaceAhead.
    bool ageing() const { return ageing_.load(std::memory_order_relaxed); }
    /// The budget is used up: what was not begun will never be.
    bool exhausted() const { return exhausted_.load(std::memory_order_relaxed); }

  private:
    friend class TaskThread;

    void add_thread();
    void work(TaskThread& me);
    Job* next(TaskThread& me, Finished* done, base::Duration run, base::Time now);
    Job* begin(TaskThread& me, base::Time now);
    bool is_ageing(base::Time now) const;
    bool may_begin() const {
        return !queue_.empty() && running_ + unblocking_ < options_.threads && budget_ > 0;
    }
    bool note_finished(TaskThread& me, Finished& done, base::Duration run, base::Time now);
    bool want_flush();
    void wake(bool wanted);
    bool block(TaskThread& me);
    void unblock(TaskThread& me);
    void progress(TaskThread& me, double fraction, std::string_view note);
    TaskThread* thread_of(const Job& job);

    const ExecutorOptions options_;
    const RunJob run_;

    std::mutex mutex_;
    std::condition_variable work_there_;  ///< Idle task threads.
    std::condition_variable place_free_;  ///< Threads whose wait is over.
    std::deque<Job*> queue_;
    std::vector<std::unique_ptr<TaskThread>> threads_;
    std::uint32_t running_ = 0;  ///< In user code and not lent.
    std::uint32_t lent_ = 0;
    std::uint32_t unblocking_ = 0;
    std::uint32_t asleep_ = 0;  ///< In work_there_.
    std::uint64_t budget_;
    base::Time first_begun_{};
    FinishedBatch finished_;
    base::Time first_finished_{};
    std::vector<TaskEvent> events_;
    bool tiny_ = false;  ///< The last run was; results may wait for company.
    std::uint32_t naps_ = 0;
    bool stopping_ = false;
    std::atomic<std::size_t> queued_{0};  ///< Hint for spinning threads.
    std::atomic<bool> flush_wanted_{false};
    std::atomic<bool> ageing_{false};
    std::atomic<bool> exhausted_{false};
};

}  // namespace forkmill::worker
