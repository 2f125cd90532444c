// SPDX-License-Identifier: Apache-2.0
// What the engine is told once: bounds and times, all with the defaults of semantics.md's table.
// Keys of broker.yaml carry the same names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/lock_words.h"
#include "core/base/time.h"
#include "core/wire/limits.h"

namespace forkmill::engine {

enum class OnClientLost : std::uint8_t { Cancel, Keep };

struct QueueConfig {
    std::string name = "default";
    std::uint32_t weight = 1;
    std::uint64_t tasks_max = 1'000'000;
    std::uint64_t dead_tasks_max = 10'000;
    std::uint64_t dead_bytes_max = 64ULL << 20;
};

/// Which queues a pool's workers will serve: needed while it has none yet (a pool that cannot
/// start).
struct PoolConfig {
    std::string name;
    std::vector<std::string> queues;
};

struct Config {
    std::vector<QueueConfig> queues = {QueueConfig{}};
    std::vector<PoolConfig> pools;  ///< May be empty: pools become known by their workers.
    std::uint32_t sessions_max = 4096;
    std::uint64_t tasks_per_session_max = 100'000;
    std::uint64_t memory_max = 1ULL << 30;  ///< All bodies and nodes; credits never sum above it.
    std::uint64_t result_bytes_per_session_max = 64ULL << 20;
    std::uint64_t payload_max = wire::kPayloadMaxDefault;
    base::Duration session_ttl = wire::kSessionTtl;
    base::Duration client_lost_grace = std::chrono::seconds{10};
    OnClientLost on_client_lost = OnClientLost::Cancel;
    base::Duration result_ttl = wire::kResultTtl;
    base::Duration gone_after =
        wire::kGoneAfter;  ///< Silence after which a worker's leases return (remote hosts).
    base::Duration recovery_max = wire::kRecoveryMax;
    base::Duration kill_grace =
        std::chrono::seconds{1};  ///< From CancelLease{kill} or a hard timeout to KillWorker.
    base::Duration prefetch_work = wire::kPrefetchWork;
    std::uint32_t prefetch_max = 2048;  ///< Leases a worker may hold beyond what runs.
    std::uint32_t min_batch = 128;  ///< Tiny tasks are never split thinner than this over workers.
    std::uint32_t objects_max = 65'536;
    std::uint32_t object_waits_per_session_max = 1024;  ///< Operations that wait; watches likewise.
    std::uint32_t object_waits_max = 65'536;
    /// Of what objects and the operations that wait hold; unset: half of memory_max.
    std::optional<std::uint64_t> object_memory_max = std::nullopt;
    std::uint64_t object_memory() const { return object_memory_max.value_or(memory_max / 2); }
    base::Duration owner_lost_after =
        std::chrono::seconds{10};  ///< Silence after which what a session holds is taken from it.
    bool local = false;            ///< Embedded: one session in process, no recovery.
    base::LockWords* lock_words = nullptr;  ///< Memory that all sessions' processes share, if any.
};

}  // namespace forkmill::engine
