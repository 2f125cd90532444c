// SPDX-License-Identifier: Apache-2.0
// The one spin-then-sleep primitive: look for a short while before sleeping, giving the CPU away
// between looks.
//
// A sleeping thread on an idle core takes 45-70 us to wake; a spinning one sees the answer at once.
// Without sched_yield the spin starves the very peer it waits for on a shared core. Where strangers
// want the core too, a yield gives them whole slices: then sleeping is the faster way to wait,
// since a wake-up may preempt and the end of a yield may not.
//
// Threading: each thread keeps its own memory of lost slices.
#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "core/base/time.h"

namespace forkmill::base {

inline constexpr Duration kSpin = std::chrono::microseconds{50};  ///< 0 switches it off.
/// One yield that took so long went to a stranger: a peer's turn is a batch of ≤ 256 records.
inline constexpr Duration kLostSlice = std::chrono::milliseconds{1};
/// For so long a thread that lost a slice does not spin.
inline constexpr Duration kNoSpinAfterLoss = std::chrono::milliseconds{100};

inline thread_local Time no_spin_before{};  ///< Of this thread, whatever it waits for.

/// Between looks at memory that another core is about to write.
inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// True as soon as `ready()` is; false once `limit` has passed. Looks at least once.
template <class Ready>
bool spin_until(Ready&& ready, Duration limit = kSpin) {
    if (ready()) return true;
    Time now = monotonic_now();
    if (limit <= Duration::zero() || now < no_spin_before) return false;
    const Time end = now + limit;
    for (;;) {
        ::sched_yield();
        if (ready()) return true;
        const Time after = monotonic_now();
        if (after - now >= kLostSlice) no_spin_before = after + kNoSpinAfterLoss;
        if (after >= end) return false;
        now = after;
    }
}

/// The spin of a wait that ends at `until`: in a task that is the time before its slot is lent,
/// which is no longer than a spin.
template <class Ready>
bool spin_before(Time until, Ready&& ready) {
    if (ready()) return true;
    const Time now = monotonic_now();
    return until > now && spin_until(ready, std::min(kSpin, until - now));
}

}  // namespace forkmill::base
