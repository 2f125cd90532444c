// SPDX-License-Identifier: Apache-2.0
#include "worker/executor.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/base/check.h"
#include "core/base/spin.h"
#include "core/supervisor/stack_dump.h"
#include "core/wire/limits.h"

namespace forkmill::worker {

namespace {

void store(std::atomic<std::int64_t>& cell, std::int64_t value) {
    cell.store(value, std::memory_order_relaxed);
}

}  // namespace

bool TaskThread::block() {
    return executor_->block(*this);
}
void TaskThread::unblock() {
    executor_->unblock(*this);
}
void TaskThread::progress(double fraction, std::string_view note) {
    executor_->progress(*this, fraction, note);
}

Executor::Executor(ExecutorOptions options, RunJob run)
    : options_(std::move(options)), run_(std::move(run)), budget_(options_.budget) {
    FORKMILL_CHECK(options_.threads > 0 && options_.budget > 0);
    const std::lock_guard lock{mutex_};
    for (std::uint32_t i = 0; i < options_.threads; ++i) add_thread();
}

Executor::~Executor() {
    {
        const std::lock_guard lock{mutex_};
        stopping_ = true;
    }
    work_there_.notify_all();
    place_free_.notify_all();
    for (auto& thread : threads_) thread->thread_.join();
}

// Under the mutex. Throws std::system_error when the system has no thread left.
void Executor::add_thread() {
    auto thread = std::make_unique<TaskThread>();
    thread->executor_ = this;
    if (options_.cells != nullptr && threads_.size() < supervisor::kThreadCells)
        thread->cell_ = &options_.cells->cells[threads_.size()];
    TaskThread& me = *thread;
    threads_.push_back(std::move(thread));
    try {
        me.thread_ = std::thread{[this, &me] { work(me); }};
    } catch (const std::system_error&) {
        threads_.pop_back();
        throw;
    }
}

void Executor::start(std::span<Job* const> jobs) {
    if (jobs.empty()) return;
    std::uint32_t sleepers = 0;
    {
        const std::lock_guard lock{mutex_};
        queue_.insert(queue_.end(), jobs.begin(), jobs.end());
        queued_.store(queue_.size(), std::memory_order_release);
        sleepers = asleep_;
    }
    if (sleepers == 0) return;
    if (jobs.size() == 1) {
        work_there_.notify_one();
    } else {
        work_there_.notify_all();
    }
}

bool Executor::take_back(Job& job) {
    const std::lock_guard lock{mutex_};
    // The newest are taken back first, so the search begins at the end.
    const auto found = std::find(queue_.rbegin(), queue_.rend(), &job);
    if (found == queue_.rend()) return false;
    queue_.erase(std::next(found).base());
    queued_.store(queue_.size(), std::memory_order_release);
    return true;
}

TaskThread* Executor::thread_of(const Job& job) {
    for (auto& thread : threads_) {
        if (thread->current_ == &job) return thread.get();
    }
    return nullptr;
}

void Executor::request_stop(Job& job) {
    std::stop_source source{std::nostopstate};
    {
        const std::lock_guard lock{mutex_};
        TaskThread* thread = thread_of(job);
        if (thread == nullptr) return;
        source = thread->stop_source_;
        thread->stop_used_ = true;  // Its next job gets another one, should this one end meanwhile.
    }
    // Outside the lock: the user's stop callbacks run here.
    source.request_stop();
}

std::uint64_t TaskThread::lease() const {
    const std::lock_guard lock{executor_->mutex_};
    return current_ == nullptr ? 0 : current_->lease;
}

void Executor::rekey(Job& job, std::uint64_t lease) {
    const std::lock_guard lock{mutex_};
    job.lease = lease;
    TaskThread* thread = thread_of(job);
    if (thread != nullptr && thread->cell_ != nullptr)
        thread->cell_->lease.store(lease, std::memory_order_relaxed);
}

void Executor::explain(Job& job, std::string_view head) {
    pid_t tid = 0;
    {
        const std::lock_guard lock{mutex_};
        if (const TaskThread* thread = thread_of(job)) tid = thread->tid_;
    }
    // Nobody waits for it: a thread that does not answer must not hold up this one.
    if (tid != 0) supervisor::dump_thread(tid, head, {});
}

void Executor::running(std::vector<Running>& out) {
    const std::lock_guard lock{mutex_};
    for (auto& thread : threads_) {
        if (thread->current_ != nullptr) out.push_back({thread->current_, thread->since_});
    }
}

void Executor::collect(FinishedBatch& finished, std::vector<TaskEvent>& events) {
    const std::lock_guard lock{mutex_};
    flush_wanted_.store(false, std::memory_order_relaxed);
    finished.clear();
    std::swap(finished, finished_);
    events.clear();
    std::swap(events, events_);
    if (!finished.list.empty()) naps_ = 0;
}

base::Duration Executor::patience() {
    const std::lock_guard lock{mutex_};
    if (running_ == 0 || !tiny_) return base::Duration::max();
    // Results of tiny runs may be kept back by a thread that then meets a long one: the first
    // sleeps after activity are short, and then nothing is kept back any more.
    if (!finished_.list.empty()) static_cast<void>(want_flush());
    if (++naps_ > 2) tiny_ = false;
    return kNap;
}

// Under the mutex. What is there is to be collected; true: the I/O thread must be told, after the
// mutex was left.
bool Executor::want_flush() {
    return !flush_wanted_.exchange(true, std::memory_order_acq_rel);
}

void Executor::wake(bool wanted) {
    if (wanted && options_.wake) options_.wake();
}

// Under the mutex. True: wake() is due.
bool Executor::note_finished(TaskThread& me, Finished& done, base::Duration run, base::Time now) {
    if (finished_.list.empty()) first_finished_ = now;
    finished_.list.push_back(std::move(done));
    finished_.busy += run;
    if (me.cell_ != nullptr) {
        me.cell_->lease.store(0, std::memory_order_relaxed);
        store(me.cell_->started_ns, 0);
        store(me.cell_->hard_limit_ns, 0);
        // Only this thread writes it: no locked instruction is needed.
        me.cell_->tasks_done.store(me.cell_->tasks_done.load(std::memory_order_relaxed) + 1,
                                   std::memory_order_relaxed);
    }
    me.current_ = nullptr;
    --running_;
    tiny_ = run < kTiny;
    const bool now_or_never = !may_begin() || !tiny_ || finished_.list.size() >= kFlushAt ||
                              now - first_finished_ >= kLinger;
    return now_or_never && want_flush();
}

// Under the mutex. REQUIRES: may_begin().
Job* Executor::begin(TaskThread& me, base::Time now) {
    Job* job = queue_.front();
    queue_.pop_front();
    queued_.store(queue_.size(), std::memory_order_relaxed);
    ++running_;
    if (budget_-- == options_.budget) first_begun_ = now;
    me.current_ = job;
    me.since_ = now;
    if (std::exchange(me.stop_used_, false)) {
        me.stop_source_ = std::stop_source{};
        ++me.stop_epoch_;
    }
    if (me.cell_ != nullptr) {
        const auto limit = static_cast<std::int64_t>(job->tmpl->def.timeout_ns);
        store(me.cell_->started_ns, now.time_since_epoch().count());
        store(me.cell_->hard_limit_ns, limit == 0 ? 0 : now.time_since_epoch().count() + limit);
        me.cell_->lease.store(job->lease, std::memory_order_release);
    }
    return job;
}

// Under the mutex. Not before half of the budget is used: a replacement costs a process.
bool Executor::is_ageing(base::Time now) const {
    const std::uint64_t begun = options_.budget - budget_;
    if (options_.budget == UINT64_MAX || begun < 2 || begun < options_.budget / 2) return false;
    return (now - first_begun_) / (begun - 1) * budget_ <= kReplaceAhead;
}

/// Leaves what `me` finished (if anything) and waits for its next job; null when the executor ends.
Job* Executor::next(TaskThread& me, Finished* done, base::Duration run, base::Time now) {
    std::unique_lock lock{mutex_};
    bool wanted = done != nullptr && note_finished(me, *done, run, now);
    if (unblocking_ > 0) place_free_.notify_one();
    bool fresh = true;  // `now` is the present.
    while (true) {
        if (stopping_) return nullptr;
        if (may_begin()) {
            Job* job = begin(me, fresh ? now : base::monotonic_now());
            if (budget_ == 0) {
                exhausted_.store(true, std::memory_order_relaxed);
                wanted = want_flush() || wanted;
            } else if (!ageing() && is_ageing(me.since_)) {
                ageing_.store(true, std::memory_order_relaxed);
                wanted = want_flush() || wanted;
            }
            lock.unlock();
            wake(wanted);
            return job;
        }
        lock.unlock();
        wake(std::exchange(wanted, false));
        fresh = false;
        base::spin_until([this] { return queued_.load(std::memory_order_acquire) != 0; });
        lock.lock();
        if (stopping_ || may_begin()) continue;
        ++asleep_;
        work_there_.wait(lock);
        --asleep_;
    }
}

void Executor::work(TaskThread& me) {
    me.tid_ = ::gettid();
    const supervisor::CrashStack crash_stack;
    detail::Buffer result;
    Job* job = next(me, nullptr, {}, base::monotonic_now());
    while (job != nullptr) {
        result.clear();
        Finished done;
        done.job = job;
        done.outcome = run_(me, result);
        if (result.size() < wire::kInlineBodyMax) {
            done.body = SmallBody{base::ByteView{result}};
        } else {
            auto* bytes = result.data();
            const std::size_t size = result.size();
            done.body = SmallBody{base::Blob::adopt(std::move(result), bytes, size)};
            result = {};
        }
        const base::Time now = base::monotonic_now();
        job = next(me, &done, now - me.since_, now);
    }
}

bool Executor::block(TaskThread& me) {
    bool wanted = false;
    {
        const std::lock_guard lock{mutex_};
        if (lent_ >= kLentMax) return false;
        // Somebody must be there to take the place: no thread that is not lent is spare.
        if (threads_.size() < options_.threads + lent_ + 1) {
            try {
                add_thread();
            } catch (const std::system_error&) {
                return false;
            }
        }
        ++lent_;
        --running_;
        events_.push_back({TaskEvent::Kind::Blocked, me.current_, 0, {}});
        wanted = want_flush();
    }
    wake(wanted);
    work_there_.notify_one();
    place_free_.notify_one();
    return true;
}

void Executor::unblock(TaskThread& me) {
    bool wanted = false;
    {
        std::unique_lock lock{mutex_};
        ++unblocking_;
        place_free_.wait(lock, [&] { return running_ < options_.threads || stopping_; });
        --unblocking_;
        --lent_;
        ++running_;
        events_.push_back({TaskEvent::Kind::Unblocked, me.current_, 0, {}});
        wanted = want_flush();
    }
    wake(wanted);
}

void Executor::progress(TaskThread& me, double fraction, std::string_view note) {
    bool wanted = false;
    {
        const std::lock_guard lock{mutex_};
        const auto old = std::find_if(events_.begin(), events_.end(), [&](const TaskEvent& event) {
            return event.kind == TaskEvent::Kind::Partial && event.job == me.current_;
        });
        TaskEvent event{TaskEvent::Kind::Partial, me.current_, fraction, std::string{note}};
        if (old != events_.end()) {
            *old = std::move(event);
        } else {
            events_.push_back(std::move(event));
        }
        wanted = want_flush();
    }
    wake(wanted);
}

}  // namespace forkmill::worker
