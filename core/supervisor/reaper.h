// SPDX-License-Identifier: Apache-2.0
// Reaper: what happened to the children of this process, one event at a time.
//
// Twenty deaths may raise one SIGCHLD, so whoever is woken calls next() until it says nullopt.
// Invariants: (1) the process group of a dead child that leads one is killed while the child is
// still a zombie, so its number cannot be anybody else's; (2) orphans that this process adopted (as
// a subreaper) are reaped like its own. Threading: the process's only thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>

#include "core/supervisor/channel.h"

namespace forkmill::supervisor {

struct ChildEvent {
    enum class Kind : std::uint8_t { Exited, Signaled, Stopped, Continued };
    pid_t pid = -1;
    Kind kind{};
    int detail = 0;  ///< Exit code or signal number.
    // Of a death:
    bool core_dumped = false;
    /// The most bytes that were resident at a time, of the process or of one that it waited for,
    /// whichever had more; its parent's at the fork are the least. The kernel keeps no other number
    /// of the dead.
    std::uint64_t rss_peak = 0;

    bool is_death() const { return kind == Kind::Exited || kind == Kind::Signaled; }
};

/// The next event of any child; nullopt when there is none now. `leads_group` says whether a pid is
/// a child that was given a process group of its own.
std::optional<ChildEvent> next_child_event(const std::function<bool(pid_t)>& leads_group);

/// Orphans of dead children become this process's.
void become_subreaper();

/// Whether the kernel's out-of-memory killer was at work since the last call; for deaths by a
/// SIGKILL that nobody here sent.
class OomWatch {
  public:
    OomWatch();
    bool has_struck();

  private:
    std::uint64_t seen_ = 0;
};

/// How a child ended, given what was wanted of it and which signals its parent sent it. A doom
/// explains an exit, and a death by one of those signals; any other death explains itself.
Cause cause_of(const ChildEvent& death, Cause doom, bool signal_was_ours, bool oom);

}  // namespace forkmill::supervisor
