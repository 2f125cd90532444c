// SPDX-License-Identifier: Apache-2.0
#include "core/session/client_session.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "core/wire/codec.h"

namespace forkmill::session {

namespace {

constexpr base::Duration kAckOwed = std::chrono::milliseconds{100};
constexpr base::Duration kGreetingRetry = std::chrono::seconds{1};
constexpr std::uint32_t kGreetingsMax = 8;  ///< Without a WELCOME in between, on one connection.
constexpr std::uint64_t kProtocolErrorsMax = 3;

base::Duration milliseconds_of(std::uint64_t ms, base::Duration fallback) {
    constexpr std::uint64_t kDay = 24ULL * 3600 * 1000;
    return ms == 0 || ms > kDay
               ? fallback
               : base::Duration{std::chrono::milliseconds{static_cast<std::int64_t>(ms)}};
}

}  // namespace

ClientSession::ClientSession(ClientSessionConfig config,
                             SubmitSource& source,
                             OutcomeSink& sink,
                             ClientListener& listener,
                             base::Time now)
    : config_(std::move(config)),
      listener_(listener),
      core_(session_, transfers_, source, sink),
      incarnation_(config_.incarnation),
      last_heard_(now),
      last_sent_(now),
      last_ping_(now),
      source_(source) {}

bool ClientSession::final() const {
    return state_ == ClientState::Rejected || state_ == ClientState::Closed;
}

void ClientSession::enter(ClientState state, wire::Code code, std::string_view text) {
    if (state_ == state) return;
    state_ = state;
    listener_.on_client_state(state, code, text);
}

void ClientSession::send(base::Message message, base::Time now, ClientOut& out) {
    out.items.push_back({conn_, std::move(message), false});
    last_sent_ = now;
}

void ClientSession::on_connected(net::ConnId conn, base::Time now, ClientOut& out) {
    if (final()) return;
    conn_ = conn;
    connected_ = true;
    greetings_ = 0;
    retry_at_ = base::kNever;
    hello(now, out);
}

void ClientSession::on_disconnected(net::ConnId conn, base::Time now, ClientOut&) {
    if (conn != conn_ || !connected_) return;
    connected_ = false;
    welcomed_ = false;
    retry_at_ = base::kNever;
    if (state_ == ClientState::Live)
        enter(ClientState::Connecting, wire::Code::Disconnected, "the connection ended");
    static_cast<void>(now);
}

void ClientSession::hello(base::Time now, ClientOut& out) {
    welcomed_ = false;
    ++greetings_;
    retry_at_ = now + kGreetingRetry * greetings_;
    wire::Hello hello;
    hello.minor = wire::kMinor;
    hello.role = config_.role;
    hello.session = config_.key;
    hello.generation = ++generation_;
    hello.incarnation = incarnation_;
    hello.received = session_.received();
    hello.stream = config_.stream;
    hello.host = config_.host;
    hello.pid = config_.pid;
    hello.build = config_.build;
    hello.session_ttl_ms = 0;  // The broker's default; WELCOME tells it.
    send(wire::encode({wire::Kind::Hello}, hello), now, out);
}

void ClientSession::broken(std::string_view why, base::Time now, ClientOut& out) {
    ++protocol_errors_;
    wire::Err err;
    err.code = wire::Code::ProtoState;
    err.text = why;
    send(wire::encode({wire::Kind::Err}, err), now, out);
    if (protocol_errors_ > kProtocolErrorsMax) {
        enter(ClientState::Rejected,
              wire::Code::BrokerLost,
              "the broker broke the protocol: " + std::string{why});
    }
    drop_connection(now, out);
}

void ClientSession::drop_connection(base::Time now, ClientOut& out) {
    if (!connected_) return;
    out.items.push_back({conn_, {}, true});
    on_disconnected(conn_, now, out);
}

void ClientSession::on_message(net::ConnId conn,
                               const base::Message& message,
                               base::Time now,
                               ClientOut& out) {
    if (conn != conn_ || !connected_ || final()) return;
    last_heard_ = now;
    if (welcomed_ && state_ != ClientState::Live) enter(ClientState::Live, wire::Code::None, {});
    wire::Header header;
    wire::Cursor cursor;
    const wire::Code bad = wire::decode_header(message, header, cursor);
    if (bad != wire::Code::None) return broken(wire::name_of(bad), now, out);
    if (wire::is_numbered(header.kind)) {
        if (welcomed_) on_numbered(header, message, now, out);
    } else {
        on_control(header, message, now, out);
    }
}

void ClientSession::on_control(const wire::Header& header,
                               const base::Message& message,
                               base::Time now,
                               ClientOut& out) {
    wire::Header again;
    wire::Cursor cursor;
    if (wire::decode_header(message, again, cursor) != wire::Code::None) return;
    const bool acks = header.kind == wire::Kind::Ping || header.kind == wire::Kind::Pong ||
                      header.kind == wire::Kind::Ack;
    if (acks && welcomed_ && !session_.on_ack(header.ack))
        return broken("an ack of what was never sent", now, out);
    switch (header.kind) {
        case wire::Kind::Welcome: {
            wire::Welcome welcome;
            if (wire::decode(cursor, welcome) != wire::Code::None)
                return broken("WELCOME", now, out);
            return on_welcome(welcome, now, out);
        }
        case wire::Kind::Reject: {
            wire::Reject reject;
            if (wire::decode(cursor, reject) != wire::Code::None) return broken("REJECT", now, out);
            return on_reject(reject, now, out);
        }
        case wire::Kind::Fenced:
        case wire::Kind::Who:
            // A few times: the broker was restarted, or an older connection of ours lingers. More
            // often it is no broker of ours.
            if (greetings_ >= kGreetingsMax) return drop_connection(now, out);
            return hello(now, out);
        case wire::Kind::Ping: {
            wire::Ping ping;
            if (wire::decode(cursor, ping) != wire::Code::None) return broken("PING", now, out);
            if (!welcomed_) return;
            send(wire::encode({wire::Kind::Pong, 0, session_.received(), source_.floor()},
                              wire::Ping{ping.echo, 0, 0, 0}),
                 now,
                 out);
            session_.ack_told();
            return;
        }
        case wire::Kind::Pong: {
            wire::Ping pong;
            if (wire::decode(cursor, pong) != wire::Code::None) return broken("PONG", now, out);
            if (welcomed_ && pong.echo == ping_echo_ && core_.objects() != nullptr)
                core_.objects()->on_heard(last_ping_);
            return;
        }
        default:
            return;  // ACK and ERR need no answer.
    }
}

void ClientSession::on_welcome(const wire::Welcome& welcome, base::Time now, ClientOut& out) {
    if (welcomed_ || (welcome.generation != 0 && welcome.generation != generation_))
        return;  // The answer to an older HELLO, or the same one twice.
    const bool same = welcome.incarnation == incarnation_ && incarnation_ != 0;
    if (same && welcome.resumed) {
        if (!session_.resume(welcome.received))
            return broken("an impossible number in WELCOME", now, out);
    } else {
        // The broker of this incarnation had ended the session: whatever it knew of our tasks is
        // gone, and they may have run.
        if (same)
            listener_.on_client_state(
                ClientState::Lost, wire::Code::BrokerLost, "the broker had given this session up");
        session_.reset();
        transfers_.reset();
    }
    incarnation_ = welcome.incarnation;
    payload_max_ = welcome.payload_max != 0 ? welcome.payload_max : wire::kPayloadMaxDefault;
    transfers_.set_payload_max(std::max(payload_max_, wire::kPayloadMaxDefault));
    config_.ping_after = milliseconds_of(welcome.ping_ms, config_.ping_after);
    config_.gone_after = milliseconds_of(welcome.gone_ms, config_.gone_after);
    config_.session_ttl = milliseconds_of(welcome.session_ttl_ms, config_.session_ttl);
    welcomed_ = true;
    greetings_ = 0;
    retry_at_ = base::kNever;
    last_heard_ = now;
    core_.on_welcome(welcome, !(same && welcome.resumed));
    enter(ClientState::Live, wire::Code::None, {});
}

void ClientSession::on_reject(const wire::Reject& reject, base::Time now, ClientOut& out) {
    welcomed_ = false;
    if (reject.code == wire::Code::SessionExpired) {
        listener_.on_client_state(ClientState::Lost, wire::Code::BrokerLost, reject.text);
        incarnation_ = 0;
        session_.reset();
        transfers_.reset();
        return hello(now, out);
    }
    if (reject.retry_after_ms != 0) {
        retry_at_ = now + milliseconds_of(reject.retry_after_ms, kGreetingRetry);
        return;
    }
    drop_connection(now, out);
    enter(ClientState::Rejected, reject.code, reject.text);
}

void ClientSession::on_numbered(const wire::Header& header,
                                const base::Message& message,
                                base::Time now,
                                ClientOut& out) {
    if (!session_.on_ack(header.ack)) return broken("an ack of what was never sent", now, out);
    switch (session_.on_number(header.number, message.bytes())) {
        case Verdict::Duplicate:
            return;
        case Verdict::Gap:
            if (greetings_ >= kGreetingsMax) return drop_connection(now, out);
            return hello(now, out);
        case Verdict::Process:
            break;
    }
    if (ack_owed_at_ == base::kNever) ack_owed_at_ = now + kAckOwed;
    if (ClientCore::takes(header.kind)) {
        const base::Status done = core_.on_message(header, message);
        if (!done.ok()) broken(done.failure().text, now, out);
        return;
    }
    if (header.kind == wire::Kind::Chunk) {
        wire::Header again;
        wire::Cursor cursor;
        wire::Chunk chunk;
        if (wire::decode_header(message, again, cursor) != wire::Code::None ||
            wire::decode(cursor, message, chunk) != wire::Code::None)
            return broken("CHUNK", now, out);
        const base::Status done = transfers_.on_chunk(chunk, message);
        if (!done.ok()) broken(done.failure().text, now, out);
        return;
    }
    if (header.kind == wire::Kind::Bye) {
        // The broker stops or is upgraded: the transport reconnects to its successor.
        drop_connection(now, out);
        return;
    }
    if (header.kind != wire::Kind::Drain) broken("a kind that is not for clients", now, out);
}

void ClientSession::tick(base::Time now, ClientOut& out) {
    if (final()) return;
    const base::Duration silence = now - last_heard_;
    if (silence >= config_.session_ttl && state_ != ClientState::Lost) {
        enter(ClientState::Lost,
              wire::Code::BrokerLost,
              "the broker was not heard of for the life of the session; whether the task ran is "
              "unknown");
    } else if (silence >= config_.gone_after &&
               (state_ == ClientState::Live || state_ == ClientState::Connecting)) {
        enter(ClientState::Silent, wire::Code::Disconnected, "the broker is silent");
        drop_connection(now, out);
    } else if (welcomed_ && session_.stalled(now, config_.gone_after)) {
        enter(ClientState::Silent, wire::Code::Disconnected, "the broker acks nothing");
        drop_connection(now, out);
    }
    if (!connected_) return;
    if (!welcomed_) {
        if (now >= retry_at_) hello(now, out);
        return;
    }
    if (now >= ping_at()) {
        last_ping_ = now;
        send(wire::encode({wire::Kind::Ping, 0, session_.received(), source_.floor()},
                          wire::Ping{++ping_echo_, 0, 0, 0}),
             now,
             out);
        session_.ack_told();
    }
    tell_ack(now, out);
}

void ClientSession::tell_ack(base::Time now, ClientOut& out) {
    if (!session_.ack_owed()) {
        ack_owed_at_ = base::kNever;
    } else if (session_.ack_due() || now >= ack_owed_at_) {
        send(wire::encode_ack(session_.received(), source_.floor()), now, out);
        session_.ack_told();
        ack_owed_at_ = base::kNever;
    }
}

/// Silence asks for a PING; what is held of shared objects asks for one whatever else was heard,
/// because only its answer proves that the broker hears us.
base::Time ClientSession::ping_at() const {
    const bool holds = core_.objects() != nullptr && core_.objects()->wants_pings();
    return (holds ? last_ping_ : std::max(last_heard_, last_ping_)) + config_.ping_after;
}

base::Time ClientSession::next_timer() const {
    if (final()) return base::kNever;
    base::Time next = state_ == ClientState::Lost
                          ? base::kNever
                          : last_heard_ + (state_ == ClientState::Silent ? config_.session_ttl
                                                                         : config_.gone_after);
    if (!connected_) return next;
    if (!welcomed_) return std::min(next, retry_at_);
    return std::min({next, ping_at(), ack_owed_at_, session_.stalls_at(config_.gone_after)});
}

void ClientSession::pump(base::Time now, ClientOut& out) {
    const bool speak = welcomed_ && connected_ && !final();
    core_.pump(speak);
    if (!speak) return;
    transmit(now, out);
    static_cast<void>(session_.stalled(now, config_.gone_after));  // Begins to count; tick() acts.
    if (session_.ack_due()) tell_ack(now, out);
}

void ClientSession::transmit(base::Time now, ClientOut& out) {
    while (const base::Message* message = session_.next_transmit()) send(*message, now, out);
}

void ClientSession::close(std::string_view reason, base::Time now, ClientOut& out) {
    if (final()) return;
    if (connected_ && welcomed_) {
        wire::Bye bye;
        bye.reason = reason;
        session_.queue(wire::encode(
            {wire::Kind::Bye, session_.next_number(), session_.received(), source_.floor()}, bye));
        transmit(now, out);
    }
    enter(ClientState::Closed, wire::Code::None, {});
}

}  // namespace forkmill::session
