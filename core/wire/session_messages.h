// SPDX-License-Identifier: Apache-2.0
// What opens, keeps and ends a session: the unnumbered kinds. docs/protocol.md
// §5.1 is the text of it.
//
// Threading: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/wire/codes.h"
#include "core/wire/kinds.h"

namespace forkmill::wire {

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

}  // namespace forkmill::wire
