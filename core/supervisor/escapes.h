// SPDX-License-Identifier: Apache-2.0
// Escapes: processes that a task started and that outlive their worker, because they left its
// process group (setsid) and so its parent's kill.
//
// A master that is a subreaper becomes their parent, so it finds them among its own children.
// Invariants: (1) each is told once; (2) none is told of that is dying, or is in the group of a
// living worker; (3) a pid stays its process's until on_reaped(). It looks at worker deaths only.
// Threading: one owner.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/time.h"

namespace forkmill::supervisor {

struct Escaped {
    pid_t pid = -1;
    std::string name;  ///< As it calls itself: not to be trusted.
};

class Escapes {
  public:
    static constexpr std::size_t kKnownMax = 4096;  ///< Beyond it none is noted.
    /// What was killed with its worker is gone by then.
    static constexpr base::Duration kDying = std::chrono::milliseconds{500};

    /// Whether a pid is a child that its owner started itself.
    using IsOwn = std::function<bool(pid_t)>;

    /// A worker died and was reaped: notes the orphans that this process has now.
    void on_death(const IsOwn& is_own, base::Time now);
    void on_reaped(pid_t pid) { known_.erase(pid); }
    /// Those that are to be told of now.
    std::vector<Escaped> due(const IsOwn& is_own, base::Time now);
    /// How many were told of.
    std::uint64_t count() const { return count_; }

  private:
    std::map<pid_t, base::Time> known_;  ///< When each is due; kNever: it was told of.
    std::uint64_t count_ = 0;
};

}  // namespace forkmill::supervisor
