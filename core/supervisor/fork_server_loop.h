// SPDX-License-Identifier: Apache-2.0
// The process inside a ForkServer: one loop that forks, reaps, kills and reports.
//
// Invariants: those of fork_server.h. Threading: the process's only thread.
#pragma once

#include <sys/types.h>

#include "core/supervisor/fork_server.h"

namespace forkmill::supervisor {

/// Notice::detail of Verb::Spawn: the second descriptor is a scoreboard.
inline constexpr std::int32_t kSpawnHasScoreboard = 1;
/// A process of the program's; the first descriptor is the fork server's.
inline constexpr std::int32_t kSpawnProcess = 2;

/// Life of the fork server, in the child that was just forked by `program` with all signals
/// blocked. Leaves by _exit; an exception ends it too, rather than run into the program's code.
[[noreturn]] void serve_forks(pid_t program, Channel channel, ForkServer::Options options) noexcept;

}  // namespace forkmill::supervisor
