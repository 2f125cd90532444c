// SPDX-License-Identifier: Apache-2.0
// Shared objects on the wire: what is asked of them, answered and told. docs/protocol.md §17 is the
// text of it.
//
// The three kinds OBJECT, OBJECT_REPLY and OBJECT_EVENT carry records of these shapes;
// object_batch.h writes and reads them. A value travels as a body: the broker never opens one, but
// for the eight bytes of a numeric cell. Threading: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/body.h"
#include "core/wire/batch.h"
#include "core/wire/codes.h"

namespace forkmill::wire {

enum class ObjectKind : std::uint8_t {
    Queue = 1,
    Lock,
    Semaphore,
    Condition,
    Event,
    Barrier,
    Dict,
    List,   ///< Grows and shrinks.
    Array,  ///< As many cells as it was made with; a single value is an array of one.
};
inline constexpr std::uint8_t kObjectKinds = 9;
std::string_view name_of(ObjectKind kind);

enum class ObjectVerb : std::uint8_t {
    Open = 1,   ///< Any: by name, by id, or a new one; the session has one handle more.
    Close,      ///< Any: `count` handles fewer.
    Remove,     ///< Any: it ends now, whoever has handles.
    Info,       ///< Any: sizes and flags.
    Put,        ///< Queue: waits while it is full.
    Get,        ///< Queue: waits while it is empty.
    Done,       ///< Queue: an item that was got is dealt with.
    Join,       ///< Queue: waits until all that was put is dealt with.
    Shut,       ///< Queue: nothing can be put any more.
    Acquire,    ///< Lock, semaphore: waits in line.
    Release,    ///< Lock, semaphore; barrier: its action has run.
    Wait,       ///< Condition, event, barrier.
    Notify,     ///< Condition: wakes `count` waiters; event: sets it.
    Reset,      ///< Event: clears it; barrier: breaks it for who waits and makes it whole.
    Abort,      ///< Barrier: breaks it.
    Read,       ///< Dict, list, array.
    Write,      ///< Dict, list, array.
    Erase,      ///< Dict.
    Swap,       ///< Array: exchange, or compare and exchange.
    Add,        ///< Array of numbers.
    Watch,      ///< Dict, array, event: changes are told by OBJECT_EVENT.
    Unwatch,    ///< Ends the watch `token`.
    Interrupt,  ///< Ends the waiting operation `token`.
    Break,      ///< Lock: takes it from its owner; for admins.
    Peek,       ///< Queue: waits until a get would end at once; takes nothing.
    Pass,       ///< Any: the session called `name`, of a process to be born, has one handle more.
    Bury,       ///< The session called `name` ends: its process is dead.
};
inline constexpr std::uint8_t kObjectVerbs = 27;
std::string_view name_of(ObjectVerb verb);

/// Bits of ObjectOp::flags. Those an operation does not know are ignored.
enum ObjectFlag : std::uint32_t {
    kOpCreate = 1 << 0,      ///< Open: make it if the name is free.
    kOpExclusive = 1 << 1,   ///< Open: … and refuse if it is not.
    kOpPersistent = 1 << 2,  ///< Open, when made: it stays without handles.
    kOpLeased = 1 << 3,      ///< Open, when a queue is made: what is got returns unless it is done.
    kOpEnds = 1 << 4,        ///< Open, when a queue is made: shut with its last reader or writer.
    kOpReader = 1 << 5,      ///< Open, Close: the handle is a reading end.
    kOpWriter = 1 << 6,      ///< Open, Close: the handle is a writing end.
    kOpReentrant = 1 << 7,   ///< Open, when a lock is made: its owner may acquire it again.
    kOpAction = 1 << 8,      ///< Open, when a barrier is made: one party acts before all go on.
    kOpTask = 1 << 9,        ///< `owner` is the lease of the attempt that asks.
    kOpAll = 1 << 10,        ///< Read, Erase, Watch: the whole object; Notify: every waiter.
    kOpKeysOnly = 1 << 11,   ///< Read: no values.
    kOpIfAbsent = 1 << 12,   ///< Write (dict): leave what is there and answer with it.
    kOpIfVersion = 1 << 13,  ///< Read, Write, Erase: only if the version is `version`.
    kOpIfEqual = 1 << 14,    ///< Swap: only if the cell's bytes are those of the item's key.
    kOpOld = 1 << 15,        ///< Write, Erase: answer with what was there.
};

/// Bits of ObjectReply::flags.
enum ObjectReplyFlag : std::uint32_t {
    kReplyMore = 1 << 0,       ///< Further records of the same answer follow.
    kReplyOwnerDied = 1 << 1,  ///< The owner before this one did not release it.
    kReplyAct = 1 << 2,        ///< Barrier: run the action, then release.
    kReplyCreated = 1 << 3,    ///< Open: it was made now.
    kReplySet = 1 << 4,        ///< Info: the event is set, the lock held, the queue shut, the
                               ///< barrier broken.
};

/// What the numbers of an array's cells are; the eight bytes are little-endian.
enum class CellKind : std::uint8_t { Opaque = 0, I64 = 1, U64 = 2, F64 = 3 };

struct ObjectItem {
    std::string key;  ///< Dict: its packed key. Swap: the bytes that are expected.
    BodyRef body;
    std::vector<std::uint64_t> refs;  ///< Objects that the value names: it keeps them alive.
};

/// What an object is made with; told by Open.
struct ObjectShape {
    ObjectKind kind{};
    std::uint64_t capacity = 0;  ///< Queue, dict, list: items; array: cells; semaphore: its bound;
                                 ///< barrier: parties. Others: ignored.
    std::uint64_t bytes = 0;     ///< Bound of its bytes; 0: the broker's.
    std::uint64_t initial = 0;   ///< Semaphore: its value; event: 1 is set.
    CellKind cell{};             ///< Array.
    std::uint64_t lock = 0;      ///< Condition: the lock it belongs to.
};

inline constexpr std::int64_t kNoTimeout = -1;
inline constexpr std::int64_t kListEnd = INT64_MAX;  ///< `index` of an append.

struct ObjectOp {
    std::uint64_t op = 0;  ///< The sender's number; its answer repeats it.
    ObjectVerb verb{};
    std::uint64_t object = 0;  ///< Its id; 0: by name (Open).
    std::uint32_t flags = 0;
    std::uint64_t owner = 0;  ///< Who asks within the session: a holder's number, or with kOpTask
                              ///< the lease of the attempt.
    std::int64_t timeout_ns = kNoTimeout;  ///< How long it may wait; 0: not at all.
    std::uint64_t token = 0;    ///< Of a grant, an item's lease, a watch or a waiting operation;
                                ///< Pass: the stream of the session.
    std::uint64_t version = 0;  ///< With kOpIfVersion.
    std::int64_t index = 0;     ///< List, array; below 0 it counts from the end.
    std::uint64_t count = 0;    ///< Items, permits, handles, waiters; 0 means 1 unless stated.
    std::vector<ObjectItem> items;
    std::string name;     ///< Open; Pass and Bury: the session's key in hex digits.
    std::string type;     ///< Open: a text that every opener must agree with, or empty.
    ObjectShape shape;    ///< Open.
    bool shaped = false;  ///< `shape` was told.

    bool has(ObjectFlag flag) const { return (flags & flag) != 0; }
};

struct ObjectReply {
    std::uint64_t op = 0;
    Code code{};
    std::int64_t value = 0;     ///< Size, index, depth, kind: what the verb says.
    std::uint64_t count = 0;    ///< Info: waiting operations.
    std::uint64_t token = 0;    ///< Open: the object's id. Else of the grant or the item's lease.
    std::uint64_t version = 0;  ///< Of what was read or written; Pass: the incarnation.
    std::uint32_t flags = 0;
    std::vector<ObjectItem> items;
    std::string text;  ///< Why it was refused.
};

enum class ObjectChange : std::uint8_t {
    Written = 1,  ///< The item is what is there now.
    Erased = 2,
    Changed = 3,  ///< Something in the object; read it again.
    Gone = 4,     ///< The object ended; the watch with it.
};

struct ObjectEvent {
    std::uint64_t watch = 0;  ///< `op` of the Watch.
    ObjectChange change{};
    std::uint64_t version = 0;
    std::vector<ObjectItem> items;  ///< With Written: one.
};

}  // namespace forkmill::wire
