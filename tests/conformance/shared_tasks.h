// SPDX-License-Identifier: Apache-2.0
// What the cases of shared objects have in common.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace conformance {

/// Kills the router of the daemon whose master is `master`; another is started in its place.
bool kill_router(pid_t master);
/// How many messages the broker has got so far; -1 if it does not say.
std::int64_t messages_in(const std::string& endpoint);
/// Until the process is killed.
void do_not_return();

}  // namespace conformance
