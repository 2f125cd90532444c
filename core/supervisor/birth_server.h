// SPDX-License-Identifier: Apache-2.0
// BirthServer: the process inside a pool's fork server, from which a master has workers forked.
//
// It is a worker process that loaded its modules and ran its initializer, but takes no tasks: at
// each Spawn it forks a copy of itself, which becomes the *master's* child and a worker. So heavy
// initialization is paid once, and its memory is shared until it is written to. Invariants: (1) it
// forks while it has one thread; with more it says Threaded instead; (2) the copy is the master's
// child before it says Born, and runs nothing of the user's before the master has answered, so no
// death is seen before its birth; (3) the copy keeps the server's descriptors only where they pin
// nobody (fd_hygiene.h); (4) it dies with the master, as every worker does, and outlives the
// server. Threading: the process's only thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/supervisor/channel.h"

namespace forkmill::supervisor {

/// Notice::detail of Born: it is not in the control group that the order named.
inline constexpr std::int32_t kNotInCgroup = 1;

/// A worker's start in life, in its own process.
struct NewBorn {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    Channel channel;  ///< To the master.
};

/// Serves until the master says Stop, or is gone. `live` is a worker's life, in the new process,
/// which leaves by _exit with what it returns; an exception ends it. An order carries its ends of
/// the channel and of stderr, and the directory of its control group, if it gets one. REQUIRES: the
/// master is a subreaper and this process's parent.
void serve_births(Channel& master, const std::function<int(NewBorn)>& live);

}  // namespace forkmill::supervisor
