// SPDX-License-Identifier: Apache-2.0
// Tables: all that the engine knows, and the moves that keep it consistent with itself.
//
// Nothing here decides what becomes of a task: that is Core's (core.h). Members are open to Core,
// whose sources they are spread over. Invariants: those of engine.h. Threading: one thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/engine/arena.h"
#include "broker/engine/journal.h"
#include "broker/engine/lines.h"
#include "broker/engine/objects.h"
#include "broker/engine/parties.h"
#include "broker/engine/status.h"
#include "broker/engine/task_table.h"
#include "broker/engine/templates.h"
#include "broker/engine/timers.h"

namespace forkmill::engine {

struct Tables {
    Tables(Config settings, std::uint64_t number, base::Time now, std::uint64_t seed);
    ~Tables();
    Tables(const Tables&) = delete;
    Tables& operator=(const Tables&) = delete;
    Session* session_at(SessionIx ix) {
        return ix < sessions.size() ? sessions[ix].get() : nullptr;
    }
    Worker* worker_at(SessionIx ix) {
        Session* session = session_at(ix);
        return session == nullptr ? nullptr : session->worker.get();
    }
    std::uint64_t memory_used() const {
        return arena.bytes_used() + large_bytes + tasks.bytes() + objects.bytes;
    }
    /// What was not promised to submitters either.
    std::uint64_t memory_free() const {
        const std::uint64_t used = memory_used() + unused_credit;
        return config.memory_max > used ? config.memory_max - used : 0;
    }

    // Parties (sessions.cc).
    std::uint32_t principal_named(const std::string& name);
    std::uint32_t stream_named(std::uint64_t id, std::uint32_t principal);
    void drop_stream_if_idle(std::uint32_t stream);

    // States and places (place.cc).
    void set_state(TaskNode& node, State to);
    void make_ready(Slot slot, base::Time now);
    void put_back(Slot slot, base::Time now);
    void schedule_at(Slot slot, base::Time due);
    void arm_task(Slot slot);
    void unplace(Slot slot);
    void store_body(TaskNode& node, const base::Body& body);
    void drop_body(TaskNode& node);
    base::Body body_of(const TaskNode& node) const;
    Slot new_task(std::uint32_t stream, std::uint32_t lane, std::uint64_t seq);
    void free_task(Slot slot);
    std::uint32_t stream_of(const TaskNode& node) const;
    Slot slot_in(const Stream& stream, std::uint64_t seq) const;
    base::TaskId id_of(const TaskNode& node) const;
    const Template* template_of(const TaskNode& node) const;
    void append(List& list, Slot slot);
    void unlink(List& list, Slot slot);
    std::uint64_t random();

    // Ends (finish.cc).
    void release_awaited(Slot outer);
    void emit_outcome(SessionIx ix,
                      std::uint64_t seq,
                      wire::Outcome outcome,
                      const base::Body& body,
                      std::uint64_t position,
                      Effects& out);
    bool can_deliver(const Session& session, std::uint64_t size) const;
    void trim_recent(Session& session);
    void refresh_pause(Session& session);
    void bury(const TaskNode& node, const base::Body& error);
    std::uint64_t journal_settle(const TaskNode& node,
                                 wire::Outcome outcome,
                                 const base::Body& body);

    // Keys (keys.cc).
    void forget_key(Slot slot);
    void leave_waiters(Slot alias);
    void digest_of(const TaskNode& node,
                   const base::Body& body,
                   std::uint64_t& hi,
                   std::uint64_t& lo) const;

    // Leases (leases.cc).
    TaskNode* holder_check(SessionIx ix, Lease lease);
    void unlease(Slot slot);

    // Who may run what (scheduler.cc).
    std::uint32_t room_for(const Worker& worker, const Template& t) const;
    bool has_room(const Worker& worker) const;
    bool usable(const Session& session) const;
    bool runs(const Worker& worker, std::uint32_t template_id) const;
    void feel_hungry(SessionIx ix);
    void not_hungry(Worker& worker);

    // Submits (submit.cc).
    wire::Code verdict_of(std::uint32_t lane, std::string& text);
    void tell_accepted(Slot slot, std::uint64_t position, Effects& out);

    // Pools (deaths.cc).
    const Pool* breakage_of(std::uint32_t queue) const;

