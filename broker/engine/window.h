// SPDX-License-Identifier: Apache-2.0
// Window: the task numbers of one stream that are of interest, seq → slot, as a dense ring.
//
// Invariants: (1) floor ≤ first ≤ end; (2) a number below the floor is forgotten for ever and
// answered so, never run again; (3) numbers outside [first, end) were never seen; (4) the ring
// spans at most wire::kWindowMax numbers. Threading: none.
#pragma once

#include <cstdint>
#include <vector>

#include "core/wire/limits.h"

namespace forkmill::engine {

class Window {
  public:
    static constexpr std::uint32_t kAbsent = UINT32_MAX;
    static constexpr std::uint32_t kSettled = UINT32_MAX - 1;

    std::uint64_t floor() const { return floor_; }
    std::uint64_t first() const { return first_; }
    std::uint64_t end() const { return end_; }

    /// Slot of `seq`; kSettled: it ended and is gone; kAbsent: never seen.
    std::uint32_t find(std::uint64_t seq) const {
        if (seq < floor_) return kSettled;
        if (seq < first_ || seq >= end_) return kAbsent;
        return ring_[seq & mask_];
    }
    /// Whether put(seq) keeps to the bound.
    bool fits(std::uint64_t seq) const;
    /// REQUIRES: fits(seq).
    void put(std::uint64_t seq, std::uint32_t slot);
    /// The task ended and its node is gone. The floor follows as far as there is no gap.
    void settle(std::uint64_t seq);
    /// Undoes put(): the number may come again.
    void forget(std::uint64_t seq) {
        if (seq >= first_ && seq < end_) ring_[seq & mask_] = kAbsent;
    }
    /// Numbers below `floor` are forgotten; `leave(seq, slot)` is told of each live one.
    template <class Leave>
    void raise_floor(std::uint64_t floor, Leave leave) {
        while (first_ < end_ && first_ < floor) {
            const std::uint32_t slot = ring_[first_ & mask_];
            if (slot < kSettled) leave(first_, slot);
            ++first_;
        }
        if (floor > floor_) floor_ = floor;
        if (first_ < floor_) first_ = end_ = floor_;
        shrink();
    }
    template <class Visit>
    void for_each(Visit visit) const {
        for (std::uint64_t seq = first_; seq < end_; ++seq) {
            const std::uint32_t slot = ring_[seq & mask_];
            if (slot < kSettled) visit(seq, slot);
        }
    }
    std::uint64_t bytes() const { return ring_.size() * sizeof(std::uint32_t); }

  private:
    void reserve(std::uint64_t span);
    void move_to(std::uint64_t size);
    void shrink();

    std::vector<std::uint32_t> ring_;
    std::uint64_t mask_ = 0;
    std::uint64_t first_ = 0;
    std::uint64_t end_ = 0;
    std::uint64_t floor_ = 0;
};

}  // namespace forkmill::engine
