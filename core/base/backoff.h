// SPDX-License-Identifier: Apache-2.0
// Backoff: how long to wait before the next try; exponential, with jitter from a seed the caller
// gives.
//
// Invariants: (1) the same rule and seed give the same delays (law 4); (2) a delay is never above
// `max` nor below first × (1 - jitter). Threading: one owner.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/base/check.h"
#include "core/base/time.h"

namespace forkmill::base {

struct BackoffRule {
    Duration first = std::chrono::milliseconds{50};  ///< Before the first retry.
    Duration max = std::chrono::seconds{10};
    double factor = 2.0;
    double jitter = 0.2;  ///< Each delay is taken from [1 - jitter, 1 + jitter] of its middle.
};

class Backoff {
  public:
    /// REQUIRES: 0 < first ≤ max, factor ≥ 1, 0 ≤ jitter < 1. Configs are checked before they come
    /// here.
    Backoff(const BackoffRule& rule, std::uint64_t seed) : rule_(rule), state_(seed) {
        FORKMILL_CHECK(rule.first.count() > 0 && rule.first <= rule.max);
        FORKMILL_CHECK(rule.factor >= 1.0 && rule.jitter >= 0.0 && rule.jitter < 1.0);
        middle_ = static_cast<double>(rule.first.count());
    }

    /// The delay before the next try; each call counts as one more failure.
    Duration next() {
        const auto max = static_cast<double>(rule_.max.count());
        const double spread = 1.0 + rule_.jitter * (2.0 * random_unit() - 1.0);
        const double delay = std::min(middle_ * spread, max);
        middle_ = std::min(middle_ * rule_.factor, max);
        ++failures_;
        return Duration{static_cast<std::int64_t>(delay)};
    }

    /// After a success: the next delay is the first again.
    void reset() {
        middle_ = static_cast<double>(rule_.first.count());
        failures_ = 0;
    }

    /// Calls of next() since the last reset.
    std::uint64_t failures() const { return failures_; }

  private:
    /// splitmix64, as a number in [0, 1).
    double random_unit() {
        state_ += 0x9e3779b97f4a7c15ULL;
        std::uint64_t z = state_;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
        z ^= z >> 31;
        return static_cast<double>(z >> 11) * 0x1.0p-53;
    }

    BackoffRule rule_;
    std::uint64_t state_;
    double middle_ = 0.0;
    std::uint64_t failures_ = 0;
};

}  // namespace forkmill::base
