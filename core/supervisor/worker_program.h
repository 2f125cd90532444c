// SPDX-License-Identifier: Apache-2.0
// WorkerProgram: what a master starts for the workers of a pool, and when that is another than
// before.
//
// Used by forkmilld's master and by forkmill-worker's, which differ only in what they put into it.
// It holds no descriptor: a pool that is gone must not keep one open. Threading: any.
#pragma once

#include <string>
#include <vector>

#include "core/supervisor/master.h"
#include "core/supervisor/worker_birth.h"
#include "core/supervisor/worker_rules.h"

namespace forkmill::supervisor {

struct WorkerProgram {
    std::vector<std::string> argv;  ///< argv[0] is a path.
    WorkerRules rules;
    WorkerBirth birth;  ///< What all of them are told; rules and the child's place are added.
};

/// Starts it. What is no worker by its role keeps the master's privileges: an uplink needs the
/// host's key.
CommandBuilder command_of(WorkerProgram program);

/// All that a worker is born with and a live one cannot change.
std::string identity_of(const WorkerProgram& program);

/// The pool whose workers run it, named as they are told.
PoolSpec pool_of(WorkerProgram program);

}  // namespace forkmill::supervisor
