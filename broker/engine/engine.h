// SPDX-License-Identifier: Apache-2.0
// Engine: the broker's brain. Sessions, tasks, queues, leases, blame, credit and timers; no socket,
// clock, thread, file or environment.
//
// Called by one thread with `now`; answers by appending Effects. The same calls in the same order
// give the same effects (law 4). Invariants (check_invariants() verifies them all, tests call it
// after every step): (1) a task has at most one lease; (2) attempts grow by one per lease and a
// final state is never left; (3) the tasks of all states sum to accepted − forgotten; (4) bytes
// accounted equal bytes held; (5) every table is within its bound; (6) a lease names exactly one
// (task, attempt, worker); (7) a task in a ready line is ready and in exactly one line; (8) lent
// slots ≤ 64 per worker and running user code ≤ threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/engine/config.h"
#include "broker/engine/effects.h"
#include "core/base/body.h"
#include "core/base/time.h"
#include "core/wire/messages.h"

namespace forkmill::engine {

/// Who opens a session. Clients and workers alike may submit (nested tasks use the worker's own
/// session and stream).
struct SessionInfo {
    wire::Role role = wire::Role::Client;
    base::SessionKey key;
    std::uint64_t stream = 0;
    std::string principal;  ///< Fairness and access: CURVE name, uid, or "local".
    std::string host;
    std::int32_t pid = 0;
    base::Duration session_ttl{};  ///< 0: the configured one.
    // Workers:
    std::string pool;
    std::string host_key;  ///< With pool, slot, birth: how death notices name it.
    std::uint32_t slot = 0;
    std::uint32_t birth = 0;
    std::uint32_t threads = 1;
    std::vector<std::string> queues;
    std::vector<wire::Offer> offers;
    bool reattaching =
        false;  ///< It knew another incarnation and will say held(): recovery waits for that.
};

/// What the gateway needs to write one TASKS record; views are valid until the task settles.
/// attempt 0: the lease ended before it was written (its session closed in the same turn): write
/// nothing.
struct Leased {
    std::uint32_t template_id =
        0;  ///< Broker-wide template number; the gateway tells each worker its TemplateDef once.
    base::TaskId task;
    std::uint32_t attempt = 0;
    std::uint32_t crashes = 0;
    base::Body body;
    const wire::Extras* extras = nullptr;  ///< Deadline, trace, parent; null for the plain task.
    std::span<const std::pair<std::uint32_t, base::Body>>
        dependencies;  ///< (argument, packed value).
};

struct DeathInfo {
    std::string host_key;
    std::string pool;
    std::uint32_t slot = 0;
    std::uint32_t birth = 0;
    std::int32_t pid = 0;
    std::uint8_t cause = 0;  ///< supervisor::Cause, opaque here but for `expected`.
    std::string cause_name;
    std::int32_t detail = 0;  ///< Exit code or signal.
    bool expected = false;    ///< Recycle, drain, stop: blames nobody.
    bool timed_out = false;   ///< Its supervisor ended it because its task passed its timeout.
    bool host_lost = false;   ///< The whole host is gone: blames nobody either.
    std::vector<Lease>
        running;  ///< What its scoreboard cells held; empty and !expected: nothing ran.
    std::string stderr_tail;
    bool core_dumped = false;
    std::uint64_t rss_peak = 0;  ///< Bytes; 0: not known.
};

struct Core;
struct ObjectRow;

enum class Settled : std::uint8_t { Ok, Stale };

class Journal;

class Engine {
  public:
    Engine(Config config, std::uint64_t incarnation, base::Time now, std::uint64_t seed);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // Sessions. The gateway resumes known keys itself; the engine sees a session once per
    // incarnation.
    wire::Code open_session(const SessionInfo& info,
                            base::Time now,
                            Effects& out,
                            SessionIx& index);
    /// A disconnect is no death: a worker's leases wait for its death notice, RETURN, or
    /// gone_after; a client has session_ttl. `now` of a disconnect is the moment of the last sign
    /// of life: a peer dropped for its silence is not granted a second one.
    void set_connected(SessionIx session, bool connected, base::Time now, Effects& out);
    /// False while the session layer's unacked window (or result credit) is full: nothing is leased
    /// to or delivered to it.
    void set_writable(SessionIx session, bool writable, base::Time now, Effects& out);
    /// The peer said it is done (BYE) or is dead for sure. Client: on_client_lost is applied now.
    /// Worker: leases return; those in `running` blame per DeathInfo.
    void close_session(SessionIx session, base::Time now, Effects& out);
    std::uint64_t credit_records(SessionIx session) const;
    std::uint64_t credit_bytes(SessionIx session) const;

