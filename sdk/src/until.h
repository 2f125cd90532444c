// SPDX-License-Identifier: Apache-2.0
// until_of: a caller's timeout as a point in time.
//
// Threading: any.
#pragma once

#include <algorithm>

#include "core/base/time.h"
#include "forkmill/options.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// kNever for `forever` and all that lies beyond; now for 0 or less.
inline base::Time until_of(Duration timeout) {
    const base::Time now = base::monotonic_now();
    if (timeout == forever || timeout > base::kNever - now) return base::kNever;
    return now + std::max(timeout, Duration::zero());
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
