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
#include <vector>

#include "core/base/bytes.h"
#include "core/base/ids.h"
#include "core/wire/codes.h"
#include "core/wire/error_info.h"
#include "core/wire/kinds.h"
#include "core/wire/session_messages.h"

namespace forkmill::wire {

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
    std::uint64_t rss_peak = 0;
    bool core_dumped = false;
};

}  // namespace forkmill::wire
