// SPDX-License-Identifier: Apache-2.0
// Group: many tasks of one template with results by index; its items are handed over in batches
// under one lock.
//
// Invariants: (1) index i is slots_[i] until released; (2) the group holds one reference per
// unreleased item. Threading: one owner thread at a time; wake() from any.
#pragma once

#include <cstdint>
#include <vector>

#include "sdk/src/client.h"
#include "sdk/src/group_state.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

class Group {
  public:
    Group(ClientPtr client, std::uint16_t template_id, std::size_t expected);
    ~Group();
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;

    void submit(Bytes arguments, const SubmitExtra* extra);
    void flush();
    bool wait_all(Duration timeout);
    bool wait_item(std::size_t index, Duration timeout);
    std::optional<std::size_t> next(Duration timeout);
    std::size_t settled() const { return state_->settled(); }
    SettledView view(std::size_t index);
    void release(std::size_t index);
    void cancel(bool kill);
    void then(std::function<void()> done);
    TaskId id(std::size_t index);
    Client& client() { return *client_; }

  private:
    std::uint32_t slot_of(std::size_t index) const;

    ClientPtr client_;
    std::uint16_t template_id_;
    GroupState* state_;
    std::vector<std::uint32_t> slots_;
    std::vector<std::uint32_t> claimed_;  ///< For items to come, last first.
    std::vector<std::uint32_t> fresh_;    ///< Filled, not handed over yet.
    std::uint64_t fresh_bytes_ = 0;
    std::size_t batch_ = 8;  ///< Grows: the first items leave early.
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
