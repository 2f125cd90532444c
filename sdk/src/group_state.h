// SPDX-License-Identifier: Apache-2.0
// GroupState: what a group's owner and the I/O side share of a job of many tasks.
//
// Invariants: (1) it lives until its owner let go and every item handed over has settled; (2) an
// index enters `done` once, in the order outcomes were recorded. Threading: io_* by the I/O thread
// only, all else under its mutex.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "sdk/src/pending.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

class GroupState {
  public:
    /// An item settled in this turn. True: the first of the turn, publish() is due.
    bool io_settled(std::uint32_t index) {
        io_fresh_.push_back(index);
        return io_fresh_.size() == 1;
    }
    /// Tells the owner of this turn's items; a completion callback that became due is appended to
    /// `due`. Ends with the state freed if nobody is left.
    void io_publish(std::vector<Job>& due);

    /// Before items are handed over …
    void add(std::size_t items);
    /// … and when the hand-over failed.
    void take_back(std::size_t items);
    /// Nothing more will be added after this call.
    void then(std::function<void()> done, std::vector<Job>& due);
    bool wait_all(base::Time until);
    /// The next index in order of completion, if one comes before `until`.
    bool next(std::size_t& index, base::Time until);
    std::size_t settled() const;
    void wake();
    /// The owner lets go.
    void abandon();

  private:
    ~GroupState() = default;
    bool complete() const { return done_.size() == submitted_; }

    std::vector<std::uint32_t> io_fresh_;

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::uint32_t> done_;
    std::size_t told_ = 0;
    std::size_t submitted_ = 0;
    std::function<void()> then_;
    bool waiting_ = false;
    bool owned_ = true;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
