// SPDX-License-Identifier: Apache-2.0
// The connection and the session: HELLO, resume, liveness, kinds. Leases are in core_tasks.cc,
// results in core_results.cc.
#include "worker/worker_core.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/base/log.h"

namespace forkmill::worker {

namespace {

constexpr base::Duration kAckWithin = std::chrono::milliseconds{100};
constexpr base::Duration kRetryReject = std::chrono::milliseconds{200};

std::uint64_t mix(std::uint64_t& state) {
    state += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

}  // namespace

WorkerCore::WorkerCore(CoreConfig config,
                       Hands& hands,
                       Resolve resolve,
                       session::SubmitSource* source,
                       session::OutcomeSink* sink,
                       base::Time now)
    : hello_(std::move(config.hello)),
      seed_(config.seed),
      leave_limit_(config.leave_limit),
      slowlog_timeout_(config.slowlog_timeout),
      hands_(hands),
      resolve_(std::move(resolve)),
      last_heard_(now) {
    hello_.role = wire::Role::Worker;
    hello_.minor = wire::kMinor;
    hello_.generation = 0;
    hello_.incarnation = 0;
    if (source != nullptr && sink != nullptr)
        client_ = std::make_unique<session::ClientCore>(session_, transfers_, *source, *sink);
}

WorkerCore::~WorkerCore() = default;

/// A header that is about to leave: it acks everything received.
wire::Header WorkerCore::header(wire::Kind kind) {
    session_.ack_told();
    ack_at_ = base::kNever;
    ack_now_ = false;
    return {kind, wire::is_numbered(kind) ? session_.next_number() : 0, session_.received(), 0};
}

void WorkerCore::hello(base::Time now, WorkerOut& out) {
    welcomed_ = false;
    ++hello_.generation;
    hello_.received = session_.received();
    out.messages.push_back(wire::encode({wire::Kind::Hello}, hello_));
    hello_at_ = now + ping_after_;  // Until WELCOME, it is said again: the peer may have lost it.
}

void WorkerCore::on_connected(base::Time now, WorkerOut& out) {
    connected_ = true;
    last_heard_ = now;
    if (hello_at_ != base::kNever && hello_at_ > now && !rejected_.empty()) return;
    hello(now, out);
}

void WorkerCore::on_disconnected(base::Time) {
    connected_ = false;
    welcomed_ = false;
    if (rejected_.empty()) hello_at_ = base::kNever;
}

void WorkerCore::protocol_error(wire::Kind about, std::string_view why, WorkerOut& out) {
    ++protocol_errors_;
    base::log_line(base::LogLevel::Warning,
                   "the broker broke the protocol",
                   {{"kind", wire::name_of(about)}, {"why", why}});
    out.messages.push_back(
        wire::encode({wire::Kind::Err}, wire::Err{wire::Code::Decode, about, std::string{why}}));
    out.disconnect = true;
    connected_ = false;
    welcomed_ = false;
}

void WorkerCore::on_message(const base::Message& message, base::Time now, WorkerOut& out) {
    wire::Header header;
    wire::Cursor cursor;
    const wire::Code code = wire::decode_header(message, header, cursor);
    if (code != wire::Code::None) return protocol_error(header.kind, wire::name_of(code), out);
    last_heard_ = now;
    ping_at_ = now + ping_after_;
    switch (header.kind) {
        case wire::Kind::Welcome:
        case wire::Kind::Reject:
        case wire::Kind::Fenced:
        case wire::Kind::Who:
            return on_control(header.kind, cursor, now, out);
        default:
            break;
    }
    if (!welcomed_) return;  // Said before the broker knew of this connection's HELLO.
    if (header.ack != 0 && !session_.on_ack(header.ack))
        return protocol_error(header.kind, "it acked what was never sent", out);
    if (header.floor != 0 && results_.release(header.floor)) {
        while (!held_.empty() && may_begin()) {
            Job& job = *held_.front();
            held_.pop_front();
            give(job);
        }
        start_given();
    }
    if (!wire::is_numbered(header.kind)) return on_control(header.kind, cursor, now, out);
    on_numbered(header, cursor, message, now, out);
}

void WorkerCore::on_control(wire::Kind kind, wire::Cursor& cursor, base::Time now, WorkerOut& out) {
    wire::Code code = wire::Code::None;
    switch (kind) {
        case wire::Kind::Welcome: {
            wire::Welcome welcome;
            code = wire::decode(cursor, welcome);
            if (code == wire::Code::None) on_welcome(welcome, now, out);
            break;
        }
        case wire::Kind::Reject: {
            wire::Reject reject;
            code = wire::decode(cursor, reject);
            if (code == wire::Code::None) on_reject(reject, now);
            break;
        }
        case wire::Kind::Fenced:
            // A newer connection of ours exists, or did when this was said: start over with a
            // higher generation.
            out.disconnect = true;
            connected_ = false;
            welcomed_ = false;
            break;
        case wire::Kind::Who:
            hello(now, out);
            break;
        case wire::Kind::Ping: {
            wire::Ping ping;
            code = wire::decode(cursor, ping);
            if (code == wire::Code::None) send_ping(wire::Kind::Pong, ping.echo, now, out);
            break;
        }
        case wire::Kind::Pong: {
            wire::Ping pong;
            code = wire::decode(cursor, pong);
            if (code == wire::Code::None && pong.echo == echo_ && client_ && client_->objects())
                client_->objects()->on_heard(pinged_);
            break;
        }
        case wire::Kind::Err: {
            wire::Err err;
            code = wire::decode(cursor, err);
            if (code == wire::Code::None)
                base::log_line(base::LogLevel::Warning,
                               "the broker refused a frame",
                               {{"kind", wire::name_of(err.about)}, {"text", err.text}});
            break;
        }
        default:
            break;  // ACK: its header said all.
    }
    if (code != wire::Code::None) protocol_error(kind, wire::name_of(code), out);
}

void WorkerCore::on_reject(const wire::Reject& reject, base::Time now) {
    welcomed_ = false;
    if (reject.code == wire::Code::SessionExpired || reject.code == wire::Code::ProtoNumber) {
        // The broker forgot this session, not its incarnation: come as a new one and tell what is
        // held.
        hello_.session = {mix(seed_), mix(seed_)};
        hello_.incarnation = 0;
        hello_at_ = now;
        return;
    }
    rejected_ = std::string{wire::name_of(reject.code)} + ": " + reject.text;
    if (reject.retry_after_ms == 0) {
        leave(Leaving::Kill, {}, now);
        done_ = true;
        return;
    }
    hello_at_ = now + std::max<base::Duration>(std::chrono::milliseconds{reject.retry_after_ms},
                                               kRetryReject);
}

void WorkerCore::on_welcome(const wire::Welcome& welcome, base::Time now, WorkerOut& out) {
    // The answer to an older HELLO, or the same one twice.
    if (welcomed_ || (welcome.generation != 0 && welcome.generation != hello_.generation)) return;
    // The answer to an older HELLO, or the same one twice.
    if (welcomed_ || (welcome.generation != 0 && welcome.generation != hello_.generation)) return;
    const bool goes_on = welcome.resumed && welcome.incarnation == hello_.incarnation;
    if (goes_on && !session_.resume(welcome.received))
        return protocol_error(wire::Kind::Welcome, "it received what was never sent", out);
    welcomed_ = true;
    rejected_.clear();
    hello_at_ = base::kNever;
    ping_after_ = std::chrono::milliseconds{std::max<std::uint64_t>(welcome.ping_ms, 10)};
    gone_after_ = std::chrono::milliseconds{std::max(welcome.gone_ms, welcome.ping_ms * 2)};
    ping_at_ = now + ping_after_;
    if (welcome.payload_max != 0) {
        payload_max_ = welcome.payload_max;
        transfers_.set_payload_max(payload_max_);
    }
    if (!goes_on) {
        restart();
        hello_.incarnation = welcome.incarnation;
        for (const wire::Held& held : adoption_.tell(true)) say(wire::Kind::Held, held);
    }
    if (client_) client_->on_welcome(welcome, !goes_on);
}

/// A session that knows nothing of us: numbering starts again, and everything held waits to be
/// adopted.
void WorkerCore::restart() {
    std::vector<Result> results = results_.take_all();
    for (Result& orphan : adoption_.take_results()) results.push_back(std::move(orphan));
    session_.reset();
    transfers_.reset();
    started_.clear();
    returns_.clear();
    blocked_.clear();
    partials_.clear();
    drain_told_ = false;
    bye_said_ = false;
    for (auto& [id, known] : templates_) retired_.push_back(std::move(known));
    templates_.clear();
    if (jobs_.live() == 0) retired_.clear();

    running_.clear();
    hands_.running(running_);
    jobs_.each([](Job& job) { job.running_told = false; });
    for (const Running& running : running_) running.job->running_told = true;
    jobs_.each([&](Job& job) {
        job.started_told = false;
        if (job.state != JobState::Abandoned) adoption_.add(job.lease, {&job, nullptr});
    });
    for (Result& result : results) {
        const std::uint64_t lease = result.lease;
        adoption_.add(lease, {nullptr, std::make_unique<Result>(std::move(result))});
    }
}

void WorkerCore::on_numbered(const wire::Header& header,
                             wire::Cursor& cursor,
                             const base::Message& message,
                             base::Time now,
                             WorkerOut& out) {
    if (header.number == 0) return protocol_error(header.kind, "a frame without a number", out);
    switch (session_.on_number(header.number, message.bytes())) {
        case session::Verdict::Duplicate:
            ack_now_ = true;  // It would not send this again had it heard our ack.
            return;
        case session::Verdict::Gap:
            return hello(now, out);
        case session::Verdict::Process:
            break;
    }
    if (ack_at_ == base::kNever) ack_at_ = now + kAckWithin;
    const wire::Code code = on_kind(header, cursor, message, now);
    if (code != wire::Code::None) return protocol_error(header.kind, wire::name_of(code), out);
    if (!std::exchange(comes_back_, false)) return;
    // The broker stops, or hands over to another: whoever answers next is told everything.
    out.disconnect = true;
    connected_ = false;
    welcomed_ = false;
}

wire::Code WorkerCore::on_kind(const wire::Header& header,
                               wire::Cursor& cursor,
                               const base::Message& message,
                               base::Time now) {
    const auto with = [&](auto record, auto&& act) {
        const wire::Code code = wire::decode(cursor, record);
        if (code == wire::Code::None) act(record);
        return code;
    };
    switch (header.kind) {
        case wire::Kind::Template:
            return on_template(cursor);
        case wire::Kind::Tasks:
            return on_tasks(cursor, message);
        case wire::Kind::CancelLease:
            return with(wire::CancelLease{}, [&](const wire::CancelLease& c) { cancel(c, now); });
        case wire::Kind::Stale:
            return with(wire::Stale{}, [&](const wire::Stale& stale) {
                for (const std::uint64_t lease : stale.leases) disown(lease);
            });
        case wire::Kind::Adopt:
            return with(wire::Adopt{}, [&](const wire::Adopt& adopted) {
                for (const wire::Adopt::Mapping& mapping : adopted.leases) adopt(mapping);
            });
        case wire::Kind::Chunk: {
            wire::Chunk chunk;
            const wire::Code code = wire::decode(cursor, message, chunk);
            if (code != wire::Code::None) return code;
            return transfers_.on_chunk(chunk, message) ? wire::Code::None : wire::Code::LimitSize;
        }
        case wire::Kind::Drain:
            return with(wire::DrainMsg{}, [&](const wire::DrainMsg& drain) {
                leave(Leaving::Drain, std::chrono::milliseconds{drain.timeout_ms}, now);
            });
        case wire::Kind::Bye:
            comes_back_ = leaving_ == Leaving::No;
            return wire::Code::None;
        default:
            break;
    }
    if (!session::ClientCore::takes(header.kind)) return wire::Code::ProtoKind;
    if (!client_) return wire::Code::None;
    const base::Status status = client_->on_message(header, message);
    if (!status)
        base::log_line(base::LogLevel::Warning,
                       "a frame for a nested pool was refused",
                       {{"why", status.failure().text}});
    return status ? wire::Code::None : wire::Code::Decode;
}

void WorkerCore::send_ping(wire::Kind kind, std::uint64_t echo, base::Time now, WorkerOut& out) {
    running_.clear();
    hands_.running(running_);
    wire::Ping ping;
    ping.echo = echo;
    for (const Running& running : running_)
        ping.busy_ns = std::max(
            ping.busy_ns,
            static_cast<std::uint64_t>(std::max<std::int64_t>(0, (now - running.since).count())));
    ping.running = static_cast<std::uint32_t>(running_.size());
    ping.waiting =
        static_cast<std::uint32_t>(jobs_.live() - std::min(jobs_.live(), running_.size()));
    out.messages.push_back(wire::encode(header(kind), ping));
}

void WorkerCore::tick(base::Time now, WorkerOut& out) {
    if (done_) return;
    if (connected_ && !welcomed_ && now >= hello_at_) hello(now, out);
    const bool stalled = welcomed_ && session_.stalled(now, gone_after_);
    if (stalled || (welcomed_ && now - last_heard_ >= gone_after_)) {
        base::log_line(base::LogLevel::Warning,
                       stalled ? "the broker acks nothing: connecting again"
                               : "the broker is silent: connecting again");
        out.disconnect = true;
        connected_ = false;
        welcomed_ = false;
    } else if (welcomed_ && now >= ping_at_) {
        send_ping(wire::Kind::Ping, ++echo_, now, out);
        pinged_ = now;
        ping_at_ = now + ping_after_;
    }
    if (now >= check_at_) check_running(now);
    check_leaving(now);
}

base::Time WorkerCore::next_timer() const {
    base::Time next = std::min({check_at_, leave_by_, custody_by_});
    if (connected_ && !welcomed_) next = std::min(next, hello_at_);
    if (welcomed_)
        next = std::min(
            {next, ping_at_, last_heard_ + gone_after_, session_.stalls_at(gone_after_), ack_at_});
    return next;
}

void WorkerCore::pump(base::Time now, WorkerOut& out) {
    if (jobs_.live() > 0 && check_at_ == base::kNever) check_at_ = now + check_every_;
    check_leaving(now);
    if (!welcomed_) return;
    write_news();
    if (results_.write(session_, transfers_)) {
        ack_at_ = base::kNever;
        ack_now_ = false;
    }
    if (client_) client_->pump();
    check_leaving(now);
    while (const base::Message* message = session_.next_transmit())
        out.messages.push_back(*message);
    static_cast<void>(session_.stalled(now, gone_after_));  // Begins to count; tick() acts.
    if (session_.ack_due() || ack_now_ || now >= ack_at_)
        out.messages.push_back(wire::encode_ack(header(wire::Kind::Ack).ack, 0));
}

}  // namespace forkmill::worker
