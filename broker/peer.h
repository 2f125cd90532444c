// SPDX-License-Identifier: Apache-2.0
// Peer: what the gateway keeps of one remote session: its numbering, its open batches, and the
// custody of results that pass through.
//
// Invariants: (1) `handle` is set exactly while `connected`; (2) custody of a worker frame is open
// while it stands in some client's `unacked_results`; (3) `floor` is the highest frame of this
// (worker) peer below and at which no custody is open.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/gateway.h"
#include "core/session/session.h"
#include "core/wire/codec.h"

namespace forkmill::broker {

/// How many of a worker frame's results are still on their way to a client.
struct FrameCustody {
    std::uint64_t number = 0;
    std::uint32_t open = 0;
};

/// Results of one worker frame inside one client frame.
struct CustodyShare {
    engine::SessionIx worker = engine::kNoSession;
    std::uint64_t worker_epoch = 0;  ///< Fences re-used session indexes.
    std::uint64_t number = 0;
    std::uint32_t count = 0;
};

struct UnackedResults {
    std::uint64_t number = 0;  ///< Our frame to the client.
    std::vector<CustodyShare> shares;
};

/// A body that arrives in chunks before the record that names it.
struct Reassembly {
    std::vector<base::Blob> chunks;
    std::uint64_t bytes = 0;  ///< As they came …
    std::uint64_t held = 0;   ///< … and as far as they are kept.
    bool complete = false;
};

struct Peer {
    // Constant after HELLO.
    engine::SessionIx index = engine::kNoSession;
    std::uint64_t epoch = 0;  ///< Of this Peer object among those that had the index.
    base::SessionKey key;
    wire::Role role = wire::Role::Client;
    std::uint64_t stream = 0;
    std::string host_key;
    std::string pool;
    std::uint32_t slot = 0;
    std::uint32_t birth = 0;
    std::string principal;
    std::vector<wire::Offer> offers;  ///< Workers: what they run, for those who ask.
    /// Who opened it, for a process that it started; it does not outlive that session.
    engine::SessionIx parent = engine::kNoSession;

    // The connection.
    Handle handle;
    bool connected = false;
    std::uint64_t generation = 0;
    base::Time last_heard{};
    base::Time last_sent{};
    bool ping_sent = false;
    bool who_sent = false;  ///< A gap was met; one WHO until the next HELLO.
    session::Session session;
    bool writable_told = true;  ///< What the engine last heard of set_writable.

    // Batches of this turn.
    bool dirty = false;
    wire::TasksWriter tasks;
    wire::ResultsWriter results;
    std::vector<CustodyShare> open_shares;  ///< Of the results in `results`.
    std::vector<wire::Range> accepted;
    std::vector<wire::Range> forgotten;
    std::vector<wire::Refused> refused;
    std::vector<wire::Partial> partials;
    std::vector<std::uint64_t> stale;
    std::vector<wire::CancelLease> cancels;
    std::vector<wire::Adopt::Mapping> adopts;
    std::vector<wire::Reply> replies;
    std::vector<std::uint32_t>
        templates_due;  ///< Broker-wide numbers this worker has not heard of.
    std::vector<bool> templates_told;
    bool credit_due = false;
    bool drain_due = false;
    bool ack_now = false;
    std::uint64_t credit_told_records = 0;
    std::uint64_t credit_told_bytes = 0;

    // Custody.
    std::deque<FrameCustody> frames;  ///< This worker's RESULTS frames above `floor`.
    std::uint64_t floor = 0;
    std::uint64_t floor_told = 0;
    std::deque<UnackedResults>
        unacked_results;  ///< Our RESULTS frames that this client has not acked.

    // Bodies in chunks, both ways.
    std::unordered_map<std::uint64_t, Reassembly> incoming;
    std::uint64_t incoming_bytes = 0;  ///< All that `incoming` holds.
    std::uint64_t next_transfer = 1;

    // Answers to operations on objects.
    wire::ObjectReplyWriter object_replies;
    wire::ObjectEventWriter object_events;
    std::deque<std::pair<std::uint64_t, std::uint64_t>>
        unacked_answers;             ///< (Frame of ours, answers in it.)
    std::uint64_t answers = 0;       ///< Not acked; their sum …
    std::uint64_t answers_here = 0;  ///< … and those of the message that is being written.

    std::uint32_t protocol_errors = 0;
};

}  // namespace forkmill::broker
