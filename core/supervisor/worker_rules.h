// SPDX-License-Identifier: Apache-2.0
// WorkerRules: what a config says of a pool's processes: what they run, how many, for how long, how
// large. Read in one place, because broker.yaml's pools and worker.yaml say it in the same keys.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/base/config_reader.h"
#include "core/base/time.h"
#include "core/supervisor/privileges.h"
#include "core/supervisor/sizing.h"

namespace forkmill::supervisor {

struct WorkerRules {
    std::vector<std::string> queues = {"default"};
    std::vector<std::string> modules;  ///< Of the stock worker, by name or path.
    std::string executable;            ///< Empty: the stock worker.
    std::vector<std::string> arguments;
    std::vector<std::pair<std::string, std::string>> environment;
    std::uint32_t workers = 1;  ///< To begin with, when the size varies.
    SizingRule sizing;          ///< varies() only where a broker sees the queues.
    bool fork_server = false;   ///< `start: forkserver`: forked where all is initialized already.
    std::uint32_t threads = 1;
    std::uint32_t max_tasks_per_child = 0;    ///< 0: no limit, here and below.
    std::uint64_t max_memory_per_child = 0;   ///< Resident bytes after which it is replaced,
    std::uint64_t kill_memory_per_child = 0;  ///< and those at which it is killed (cause oom).
    base::Duration start_timeout = std::chrono::seconds{30};
    base::Duration drain_timeout = std::chrono::seconds{60};
    base::Duration stop_timeout = std::chrono::seconds{10};
    base::Duration hung_timeout = std::chrono::seconds{10};  ///< Its I/O thread does not turn.
    base::Duration slowlog_timeout{};  ///< A task that runs longer has its stack written, once.
    Privileges privileges;
    bool finish_orphaned = false;  ///< Its master's death does not end its tasks.
};

/// Reads the keys of the same names. `workers` when the key is absent: `workers_fallback`; where
/// `may_vary`, it may be a mapping {min, max, spare, idle_timeout} too.
WorkerRules read_worker_rules(base::ConfigSection section,
                              std::uint32_t workers_fallback,
                              bool may_vary);

}  // namespace forkmill::supervisor
