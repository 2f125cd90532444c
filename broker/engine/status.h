// SPDX-License-Identifier: Apache-2.0
// What the engine shows of itself: counters and rows for `status`, `worker ls`, `queue ls` and
// metrics.
//
// Copies, never references: a snapshot stays what it was. Threading: none.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "broker/engine/engine.h"

namespace forkmill::engine {

struct Engine::Counters {
    std::uint64_t submitted = 0;
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;
    std::uint64_t forgotten = 0;
    std::uint64_t leased = 0;
    std::uint64_t returned = 0;  ///< Leases given back or lost, free of charge.
    std::uint64_t stale = 0;     ///< Results under leases that had ended.
    std::uint64_t retries = 0;
    std::uint64_t crashes = 0;  ///< Worker deaths blamed on a task.
    std::uint64_t suspects = 0;
    std::uint64_t adopted = 0;
    std::uint64_t kills = 0;
    std::uint64_t deaths = 0;  ///< Death notices.
    std::uint64_t freed = 0;   ///< Tasks whose node is gone.
    std::uint64_t dead_letters_dropped = 0;
    std::array<std::uint64_t, 5> settled{};  ///< By wire::Outcome.

    std::uint64_t settled_total() const {
        return settled[0] + settled[1] + settled[2] + settled[3] + settled[4];
    }
};

struct QueueRow {
    std::string name;
    std::uint64_t accepting = 0, scheduled = 0, ready = 0, leased = 0, running = 0, cancelling = 0;
    std::uint64_t dead = 0;  ///< Dead letters.
    std::uint32_t workers = 0;
    std::uint32_t weight = 1;
    std::vector<std::string> waiting;  ///< Why ready tasks wait: `no worker offers "x"`, ….
};

struct WorkerRow {
    std::string pool, host;
    std::int32_t pid = 0;
    std::uint32_t slot = 0, birth = 0, threads = 1;
    std::string state;  ///< idle, busy, draining, stopped, silent, dying.
    std::uint32_t held = 0, running = 0, lent = 0;
    std::uint64_t done = 0;
    std::string task;  ///< Name of the task it holds longest, if any.
    std::string task_id;
};

struct SessionRow {
    std::string key, principal, host, role;
    std::int32_t pid = 0;
    bool connected = false, paused = false;
    std::uint64_t live = 0, retained = 0;
};

struct ObjectRow {
    std::uint64_t id = 0;
    std::string name, kind, type;
    std::string holder;  ///< Of a lock: host:pid whose session owns it.
    SessionIx holder_session = kNoSession;
    std::uint64_t token = 0;  ///< Of its holder.
    std::uint64_t size = 0, capacity = 0, bytes = 0, handles = 0, waiting = 0;
    bool persistent = false;
};

struct Engine::TaskRow {
    base::TaskId task;
    std::string name, queue, state;
    std::uint32_t attempt = 0, crashes = 0, failures = 0;
    std::string worker;  ///< host:pid that holds it.
    bool detached = false;
};

struct Engine::Snapshot {
    std::vector<QueueRow> queues;
    std::vector<WorkerRow> workers;
    std::vector<SessionRow> sessions;
    std::uint64_t tasks = 0;
    std::uint64_t objects = 0, object_waits = 0, object_bytes = 0;
    std::uint64_t memory_used = 0, memory_max = 0;
    std::uint64_t credit_out = 0;  ///< Bytes that clients may still send.
    bool recovering = false;
};

}  // namespace forkmill::engine
