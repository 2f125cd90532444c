// SPDX-License-Identifier: Apache-2.0
// PollLoop: one thread's fds, transports and wakeups, and the one place where it sleeps.
//
// It decides nothing: owners register callbacks and call run_once() in a loop. Invariants: (1) it
// never sleeps while a transport is pending() or a Wakeup is notified; (2) it sleeps no longer than
// the caller's wake_at and every transport's; (3) a callback may add or remove anything, itself
// too. Threading: one thread; only Wakeup::notify() comes from elsewhere.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "core/base/spin.h"
#include "core/base/time.h"
#include "core/net/transport.h"
#include "core/net/unique_fd.h"
#include "core/net/wakeup.h"

namespace forkmill::net {

class PollLoop {
  public:
    using Callback = std::function<void()>;

    /// `spin`: how long run_once() looks before it sleeps; 0 = off.
    explicit PollLoop(base::Duration spin = base::kSpin);
    ~PollLoop();
    PollLoop(const PollLoop&) = delete;
    PollLoop& operator=(const PollLoop&) = delete;

    /// Calls `ready` in each turn in which fd is readable (or has hung up). The fd is not owned and
    /// must be removed before it is closed. REQUIRES: fd is not watched yet.
    void add(int fd, Callback ready);
    void remove(int fd);
    /// Calls `ready` when the transport may have something: fd readable, pending(), or wake_at()
    /// due. The callback receives until receive() says false, or a bound of its own.
    void add(Transport& transport, Callback ready);
    void remove(Transport& transport);
    /// Calls `ready` after a notification, already cleared: swap and go.
    void add(Wakeup& wakeup, Callback ready);
    void remove(Wakeup& wakeup);

    /// One turn: finds what is ready, at the latest by `wake_at` (kNever: waits for ever; a time
    /// that has passed: only looks), and calls it. True when something was.
    bool run_once(base::Time wake_at);

    void set_spin(base::Duration spin) { spin_ = spin; }

  private:
    struct Entry;

    Entry* enlist(int fd, Transport* transport, Wakeup* wakeup, Callback ready);
    void remove_if(const std::function<bool(const Entry&)>& which);
    bool ask_all();
    bool look(base::Duration wait);
    bool sleep(base::Time until);
    bool mark_due(base::Time now);
    base::Time earliest(base::Time wake_at) const;
    void dispatch();

    UniqueFd epoll_;
    base::Duration spin_;
    std::vector<std::unique_ptr<Entry>> entries_;
    bool dispatching_ = false;
};

}  // namespace forkmill::net
