// SPDX-License-Identifier: Apache-2.0
// Connections and sessions: HELLO, resume, fencing, liveness, and the turn of the loop. Kinds are
// handled in gateway_in.cc, effects in gateway_out.cc.
#include "broker/gateway.h"

#include <algorithm>
#include <utility>

#include "broker/gateway_ops.h"
#include "broker/peer.h"
#include "core/base/check.h"

namespace forkmill::broker {

namespace {

constexpr base::Duration kSweepEvery = std::chrono::milliseconds{50};
constexpr std::uint32_t kProtocolErrorsMax = 20;

}  // namespace

Gateway::Gateway(GatewayConfig config, engine::Engine& engine, base::Time now)
    : config_(std::move(config)), engine_(engine), next_sweep_(now + kSweepEvery) {}

Gateway::~Gateway() = default;

void GatewayOps::note(std::string_view text) {
    if (gateway.log) gateway.log(text);
}

void GatewayOps::send_bare(Handle to, base::Message message, bool disconnect) {
    gateway.out_.push_back(Outgoing{to, std::move(message), disconnect});
    ++gateway.counters_.messages_out;
}

void GatewayOps::reject(Handle to,
                        wire::Code code,
                        std::string_view text,
                        std::uint64_t retry_after_ms) {
    send_bare(
        to,
        wire::encode({wire::Kind::Reject}, wire::Reject{code, std::string{text}, retry_after_ms}),
        true);
}

/// The peer broke the protocol: it is told once per frame, and loses its session when it goes on
/// (facts: 20 errors).
void GatewayOps::protocol_error(Peer& peer, wire::Kind about, wire::Code code, base::Time now) {
    ++gateway.counters_.refused_frames;
    send_bare(
        peer.handle,
        wire::encode({wire::Kind::Err}, wire::Err{code, about, std::string{wire::name_of(code)}}),
        false);
    note("protocol error " + std::string{wire::name_of(code)} + " in " +
         std::string{wire::name_of(about)} + " from session " + base::to_string(peer.key));
    if (++peer.protocol_errors >= kProtocolErrorsMax)
        end_session(peer, wire::Code::ProtoState, now);
}

void GatewayOps::unbind(Peer& peer) {
    if (!peer.connected) return;
    gateway.by_handle_.erase(peer.handle);
    peer.connected = false;
}

/// The session is over for the broker; whoever still speaks for it is disconnected.
void GatewayOps::end_session(Peer& peer, wire::Code code, base::Time now) {
    if (peer.connected) reject(peer.handle, code, wire::name_of(code), 0);
    forget_peer(peer, now, true);
}

void GatewayOps::forget_peer(Peer& peer, base::Time now, bool tell_engine) {
    const engine::SessionIx index = peer.index;
    unbind(peer);
    release_all_shares(peer);
    gateway.by_key_.erase(peer.key);
    std::erase(gateway.dirty_, &peer);
    std::unique_ptr<Peer> keep = std::move(
        gateway.peers_[index]);  // Alive until the engine's last effects for it were dropped.
    if (keep->parent != engine::kNoSession) --gateway.heirs_;
    if (tell_engine) gateway.engine_.close_session(index, now, gateway.effects_);
    end_heirs_of(index, now);
}

Peer* GatewayOps::open_peer(const wire::Hello& hello,
                            Handle from,
                            std::string_view principal,
                            base::Time now) {
    engine::SessionInfo info;
    info.role = hello.role;
    info.key = hello.session;
    info.stream = hello.stream;
    info.principal = principal;
    info.host = hello.host;
    info.pid = hello.pid;
    info.session_ttl = std::chrono::milliseconds{hello.session_ttl_ms};
    info.pool = hello.pool;
    info.host_key = hello.host_key;
    info.slot = hello.slot;
    info.birth = hello.birth;
    info.threads = hello.threads;
    info.queues = hello.queues;
    info.offers = hello.offers;
    info.reattaching = hello.role == wire::Role::Worker && hello.incarnation != 0;
    engine::SessionIx index = engine::kNoSession;
    const wire::Code code = gateway.engine_.open_session(info, now, gateway.effects_, index);
    if (code != wire::Code::None) {
        reject(from, code, wire::name_of(code), code == wire::Code::BrokerFull ? 1000 : 0);
        return nullptr;
    }
    return &add_peer(info, index);
}

Peer& GatewayOps::add_peer(const engine::SessionInfo& info, engine::SessionIx index) {
    auto peer = std::make_unique<Peer>();
    peer->index = index;
    peer->epoch = ++gateway.next_epoch_;
    peer->key = info.key;
    peer->role = info.role;
    peer->stream = info.stream;
    peer->host_key = info.host_key;
    peer->pool = info.pool;
    peer->slot = info.slot;
    peer->birth = info.birth;
    peer->principal = info.principal;
    peer->offers = info.offers;
    if (gateway.peers_.size() <= index) gateway.peers_.resize(index + 1);
    gateway.peers_[index] = std::move(peer);
    Peer& opened = *gateway.peers_[index];
    gateway.by_key_[info.key] = &opened;
    return opened;
}

void GatewayOps::on_hello(Handle from,
                          const wire::Hello& hello,
                          std::string_view principal,
                          base::Time now) {
    auto known = gateway.by_key_.find(hello.session);
    Peer* peer = known == gateway.by_key_.end() ? nullptr : known->second;
    if (principal.empty()) principal = "local";
    if (peer != nullptr && peer->principal != principal)
        return reject(from, wire::Code::Denied, "this session belongs to another key", 0);
    if (gateway.may_act && !gateway.may_act(principal, hello.role))
        return reject(from,
                      wire::Code::DeniedRole,
                      "the key of " + std::string{principal} + " is not listed for this role",
                      0);
    if (peer != nullptr && hello.generation < peer->generation) {
        ++gateway.counters_.fenced;
        return send_bare(from,
                         wire::encode({wire::Kind::Fenced},
                                      wire::Bye{"a newer connection of this session exists"}),
                         true);
    }
    // The same HELLO again: its answer is on its way.
    if (peer != nullptr && peer->connected && peer->handle == from &&
        hello.generation == peer->generation)
        return;
    const bool same_broker = hello.incarnation == gateway.config_.incarnation;
    if (peer == nullptr && same_broker)
        return reject(
            from, wire::Code::SessionExpired, "the session was closed after its silence", 0);
    if (peer == nullptr && gateway.draining_ && hello.role == wire::Role::Client)
        return reject(from, wire::Code::Draining, "the broker is stopping", 1000);
    if (peer == nullptr && gateway.by_handle_.size() >= gateway.config_.handles_max)
        return reject(from, wire::Code::BrokerFull, "too many connections", 1000);

    bool resumed = peer != nullptr;
    if (peer == nullptr) peer = open_peer(hello, from, principal, now);
    if (peer == nullptr) return;
    // A peer that never heard our first WELCOME counts in the numbers of another incarnation.
    if (resumed && !peer->session.resume(same_broker ? hello.received : 0)) {
        end_session(*peer, wire::Code::ProtoNumber, now);
        return;
    }
    const bool same_handle = peer->connected && peer->handle == from;
    if (peer->connected && !same_handle)
        send_bare(peer->handle,
                  wire::encode({wire::Kind::Fenced},
                               wire::Bye{"a newer connection of this session exists"}),
                  true);
    unbind(*peer);
    peer->handle = from;
    peer->connected = true;
    peer->generation = hello.generation;
    peer->last_heard = now;
    peer->ping_sent = false;
    peer->who_sent = false;
    gateway.by_handle_[from] = peer;
    welcome(*peer, resumed, now);
    if (resumed) {
        release_acked_shares(*peer);
        ++gateway.counters_.resent;
        // What was on its way when the connection ended may have been lost with it; the session
        // sends it again after WELCOME.
        transmit(*peer, now);
    }
    gateway.engine_.set_connected(peer->index, true, now, gateway.effects_);
    note("session " + base::to_string(peer->key) + (resumed ? " resumed" : " opened") + ", role " +
         std::to_string(static_cast<int>(peer->role)));
}

void GatewayOps::welcome(Peer& peer, bool resumed, base::Time now) {
    wire::Welcome welcome;
    welcome.minor = wire::kMinor;
    welcome.incarnation = gateway.config_.incarnation;
    welcome.resumed = resumed;
    welcome.received = peer.session.received();
    welcome.generation = peer.generation;
    welcome.ping_ms = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(gateway.config_.ping_after).count());
    welcome.gone_ms = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(gateway.config_.gone_after).count());
    welcome.session_ttl_ms = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(gateway.config_.session_ttl).count());
    welcome.payload_max = gateway.config_.payload_max;
    welcome.credit_records = gateway.engine_.credit_records(peer.index);
    welcome.credit_bytes = gateway.engine_.credit_bytes(peer.index);
    welcome.durability = gateway.config_.durability;
    welcome.broker = gateway.config_.name;
    peer.credit_told_records = welcome.credit_records;
    peer.credit_told_bytes = welcome.credit_bytes;
    peer.last_sent = now;
    send_bare(peer.handle,
              wire::encode({wire::Kind::Welcome, 0, peer.session.received(), peer.floor}, welcome),
              false);
    peer.session.ack_told();
}

