// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/sizing.h"

#include <algorithm>

namespace forkmill::supervisor {

std::uint32_t Sizing::decide(const Pressure& seen, base::Time now) {
    const std::uint32_t have = std::clamp(seen.workers, rule_.min, rule_.max);
    const std::uint64_t for_queue = (seen.queued + seen.threads - 1) / seen.threads;
    const std::uint64_t wanted =
        std::clamp<std::uint64_t>(seen.busy + for_queue + rule_.spare, rule_.min, rule_.max);
    if (wanted > have) {
        spare_since_ = base::kNever;
        // Those that start count as idle: they were asked for by this very queue.
        if (now < grow_at_ || seen.ready < have) return have;
        grow_at_ = now + kStep;
        const auto more = std::min<std::uint64_t>(grow_by_, wanted - have);
        grow_by_ = std::min(grow_by_ * 2, kGrowMax);
        return have + static_cast<std::uint32_t>(more);
    }
    if (seen.queued == 0) grow_by_ = 1;
    if (wanted == have) {
        spare_since_ = base::kNever;
        return have;
    }
    if (spare_since_ == base::kNever) spare_since_ = now;
    if (now - spare_since_ < rule_.idle_timeout) return have;
    spare_since_ = now;
    return have - 1;
}

}  // namespace forkmill::supervisor
