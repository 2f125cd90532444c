// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/group_state.h"

#include <algorithm>
#include <utility>

namespace forkmill {
inline namespace v0 {
namespace detail {

void GroupState::io_publish(std::vector<Job>& due) {
    std::unique_lock lock{mutex_};
    done_.insert(done_.end(), io_fresh_.begin(), io_fresh_.end());
    io_fresh_.clear();
    if (!owned_ && complete()) {
        lock.unlock();
        delete this;
        return;
    }
    if (then_ && complete())
        due.push_back(Job{kNoSlot, nullptr, std::exchange(then_, nullptr), false});
    // Under the lock: once it is released the owner may free this.
    if (waiting_) changed_.notify_all();
}

void GroupState::add(std::size_t items) {
    const std::lock_guard lock{mutex_};
    submitted_ += items;
}

void GroupState::take_back(std::size_t items) {
    const std::lock_guard lock{mutex_};
    submitted_ -= items;
}

void GroupState::then(std::function<void()> done, std::vector<Job>& due) {
    const std::lock_guard lock{mutex_};
    if (complete()) {
        due.push_back(Job{kNoSlot, nullptr, std::move(done), false});
    } else {
        then_ = std::move(done);
    }
}

namespace {

std::chrono::steady_clock::time_point wall_of(base::Time until) {
    // steady_clock is CLOCK_MONOTONIC here; a slice keeps "for ever" out of its arithmetic.
    const base::Time slice = base::monotonic_now() + std::chrono::milliseconds{500};
    return std::chrono::steady_clock::time_point{std::min(until, slice).time_since_epoch()};
}

}  // namespace

bool GroupState::wait_all(base::Time until) {
    std::unique_lock lock{mutex_};
    waiting_ = true;
    if (!complete()) changed_.wait_until(lock, wall_of(until));
    return complete();
}

bool GroupState::next(std::size_t& index, base::Time until) {
    std::unique_lock lock{mutex_};
    waiting_ = true;
    if (told_ == done_.size()) changed_.wait_until(lock, wall_of(until));
    if (told_ == done_.size()) return false;
    index = done_[told_++];
    return true;
}

std::size_t GroupState::settled() const {
    const std::lock_guard lock{mutex_};
    return done_.size();
}

void GroupState::wake() {
    changed_.notify_all();
}

void GroupState::abandon() {
    std::unique_lock lock{mutex_};
    owned_ = false;
    then_ = nullptr;
    if (!complete()) return;
    lock.unlock();
    delete this;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
