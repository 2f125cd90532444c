// SPDX-License-Identifier: Apache-2.0
// Serial numbers of runners: which of them a fork server's snapshot has.
#include <atomic>

#include "forkmill/detail/seam.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

std::atomic<std::uint64_t> g_newest{0};

}  // namespace

std::uint64_t runner_serial() noexcept {
    return g_newest.load(std::memory_order_relaxed);
}
std::uint64_t next_runner_serial() noexcept {
    return g_newest.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
