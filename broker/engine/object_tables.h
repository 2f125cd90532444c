// SPDX-License-Identifier: Apache-2.0
// What the engine keeps of shared objects: objects, the operations that wait at them, watches, and
// what each session has of them.
//
// Plain records, owned and changed by Objects only; its header states the invariants. Threading:
// none.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/engine/effects.h"
#include "core/base/body.h"
#include "core/base/time.h"
#include "core/wire/objects.h"

namespace forkmill::engine {

using ObjectId = std::uint64_t;
using WaitIx = std::uint32_t;
inline constexpr std::uint32_t kNoWait = UINT32_MAX;

/// Who holds a lock, an item or a barrier's turn.
struct Owner {
    SessionIx session = kNoSession;
    std::uint64_t id = 0;
    bool task = false;  ///< `id` is the lease of an attempt.
    bool operator==(const Owner&) const = default;

    /// As the words of locks tell it; 0 is nobody known.
    static constexpr std::uint64_t kTaskBit = 1ULL << 63;
    std::uint64_t packed() const { return id | (task ? kTaskBit : 0); }
    static Owner unpacked(SessionIx session, std::uint64_t packed) {
        return {session, packed & ~kTaskBit, (packed & kTaskBit) != 0};
    }
};

struct StoredItem {
    base::Body body;
    std::vector<ObjectId> refs;
    std::uint64_t version = 0;
};

/// The bytes that an item is counted as.
inline constexpr std::uint64_t kItemCost = 96;
inline std::uint64_t cost_of(const StoredItem& item) {
    return kItemCost + item.body.size() + item.refs.size() * sizeof(ObjectId);
}
/// The same of one that is not kept yet. Dicts count their keys besides.
inline std::uint64_t cost_of(const wire::ObjectItem& item) {
    return kItemCost + item.body.size + item.refs.size() * sizeof(ObjectId);
}

struct LeasedItem {
    StoredItem item;
    Owner owner;
};

struct Handles {
    std::uint64_t count = 0;
    std::uint64_t readers = 0;
    std::uint64_t writers = 0;
};

struct Holder {
    Owner owner;
    std::uint64_t depth = 0;
    std::uint64_t token = 0;
};

/// Waiting operations in the order they came.
struct WaitLine {
    WaitIx head = kNoWait;
    WaitIx tail = kNoWait;
    std::uint32_t size = 0;
};
enum LineName : std::uint8_t { kTakers, kPutters, kJoiners };
inline constexpr std::size_t kLines = 3;

/// (the whole object, key): what a watch looks at.
using WatchKey = std::pair<bool, std::string>;

struct Object {
    ObjectId id = 0;
    std::string name;
    std::string type;
    wire::ObjectShape shape;
    std::uint32_t flags = 0;    ///< Those of its Open that made it.
    std::uint64_t version = 1;  ///< Of its changes; 0 means absent to those who compare.
    std::uint64_t bytes = 0;
    std::map<SessionIx, Handles> handles;
    Handles open;            ///< Their sum.
    std::uint64_t refs = 0;  ///< Items and conditions that name it.
    bool had_readers = false;
    bool had_writers = false;
    std::array<WaitLine, kLines> lines;
    std::set<std::pair<WatchKey, std::uint32_t>> watches;

    // Queue, list, array.
    std::optional<std::deque<StoredItem>> cells;
    // Dict.
    std::map<std::string, StoredItem> entries;
    // Queue.
    std::map<std::uint64_t, LeasedItem> leased;  ///< By token.
    std::map<SessionIx, std::uint64_t> leases_of;
    std::uint64_t undone = 0;
    bool shut = false;
    // Lock; of a barrier, the party that acts.
    std::optional<Holder> holder;
    std::optional<std::uint32_t> word;  ///< Of a lock: which of the shared words is its own,
    bool gripped = false;               ///< … and that it is ours; else `holder` is there.
    bool owner_died = false;
    std::set<ObjectId> conditions;
    // Semaphore: permits left. Barrier: parties that wait for the one that acts.
    std::uint64_t permits = 0;
    // Event: set. Barrier: broken.
    bool is_set = false;

    bool has(wire::ObjectFlag flag) const { return (flags & flag) != 0; }
    wire::ObjectKind kind() const { return shape.kind; }
    std::uint64_t size() const { return cells ? cells->size() : entries.size(); }
};

struct Wait {
    bool used = false;
    SessionIx session = kNoSession;
    std::uint64_t op = 0;
    wire::ObjectVerb verb{};
    ObjectId object = 0;
    LineName line{};
    Owner owner;
    std::uint64_t count = 1;
    StoredItem item;                     ///< Put: what waits for room.
    std::uint64_t depth = 0;             ///< A condition's lock is acquired again so often …
    bool resumed = false;                ///< … and it is in that lock's line now.
    wire::Code code = wire::Code::None;  ///< … to be answered with this.
    std::uint32_t timer = 0;
    WaitIx prev = kNoWait, next = kNoWait;  ///< In its line.
    WaitIx session_prev = kNoWait, session_next = kNoWait;
};

struct Watch {
    bool used = false;
    bool dirty = false;
    bool listed = false;  ///< Its number is among the dirty ones; that outlives the watch.
    SessionIx session = kNoSession;
    std::uint64_t op = 0;
    ObjectId object = 0;
    WatchKey key;
    std::int64_t index = 0;
};

/// What a session has of objects.
struct Member {
    bool connected = true;
    bool writable = true;
    bool admin = false;
    bool passed = false;  ///< Something was not given to it because it could not take it.
    bool turn_listed = false;
    std::uint64_t turn_bytes = 0;  ///< Answered in this turn of the loop.
    std::set<ObjectId> objects;    ///< It has handles of them.
    std::set<ObjectId> worded;     ///< Those that are locks with a word.
    std::uint32_t mark = 0;        ///< Of this session in words; 0: it has none yet.
    std::set<ObjectId> holding;    ///< Locks, leased items, turns of its owners are there.
    WaitLine waits;
    std::set<std::uint32_t> watches;
    std::deque<wire::ObjectOp> deferred;  ///< Until its window opens; bodies are kept whole.
    std::set<std::uint64_t> ended;        ///< Attempts that ended while it was away.
    std::uint32_t timer = 0;              ///< Then what it holds is taken from it.
};

/// The moment and the buffer of one call.
struct Step {
    base::Time now;
    Effects& out;
};

/// An attempt whose process was killed, and has until then to die.
struct Killed {
    SessionIx worker = kNoSession;
    std::uint64_t lease = 0;
    base::Time until{};
};

}  // namespace forkmill::engine
