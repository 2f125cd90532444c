// SPDX-License-Identifier: Apache-2.0
// The uplink process of a worker host: UplinkCore between the master's channel and the broker.
//
// It runs no task code. Invariants: (1) it ends within 1 s of its master; (2) a broker that cannot
// be reached only makes it wait. Threading: one thread, plus ZeroMQ's own.
#pragma once

#include "core/supervisor/worker_birth.h"

namespace forkmill::worker {

/// Returns the exit code.
int run_uplink(const supervisor::WorkerBirth& birth);

}  // namespace forkmill::worker
