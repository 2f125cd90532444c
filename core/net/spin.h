// SPDX-License-Identifier: Apache-2.0
// The one spin-then-sleep primitive: look for a short while before sleeping, giving the CPU away
// between looks.
//
// A sleeping thread on an idle core takes 45-70 us to wake; a spinning one sees the answer at once.
// Without sched_yield the spin starves the very peer it waits for on a shared core.
#pragma once

#include <sched.h>

#include <chrono>

#include "core/base/time.h"

namespace forkmill::net {

inline constexpr base::Duration kSpin = std::chrono::microseconds{50};  ///< 0 switches it off.

/// True as soon as `ready()` is; false once `limit` has passed. Looks at least once.
template <class Ready>
bool spin_until(Ready&& ready, base::Duration limit) {
    if (ready()) return true;
    if (limit <= base::Duration::zero()) return false;
    const base::Time end = base::monotonic_now() + limit;
    do {
        ::sched_yield();
        if (ready()) return true;
    } while (base::monotonic_now() < end);
    return false;
}

}  // namespace forkmill::net
