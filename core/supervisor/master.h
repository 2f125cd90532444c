// SPDX-License-Identifier: Apache-2.0
// Master: the process that owns all others of a host: one relay and the workers of its pools.
//
// The relay is forkmilld's router or forkmill-worker's uplink: the child that is told of births and
// deaths and that may order kills. Invariants: (1) one thread, no ZeroMQ, and the loop never
// blocks: slow readers get queues with a bound, waits are deadlines; (2) every decision about a
// worker is made by pool_slots.h, which is pure; (3) a dead child is reaped, its process group
// killed and the relay told before anything else happens to its slot; (4) when run() returns, no
// child of it is left. Threading: the process's only thread.
//
// Life: the relay is started first; workers follow once it said Up. TERM, INT: workers drain for at
// most shutdown_timeout, then the relay is told to stop; again: everything is killed at once. QUIT:
// the same without a limit. The relay never hears Drain: it must serve until the last worker has
// delivered, and then hears Stop. HUP: a probe judges the new config; then sizes and timeouts hold
// at once, changed pools roll (pool_slots.h), a changed relay is replaced while connections wait in
// the listening sockets' backlog. What cannot start is taken back. One reload at a time; of those
// asked for meanwhile, one follows.
// USR2: the new program rehearses, then is executed in place: same pid, same children; what it
// would start otherwise is then replaced as in a reload.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/supervisor/cgroup.h"
#include "core/supervisor/child_env.h"
#include "core/supervisor/exit_codes.h"
#include "core/supervisor/privileges.h"
#include "core/supervisor/respawn_policy.h"
#include "core/supervisor/slot.h"
#include "core/supervisor/worker_rules.h"

namespace forkmill::supervisor {

/// What to exec. `environment` is added to the master's own; a later NAME=value wins.
struct Command {
    std::vector<std::string> argv;  ///< argv[0] is a path; no search in PATH.
    std::vector<std::string> environment;
    std::vector<int> inherit;  ///< Descriptors it keeps, at the same numbers, beside 0–2, its
                               ///< channel and its scoreboard.
    Privileges privileges = {};
};

/// Called before each start: put to_environment(child), or a WorkerBirth's, into the environment.
/// A failure counts as a failed start.
using CommandBuilder = std::function<base::Result<Command>(const ChildEnv& child)>;

/// What a living worker is watched for, about once a second.
struct WatchRules {
    base::Duration hung = std::chrono::seconds{10};  ///< Its I/O thread stands still for so long.
    std::uint64_t memory_max = 0;   ///< Resident bytes after which it is replaced; 0: no limit.
    std::uint64_t memory_kill = 0;  ///< And at which it is killed.
};

struct PoolSpec {
    std::string name;
    std::uint32_t workers = 1;
    CommandBuilder command;
    std::string identity;  ///< What workers are born with; a reload that changes it replaces them.
    SlotTimeouts timeouts;
    WatchRules watch;
    SizingRule sizing = {};  ///< Where it varies(), `workers` is only the beginning.
    std::uint32_t threads = 1;
    bool fork_server = false;      ///< Workers are forked from a process of their kind
                                   ///< (birth_server.h); this replaces it, if not them:
    std::string fork_identity;     ///< `identity`, and what else it has them born with.
    bool outlives_master = false;  ///< Its workers finish what they run when their master dies.
};

/// Size, timeouts and limits as a config says them.
void set_rules(PoolSpec& pool, const WorkerRules& rules);

struct RelaySpec {
    std::string name = "router";
    CommandBuilder command;  ///< Raises the incarnation too, where there is one.
    std::string identity;    ///< A reload that changes it replaces the relay.
    SlotTimeouts timeouts;
    RelayRule respawn;
};

struct MasterSpec;

/// HUP: the new config is judged by a throw-away process, so that nothing it does can hurt.
struct ReloadSpec {
    /// Judges, writes what it found to `result_fd` (inherited) and exits 0. Empty: no reloads.
    std::function<base::Result<Command>(int result_fd)> probe;
    /// Makes of that what shall be; a failure leaves everything as it is.
    std::function<base::Result<MasterSpec>(const std::string& result)> respec;
    base::Duration timeout = std::chrono::seconds{60};  ///< Of the probe.
};

/// USR2: the new program is executed in place, once a rehearsal of it went well.
struct UpgradeSpec {
    std::vector<std::string> argv;  ///< argv[0] is the path.
    /// What the owner's successor needs, with the descriptors that it names. Empty: no upgrades.
    std::function<std::string(std::vector<int>& kept)> save;
};

struct MasterSpec {
    RelaySpec relay;
    std::vector<PoolSpec> pools;  ///< A pool's index here is `pool` in Notices.
    base::Duration shutdown_timeout = std::chrono::seconds{30};
    /// So long after its start, orphans of a killed master may come back to the relay.
    base::Duration orphans_return{};
    std::function<void()> reopen;  ///< USR1: reopen logs of this process. Children are told.
    std::string control_path;      ///< Of the control socket (control.h); empty: none.
    CgroupSpec cgroup;             ///< Of the workers' control groups.
    ReloadSpec reload;
    UpgradeSpec upgrade;
    std::uint64_t seed = 0;  ///< Of the jitter; 0: from the clock.
};

class ServiceManager;
struct SavedMaster;
class ReadinessPipe;

/// Who wants to know how the master is; null: nobody. They outlive it.
struct MasterReports {
    ServiceManager* manager = nullptr;
    ReadinessPipe* caller = nullptr;  ///< Waits until all workers are ready.
};

class Master {
  public:
    explicit Master(MasterSpec spec, const MasterReports& reports = {});
    ~Master();
    Master(const Master&) = delete;
    Master& operator=(const Master&) = delete;

    /// Supervises until told to stop; returns the process's exit code. REQUIRES: no other thread.
    /// Takes over the process's signals and its children.
    int run();
    /// The same in the program that was executed in place: takes over what it was handed.
    int run(const SavedMaster& saved);

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace forkmill::supervisor
