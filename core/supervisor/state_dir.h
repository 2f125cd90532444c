// SPDX-License-Identifier: Apache-2.0
// StateDir: the directory of one instance: its lock, its pid file, its incarnation.
//
// Invariants: (1) at most one living process holds a StateDir of a directory; the lock is flock(2)
// on master.pid, so a stale, empty or recycled pid means nothing; (2) an incarnation that was
// returned is on disk, and higher than every earlier one. Threading: one owner.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/supervisor/exit_codes.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

/// What a process ends with that was refused its StateDir: kExitTempFail while another instance
/// holds it, else kExitConfig.
int exit_code_for(const base::Failure& failure);

class StateDir {
  public:
    /// Makes the directory (0700) if it is not there, checks that it is ours and writable, takes
    /// the lock and writes the pid. A failure says what to do.
    static base::Result<StateDir> open(const std::string& path);

    /// One whose lock this process holds already (after an exec in place).
    static StateDir adopt(const std::string& path, OwnedFd lock);

    StateDir(StateDir&&) noexcept = default;
    StateDir& operator=(StateDir&&) = delete;
    /// Removes master.pid if it is still ours, and so ends the lock; not in a forked child.
    ~StateDir();

    const std::string& path() const { return path_; }
    /// Held for life: a child must not inherit it.
    int lock_fd() const { return lock_.get(); }

    /// Its last owner was killed: what that started may live on.
    bool was_left_behind() const { return left_behind_; }
    /// The next incarnation (semantics.md 1): raised, fsynced, renamed into place.
    base::Result<std::uint64_t> raise_incarnation() const;

  private:
    StateDir(std::string path, OwnedFd lock);

    std::string path_;
    OwnedFd lock_;
    int owner_pid_ = 0;
    bool left_behind_ = false;
};

}  // namespace forkmill::supervisor
