// SPDX-License-Identifier: Apache-2.0
// DispatcherCore: the callbacks of any number of pools, run by whoever calls dispatch(), announced
// by one eventfd.
//
// Invariants: (1) the fd is readable exactly while a callback is due; (2) a removed queue is not
// touched any more. Threading: any; dispatch() by one at a time.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

namespace forkmill {
inline namespace v0 {

class Dispatcher;

namespace detail {

class CallbackQueue;

class DispatcherCore {
  public:
    DispatcherCore();
    ~DispatcherCore();
    DispatcherCore(const DispatcherCore&) = delete;
    DispatcherCore& operator=(const DispatcherCore&) = delete;

    int fd() const { return fd_; }
    /// `count` more jobs of `queue` are due.
    void announce(CallbackQueue& queue, std::size_t count);
    void remove(CallbackQueue& queue);
    /// Runs what is due now; what becomes due meanwhile waits for the next call. The number of
    /// callbacks run.
    std::size_t dispatch();

  private:
    CallbackQueue* take();
    void quiet_locked();

    int fd_;
    std::mutex mutex_;
    std::deque<CallbackQueue*> due_;
    std::mutex serving_;  ///< Held from take() to the end of that callback: remove() waits for it.
};

/// The core behind a user's Dispatcher.
std::shared_ptr<DispatcherCore> core_of(Dispatcher& dispatcher);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
