// SPDX-License-Identifier: Apache-2.0
// WorkerCore: a worker's whole side of the protocol, without a socket or a thread: greeting,
// leases, results and their custody, resume, leaving.
//
// Messages and `now` in, messages out; jobs go to Hands, finished ones come back through
// on_finished(). Invariants: (1) every lease taken is answered once per incarnation: RESULTS,
// RETURN, or its end with the process; (2) a RESULTS frame is kept until the broker's floor passes
// it; (3) after a new incarnation nothing is sent for a lease before ADOPT named its new number;
// (4) while it leaves, no lease is begun. Threading: none; the I/O thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/session/client_core.h"
#include "core/session/session.h"
#include "core/session/transfers.h"
#include "core/wire/codec.h"
#include "worker/adoption.h"
#include "worker/core_types.h"
#include "worker/job.h"
#include "worker/job_table.h"
#include "worker/result_box.h"

namespace forkmill::worker {

class WorkerCore {
  public:
    using Resolve = std::function<Found(std::string_view name, std::string_view signature)>;

    /// `source` and `sink` are the nested client's, or both null.
    WorkerCore(CoreConfig config,
               Hands& hands,
               Resolve resolve,
               session::SubmitSource* source,
               session::OutcomeSink* sink,
               base::Time now);
    ~WorkerCore();
    WorkerCore(const WorkerCore&) = delete;
    WorkerCore& operator=(const WorkerCore&) = delete;

    /// Operations on shared objects of its tasks; to be told before it is connected.
    void set_objects(session::ObjectLink* objects) {
        if (client_) client_->set_objects(objects);
    }

    void on_connected(base::Time now, WorkerOut& out);
    void on_disconnected(base::Time now);
    void on_message(const base::Message& message, base::Time now, WorkerOut& out);

    /// Takes what is in the batch; the caller re-uses the object.
    void on_finished(FinishedBatch& batch, base::Time now);
    void on_blocked(Job& job, bool blocked);
    void on_partial(Job& job, double fraction, std::string_view note);

    /// Begins to leave; a later call only makes it more urgent. limit 0: the configured one.
    void leave(Leaving how, base::Duration limit, base::Time now);

    /// Timers; call at next_timer().
    void tick(base::Time now, WorkerOut& out);
    base::Time next_timer() const;
    /// Ends a turn: writes what can be written into `out`. Call when the inbox is empty.
    void pump(base::Time now, WorkerOut& out);

    Leaving leaving() const { return leaving_; }
    /// True once the process may go: everything was told and heard, or time is up.
    bool done() const { return done_; }
    /// Why the broker will not have this worker; empty: it has not said so.
    const std::string& rejected() const { return rejected_; }
    bool welcomed() const { return welcomed_; }
    /// The tasks that have run for kNamedAfter, in words; empty: none. Up to date within a check.
    const std::string& long_tasks() const { return long_tasks_; }
    std::size_t live_jobs() const { return jobs_.live(); }
    /// It runs nothing, and owes nobody a result.
    bool empty_handed() const {
        return jobs_.live() == 0 && results_.count() == 0 && adoption_.empty();
    }
    std::size_t kept_results() const { return results_.kept(); }
    std::size_t awaiting_adoption() const { return adoption_.size(); }
    std::uint64_t incarnation() const { return hello_.incarnation; }
    const session::Session& session() const { return session_; }
    std::uint64_t protocol_errors() const { return protocol_errors_; }
    /// In words, the first broken invariant; empty: none.
    std::string check_invariants();

  private:
    struct Whole {
        base::ByteView view;
        base::Blob owner;
    };

