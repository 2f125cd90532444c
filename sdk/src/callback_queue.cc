// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/callback_queue.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "sdk/src/client_log.h"
#include "sdk/src/dispatcher_core.h"
#include "sdk/src/object_shared.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

thread_local const CallbackQueue* t_running = nullptr;

}  // namespace

void CallbackQueue::run_guarded(Job& job) {
    set_viewed_client(owner_);
    try {
        table_->run(job);
    } catch (const std::exception& error) {
        log_warning(std::string{"a callback threw: "} + error.what());
    } catch (...) {
        log_warning("a callback threw something that is not a std::exception");
    }
}

CallbackQueue::CallbackQueue(Dispatcher* dispatcher) {
    if (dispatcher != nullptr) dispatcher_ = core_of(*dispatcher);
}

CallbackQueue::~CallbackQueue() {
    if (thread_.joinable()) stop();
}

void CallbackQueue::post(std::vector<Job>& batch) {
    const std::size_t count = batch.size();
    {
        std::unique_lock lock{mutex_};
        if (stopped_) {
            // The pool is gone, a handle of it is not: its callback runs where it was asked for.
            lock.unlock();
            for (Job& job : batch) run_guarded(job);
            batch.clear();
            return;
        }
        for (Job& job : batch) jobs_.push_back(std::move(job));
    }
    batch.clear();
    if (dispatcher_) {
        dispatcher_->announce(*this, count);
    } else {
        due_.notify_one();
    }
}

void CallbackQueue::start(std::shared_ptr<void> keep) {
    if (dispatcher_) return;
    const std::lock_guard lock{mutex_};
    if (std::exchange(started_, true) || stopping_) return;
    // The user's signal handlers run on the user's threads.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this, keep = std::move(keep)] { loop(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool CallbackQueue::on_this_thread() const {
    return t_running == this;
}

bool CallbackQueue::run_one() {
    if (on_this_thread()) return false;
    const std::lock_guard running{running_};
    std::unique_lock lock{mutex_};
    if (jobs_.empty()) return false;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    const CallbackQueue* outer = std::exchange(t_running, this);
    run_guarded(job);
    t_running = outer;
    return true;
}

void CallbackQueue::loop() {
    t_running = this;
    for (;;) {
        std::deque<Job> batch;
        {
            std::unique_lock lock{mutex_};
            busy_ = false;
            if (jobs_.empty()) idle_.notify_all();
            due_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            batch.swap(jobs_);
            busy_ = true;
        }
        for (Job& job : batch) run_guarded(job);
    }
}

bool CallbackQueue::wait_idle(base::Time until) {
    std::unique_lock lock{mutex_};
    while (!dispatcher_ && started_ && !stopping_ && (busy_ || !jobs_.empty())) {
        const base::Time now = base::monotonic_now();
        if (now >= until) return false;
        idle_.wait_for(lock, std::min<base::Duration>(until - now, std::chrono::milliseconds{500}));
    }
    return true;
}

void CallbackQueue::stop() {
    {
        const std::lock_guard lock{mutex_};
        stopping_ = true;
    }
    due_.notify_all();
    if (thread_.joinable()) {
        if (thread_.get_id() == std::this_thread::get_id()) {
            // A callback ends its own pool: the loop runs what is left and ends; it shares what it
            // needs.
            thread_.detach();
        } else {
            thread_.join();
        }
    }
    if (dispatcher_) dispatcher_->remove(*this);
    while (run_one()) {
    }
    const std::lock_guard lock{mutex_};
    stopped_ = true;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
