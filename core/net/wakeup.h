// SPDX-License-Identifier: Apache-2.0
// Wakeup: tells a poll loop in another thread that something was handed over, without a system call
// while that loop is awake.
//
// Hand-over is "lock, push, unlock, notify()"; the loop's side is "clear(), lock, swap, unlock".
// Invariants: (1) what was pushed before a notify() is seen by a swap after the next clear(), and
// the loop does not sleep in between; (2) the eventfd is written only while the loop sleeps.
// Threading: notify() and notified() from any thread; the rest from the loop's.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/net/unique_fd.h"

namespace forkmill::net {

class Wakeup {
  public:
    /// Ends the process when no eventfd can be made.
    Wakeup();

    void notify() {
        // The pusher's mutex orders this load after the loop's clear(), so a stale Notified cannot
        // be read here (see clear()).
        if (state_.load(std::memory_order_acquire) == State::Notified) return;
        if (state_.exchange(State::Notified, std::memory_order_acq_rel) == State::Sleeping) kick();
    }
    bool notified() const { return state_.load(std::memory_order_acquire) == State::Notified; }

    /// Before looking at what was handed over.
    void clear();
    /// Before sleeping; false when there is a notification, and sleeping would miss it.
    bool prepare_sleep();
    /// After sleeping: from here on notify() costs no system call again.
    void awake();
    int fd() const { return fd_.get(); }

  private:
    enum class State : std::uint32_t { Awake, Sleeping, Notified };
    void kick();

    std::atomic<State> state_{State::Awake};
    bool slept_ = false;  ///< Since prepare_sleep(), until awake() or clear().
    bool owed_ = false;   ///< The eventfd was or is about to be written.
    UniqueFd fd_;
};

}  // namespace forkmill::net
