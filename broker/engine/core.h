// SPDX-License-Identifier: Apache-2.0
// Core: what the engine decides, one source per concern.
//
//   sessions.cc   open, close, loss          submit.cc     templates, admission
//   place.cc      states, lines, bodies      finish.cc     outcomes, delivery
//   cancel.cc     requests to stop           leases.cc     lease, settle, give back
//   scheduler.cc  who runs what              deaths.cc     blame, pools
//   keys.cc       keys, attach, release      recovery.cc   after a restart
//   credit.cc     flow control               timers_fired.cc  what time brings
//   objects.h     shared objects
// Invariants: those of engine.h. Threading: one thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "broker/engine/tables.h"

namespace forkmill::engine {

struct Core : Tables {
    using Tables::Tables;

    // Sessions (sessions.cc).
    wire::Code open_session(const SessionInfo& info, base::Time now, Effects& out, SessionIx& ix);
    wire::Code open_worker(Session& session, SessionIx ix, base::Time now, Effects& out);
    void set_connected(SessionIx ix, bool connected, base::Time now, Effects& out);
    void set_writable(SessionIx ix, bool writable, base::Time now, Effects& out);
    void close_session(SessionIx ix, base::Time now, Effects& out);
    void session_timer(SessionIx ix, base::Time now, Effects& out);
    void close_worker(SessionIx ix, base::Time now, Effects& out);
    void leave_client(SessionIx ix, base::Time now, Effects& out);

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
    void accept(Slot slot,
                const base::Body& body,
                const wire::Extras* extras,
                base::Time now,
                base::WallNanos wall,
                Effects& out);
    void refuse(SessionIx ix, std::uint64_t seq, wire::Code code, std::string text, Effects& out);
    void withdraw(Slot slot, wire::Code code, std::string text, Effects& out);
    bool add_dependencies(Slot slot,
                          Session& session,
                          const wire::Extras& extras,
                          base::Time now,
                          Effects& out);

    // States and places (place.cc).
    void place(Slot slot, base::Time now, Effects& out);

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
    void flush_retained(SessionIx ix, base::Time now, Effects& out);

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
    void attach(SessionIx ix,
                std::uint64_t seq,
                const base::TaskId& task,
                base::Time now,
                Effects& out);
    void join_waiters(Slot alias, Slot primary, base::Time now, Effects& out);

    void release(SessionIx ix, std::uint64_t first, std::uint64_t count, base::Time now);
    void set_floor(SessionIx ix, std::uint64_t floor);
    void outcome_timer(Slot slot, base::Time now);

    // Recovery (recovery.cc).
    void held(SessionIx ix, const wire::Held& held, base::Time now, Effects& out);
    bool free_for_holder(Slot slot, std::uint32_t attempt, base::Time now, Effects& out);
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

    // Objects (engine.cc).
    void operate(SessionIx ix, const wire::ObjectOp& op, base::Time now, Effects& out);
    void end_attempts(base::Time now, Effects& out);

    // Credit (credit.cc) and durability.
    void refresh_credit(base::Time now, Effects& out);
    void committed(std::uint64_t position, base::Time now, Effects& out);
};

}  // namespace forkmill::engine
