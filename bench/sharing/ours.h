// SPDX-License-Identifier: Apache-2.0
// The metrics of shared objects, measured on a pool with one worker, which runs the other half of
// those that take two processes.
#pragma once

#include <array>

#include "bench/sharing/figure.h"
#include "forkmill/forkmill.h"

namespace bench {

/// What the other half of a metric runs.
forkmill::Tasks sharing_tasks();

struct Metric {
    const char* name;
    const char* unit;
    Figure (*run)(forkmill::Pool& pool, Clock::duration length);
    double plain_floor;    ///< Embedded ÷ multiprocessing's own, at least; 0: printed only.
    double manager_floor;  ///< Over unix:// ÷ a Manager's, at least; 0: printed only.
};

extern const std::array<Metric, 10> kMetrics;

}  // namespace bench
