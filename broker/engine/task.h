// SPDX-License-Identifier: Apache-2.0
// TaskNode: what the broker keeps of one task, and the states it may go through (semantics.md 11).
//
//   accepting ─► scheduled ◄─► ready ─► leased ─► running ─► succeeded | failed | cancelled | dead
//                    │           │        └──────┴─► cancelling ─► whatever is recorded first
//                    └───────────┴─► cancelled | expired | failed | dead
//
// Invariants: (1) a node stands in at most one list (ready lane, its worker's leases, its session's
// retained results), linked by next and prev; (2) `worker` is set exactly while it is leased,
// running or cancelling; (3) everything a plain task does not need lives in its Side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/engine/effects.h"
#include "core/base/body.h"
#include "core/base/time.h"
#include "core/wire/messages.h"

namespace forkmill::engine {

using Slot = std::uint32_t;
inline constexpr std::uint32_t kNone = UINT32_MAX;

enum class State : std::uint8_t {
    Free,
    Accepting,
    Scheduled,
    Ready,
    Leased,
    Running,
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
    Expired,
    Dead,
};
inline constexpr std::size_t kStates = 12;

std::string_view name_of(State state);
/// True when the picture above has an arrow from `from` to `to`.
bool may_become(State from, State to);
inline bool is_final(State state) {
    return state >= State::Succeeded;
}
inline bool has_worker(State state) {
    return state >= State::Leased && state <= State::Cancelling;
}
inline State final_state(wire::Outcome outcome) {
    return static_cast<State>(static_cast<std::uint8_t>(State::Succeeded) +
                              static_cast<std::uint8_t>(outcome));
}

/// Bits of TaskNode::flags.
enum Flag : std::uint32_t {
    kDetached = 1 << 0,     ///< Lives on without its client; the outcome is kept for result_ttl.
    kKeyed = 1 << 1,        ///< Has a `key`; the outcome is kept for result_ttl.
    kAlias = 1 << 2,        ///< Another handle of `Side::primary`; never runs itself.
    kPlaceholder = 1 << 3,  ///< Held by a worker, not resent by its client yet (recovery).
    kUndecided = 1 << 4,    ///< A placeholder that failed: its template says whether it is retried.
    kParked = 1 << 5,       ///< Resent during recovery: waits for its end.
    kSuspect = 1 << 6,     ///< Ran beside others when its worker died: delivered alone from now on.
    kBlocked = 1 << 7,     ///< Lends its slot (semantics.md 17).
    kTimedOut = 1 << 8,    ///< Its worker is being killed because of its timeout.
    kKillDue = 1 << 9,     ///< cancel(kill): its worker is killed when the timer fires.
    kKillSent = 1 << 10,   ///< KillWorker was emitted for it.
    kOwnerGone = 1 << 11,  ///< Nobody waits for the outcome under its own id.
    kDelivered = 1 << 12,  ///< The outcome went out; the node only keeps it.
    kLargeBody = 1 << 13,  ///< The body is Side::large.
    kRecent = 1 << 14,     ///< In its session's list of delivered results that may still be named.
    kRetained = 1 << 15,   ///< In its session's list of undelivered outcomes.
    kBodyExpired = 1 << 16,  ///< Kept past result_ttl: only that it ended is known.
    kReleased = 1 << 17,     ///< Its client dropped the handle: the outcome is not told.
    kBegan = 1 << 18,        ///< A placeholder whose code is known to have begun, here or before.
    kAttached = 1 << 19,     ///< A handle that named the task by its id: it speaks for the task.
};

struct TaskNode {
    std::uint64_t seq = 0;
    std::int64_t key = 0;       ///< Order among ready tasks: ready time − priority × 1 s.
    std::byte* data = nullptr;  ///< Small body in the arena: arguments, later the outcome.
    std::uint32_t size = 0;
    std::uint32_t lane = kNone;
    std::uint32_t next = kNone;
    std::uint32_t prev = kNone;
    std::uint32_t worker = kNone;
    std::uint32_t generation = 0;  ///< Of its lease; raised with every lease of this slot.
    std::uint32_t side = kNone;
    std::uint32_t timer = 0;
    std::uint32_t attempt = 0;
    std::uint32_t estimate = 0;  ///< Nanoseconds of work it was counted as when it was leased.
    std::uint16_t failures = 0;
    std::uint8_t crashes = 0;
    bool started = false;  ///< Its worker said STARTED for this lease.
    State state = State::Free;
    wire::Outcome outcome{};
    std::uint32_t flags = 0;

    bool has(Flag flag) const { return (flags & flag) != 0; }
    void set(Flag flag) { flags |= flag; }
    void clear(Flag flag) { flags &= ~std::uint32_t{flag}; }
};
static_assert(sizeof(TaskNode) <= 96, "a queued task must stay small (semantics.md 23)");

/// What few tasks have. Off the node, so that a million plain ones stay small.
struct Side {
    wire::Extras extras;
    base::Body large;
    base::Time due = base::kNever;
    base::Time deadline = base::kNever;
    std::vector<std::pair<std::uint32_t, base::Body>> dependencies;  ///< Values at hand.
    std::vector<std::pair<Slot, std::uint32_t>> awaited;             ///< (inner task, argument).
    std::vector<Slot> dependents;                                    ///< Outer tasks that wait.
    std::vector<Slot> waiters;                                       ///< Aliases of this task.
    Slot primary = kNone;
    std::uint32_t key = kNone;     ///< In the table of keys.
    std::uint32_t stream = kNone;  ///< When the node has no lane.
    std::uint64_t position = 0;    ///< Of its outcome in the journal.
    std::string crash_log;         ///< One line per worker it took along.
};

/// lease = slot ‖ generation; never 0 because generations start at 1.
inline Lease lease_of(Slot slot, const TaskNode& node) {
    return Lease{slot} << 32 | node.generation;
}
inline Slot slot_of(Lease lease) {
    return static_cast<Slot>(lease >> 32);
}
inline std::uint32_t generation_of(Lease lease) {
    return static_cast<std::uint32_t>(lease);
}

}  // namespace forkmill::engine
