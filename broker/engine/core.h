// SPDX-License-Identifier: Apache-2.0
// Core: the engine's tables and its verbs, spread over one source per concern.
//
//   sessions.cc open, close, loss   submit.cc templates, admission   place.cc states, lines, bodies
//   finish.cc outcomes, delivery    cancel.cc requests to stop       leases.cc lease, settle, give
//   back scheduler.cc who runs what      deaths.cc blame, pools           timers_fired.cc what time
//   brings keys.cc keys, attach, release   recovery.cc after a restart      credit.cc flow control
//   errors.cc made by the broker    status.cc, invariants.cc         looking in
// Invariants: those of engine.h. Threading: one thread.
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
#include "broker/engine/parties.h"
#include "broker/engine/status.h"
#include "broker/engine/task_table.h"
#include "broker/engine/templates.h"
#include "broker/engine/timers.h"

namespace forkmill::engine {

struct Core {
    Core(Config settings, std::uint64_t number, base::Time now, std::uint64_t seed);
    ~Core();

    // Sessions (sessions.cc).
    wire::Code open_session(const SessionInfo& info, base::Time now, Effects& out, SessionIx& ix);
    wire::Code open_worker(Session& session, SessionIx ix, base::Time now, Effects& out);
    void set_connected(SessionIx ix, bool connected, base::Time now, Effects& out);
    void set_writable(SessionIx ix, bool writable, base::Time now, Effects& out);
    void close_session(SessionIx ix, base::Time now, Effects& out);
    void session_timer(SessionIx ix, base::Time now, Effects& out);
    void close_worker(SessionIx ix, base::Time now, Effects& out);
    void leave_client(SessionIx ix, base::Time now, Effects& out);
    Session* session_at(SessionIx ix) {
        return ix < sessions.size() ? sessions[ix].get() : nullptr;
    }
    Worker* worker_at(SessionIx ix) {
        Session* session = session_at(ix);
        return session == nullptr ? nullptr : session->worker.get();
    }
    std::uint32_t principal_named(const std::string& name);
    std::uint32_t stream_named(std::uint64_t id, std::uint32_t principal);
    void drop_stream_if_idle(std::uint32_t stream);

    // Submits (submit.cc).
    wire::Code define_template(SessionIx ix, const wire::TemplateDef& def);
    void submit(SessionIx ix,
                std::uint32_t session_template,
                std::uint64_t seq,
                const base::Body& body,
                const wire::Extras* extras,
                bool resent,
                base::Time now,
                base::WallNanos wall,
                Effects& out);
    wire::Code admit(const Session& session,
                     std::uint32_t lane,
                     const base::Body& body,
                     std::string& text);
    wire::Code verdict_of(std::uint32_t lane, std::string& text);
    void accept(Slot slot,
                const base::Body& body,
                const wire::Extras* extras,
                base::Time now,
                base::WallNanos wall,
                Effects& out);
    void refuse(SessionIx ix, std::uint64_t seq, wire::Code code, std::string text, Effects& out);
    void tell_accepted(Slot slot, std::uint64_t position, Effects& out);
    void withdraw(Slot slot, wire::Code code, std::string text, Effects& out);
    bool add_dependencies(Slot slot,
                          Session& session,
                          const wire::Extras& extras,
                          base::Time now,
                          Effects& out);

    // States and places (place.cc).
    void set_state(TaskNode& node, State to);
    void place(Slot slot, base::Time now, Effects& out);
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
    std::uint64_t memory_used() const { return arena.bytes_used() + large_bytes + tasks.bytes(); }
    std::uint64_t random();

    // Ends (finish.cc).
    void finish(Slot slot,
                wire::Outcome outcome,
                const base::Body& body,
                base::Time now,
                Effects& out);
    void finish_error(Slot slot,
                      wire::Outcome outcome,
                      wire::Code code,
                      std::string_view what,
                      wire::Ran ran,
                      base::Time now,
                      Effects& out);
    void settle_side(Slot slot,
                     wire::Outcome outcome,
                     const base::Body& body,
                     base::Time now,
                     Effects& out);
    void release_awaited(Slot outer);
    void hand_over(Slot slot,
                   wire::Outcome outcome,
                   const base::Body& body,
                   std::uint64_t position,
                   base::Time now,
                   Effects& out);
    void retain(SessionIx ix, Slot slot, wire::Outcome outcome, const base::Body& body);
    void after_delivery(Session& session,
                        Slot slot,
                        wire::Outcome outcome,
                        const base::Body& body,
                        bool stored,
                        base::Time now);
    void emit_outcome(SessionIx ix,
                      std::uint64_t seq,
                      wire::Outcome outcome,
                      const base::Body& body,
                      std::uint64_t position,
                      Effects& out);
    bool can_deliver(const Session& session, std::uint64_t size) const;
    void flush_retained(SessionIx ix, base::Time now, Effects& out);
    void trim_recent(Session& session);
    void refresh_pause(Session& session);
    void bury(const TaskNode& node, const base::Body& error);
    std::uint64_t journal_settle(const TaskNode& node,
                                 wire::Outcome outcome,
                                 const base::Body& body);