    // Credit (credit.cc).
    void open_credit(Session& session);
    void close_credit(Session& session);
    void consume(Session& session, std::uint64_t bytes);
    void finished_one(Session& session);
    void credit_moved(Session& session);
    std::uint64_t records_allowed(const Session& session) const;
    bool raise_credit(Session& session);

    // Errors made here (errors.cc).
    base::Body error_for(const TaskNode& node, wire::ErrorInfo info) const;
    base::Body error_for(const TaskNode& node,
                         wire::Code code,
                         std::string_view what,
                         wire::Ran ran) const;

    // Looking in (status.cc, invariants.cc).
    Engine::Snapshot snapshot(base::Time now) const;
    std::uint64_t waiting(std::string_view queue) const;
    bool find_task(const base::TaskId& task, Engine::TaskRow& row) const;
    /// host:pid of a session; empty: there is none.
    std::string process_of(SessionIx ix) const;
    std::string check() const;

    Config config;
    std::uint64_t incarnation = 1;
    std::uint64_t rng = 0;
    Journal* journal = nullptr;
    bool commit_failed = false;

    Arena arena;
    TaskTable tasks;
    Templates templates;
    Lines lines;
    Timers timers;
    Objects objects;
    struct EndedAttempt {
        SessionIx worker = kNoSession;
        Lease lease = 0;
        bool killed = false;
    };
    std::vector<EndedAttempt> ended_attempts;  ///< That may hold objects.
    std::uint64_t large_bytes = 0;
    std::vector<std::pair<std::byte*, std::uint32_t>>
        graveyard;  ///< Shown by effects until collect().

    std::vector<std::unique_ptr<Session>> sessions;
    std::vector<SessionIx> free_sessions,
        closed_sessions;  ///< The latter are free after collect().
    std::uint32_t open_sessions = 0;
    std::deque<Stream> streams;
    std::vector<std::uint32_t> free_streams;
    std::unordered_map<std::uint64_t, std::uint32_t> stream_of_id;
    std::vector<Principal> principals;
    std::vector<std::uint32_t> free_principals;
    std::unordered_map<std::string, std::uint32_t> principal_of;
    std::unordered_map<std::string, SessionIx> worker_of;
    std::unordered_map<std::string, std::uint32_t>
        dead_births;  ///< By worker place: newest known dead.
    std::deque<KeyEntry> keys;
    std::vector<std::uint32_t> free_keys;
    std::unordered_map<std::string, std::uint32_t> key_of;
    std::map<std::string, Pool, std::less<>> pools;
    std::vector<std::deque<DeadLetter>> letters;  ///< By queue.
    std::vector<std::uint64_t> letter_bytes;

    std::vector<SessionIx>
        hungry;                  ///< Workers that may have room, the one served last at the back.
    std::uint64_t suspects = 0;  ///< Ready ones, over all queues.
    std::vector<SessionIx> dirty_credit;
    std::uint64_t unused_credit = 0;  ///< Bytes that clients may send at any moment.
    std::uint32_t submitters = 0;     ///< Sessions that hold credit.

    struct Doomed {
        Slot slot = kNone;
        base::Body error;
    };
    std::vector<Slot> abandoned;  ///< Keyed tasks whose last handle went.
    std::vector<Slot> passed;     ///< Scratch of set_floor().
    std::vector<Doomed> cascade;  ///< Outer tasks that fail because an inner one did.
    bool cascading = false;

    struct Uncommitted {
        std::uint64_t position = 0;
        Slot slot = kNone;
        std::uint64_t seq = 0;
        std::uint32_t stream = kNone;
    };
    std::deque<Uncommitted> uncommitted;

    bool recovering = false;
    base::Time recovery_until{};
    bool roster_complete = false;
    std::set<std::string> roster;     ///< Workers that recovery still waits for.
    std::set<std::string> accounted;  ///< Those that re-attached or died already.
    std::vector<std::pair<Slot, base::TaskId>> parked;
    Engine::Counters counters;
};

std::string place_name(std::string_view host_key, std::string_view pool, std::uint32_t slot);
std::string worker_name(std::string_view host_key,
                        std::string_view pool,
                        std::uint32_t slot,
                        std::uint32_t birth);

}  // namespace forkmill::engine
