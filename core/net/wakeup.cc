// SPDX-License-Identifier: Apache-2.0
#include "core/net/wakeup.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/check.h"

namespace forkmill::net {

Wakeup::Wakeup() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    FORKMILL_CHECK(fd_);
}

void Wakeup::kick() {
    const std::uint64_t one = 1;
    // It can only fail by being full, and then the loop wakes anyway.
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
}

void Wakeup::clear() {
    const State before = state_.exchange(State::Awake, std::memory_order_acq_rel);
    if (slept_ && before == State::Notified) owed_ = true;
    slept_ = false;
    if (!owed_) return;
    // The notifier may not have written yet: then a later turn reads it, and costs one idle turn.
    std::uint64_t count = 0;
    owed_ = ::read(fd_.get(), &count, sizeof count) < 0;
}

bool Wakeup::prepare_sleep() {
    State expected = State::Awake;
    if (!state_.compare_exchange_strong(expected, State::Sleeping, std::memory_order_acq_rel))
        return false;
    slept_ = true;
    return true;
}

void Wakeup::awake() {
    State expected = State::Sleeping;
    if (state_.compare_exchange_strong(expected, State::Awake, std::memory_order_acq_rel))
        slept_ = false;
}

}  // namespace forkmill::net
