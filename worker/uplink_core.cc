// SPDX-License-Identifier: Apache-2.0
#include "worker/uplink_core.h"

#include <algorithm>
#include <random>
#include <utility>

#include "core/base/log.h"

namespace forkmill::worker {

namespace {

constexpr base::Duration kRetryReject = std::chrono::milliseconds{200};

}  // namespace

UplinkCore::UplinkCore(UplinkConfig config, base::Time now)
    : config_(std::move(config)), last_heard_(now) {}

wire::Header UplinkCore::header(wire::Kind kind) {
    session_.ack_told();
    return {kind, wire::is_numbered(kind) ? session_.next_number() : 0, session_.received(), 0};
}

void UplinkCore::hello(base::Time now, UplinkOut& out) {
    welcomed_ = false;
    wire::Hello hello;
    hello.minor = wire::kMinor;
    hello.role = wire::Role::Uplink;
    hello.session = config_.session;
    hello.generation = ++generation_;
    hello.incarnation = incarnation_;
    hello.received = session_.received();
    hello.host = config_.host;
    hello.pid = config_.pid;
    hello.pool = config_.pool;
    hello.host_key = config_.host_key;
    out.messages.push_back(wire::encode({wire::Kind::Hello}, hello));
    hello_at_ = now + ping_after_;
}

void UplinkCore::on_connected(base::Time now, UplinkOut& out) {
    connected_ = true;
    last_heard_ = now;
    if (!rejected_.empty() && hello_at_ != base::kNever && hello_at_ > now) return;
    hello(now, out);
}

void UplinkCore::on_disconnected() {
    connected_ = false;
    welcomed_ = false;
}

void UplinkCore::broken(UplinkOut& out) {
    out.disconnect = true;
    on_disconnected();
}

void UplinkCore::on_message(const base::Message& message, base::Time now, UplinkOut& out) {
    wire::Header head;
    wire::Cursor cursor;
    if (wire::decode_header(message, head, cursor) != wire::Code::None) return broken(out);
    last_heard_ = now;
    ping_at_ = now + ping_after_;
    if (head.kind == wire::Kind::Welcome) {
        wire::Welcome welcome;
        if (wire::decode(cursor, welcome) != wire::Code::None) return broken(out);
        return on_welcome(welcome, now, out);
    }
    if (head.kind == wire::Kind::Reject) {
        wire::Reject reject;
        if (wire::decode(cursor, reject) != wire::Code::None) return broken(out);
        return on_reject(reject, now);
    }
    if (head.kind == wire::Kind::Who) return hello(now, out);
    if (head.kind == wire::Kind::Fenced) return broken(out);
    if (!welcomed_) return;
    if (head.ack != 0 && !session_.on_ack(head.ack)) return broken(out);
    if (head.kind == wire::Kind::Ping) {
        wire::Ping ping;
        if (wire::decode(cursor, ping) != wire::Code::None) return broken(out);
        out.messages.push_back(
            wire::encode(header(wire::Kind::Pong), wire::Ping{ping.echo, 0, 0, 0}));
    }
    if (!wire::is_numbered(head.kind)) return;
    const session::Verdict verdict = session_.on_number(head.number, message.bytes());
    if (verdict == session::Verdict::Gap) return hello(now, out);
    if (verdict == session::Verdict::Duplicate || head.kind != wire::Kind::HostVerb) return;
    wire::HostRecord order;
    if (wire::decode(cursor, order) != wire::Code::None) return broken(out);
    on_host_verb(order);
}

void UplinkCore::on_host_verb(const wire::HostRecord& order) {
    if (order.verb != static_cast<std::uint8_t>(supervisor::Verb::Kill)) return;
    auto known = living_.find(order.slot);
    // The process that the broker means may be gone already, and its slot be another's.
    if (known == living_.end() || known->second.born.generation != order.birth) return;
    supervisor::Notice kill = known->second.born;
    kill.verb = supervisor::Verb::Kill;
    kill.cause = static_cast<supervisor::Cause>(order.cause);
    if (kills_.size() < kWorkersMax) kills_.push_back(kill);
}

void UplinkCore::on_reject(const wire::Reject& reject, base::Time now) {
    welcomed_ = false;
    if (reject.code == wire::Code::SessionExpired || reject.code == wire::Code::ProtoNumber) {
        new_session();
        hello_at_ = now;
        return;
    }
    rejected_ = std::string{wire::name_of(reject.code)} + ": " + reject.text;
    base::log_line(
        base::LogLevel::Warning, "the broker refuses this host", {{"reason", rejected_}});
    // Nothing else could be done here than to ask again: the broker may be given another config.
    hello_at_ =
        now + std::max<base::Duration>(std::chrono::milliseconds{reject.retry_after_ms},
                                       reject.retry_after_ms == 0 ? ping_after_ : kRetryReject);
}

void UplinkCore::new_session() {
    std::mt19937_64 random{config_.seed};
    config_.session = {random(), random()};
    config_.seed = random();
    incarnation_ = 0;
}

void UplinkCore::on_welcome(const wire::Welcome& welcome, base::Time now, UplinkOut& out) {
    // The answer to an older HELLO, or the same one twice.
    if (welcomed_ || (welcome.generation != 0 && welcome.generation != generation_)) return;
    const bool goes_on = welcome.resumed && welcome.incarnation == incarnation_;
    if (goes_on && !session_.resume(welcome.received)) return broken(out);
    welcomed_ = true;
    rejected_.clear();
    hello_at_ = base::kNever;
    ping_after_ = std::chrono::milliseconds{std::max<std::uint64_t>(welcome.ping_ms, 10)};
    gone_after_ = std::chrono::milliseconds{std::max(welcome.gone_ms, welcome.ping_ms * 2)};
    ping_at_ = now + ping_after_;
    const bool first = std::exchange(incarnation_, welcome.incarnation) == 0;
    if (!goes_on) start_over(first);
}

/// A broker that knows nothing of this host: who died lately (workers connect by themselves, so it
/// may know those), who lives, and that this is all.
void UplinkCore::start_over(bool first) {
    session_.reset();
    bye_said_ = false;
    untold_.clear();
    for (supervisor::Notice& died : deaths_) {
        // A lease is a number of one incarnation; in the next it may be another task's.
        if (!first) died.lease_count = 0;
        untold_.push_back(died);
    }
    for (const auto& [slot, living] : living_) {
        supervisor::Notice notice = living.born;
        untold_.push_back(notice);
        notice.verb = supervisor::Verb::Ready;
        if (living.ready) untold_.push_back(notice);
        notice.verb = supervisor::Verb::Stopped;
        if (living.stopped) untold_.push_back(notice);
    }
    if (!roster_known_) return;
    supervisor::Notice roster;
    roster.verb = supervisor::Verb::Roster;
    roster.detail = static_cast<std::int32_t>(living_.size());
    untold_.push_back(roster);
}

void UplinkCore::on_notice(const supervisor::Notice& notice) {
    auto known = living_.find(notice.slot);
    switch (notice.verb) {
        case supervisor::Verb::Born:
            if (living_.size() < kWorkersMax || known != living_.end())
                living_[notice.slot] = Living{notice, false, false};
            break;
        case supervisor::Verb::Ready:
            if (known != living_.end()) known->second.ready = true;
            break;
        case supervisor::Verb::Stopped:
        case supervisor::Verb::Continued:
            if (known != living_.end())
                known->second.stopped = notice.verb == supervisor::Verb::Stopped;
            break;
        case supervisor::Verb::Died:
            if (known != living_.end() && known->second.born.generation == notice.generation)
                living_.erase(known);
            deaths_.push_back(notice);
            if (deaths_.size() > kDeathsMax) deaths_.pop_front();
            break;
        case supervisor::Verb::Roster:
            roster_known_ = true;
            break;
        case supervisor::Verb::Failed:
        case supervisor::Verb::Recycle:
            break;
        default:
            return;
    }
    untold_.push_back(notice);
    if (untold_.size() <= kUntoldMax) return;
    // Nobody listened for long: whoever does next is told what is, not what was.
    untold_.clear();
    new_session();
}

wire::HostRecord UplinkCore::describe(const supervisor::Notice& notice) const {
    wire::HostRecord record;
    record.host_key = config_.host_key;
    record.verb = static_cast<std::uint8_t>(notice.verb);
    record.cause = static_cast<std::uint8_t>(notice.cause);
    record.pool = config_.pool;
    record.slot = notice.slot;
    record.pid = notice.pid;
    record.birth = notice.generation;
    record.detail = notice.detail;
    record.leases.assign(
        notice.leases.begin(),
        notice.leases.begin() +
            std::min<std::ptrdiff_t>(notice.lease_count, supervisor::kLeasesInNotice));
    record.text = notice.text_view();
    record.rss_peak = notice.rss_peak;
    record.core_dumped = notice.core_dumped != 0;
    return record;
}

void UplinkCore::tick(base::Time now, UplinkOut& out) {
    if (connected_ && !welcomed_ && now >= hello_at_) hello(now, out);
    if (!welcomed_) return;
    if (now - last_heard_ >= gone_after_ || session_.stalled(now, gone_after_)) return broken(out);
    if (now < ping_at_) return;
    out.messages.push_back(wire::encode(header(wire::Kind::Ping), wire::Ping{}));
    ping_at_ = now + ping_after_;
}

base::Time UplinkCore::next_timer() const {
    if (welcomed_) return std::min(ping_at_, last_heard_ + gone_after_);
    return connected_ ? hello_at_ : base::kNever;
}

void UplinkCore::pump(base::Time, UplinkOut& out) {
    if (!welcomed_) return;
    while (!untold_.empty() && session_.can_send()) {
        session_.queue(wire::encode(header(wire::Kind::Host), describe(untold_.front())));
        untold_.pop_front();
    }
    if (leaving_ && !bye_said_ && untold_.empty() && session_.can_send()) {
        bye_said_ = true;
        session_.queue(wire::encode(header(wire::Kind::Bye), wire::Bye{"the host leaves"}));
    }
    while (const base::Message* message = session_.next_transmit())
        out.messages.push_back(*message);
    if (untold_.empty() && session_.all_acked()) deaths_.clear();
    if (session_.ack_owed())
        out.messages.push_back(wire::encode_ack(header(wire::Kind::Ack).ack, 0));
}

}  // namespace forkmill::worker
