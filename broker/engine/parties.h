// SPDX-License-Identifier: Apache-2.0
// Who the engine knows: sessions, the workers among them, streams of task ids, principals, keys,
// pools.
//
// Plain records, owned and changed by Core only. Invariants: (1) a stream lives while its session
// is open or a task of it exists; (2) a worker's `held` counts the list that starts at `leases`;
// (3) `lent` ≤ 64. Threading: none.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "broker/engine/engine.h"
#include "broker/engine/task.h"
#include "broker/engine/window.h"

namespace forkmill::engine {

inline constexpr std::uint32_t kLentMax = 64;

struct List {
    Slot head = kNone;
    Slot tail = kNone;
    std::uint32_t size = 0;
};

struct Worker {
    std::string name;  ///< Key of Core::worker_of.
    std::uint32_t threads = 1;
    std::vector<std::uint32_t> queues;
    std::unordered_map<std::string, std::string> offers;  ///< Name → signature.
    mutable std::vector<std::uint8_t> runs;               ///< By template: 0 unasked, 1 yes, 2 no.
    List leases;
    std::uint32_t running = 0;   ///< Of them, told by STARTED.
    std::uint32_t lent = 0;      ///< Slots of blocked tasks, in use by others meanwhile.
    std::int64_t held_work = 0;  ///< Sum of the estimates of what it holds.
    bool draining = false;
    bool suspended = false;    ///< Stopped by a signal.
    bool doomed = false;       ///< KillWorker was emitted.
    bool gone = false;         ///< Silent for too long: its leases were taken back.
    bool alone = false;        ///< Holds a suspect.
    bool reserved = false;     ///< Being emptied for a suspect.
    bool reattaching = false;  ///< Will say what it holds; recovery waits for that.
    std::uint32_t hungry_at = kNone;
    std::uint64_t done = 0;
    std::uint64_t lost = 0;
    std::vector<std::pair<Lease, Lease>>
        adopted;  ///< Old → new: its scoreboard names the old ones.
};

/// Absolute credit towards the broker (semantics.md 22).
struct Flow {
    std::uint64_t records = 0;  ///< Limit told or about to be told.
    std::uint64_t bytes = 0;
    std::uint64_t consumed_records = 0;
    std::uint64_t consumed_bytes = 0;
    bool dirty = false;
};

struct Registered {
    std::uint32_t lane = kNone;
    wire::Code refused = wire::Code::NoSuchTemplate;
};

struct Session {
    SessionInfo info;
    bool connected = true;
    bool writable = true;
    bool paused = false;  ///< Too many unfetched results: its tasks are not leased.
    bool names_results =
        false;  ///< It used a result as an argument: delivered ones are kept a while.
    std::uint32_t stream = kNone;
    std::uint32_t timer = 0;
    std::uint64_t live = 0;  ///< Its unsettled tasks.
    std::vector<Registered> templates;
    Flow flow;
    std::uint64_t results_records = 0;  ///< Delivered so far …
    std::uint64_t results_bytes = 0;
    std::uint64_t results_records_max = UINT64_MAX;  ///< … and what the client granted.
    std::uint64_t results_bytes_max = UINT64_MAX;
    List retained;  ///< Outcomes that could not go out yet, in order.
    std::uint64_t retained_bytes = 0;
    List recent;  ///< Delivered, may still be named as arguments.
    std::uint64_t recent_bytes = 0;
    std::unique_ptr<Worker> worker;
};

struct Stream {
    std::uint64_t id = 0;
    bool used = false;
    bool named = false;  ///< In Core::stream_of: it can be named by others.
    SessionIx session = kNoSession;
    std::uint32_t principal = kNone;
    std::uint32_t timer = 0;  ///< Unclaimed placeholders end with it.
    std::uint64_t live = 0;   ///< Nodes.
    Window window;
    std::unordered_map<std::uint64_t, Slot>
        below;  ///< Live tasks whose number fell below the floor.
};

struct Principal {
    std::string name;
    std::uint32_t refs = 0;
};

struct KeyEntry {
    std::string text;  ///< principal ‖ key.
    Slot slot = kNone;
    std::uint64_t digest_hi = 0;
    std::uint64_t digest_lo = 0;
};

struct Pool {
    bool broken = false;
    std::string text;
    std::unordered_set<std::uint32_t> queues;
    std::uint32_t workers = 0;
};

struct DeadLetter {
    base::TaskId task;
    std::string name;
    base::Blob error;
};

}  // namespace forkmill::engine
