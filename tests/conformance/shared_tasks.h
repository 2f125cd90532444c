// SPDX-License-Identifier: Apache-2.0
// What the cases of shared objects have in common.
#pragma once

#include <sys/types.h>

namespace conformance {

/// Kills the router of the daemon whose master is `master`; another is started in its place.
bool kill_router(pid_t master);
/// Until the process is killed.
void do_not_return();

}  // namespace conformance
