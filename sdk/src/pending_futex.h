// SPDX-License-Identifier: Apache-2.0
// A word to sleep on: the one system call behind every wait of a handle.
//
// Owns nothing. Invariant: a sleeper saw the word with exactly the value it named. Threading: any.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>

#include "core/base/time.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

enum class FutexResult : std::uint8_t { Woken, Changed, Timeout };

inline FutexResult futex_wait(std::atomic<std::uint32_t>& word,
                              std::uint32_t expected,
                              base::Time until) {
    timespec at{};
    timespec* limit = nullptr;
    if (until != base::kNever) {
        const auto ns = until.time_since_epoch().count();
        if (ns <= 0) return FutexResult::Timeout;
        at.tv_sec = ns / 1'000'000'000;
        at.tv_nsec = ns % 1'000'000'000;
        limit = &at;
    }
    // FUTEX_WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC, so early wake-ups need no
    // arithmetic.
    const long rc = ::syscall(SYS_futex,
                              reinterpret_cast<std::uint32_t*>(&word),
                              FUTEX_WAIT_BITSET_PRIVATE,
                              expected,
                              limit,
                              nullptr,
                              FUTEX_BITSET_MATCH_ANY);
    if (rc == 0 || errno == EINTR) return FutexResult::Woken;
    return errno == ETIMEDOUT ? FutexResult::Timeout : FutexResult::Changed;
}

inline void futex_wake_all(std::atomic<std::uint32_t>& word) {
    ::syscall(SYS_futex,
              reinterpret_cast<std::uint32_t*>(&word),
              FUTEX_WAKE_PRIVATE,
              INT_MAX,
              nullptr,
              nullptr,
              0);
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
