// SPDX-License-Identifier: Apache-2.0
// LastWill: what a worker does when its parent dies: it takes along what its tasks started.
//
// Spawn sets PR_SET_PDEATHSIG to SIGKILL, which ends the worker alone; a program that a task runs
// would live on. Invariants: (1) the parent's death kills this process's whole group, at once, even
// while a task ignores everything; (2) only a leader of its group does that. A thread that blocks
// all signals does not hinder it, as long as one does not; (3) one that may outlive its parent does
// so for its patience, whatever state it is in. Threading: before other threads exist.
#pragma once

#include <chrono>

namespace forkmill::supervisor {

/// From now on the parent's death kills this process's group.
void take_group_along();

/// The parent's death does so only after this time, in which running tasks may end; what is then
/// written on stderr is lost. REQUIRES: the above.
void outlive_parent(std::chrono::milliseconds patience);

/// Kills what is left of this process's group, but not this process: for its last line, since one
/// that sees its channel's EOF may be gone before the kernel tells it of its parent's death.
void end_group();

}  // namespace forkmill::supervisor