void Gateway::on_message(Handle from,
                         base::Message&& message,
                         base::Time now,
                         base::WallNanos wall,
                         std::string_view principal) {
    ++counters_.messages_in;
    next_sweep_ = std::min(next_sweep_, now + kSweepEvery);  // It may be owed an ack.
    GatewayOps ops{*this};
    wire::Header header;
    wire::Cursor cursor;
    const wire::Code code = wire::decode_header(message, header, cursor);
    auto found = by_handle_.find(from);
    Peer* peer = found == by_handle_.end() ? nullptr : found->second;
    if (code != wire::Code::None) {
        if (peer != nullptr) {
            ops.protocol_error(*peer, header.kind, code, now);
        } else {
            ++counters_.refused_frames;
            ops.reject(from,
                       code,
                       code == wire::Code::ProtoVersion ? "this broker speaks protocol 1"
                                                        : wire::name_of(code),
                       0);
        }
    } else if (header.kind == wire::Kind::Hello) {
        wire::Hello hello;
        const wire::Code bad = wire::decode(cursor, hello);
        if (bad != wire::Code::None) {
            ++counters_.refused_frames;
            ops.reject(from, bad, wire::name_of(bad), 0);
        } else {
            ops.on_hello(from, hello, principal, now);
        }
    } else if (peer == nullptr) {
        // A broker that was restarted hears from peers that do not know it yet: they are asked to
        // say HELLO.
        ops.send_bare(from, wire::encode({wire::Kind::Who}, wire::Bye{"say HELLO first"}), false);
    } else {
        ops.on_frame(*peer, header, cursor, message, now, wall);
    }
    apply_effects(now);
}

