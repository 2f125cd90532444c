// SPDX-License-Identifier: Apache-2.0
// Custody: results that were told and may be asked for again: one frame of them after another,
// until the broker's floor passes it (semantics.md 5).
//
// Invariants: (1) frames are kept in the order of their numbers; (2) counts equal what is kept.
// Threading: none.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "worker/job.h"

namespace forkmill::worker {

/// A finished task: enough to tell it, again, under another lease.
struct Result {
    std::uint64_t lease = 0;
    base::TaskId task;
    std::uint32_t attempt = 1;
    std::uint32_t crashes = 0;
    wire::Outcome outcome{};
    SmallBody body;
};

class Custody {
  public:
    /// Keeps what frame `number` told. Takes the contents of `results` and leaves it empty, with
    /// memory to fill again.
    void keep(std::uint64_t number, std::vector<Result>& results);
    /// Frames numbered up to `floor` may be forgotten. Returns true when there were any.
    bool release(std::uint64_t floor);
    /// Everything kept, oldest first; nothing is kept afterwards (a new incarnation knows no frame
    /// of the old one).
    std::vector<Result> take_all();

    std::size_t results() const { return results_; }
    std::size_t bytes() const { return bytes_; }
    std::size_t frames() const { return frames_.size(); }
    std::string check_invariants() const;

  private:
    struct Frame {
        std::uint64_t number = 0;
        std::vector<Result> results;
        std::size_t bytes = 0;
    };
    static constexpr std::size_t kSpareMax = 16;

    std::deque<Frame> frames_;
    std::vector<std::vector<Result>> spare_;
    std::size_t results_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace forkmill::worker