    // worker_core.cc: the connection and the session.
    void hello(base::Time now, WorkerOut& out);
    void on_welcome(const wire::Welcome& welcome, base::Time now, WorkerOut& out);
    void on_reject(const wire::Reject& reject, base::Time now);
    void on_control(wire::Kind kind, wire::Cursor& cursor, base::Time now, WorkerOut& out);
    void on_numbered(const wire::Header& header,
                     wire::Cursor& cursor,
                     const base::Message& message,
                     base::Time now,
                     WorkerOut& out);
    wire::Code on_kind(const wire::Header& header,
                       wire::Cursor& cursor,
                       const base::Message& message,
                       base::Time now);
    void protocol_error(wire::Kind about, std::string_view why, WorkerOut& out);
    void restart();
    wire::Header header(wire::Kind kind);
    template <class T>
    void say(wire::Kind kind, const T& record) {
        session_.queue(wire::encode(header(kind), record));
    }
    void send_ping(wire::Kind kind, std::uint64_t echo, base::Time now, WorkerOut& out);

    // core_tasks.cc: leases.
    wire::Code on_template(wire::Cursor& cursor);
    wire::Code on_tasks(wire::Cursor& cursor, const base::Message& message);
    base::Result<Whole> whole(const wire::BodyRef& ref, const base::Message& message);
    wire::Code take_lease(const wire::TaskRecord& record, const base::Message& message);
    void give(Job& job);
    void start_given();
    void cancel(const wire::CancelLease& cancel, base::Time now);
    bool take_back(Job& job);
    void disown(std::uint64_t lease);
    void drop(Job& job);
    void adopt(const wire::Adopt::Mapping& mapping);
    void return_waiting();
    void check_running(base::Time now);
    void name_long_tasks(base::Time now);
    void check_limits(const Running& running, base::Time now);
    void check_slow(const Running& running, base::Time now);
    std::string about(const Running& running, base::Time now) const;
    void end_running(Job& job, wire::Code code, std::string_view text, base::Time now);
    bool may_begin() const;

    // core_results.cc: results, custody, what else is told, leaving.
    void finish(Job& job, wire::Outcome outcome, SmallBody body);
    void finish_with_error(Job& job, wire::Outcome outcome, wire::ErrorInfo info);
    void write_news();
    void check_leaving(base::Time now);
    bool idle();

    wire::Hello hello_;
    std::uint64_t seed_;
    base::Duration leave_limit_;
    base::Duration slowlog_timeout_;
    Hands& hands_;
    Resolve resolve_;
    session::Session session_;
    session::Transfers transfers_;
    std::unique_ptr<session::ClientCore> client_;

    bool connected_ = false;
    bool welcomed_ = false;  ///< On the present connection.
    bool ack_now_ = false;
    bool comes_back_ = false;  ///< It said BYE: connect again.
    base::Duration ping_after_ = wire::kPingAfter;
    base::Duration gone_after_ = wire::kGoneAfter;
    base::Time last_heard_{};
    base::Time ping_at_ = base::kNever;
    base::Time pinged_{};                 ///< When the last PING left.
    base::Time hello_at_ = base::kNever;  ///< When to say HELLO (again).
    base::Time ack_at_ = base::kNever;
    std::uint64_t payload_max_ = wire::kPayloadMaxDefault;
    std::uint64_t echo_ = 0;
    std::uint64_t protocol_errors_ = 0;
    std::string rejected_;

    std::unordered_map<std::uint32_t, std::unique_ptr<Template>> templates_;
    std::vector<std::unique_ptr<Template>> retired_;  ///< Of earlier incarnations, while jobs live.
    base::Duration check_every_ = kCheckEvery;        ///< Finer when templates have finer timeouts.

    JobTable jobs_;
    std::vector<Job*> given_;  ///< For the hands, at the end of the frame.
    std::deque<Job*> held_;    ///< Not begun because too much is kept.
    std::vector<Running> running_;
    std::string long_tasks_;
    base::Time check_at_ = base::kNever;

    ResultBox results_;
    Adoption adoption_;

    std::vector<std::uint64_t> started_;
    std::vector<std::uint64_t> returns_;
    std::vector<std::pair<std::uint64_t, bool>> blocked_;
    std::vector<wire::Partial> partials_;

    Leaving leaving_ = Leaving::No;
    base::Time leave_by_ = base::kNever;
    base::Time custody_by_ = base::kNever;
    bool drain_told_ = false;
    bool bye_said_ = false;
    bool done_ = false;
};

}  // namespace forkmill::worker
