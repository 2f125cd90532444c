// SPDX-License-Identifier: Apache-2.0
// WorkerBirth: how a master tells a worker process that it execs what it is to be: environment
// variables, written here and read here only.
//
// Used by forkmilld's master and by forkmill-worker's (core is where they meet). The worker takes
// them out of its environment before any of the user's code runs, so that programs started by tasks
// do not take themselves for workers. Lists are joined with '\n'. Threading: before any thread
// exists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace forkmill::supervisor {

inline constexpr const char* kRoleVariable = "FORKMILL_ROLE";  ///< Set means: started by a master.
inline constexpr const char* kChannelVariable =
    "FORKMILL_CHANNEL_FD";  ///< The channel (channel.h), inherited.

struct WorkerBirth {
    std::string role = "worker";  ///< Or "uplink", or "forkserver" (birth_server.h).
    int channel_fd = -1;
    int scoreboard_fd = -1;             ///< memfd of SlotCells; −1: none.
    std::uint32_t scoreboard_slot = 0;  ///< Index of this slot's SlotCells in it.
    std::string host_key;               ///< Names the master in HELLO and HOST records.
    std::string host;                   ///< Name of the host as shown; empty: its hostname.
    std::string endpoint;               ///< Broker, as workers reach it: ipc://, tcp:// or unix://.
    std::string server_key;             ///< Broker's public key; empty: the endpoint is open.
    std::string key_file;               ///< This host's own key, which the worker reads itself.
    std::string pool;
    std::uint16_t pool_index = 0;
    std::uint32_t slot = 0;
    std::uint32_t birth = 0;
    std::uint32_t threads = 1;
    std::uint32_t max_tasks_per_child = 0;
    std::uint64_t drain_timeout_ms = 60'000;
    std::uint64_t hung_timeout_ms = 10'000;
    std::uint64_t slowlog_timeout_ms = 0;  ///< 0: never.
    bool finish_orphaned = false;          ///< When its master is gone, what runs may end.
    std::vector<std::string> queues;
    std::vector<std::string> modules;      ///< Names or paths of task modules.
    std::vector<std::string> module_path;  ///< Directories in which names are looked up, in order.
    std::string log_level = "info";
};

struct WorkerRules;
/// What a config says of all workers of a pool.
void set_rules(WorkerBirth& birth, const WorkerRules& rules);

/// "NAME=value" texts for the child's environment, channel and scoreboard fds included when they
/// are set.
std::vector<std::string> to_environment(const WorkerBirth& birth);
/// Reads the variables and removes them; nullopt when no master started this process. A worker also
/// makes its last will (last_will.h).
std::optional<WorkerBirth> take_birth_from_environment();
/// For a fork server that says nothing else about it: its memory comes in huge pages, of which a
/// fork copies 512 times fewer table entries (190 MiB of small objects: 0.2 ms instead of 6).
inline constexpr const char* kHugePages = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1";
/// As a worker that was forked does it by itself.
void make_last_will(const WorkerBirth& birth);

}  // namespace forkmill::supervisor