void Gateway::on_disconnected(Handle from, base::Time now) {
    GatewayOps ops{*this};
    auto found = by_handle_.find(from);
    if (found == by_handle_.end()) return;
    Peer& peer = *found->second;
    ops.unbind(peer);
    // On this host the end of a connection means that everything the peer ever sent was read: a
    // death notice need not wait any longer.
    for (PendingDeath& death : deaths_) {
        if (death.info.host_key == peer.host_key && death.info.pool == peer.pool &&
            death.info.slot == peer.slot && death.info.birth == peer.birth)
            death.at = now;
    }
    for (PendingBurial& burial : burials_)
        if (burial.key == peer.key) burial.at = now;
    engine_.set_connected(peer.index, false, now, effects_);
    ops.release_all_shares(peer);
    apply_effects(now);
}

void Gateway::on_broken(Handle from, std::string_view reason, base::Time now) {
    GatewayOps{*this}.note("connection broken: " + std::string{reason});
    on_disconnected(from, now);
}

engine::SessionIx Gateway::open_local(const engine::SessionInfo& info,
                                      LocalClient& client,
                                      base::Time now) {
    engine::SessionIx index = engine::kNoSession;
    const wire::Code code = engine_.open_session(info, now, effects_, index);
    if (code != wire::Code::None) return engine::kNoSession;
    if (locals_.size() <= index) locals_.resize(index + 1, nullptr);
    locals_[index] = &client;
    engine_.set_connected(index, true, now, effects_);
    apply_effects(now);
    return index;
}

void Gateway::close_local(engine::SessionIx session, base::Time now) {
    engine_.close_session(session, now, effects_);
    GatewayOps{*this}.end_heirs_of(session, now);
    apply_effects(now);
    locals_[session] = nullptr;
}

