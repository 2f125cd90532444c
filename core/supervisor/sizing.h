// SPDX-License-Identifier: Apache-2.0
// Sizing: how many workers a pool between `min` and `max` has, from how many are busy and how many
// tasks wait.
//
// Invariants: (1) min ≤ workers ≤ max; (2) it grows by 1, 2, 4 … at a time, each kStep, while tasks
// wait; (3) it shrinks by one idle worker at a time, each `idle_timeout` during which one was spare
// at every look, so load that comes and goes does not make it flap. Pure. Threading: one owner.
#pragma once

#include <cstdint>

#include "core/base/time.h"

namespace forkmill::supervisor {

struct SizingRule {
    std::uint32_t min = 1;
    std::uint32_t max = 1;
    std::uint32_t spare = 0;  ///< Idle workers to keep beyond those that are busy.
    base::Duration idle_timeout = std::chrono::seconds{30};

    /// False: a pool of one size.
    bool varies() const { return max > min; }
};

/// What there is to see of a pool.
struct Pressure {
    std::uint32_t workers = 0;  ///< Wanted so far.
    std::uint32_t ready = 0;    ///< Of them, those that take tasks.
    std::uint32_t busy = 0;
    std::uint64_t queued = 0;  ///< Tasks that wait for a worker.
    std::uint32_t threads = 1;
};

class Sizing {
  public:
    static constexpr base::Duration kStep = std::chrono::seconds{1};
    static constexpr std::uint32_t kGrowMax = 32;

    explicit Sizing(const SizingRule& rule) : rule_(rule) {}

    /// How many workers there should be from now on. Call it about twice a second.
    std::uint32_t decide(const Pressure& now_seen, base::Time now);
    const SizingRule& rule() const { return rule_; }

  private:
    SizingRule rule_;
    std::uint32_t grow_by_ = 1;
    base::Time grow_at_{};
    base::Time spare_since_ = base::kNever;  ///< At least one worker too many at every look.
};

}  // namespace forkmill::supervisor
