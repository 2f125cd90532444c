// SPDX-License-Identifier: Apache-2.0
// Sessions that a client opens for the processes it starts: they have handles before they speak,
// and end with their process or with who opened them (docs/protocol.md §17.3).
#include <optional>
#include <utility>

#include "broker/gateway_ops.h"
#include "broker/peer.h"

namespace forkmill::broker {

void Gateway::operate(engine::SessionIx from, const wire::ObjectOp& op, base::Time now) {
    const bool passes = op.verb == wire::ObjectVerb::Pass;
    if (!passes && op.verb != wire::ObjectVerb::Bury)
        return engine_.operate(from, op, now, effects_);
    GatewayOps ops{*this};
    wire::ObjectReply reply;
    reply.op = op.op;
    reply.code = passes ? ops.pass(from, op, reply, now) : ops.bury(from, op, reply, now);
    ops.answer(from, std::move(reply));
}

void GatewayOps::answer(engine::SessionIx to, wire::ObjectReply reply) {
    gateway.effects_.object_replies.push_back(std::move(reply));
    engine::Effect& effect = gateway.effects_.list.emplace_back();
    effect.kind = engine::Effect::Kind::ObjectReply;
    effect.session = to;
    effect.extra = static_cast<std::uint32_t>(gateway.effects_.object_replies.size());
}

/// A new session that nobody is connected to yet; null with the reason in `code`.
Peer* GatewayOps::open_heir(engine::SessionIx from,
                            const base::SessionKey& key,
                            std::uint64_t stream,
                            wire::Code& code,
                            base::Time now) {
    const Peer* parent =
        from < gateway.peers_.size() ? gateway.peers_[from].get() : nullptr;  // Null: a local one.
    engine::SessionInfo info;
    info.role = wire::Role::Client;
    info.key = key;
    info.stream = stream;
    info.principal = parent != nullptr ? parent->principal : "local";
    code = gateway.draining_                             ? wire::Code::Draining
           : gateway.heirs_ >= gateway.config_.heirs_max ? wire::Code::BrokerFull
                                                         : wire::Code::None;
    if (code != wire::Code::None) return nullptr;
    engine::SessionIx index = engine::kNoSession;
    code = gateway.engine_.open_session(info, now, gateway.effects_, index);
    if (code != wire::Code::None) return nullptr;
    Peer& peer = add_peer(info, index);
    peer.parent = from;
    ++gateway.heirs_;
    return &peer;
}

wire::Code GatewayOps::pass(engine::SessionIx from,
                            const wire::ObjectOp& op,
                            wire::ObjectReply& reply,
                            base::Time now) {
    reply.version = gateway.config_.incarnation;
    const std::optional<base::SessionKey> key = base::parse_session_key(op.name);
    if (!key) {
        reply.text = "the session's key is not 32 hex digits";
        return wire::Code::InvalidRange;
    }
    const auto known = gateway.by_key_.find(*key);
    Peer* peer = known == gateway.by_key_.end() ? nullptr : known->second;
    if (peer != nullptr && peer->parent != from) {
        reply.text = "the session is somebody else's";
        return wire::Code::Denied;
    }
    wire::Code code = wire::Code::None;
    const bool opened = peer == nullptr;
    if (opened) peer = open_heir(from, *key, op.token, code, now);
    if (peer == nullptr) return code;
    code = gateway.engine_.pass(from, peer->index, op, reply);
    if (opened && code != wire::Code::None) end_session(*peer, wire::Code::SessionExpired, now);
    return code;
}

/// What the dead one still had on its way counts, as a worker's does.
wire::Code GatewayOps::bury(engine::SessionIx from,
                            const wire::ObjectOp& op,
                            wire::ObjectReply& reply,
                            base::Time now) {
    const std::optional<base::SessionKey> key = base::parse_session_key(op.name);
    const auto known = key ? gateway.by_key_.find(*key) : gateway.by_key_.end();
    // It may have said BYE.
    if (known == gateway.by_key_.end() || known->second->parent != from) return wire::Code::None;
    reply.value = 1;
    for (const Gateway::PendingBurial& burial : gateway.burials_)
        if (burial.key == *key) return wire::Code::None;
    const bool drained = !known->second->connected;
    gateway.burials_.push_back({*key, drained ? now : now + gateway.config_.death_grace});
    return wire::Code::None;
}

void GatewayOps::apply_burials(base::Time now) {
    for (std::size_t i = 0; i < gateway.burials_.size();) {
        if (gateway.burials_[i].at > now) {
            ++i;
            continue;
        }
        const auto known = gateway.by_key_.find(gateway.burials_[i].key);
        gateway.burials_.erase(gateway.burials_.begin() + static_cast<std::ptrdiff_t>(i));
        if (known == gateway.by_key_.end()) continue;
        note("session " + base::to_string(known->first) + " ended with its process");
        end_session(*known->second, wire::Code::SessionExpired, now);
        gateway.apply_effects(now);
    }
}

void GatewayOps::end_heirs_of(engine::SessionIx parent, base::Time now) {
    for (std::size_t i = 0; i < gateway.peers_.size() && gateway.heirs_ > 0; ++i)
        if (Peer* peer = gateway.peers_[i].get(); peer != nullptr && peer->parent == parent)
            end_session(*peer, wire::Code::SessionExpired, now);
}

}  // namespace forkmill::broker