/// Also says when the next one is due: an idle broker sleeps from ping to ping.
void GatewayOps::sweep(base::Time now) {
    gateway.next_sweep_ = base::kNever;
    const auto look_again = [&](base::Time at) {
        gateway.next_sweep_ = std::min(gateway.next_sweep_, std::max(at, now + kSweepEvery));
    };
    for (std::size_t i = 0; i < gateway.peers_.size(); ++i) {
        Peer* peer = gateway.peers_[i].get();
        if (peer == nullptr || !peer->connected) continue;
        const base::Duration silence = now - peer->last_heard;
        const bool stalled = peer->session.stalled(now, gateway.config_.gone_after);
        if (stalled || silence >= gateway.config_.gone_after) {
            note("session " + base::to_string(peer->key) +
                 (stalled ? " acks nothing" : " is silent") + ": connection dropped");
            gateway.out_.push_back(Outgoing{peer->handle, {}, true});
            unbind(*peer);
            gateway.engine_.set_connected(peer->index, false, peer->last_heard, gateway.effects_);
            release_all_shares(*peer);
        } else if (silence >= gateway.config_.ping_after && !peer->ping_sent) {
            peer->ping_sent = true;
            send_bare(peer->handle,
                      wire::encode({wire::Kind::Ping, 0, peer->session.received(), peer->floor},
                                   wire::Ping{}),
                      false);
            peer->session.ack_told();
            peer->floor_told = peer->floor;
        } else if (peer->session.ack_owed() || peer->floor_told < peer->floor) {
            send_ack(*peer, now);
        }
        if (!peer->connected) continue;
        look_again(peer->last_heard +
                   (peer->ping_sent ? gateway.config_.gone_after : gateway.config_.ping_after));
        if (!peer->session.all_acked()) look_again(now);
    }
}

void GatewayOps::send_ack(Peer& peer, base::Time now) {
    send_bare(peer.handle, wire::encode_ack(peer.session.received(), peer.floor), false);
    peer.session.ack_told();
    peer.floor_told = peer.floor;
    peer.last_sent = now;
    peer.ack_now = false;
}

void Gateway::pump(base::Time now, base::WallNanos wall) {
    GatewayOps ops{*this};
    ops.apply_deaths(now);
    ops.apply_burials(now);
    if (engine_.next_timer() <= now) engine_.tick(now, wall, effects_);
    engine_.schedule(now, effects_);
    apply_effects(now);
    if (now >= next_sweep_) {
        ops.sweep(now);
        apply_effects(now);
    }
    for (std::size_t i = 0; i < dirty_.size(); ++i) ops.flush(*dirty_[i], now);
    dirty_.clear();
    // A flush may have filled a window or emptied one: the engine hears of it before it decides
    // again.
    if (!effects_.list.empty()) apply_effects(now);
    for (std::size_t i = 0; i < dirty_.size(); ++i) ops.flush(*dirty_[i], now);
    dirty_.clear();
    engine_.collect();
}

base::Time Gateway::next_timer() const {
    base::Time next = std::min(engine_.next_timer(), next_sweep_);
    for (const PendingDeath& death : deaths_) next = std::min(next, death.at);
    for (const PendingBurial& burial : burials_) next = std::min(next, burial.at);
    return next;
}

void Gateway::drain() {
    draining_ = true;
}

void Gateway::say_bye(std::string_view reason, base::Time now) {
    GatewayOps ops{*this};
    for (auto& peer : peers_) {
        if (!peer || !peer->connected) continue;
        ops.flush(*peer, now);
        ops.send_numbered(*peer, wire::Kind::Bye, wire::Bye{std::string{reason}}, now);
    }
}

std::string Gateway::signature_of(std::string_view task) const {
    for (const auto& peer : peers_) {
        if (!peer) continue;
        for (const wire::Offer& offer : peer->offers) {
            if (offer.name == task) return offer.signature;
        }
    }
    return {};
}

std::size_t Gateway::unsettled_custody() const {
    std::size_t open = 0;
    for (const auto& peer : peers_) {
        if (peer) open += peer->frames.size();
    }
    return open;
}

std::string Gateway::check_invariants() const {
    for (const auto& [handle, peer] : by_handle_) {
        if (!peer->connected || !(peer->handle == handle))
            return "a handle leads to a peer that is not connected through it";
    }
    std::size_t heirs = 0;
    for (const auto& peer : peers_) {
        if (!peer) continue;
        heirs += peer->parent != engine::kNoSession ? 1U : 0U;
        auto known = by_key_.find(peer->key);
        if (known == by_key_.end() || known->second != peer.get())
            return "a peer is not found by its key";
        if (!peer->frames.empty() && peer->frames.front().open == 0)
            return "a worker frame without custody is kept";
        if (!peer->frames.empty() && peer->floor >= peer->frames.front().number)
            return "a floor passed an open frame";
    }
    if (heirs != heirs_) return "the number of sessions with a parent is wrong";
    return engine_.check_invariants();
}

}  // namespace forkmill::broker
