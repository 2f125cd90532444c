// SPDX-License-Identifier: Apache-2.0
// Timers: an indexed heap. Only what has a timer pays for one; disarming leaves nothing behind.
//
// Invariants: (1) a handle stands in the heap exactly while it is armed; (2) equal times fire in
// the order of arming, so runs repeat. Threading: none.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/time.h"

namespace forkmill::engine {

class Timers {
  public:
    enum class Kind : std::uint8_t { Task, Session, Outcome, Stream, Wait, Member };
    struct Fired {
        Kind kind{};
        std::uint32_t id = 0;
    };

    /// Arms `handle` (0: a new one) for `at`; an armed one is moved.
    void arm(std::uint32_t& handle, base::Time at, Kind kind, std::uint32_t id);
    /// Disarms and clears the handle; 0 is allowed.
    void disarm(std::uint32_t& handle);
    base::Time next() const { return heap_.empty() ? base::kNever : heap_.front().at; }
    /// Removes the first timer that is due. The owner clears its handle.
    bool pop_due(base::Time now, Fired& fired);
    std::size_t size() const { return heap_.size(); }

  private:
    struct Entry {
        base::Time at;
        std::uint64_t order = 0;
        std::uint32_t handle = 0;
        std::uint32_t id = 0;
        Kind kind{};
        bool before(const Entry& other) const {
            return at != other.at ? at < other.at : order < other.order;
        }
    };

    void place(std::size_t at, const Entry& entry);
    void sift_up(std::size_t at, const Entry& entry);
    void sift_down(std::size_t at, const Entry& entry);
    void remove(std::size_t at);

    std::vector<Entry> heap_;
    std::vector<std::uint32_t> position_ = {0};  ///< By handle; index 0 is never used.
    std::vector<std::uint32_t> free_;
    std::uint64_t order_ = 0;
};

}  // namespace forkmill::engine
