// SPDX-License-Identifier: Apache-2.0
// MasterParts: what a master keeps of its children and pools; master_impl.h has what it does.
//
// Threading: the process's only thread.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "core/base/time.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/child_env.h"
#include "core/supervisor/master.h"
#include "core/supervisor/pool_slots.h"
#include "core/supervisor/scoreboard.h"
#include "core/supervisor/slot.h"
#include "core/supervisor/spawn.h"
#include "core/supervisor/stderr_tail.h"

namespace forkmill::supervisor::parts {

/// A living process, of a pool's slot or (pool = kRelayPool) the relay.
struct Child {
    std::uint16_t pool = kRelayPool;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    Spawned process;
    Channel channel;
    StderrTail err;
    base::Time born{};
    std::uint64_t signals_sent = 0;  ///< Bit n: signal n.
    std::string reason;              ///< What it said in Verb::Failed.
    std::string cgroup;              ///< Directory of its control group; empty: it has none.
    bool writing = false;            ///< Its channel is watched for writing.
    base::Time stood_until{};        ///< Was seen stopped, so its ticks are no older than this.
    bool channel_ended = false;
    /// Of a birth that no fork server was asked for yet: its ends of channel and stderr.
    std::vector<OwnedFd> ends;

    /// False while a fork server is to give birth to it.
    bool is_born() const { return process.pid > 0; }
};

/// The fork server of a pool that has one (master_forks.cc).
struct Forks {
    std::optional<Child> server;
    Slot life;
    std::uint32_t generation = 0;
    std::string identity;  ///< PoolSpec::fork_identity that it was started for.
    bool came_up = false;
    bool retired = false;   ///< It is of no more use, and ended.
    bool threaded = false;  ///< It has threads, so those workers are executed instead.
};

struct Pool {
    PoolSpec spec;
    std::optional<PoolSpec> former;  ///< While a reload may still be taken back.
    PoolSlots slots;
    Scoreboard board;
    std::deque<std::optional<Child>> children;  ///< By slot; a deque, so none ever moves.
    std::string last_words;                     ///< Of the last worker that did not come up.
    std::optional<Sizing> sizing;               ///< How its size follows its load.
    bool drained = false;                       ///< By order: does not follow its load.
    std::uint64_t queued = 0;                   ///< Tasks that wait for it, as its router says.
    Forks forks;
};

/// The process that judges a new config.
struct Probe {
    Spawned process;
    StderrTail err;
    OwnedFd result;
    base::Time deadline{};
};

/// What the service manager is shown of it, as a text.
struct Shown {
    std::uint32_t ready = 0;
    std::uint32_t wanted = 0;
    bool stopping = false;
    bool reloading = false;
    bool operator==(const Shown&) const = default;
};

/// A death that nobody wanted.
struct Crash {
    Notice notice;
    std::string pool;
    base::WallNanos at = 0;
    base::Duration uptime{};
    std::uint32_t running = 0;  ///< Tasks that ran.
};

}  // namespace forkmill::supervisor::parts
