// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/window.h"

#include <algorithm>
#include <bit>

#include "core/base/check.h"

namespace forkmill::engine {

namespace {
constexpr std::uint64_t kSmallest = 64;
constexpr std::uint64_t kShrinkAbove = 64 * 1024;
}  // namespace

bool Window::fits(std::uint64_t seq) const {
    if (seq < floor_) return false;
    if (first_ == end_) return true;
    const std::uint64_t first = std::min(first_, seq);
    const std::uint64_t end = std::max(end_, seq + 1);
    return seq != UINT64_MAX && end - first <= wire::kWindowMax;
}

void Window::move_to(std::uint64_t size) {
    std::vector<std::uint32_t> ring(size, kAbsent);
    for (std::uint64_t seq = first_; seq < end_; ++seq) ring[seq & (size - 1)] = ring_[seq & mask_];
    ring_.swap(ring);
    mask_ = size - 1;
}

void Window::reserve(std::uint64_t span) {
    if (span > ring_.size()) move_to(std::max(kSmallest, std::bit_ceil(span)));
}

void Window::shrink() {
    if (ring_.size() > kShrinkAbove && (end_ - first_) < ring_.size() / 16)
        move_to(ring_.size() / 8);
}

void Window::put(std::uint64_t seq, std::uint32_t slot) {
    FORKMILL_CHECK(fits(seq));
    if (first_ == end_) {
        reserve(1);
        // Streams count from 0 or 1: what starts there has no unseen numbers before it.
        if (floor_ == 0 && seq == 1) floor_ = 1;
        first_ = seq;
        end_ = seq + 1;
    } else if (seq < first_) {
        reserve(end_ - seq);
        for (std::uint64_t gap = seq + 1; gap < first_; ++gap) ring_[gap & mask_] = kAbsent;
        first_ = seq;
    } else if (seq >= end_) {
        reserve(seq + 1 - first_);
        for (std::uint64_t gap = end_; gap < seq; ++gap) ring_[gap & mask_] = kAbsent;
        end_ = seq + 1;
    }
    ring_[seq & mask_] = slot;
}

void Window::settle(std::uint64_t seq) {
    if (seq < first_ || seq >= end_) return;
    ring_[seq & mask_] = kSettled;
    if (seq != first_ || first_ != floor_) return;
    while (first_ < end_ && ring_[first_ & mask_] == kSettled) ++first_;
    floor_ = first_;
    shrink();
}

}  // namespace forkmill::engine