    // Clients (and nested submits of workers).
    wire::Code define_template(SessionIx session, const wire::TemplateDef& def);
    /// One task. `resent`: after an incarnation change (parked until recovery ends unless a held
    /// lease completes it). Refusals come as effects.
    void submit(SessionIx session,
                std::uint32_t session_template,
                std::uint64_t seq,
                const base::Body& body,
                const wire::Extras* extras,
                bool resent,
                base::Time now,
                base::WallNanos wall,
                Effects& out);
    void cancel(SessionIx session,
                std::span<const std::uint64_t> seqs,
                bool kill,
                bool all,
                base::Time now,
                Effects& out);
    void attach(SessionIx session,
                std::uint64_t seq,
                const base::TaskId& task,
                base::Time now,
                Effects& out);
    /// The client will never ask for these outcomes again (dropped handles of detached or keyed
    /// tasks, attach done).
    void release(SessionIx session, std::uint64_t first, std::uint64_t count, base::Time now);
    void set_floor(SessionIx session, std::uint64_t floor);
    /// The client's absolute result credit (records, bytes).
    void grant_results(SessionIx session,
                       std::uint64_t records,
                       std::uint64_t bytes,
                       base::Time now,
                       Effects& out);

    // Shared objects: an operation of any session that may submit. What it wants is answered by an
    // effect, now or when its wait ends; its bodies are whole.
    void operate(SessionIx session, const wire::ObjectOp& op, base::Time now, Effects& out);
    /// A handle of `op.object` for another session, by one that has one itself.
    wire::Code pass(SessionIx from,
                    SessionIx to,
                    const wire::ObjectOp& op,
                    wire::ObjectReply& reply);

    // Workers.
    void started(SessionIx worker, Lease lease, base::Time now, Effects& out);
    /// The attempt's end as the worker tells it. `body` of a non-success is a packed
    /// wire::ErrorInfo (opaque; `code` is its code, `no_retry` its flag).
    Settled settle(SessionIx worker,
                   Lease lease,
                   wire::Outcome outcome,
                   wire::Code code,
                   bool no_retry,
                   const base::Body& body,
                   base::Duration run,
                   base::Time now,
                   Effects& out);
    void give_back(SessionIx worker, Lease lease, base::Time now, Effects& out);
    void partial(SessionIx worker,
                 Lease lease,
                 double fraction,
                 std::string_view note,
                 Effects& out);
    void blocked(SessionIx worker, Lease lease, bool is_blocked, base::Time now, Effects& out);
    void held(SessionIx worker, const wire::Held& held, base::Time now, Effects& out);
    void drain_worker(SessionIx worker, base::Time now, Effects& out);
    void suspend_worker(SessionIx worker, bool suspended, base::Time now, Effects& out);

    // Supervisors (local master, uplinks, fork server).
    void on_death(const DeathInfo& death, base::Time now, Effects& out);
    /// Workers that a fresh router waits for before it leaves recovery; empty and complete: leave
    /// at once.
    void set_roster(std::string_view host_key,
                    std::span<const DeathInfo> living,
                    bool complete,
                    base::Time now,
                    Effects& out);
    /// P25: no worker of `pool` can start (text says why); waiting tasks only it could run end with
    /// PoolBroken until one becomes ready.
    void set_pool_broken(std::string_view pool,
                         bool broken,
                         std::string_view text,
                         base::Time now,
                         Effects& out);

    // The turn of the loop.
    /// Hands ready tasks to workers with room; call once after each batch of inputs.
    void schedule(base::Time now, Effects& out);
    void tick(base::Time now, base::WallNanos wall, Effects& out);
    base::Time next_timer() const;
    /// The effects so far were consumed: memory they pointed to may go.
    void collect();

    // Durability (semantics.md 19).
    void set_journal(Journal* journal);
    void committed(std::uint64_t position, base::Time now, Effects& out);
    void commit_failed(Effects& out);

    // Looking in.
    Leased leased(Lease lease) const;
    const wire::TemplateDef& template_of(std::uint32_t template_id) const;
    /// What is known of one task; false: nothing.
    struct TaskRow;
    bool find_task(const base::TaskId& task, TaskRow& row) const;
    bool recovering() const;
    struct Counters;
    const Counters& counters() const;
    /// JSON-ready rows for `status`, `worker ls`, `queue ls`, task lookup; engine/status.h.
    struct Snapshot;
    Snapshot snapshot(base::Time now) const;
    /// At most `most` objects whose names begin with `prefix`; of one kind, or of all.
    std::vector<ObjectRow> objects(std::string_view prefix,
                                   std::size_t most,
                                   wire::ObjectKind kind = {}) const;
    /// The object of that name, else of that id.
    bool find_object(std::string_view which, ObjectRow& row) const;
    /// Tasks of a queue that could run now and have no worker.
    std::uint64_t waiting(std::string_view queue) const;
    /// Throws nothing; returns the first broken invariant in words, or empty.
    std::string check_invariants() const;

  private:
    std::unique_ptr<Core> core_;
};

}  // namespace forkmill::engine
