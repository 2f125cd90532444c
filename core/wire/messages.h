// SPDX-License-Identifier: Apache-2.0
// The whole vocabulary of the wire, one struct per kind, grouped by direction. docs/protocol.md is
// the text of it.
//
// A control frame is `F M major kind` and one msgpack array [number, ack, floor, fields…]. Arrays
// grow at the tail only: a reader ignores extra elements and keeps the default of missing optional
// ones. Views in decoded messages point into the received control frame and live as long as it
// does. The three hot kinds (SUBMIT, TASKS, RESULTS) are not decoded into vectors: codec.h walks
// them record by record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/ids.h"
#include "core/wire/codes.h"

namespace forkmill::wire {

enum class Kind : std::uint8_t {
    // The session (unnumbered: number 0).
    Hello = 1,
    Welcome,
    Reject,
    Fenced,
    Who,
    Ping,
    Pong,
    Ack,
    Err,
    // Numbered, client ↔ broker.
    Template = 16,
    Submit,
    Accepted,
    Refused,
    Forgotten,
    Cancel,
    Attach,
    Release,
    Query,
    Reply,
    // Numbered, broker ↔ worker.
    Tasks = 32,
    Started,
    Return,
    Stale,
    Held,
    Adopt,
    CancelLease,
    Blocked,
    Unblocked,
    // Numbered, both.
    Results = 48,
    Partial,
    Chunk,
    Credit,
    Drain,
    Bye,
    // Numbered, uplink → broker and back.
    Host = 64,
    HostVerb,
};
std::string_view name_of(Kind kind);
inline bool is_numbered(Kind kind) {
    return static_cast<std::uint8_t>(kind) >= 16;
}

enum class Role : std::uint8_t { Client = 1, Worker = 2, Uplink = 3, Admin = 4 };

struct Header {
    Kind kind{};
    std::uint64_t number = 0;
    std::uint64_t ack = 0;
    std::uint64_t floor = 0;
};

/// One task a worker can run.
struct Offer {
    std::string name;
    std::string signature;
};

struct Hello {
    std::uint32_t minor = 0;
    Role role = Role::Client;
    base::SessionKey session;
    std::uint64_t generation = 0;   ///< Raised by the peer at every connect; a lower one is FENCED.
    std::uint64_t incarnation = 0;  ///< The broker incarnation the peer last knew; 0: none.
    std::uint64_t received = 0;     ///< Highest frame number it processed in that incarnation.
    std::uint64_t stream = 0;  ///< Client and worker (nested submits): the stream of its task ids.
    std::string host;
    std::int32_t pid = 0;
    std::string build;  ///< Build-id of its program, hex.
    // Workers:
    std::string pool;
    std::uint32_t slot = 0;
    std::uint32_t birth = 0;  ///< Generation of the slot's process (supervisor::Notice.generation).
    std::string host_key;     ///< Names its master: the same text the uplink (or the local master)
                              ///< uses in Host records.
    std::uint32_t threads = 1;
    std::vector<Offer> offers;  ///< A name `@<build-id>` offers every bare function of that module.
    std::uint64_t session_ttl_ms = 0;  ///< Client's wish; 0: the broker's default.
    std::vector<std::string>
        queues;  ///< Workers: the queues they serve; unknown ones REJECT the session.
};

struct Welcome {
    std::uint32_t minor = 0;
    std::uint64_t incarnation = 0;
    bool resumed = false;  ///< Same incarnation and session known: numbering goes on.
    std::uint64_t received =
        0;  ///< Highest frame of the peer that was processed; resend from the next.
    std::uint64_t ping_ms = 2000;
    std::uint64_t gone_ms = 8000;
    std::uint64_t session_ttl_ms = 60000;
    std::uint64_t payload_max = 0;
    std::uint64_t credit_records = 0;  ///< Absolute, cumulative (semantics.md 22).
    std::uint64_t credit_bytes = 0;
    std::string durability;  ///< "memory", "sqlite", "postgres".
    std::string broker;      ///< "host:pid", for messages.
    std::uint64_t generation =
        0;  ///< Of the HELLO that this answers; a peer ignores the answer to an older one.
};

struct Reject {
    Code code{};
    std::string text;
    std::uint64_t retry_after_ms = 0;  ///< 0: do not try again.
};

struct Ping {
    std::uint64_t echo = 0;
    std::uint64_t busy_ns = 0;  ///< Age of the longest running task (workers).
    std::uint32_t running = 0;
    std::uint32_t waiting = 0;
};

struct Err {
    Code code{};
    Kind about{};
    std::string text;
};

/// How every task of one template is to be treated. Registered once per session (semantics.md 23);
/// the broker interns equal ones.
struct TemplateDef {
    std::uint32_t id = 0;
    std::string name;  ///< Task name, or `@<module build-id>+<offset>` of a bare function.
    std::string signature;
    std::string queue;
    std::int32_t priority = 0;
    std::uint64_t soft_timeout_ns = 0;
    std::uint64_t timeout_ns = 0;
    std::uint64_t delay_ns = 0;
    std::uint32_t max_retries = 0;
    std::uint32_t crash_limit = 3;
    bool at_most_once = false;
    bool detached = false;
};

/// What a single task has beyond its template; makes its SUBMIT group one task long.
struct Extras {
    std::int64_t deadline = 0;  ///< Wall nanoseconds; 0: none.
    std::string key;
    struct Dependency {
        std::uint32_t argument = 0;  ///< Position of the placeholder among the arguments.
        std::uint64_t seq = 0;       ///< In the submitting session's stream.
    };
    std::vector<Dependency> dependencies;
    std::string trace;    ///< W3C traceparent, opaque.
    base::TaskId parent;  ///< The task that submitted it; zero: none.
};

struct Range {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
};
struct Accepted {
    std::vector<Range> ranges;
};
struct Refused {
    std::uint64_t seq = 0;
    Code code{};
    std::string text;
    std::uint64_t retry_after_ms = 0;
};
struct Forgotten {
    std::vector<Range> ranges;
};
struct Cancel {
    std::vector<std::uint64_t> seqs;
    bool kill = false;
    bool all = false;  ///< Every unsettled task of the session that is not detached.
};
/// Ask for the outcome of a detached task of any session; answered by RESULTS under `seq` of the
/// asking session, or REFUSED.
struct Attach {
    std::uint64_t seq = 0;
    base::TaskId task;
};
struct Release {
    std::vector<Range> ranges;
};

struct Query {
    std::uint64_t id = 0;
    std::string
        what;  ///< "status", "workers", "queues", "task" …: sys.* verbs, admin/gateway decides.
    std::string argument;
};
struct Reply {
    std::uint64_t id = 0;
    Code code{};
    std::string body;  ///< JSON text, or a reason when code is set.
};

struct Started {
    std::vector<std::uint64_t> leases;
};
struct Return {
    std::vector<std::uint64_t> leases;
};
struct Stale {
    std::vector<std::uint64_t> leases;
};
enum class HeldState : std::uint8_t { Waiting = 0, Running = 1, Done = 2 };
struct HeldTask {
    std::uint64_t lease = 0;  ///< In the incarnation the worker knew.
    base::TaskId task;
    std::uint32_t attempt = 1;
    std::uint32_t crashes = 0;
    HeldState state{};
};
struct Held {
    std::vector<HeldTask> tasks;  ///< ≤ kRecordsMax per message.
    bool last = true;
};
struct Adopt {
    struct Mapping {
        std::uint64_t old_lease = 0;
        std::uint64_t new_lease = 0;  ///< 0: stale, drop it and its result.
    };
    std::vector<Mapping> leases;
};
struct CancelLease {
    std::uint64_t lease = 0;
    bool kill = false;
};
struct Blocked {
    std::uint64_t lease = 0;
};
struct Unblocked {
    std::uint64_t lease = 0;
};

/// Progress of a running task, worker → broker (ref = lease) → client (ref = seq). Only the newest
/// per task is kept on the way.
struct Partial {
    std::uint64_t ref = 0;
    double fraction = 0;
    std::string note;
};
struct Chunk {
    std::uint64_t transfer = 0;
    bool last = false;  ///< With the last chunk the transfer may be named by a record. Payload
                        ///< frame 0 holds the bytes.
};
struct Credit {
    std::uint64_t records = 0;
    std::uint64_t bytes = 0;
};
struct DrainMsg {
    std::uint64_t timeout_ms = 0;
};
struct Bye {
    std::string reason;
};

/// Births and deaths of a remote host's workers; mirrors supervisor::Notice.
struct HostRecord {
    std::string host_key;
    std::uint8_t verb = 0;   ///< supervisor::Verb
    std::uint8_t cause = 0;  ///< supervisor::Cause
    std::string pool;
    std::uint32_t slot = 0;
    std::int32_t pid = 0;
    std::uint32_t birth = 0;
    std::int32_t detail = 0;
    std::vector<std::uint64_t> leases;
    std::string text;
};

/// Why a task did not succeed: the body of a non-success RESULTS record. Made by the worker (task
/// code) or by the broker (loss, cancel, expiry).
struct ErrorInfo {
    Code code = Code::None;
    std::string type;  ///< Demangled C++ type of what was thrown, if anything was.
    std::string what;
    std::string host;
    std::int32_t pid = 0;
    std::string task;  ///< Task name.
    std::uint32_t attempt = 0;
    std::int32_t number =
        0;              ///< Exit code, signal, errno of a system_error, user code of a TaskFailure.
    std::string cause;  ///< supervisor cause name for WorkerLost ("signal", "exit", "oom" …).
    Ran ran = Ran::Maybe;
    std::vector<std::pair<std::string, std::string>>
        nested;  ///< (type, what) of nested causes, outermost first, ≤ 16.
    std::string
        detail;  ///< Opaque bytes: payload of a TaskFailure, or stderr tail of a dead worker.
    bool no_retry = false;  ///< The task asked for no further attempt (NoRetry).
};

}  // namespace forkmill::wire