    // Requests to stop (cancel.cc).
    void cancel(SessionIx ix,
                std::span<const std::uint64_t> seqs,
                bool kill,
                bool all,
                base::Time now,
                Effects& out);
    void cancel_task(Slot slot, bool kill, base::Time now, Effects& out);
    bool detach_owner(Slot slot, base::Time now, Effects& out);

    // Leases (leases.cc).
    void lease(SessionIx ix, Slot slot, base::Time now, Effects& out);
    TaskNode* holder_check(SessionIx ix, Lease lease);
    void unlease(Slot slot);
    void started(SessionIx ix, Lease lease, base::Time now);
    Settled settle(SessionIx ix,
                   Lease lease,
                   wire::Outcome outcome,
                   wire::Code code,
                   bool no_retry,
                   const base::Body& body,
                   base::Duration run,
                   base::Time now,
                   Effects& out);
    void fail_or_retry(Slot slot,
                       bool no_retry,
                       const base::Body& body,
                       base::Time now,
                       Effects& out);
    void give_back(SessionIx ix, Lease lease, base::Time now, Effects& out);
    void return_lease(Slot slot, base::Time now, Effects& out);
    void partial(SessionIx ix, Lease lease, double fraction, std::string_view note, Effects& out);
    void blocked(SessionIx ix, Lease lease, bool is_blocked);

    // Who runs what (scheduler.cc).
    void schedule(base::Time now, Effects& out);
    void give_suspects(base::Time now, Effects& out);
    bool feed(bool free_only, base::Time now, Effects& out);
    void take(SessionIx ix, std::uint32_t share, base::Time now, Effects& out);
    std::uint32_t room_for(const Worker& worker, const Template& t) const;
    bool has_room(const Worker& worker) const;
    bool usable(const Session& session) const;
    bool runs(const Worker& worker, std::uint32_t template_id) const;
    void feel_hungry(SessionIx ix);
    void not_hungry(Worker& worker);

    // Deaths and pools (deaths.cc).
    void on_death(const DeathInfo& death, base::Time now, Effects& out);
    void lose_leases(SessionIx ix, const DeathInfo& death, base::Time now, Effects& out);
    void blame(Slot slot, const DeathInfo& death, SessionIx worker, base::Time now, Effects& out);
    void end_lost(Slot slot,
                  wire::Outcome outcome,
                  wire::Ran ran,
                  const DeathInfo& death,
                  SessionIx worker,
                  base::Time now,
                  Effects& out);
    void set_pool_broken(std::string_view pool,
                         bool broken,
                         std::string_view text,
                         base::Time now,
                         Effects& out);
    const Pool* breakage_of(std::uint32_t queue) const;
    void judge_waiting(std::uint32_t queue, base::Time now, Effects& out);

    // Time (timers_fired.cc).
    void tick(base::Time now, Effects& out);
    void task_timer(Slot slot, base::Time now, Effects& out);
    void kill_worker_of(TaskNode& node, wire::Code why, Effects& out);

    // Keys, attach, release (keys.cc).
    bool submit_keyed(Slot slot,
                      Session& session,
                      const wire::Extras& extras,
                      const base::Body& body,
                      base::Time now,
                      Effects& out);
    void forget_key(Slot slot);
    void attach(SessionIx ix,
                std::uint64_t seq,
                const base::TaskId& task,
                base::Time now,
                Effects& out);
    void join_waiters(Slot alias, Slot primary, base::Time now, Effects& out);
    void leave_waiters(Slot alias);
    void digest_of(const TaskNode& node,
                   const base::Body& body,
                   std::uint64_t& hi,
                   std::uint64_t& lo) const;

    void release(SessionIx ix, std::uint64_t first, std::uint64_t count, base::Time now);
    void set_floor(SessionIx ix, std::uint64_t floor);
    void outcome_timer(Slot slot, base::Time now);

    // Recovery (recovery.cc).
    void held(SessionIx ix, const wire::Held& held, base::Time now, Effects& out);
    void hold_one(SessionIx ix, const wire::HeldTask& task, base::Time now, Effects& out);
    void claim(Slot slot,
               std::uint32_t lane,
               const base::Body& body,
               const wire::Extras* extras,
               base::Time now,
               base::WallNanos wall,
               Effects& out);
    void set_roster(std::string_view host_key,
                    std::span<const DeathInfo> living,
                    bool complete,
                    base::Time now,
                    Effects& out);
    void accounted_for(const std::string& worker, base::Time now, Effects& out);
    void unpark(Slot slot, base::Time now, Effects& out);
    void end_recovery(base::Time now, Effects& out);
    void stream_timer(std::uint32_t stream, base::Time now, Effects& out);

    // Credit (credit.cc) and durability.
    void open_credit(Session& session);
    void close_credit(Session& session);
    void consume(Session& session, std::uint64_t bytes);
    void finished_one(Session& session);
    void refresh_credit(base::Time now, Effects& out);
    bool raise_credit(Session& session);
    void committed(std::uint64_t position, base::Time now, Effects& out);

    // Errors made here (errors.cc).
    base::Body error_for(const TaskNode& node, wire::ErrorInfo info) const;
    base::Body error_for(const TaskNode& node,
                         wire::Code code,
                         std::string_view what,
                         wire::Ran ran) const;

    // Looking in (status.cc, invariants.cc).
    Engine::Snapshot snapshot(base::Time now) const;
    bool find_task(const base::TaskId& task, Engine::TaskRow& row) const;
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
