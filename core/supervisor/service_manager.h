// SPDX-License-Identifier: Apache-2.0
// ServiceManager: systemd's notify protocol (sd_notify(3)), spoken without libsystemd.
//
// Invariants: (1) the variables of the protocol are out of the environment from construction on, so
// no child speaks in the master's name; only environment() gives them back, for the exec in place,
// after which the new image makes its own ServiceManager; (2) nothing here blocks or fails: a
// manager that does not listen must not hinder the work; (3) at most kUnsentMax messages wait, and
// the oldest goes first when there are more. Without a socket every call does nothing. The main pid
// never changes, so MAINPID is never said. Threading: one owner, constructed before other threads.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/time.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

class ServiceManager {
  public:
    static constexpr std::size_t kUnsentMax = 16;
    static constexpr std::size_t kStatusMax = 256;  ///< Bytes of a status; the rest is cut off.

    /// Takes NOTIFY_SOCKET (a path or @abstract), WATCHDOG_USEC and WATCHDOG_PID.
    ServiceManager();

    /// Somebody listens.
    bool present() const { return static_cast<bool>(socket_); }

    /// The service is up, or up again after reloading().
    void ready(std::string_view status);
    /// A reload begins; ready() ends it, whether it succeeded or not.
    void reloading();
    void stopping();
    /// What `systemctl status` shows: one line; control characters become blanks.
    void status(std::string_view text);
    /// A sign of life. Says again what the manager had no room for, too.
    void watchdog();

    /// How often watchdog() is to be called: half of what the manager allows. Duration::max():
    /// never.
    base::Duration watchdog_interval() const { return interval_; }

    /// What was taken, as "NAME=value", for the exec in place.
    const std::vector<std::string>& environment() const { return taken_; }

  private:
    void open(std::string_view address);
    void tell(std::string message);
    bool send(const std::string& message) const;
    /// True when nothing waits any more.
    bool send_unsent();

    std::vector<std::string> taken_;
    OwnedFd socket_;
    sockaddr_un address_{};
    socklen_t address_size_ = 0;
    base::Duration interval_ = base::Duration::max();
    std::deque<std::string> unsent_;
};

}  // namespace forkmill::supervisor
