// SPDX-License-Identifier: Apache-2.0
// JobTable: the leases a worker holds, in slots that never move.
//
// Invariants: (1) a Job's address is its own until free(); (2) at most kJobsMax live at once.
// Threading: the I/O thread.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "worker/job.h"

namespace forkmill::worker {

inline constexpr std::size_t kJobsMax = 8192;  ///< Leases held at once; more are returned.

class JobTable {
  public:
    /// A fresh Job, or null at the bound.
    Job* make();
    void free(Job& job);
    std::size_t live() const { return live_; }

    /// The live job under `lease` of this incarnation, or null: a job that waits for adoption bears
    /// an old number. Linear: only rare verbs name a lease.
    Job* find(std::uint64_t lease);
    /// Calls `act` on every live job.
    template <class Act>
    void each(Act&& act) {
        for (Job& job : slots_) {
            if (job.state != JobState::Free) act(job);
        }
    }

  private:
    std::deque<Job> slots_;
    std::vector<Job*> free_;
    std::size_t live_ = 0;
};

}  // namespace forkmill::worker
