// SPDX-License-Identifier: Apache-2.0
// Effects into frames: batches per peer, bodies in chunks, and the custody of results between a
// worker's frame and its client's ack.
#include <algorithm>
#include <utility>

#include "broker/gateway_ops.h"
#include "core/wire/limits.h"

namespace forkmill::broker {

void Gateway::apply_effects(base::Time now) {
    GatewayOps ops{*this};
    // Routing may cause more effects (a closed session releases leases): the list grows while it is
    // walked.
    for (std::size_t i = 0; i < effects_.list.size(); ++i) {
        const engine::Effect effect = effects_.list[i];
        ops.route(effect, now);
    }
    effects_.clear();
}

void GatewayOps::mark_dirty(Peer& peer) {
    if (peer.dirty) return;
    peer.dirty = true;
    gateway.dirty_.push_back(&peer);
}

void GatewayOps::route(const engine::Effect& effect, base::Time now) {
    using Kind = engine::Effect::Kind;
    if (effect.kind == Kind::Recovered) return note("recovery ended");
    if (effect.kind == Kind::KillWorker) return kill(effect, now);
    if (effect.session < gateway.locals_.size() && gateway.locals_[effect.session] != nullptr)
        return gateway.locals_[effect.session]->on_effect(effect, gateway.effects_);
    Peer* peer =
        effect.session < gateway.peers_.size() ? gateway.peers_[effect.session].get() : nullptr;
    if (peer == nullptr) return;  // The session ended within this turn.
    if (effect.kind == Kind::CloseSession) {
        if (peer->connected) reject(peer->handle, effect.code, wire::name_of(effect.code), 0);
        return forget_peer(*peer, now, false);
    }
    route_to_peer(*peer, effect, now);
}

void GatewayOps::route_to_peer(Peer& peer, const engine::Effect& effect, base::Time now) {
    using Kind = engine::Effect::Kind;
    const auto text = [&] {
        return effect.text == 0 ? std::string{} : gateway.effects_.texts[effect.text - 1];
    };
    mark_dirty(peer);
    switch (effect.kind) {
        case Kind::Assign:
            return assign(peer, effect, now);
        case Kind::Outcome:
            return outcome(peer, effect, now);
        case Kind::Accepted: {
            if (!peer.accepted.empty() &&
                peer.accepted.back().first + peer.accepted.back().count == effect.seq) {
                peer.accepted.back().count += effect.count;
            } else {
                peer.accepted.push_back({effect.seq, effect.count});
            }
            return;
        }
        case Kind::Refused:
            peer.refused.push_back({effect.seq, effect.code, text(), effect.count});
            return;
        case Kind::Forgotten:
            peer.forgotten.push_back({effect.seq, std::max<std::uint64_t>(effect.count, 1)});
            return;
        case Kind::CancelLease:
            peer.cancels.push_back({effect.lease, effect.kill});
            return;
        case Kind::Stale:
            peer.stale.push_back(effect.lease);
            return;
        case Kind::Adopt:
            peer.adopts.push_back({effect.seq, effect.lease});
            return;
        case Kind::Credit:
            peer.credit_due = true;
            return;
        case Kind::Partial:
            peer.partials.push_back({effect.seq, effect.fraction, text()});
            return;
        case Kind::DrainWorker:
            peer.drain_due = true;
            return;
        case Kind::ObjectReply:
            return object_reply(peer, gateway.effects_.object_replies[effect.extra - 1], now);
        case Kind::ObjectEvent:
            return object_event(peer, gateway.effects_.object_events[effect.extra - 1], now);
        default:
            return;
    }
}

void GatewayOps::kill(const engine::Effect& effect, base::Time now) {
    Peer* peer =
        effect.session < gateway.peers_.size() ? gateway.peers_[effect.session].get() : nullptr;
    if (peer == nullptr) return;
    const supervisor::Cause cause = effect.code == wire::Code::TaskTimeout
                                        ? supervisor::Cause::HardTimeout
                                        : supervisor::Cause::Killed;
    for (const auto& uplink : gateway.peers_) {
        if (!uplink || uplink->role != wire::Role::Uplink || uplink->host_key != peer->host_key)
            continue;
        wire::HostRecord order;
        order.host_key = peer->host_key;
        order.verb = static_cast<std::uint8_t>(supervisor::Verb::Kill);
        order.cause = static_cast<std::uint8_t>(cause);
        order.pool = peer->pool;
        order.slot = peer->slot;
        order.birth = peer->birth;
        return send_numbered(*uplink, wire::Kind::HostVerb, order, now);
    }
    gateway.kills_.push_back(
        KillOrder{peer->host_key, peer->pool, peer->slot, peer->birth, 0, cause});
}

// A body that no single frame may carry goes ahead of its record, in chunks of the same numbered
// stream.
wire::BodyRef GatewayOps::ship_body(Peer& peer,
                                    const base::Body& body,
                                    base::Time now,
                                    std::size_t frame_max) {
    if (!body.chunks && body.view.size() <= frame_max) return wire::BodyRef::of(body);
    const std::uint64_t transfer = peer.next_transfer++;
    const std::uint64_t size = body.size();
    std::vector<base::Blob> parts;
    if (body.chunks) {
        parts = *body.chunks;
    } else {
        const base::Blob whole = body.blob.empty() ? base::Blob::copy(body.view) : body.blob;
        for (std::size_t at = 0; at < whole.size(); at += wire::kChunkSize)
            parts.push_back(whole.slice(at, std::min(wire::kChunkSize, whole.size() - at)));
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
        queue(peer,
              wire::encode_chunk({wire::Kind::Chunk,
                                  peer.session.next_number(),
                                  peer.session.received(),
                                  peer.floor},
                                 transfer,
                                 i + 1 == parts.size(),
                                 parts[i]),
              now);
    }
    return wire::BodyRef::of_transfer(transfer, size);
}

void GatewayOps::assign(Peer& peer, const engine::Effect& effect, base::Time now) {
    const engine::Leased leased = gateway.engine_.leased(effect.lease);
    if (leased.attempt == 0) return;  // It ended within this turn.
    if (peer.templates_told.size() <= leased.template_id)
        peer.templates_told.resize(leased.template_id + 1, false);
    if (!peer.templates_told[leased.template_id]) {
        peer.templates_told[leased.template_id] = true;
        wire::TemplateDef def = gateway.engine_.template_of(leased.template_id);
        def.id = leased.template_id;
        send_numbered(peer, wire::Kind::Template, def, now);
    }
    wire::TaskRecord record;
    record.template_id = leased.template_id;
    record.task = leased.task;
    record.attempt = leased.attempt;
    record.crashes = leased.crashes;
    record.lease = effect.lease;
    record.body = ship_body(peer, leased.body, now);
    record.extras = leased.extras;
    std::vector<wire::TaskRecord::Dependency> dependencies;
    for (const auto& [argument, value] : leased.dependencies)
        dependencies.push_back({argument, ship_body(peer, value, now, wire::kDependencyFrameMax)});
    record.dependencies = dependencies;
    if (!peer.tasks.fits(record)) finish_tasks(peer, now);
    peer.tasks.add(record);
    if (peer.tasks.full()) finish_tasks(peer, now);
}

void GatewayOps::outcome(Peer& peer, const engine::Effect& effect, base::Time now) {
    const base::Body body =
        effect.extra != 0 ? gateway.effects_.bodies[effect.extra - 1] : base::Body::of(effect.view);
    const wire::BodyRef ref = ship_body(peer, body, now);
    if (!peer.results.fits(ref)) finish_results(peer, now);
    peer.results.add(effect.seq, effect.outcome, ref);
    share_of_current(peer);
    if (peer.results.full()) finish_results(peer, now);
}

void GatewayOps::finish_tasks(Peer& peer, base::Time now) {
    if (peer.tasks.count() == 0) return;
    queue(peer,
          peer.tasks.finish(
              {wire::Kind::Tasks, peer.session.next_number(), peer.session.received(), peer.floor}),
          now);
}

void GatewayOps::finish_results(Peer& peer, base::Time now) {
    if (peer.results.count() == 0) return;
    flush_client_side(peer, now);  // What was accepted is told before how it ended.
    const std::uint64_t number = peer.session.next_number();
    queue(peer,
          peer.results.finish({wire::Kind::Results, number, peer.session.received(), peer.floor}),
          now);
    if (!peer.open_shares.empty())
        peer.unacked_results.push_back({number, std::exchange(peer.open_shares, {})});
}

/// A list that grew beyond what one message may hold goes out in several.
template <class List, class Entry>
void GatewayOps::send_list(Peer& peer,
                           wire::Kind kind,
                           std::vector<Entry>& entries,
                           base::Time now) {
    for (auto first = entries.begin(); first != entries.end();) {
        const auto count = std::min<std::ptrdiff_t>(entries.end() - first, wire::kListMax);
        send_numbered(peer, kind, List{std::vector<Entry>(first, first + count)}, now);
        first += count;
    }
    entries.clear();
}

void GatewayOps::flush_client_side(Peer& peer, base::Time now) {
    send_list<wire::Accepted>(peer, wire::Kind::Accepted, peer.accepted, now);
    send_list<wire::Forgotten>(peer, wire::Kind::Forgotten, peer.forgotten, now);
    for (const wire::Refused& refused : std::exchange(peer.refused, {}))
        send_numbered(peer, wire::Kind::Refused, refused, now);
    for (const wire::Partial& partial : std::exchange(peer.partials, {}))
        send_numbered(peer, wire::Kind::Partial, partial, now);
    for (const wire::Reply& reply : std::exchange(peer.replies, {}))
        send_numbered(peer, wire::Kind::Reply, reply, now);
    const std::uint64_t records = gateway.engine_.credit_records(peer.index);
    const std::uint64_t bytes = gateway.engine_.credit_bytes(peer.index);
    if (peer.credit_due && (records > peer.credit_told_records || bytes > peer.credit_told_bytes)) {
        peer.credit_told_records = records;
        peer.credit_told_bytes = bytes;
        send_numbered(peer, wire::Kind::Credit, wire::Credit{records, bytes}, now);
    }
    peer.credit_due = false;
}

void GatewayOps::flush_worker_side(Peer& peer, base::Time now) {
    send_list<wire::Adopt>(peer, wire::Kind::Adopt, peer.adopts, now);
    finish_tasks(peer, now);
    send_list<wire::Stale>(peer, wire::Kind::Stale, peer.stale, now);
    for (const wire::CancelLease& cancel : std::exchange(peer.cancels, {}))
        send_numbered(peer, wire::Kind::CancelLease, cancel, now);
    if (std::exchange(peer.drain_due, false))
        send_numbered(peer, wire::Kind::Drain, wire::DrainMsg{}, now);
}

void GatewayOps::flush(Peer& peer, base::Time now) {
    peer.dirty = false;
    flush_worker_side(peer, now);
    flush_client_side(peer, now);
    finish_results(peer, now);
    finish_objects(peer, now);
    if (peer.connected && (peer.session.ack_due() || peer.ack_now)) send_ack(peer, now);
    const bool writable = peer.session.can_send();
    if (writable != peer.writable_told) {
        peer.writable_told = writable;
        gateway.engine_.set_writable(peer.index, writable, now, gateway.effects_);
    }
}

void GatewayOps::queue(Peer& peer, base::Message message, base::Time now) {
    peer.session.ack_told();
    peer.floor_told = peer.floor;
    peer.ack_now = false;
    peer.session.queue(std::move(message));
    transmit(peer, now);
}

void GatewayOps::transmit(Peer& peer, base::Time now) {
    if (!peer.connected) return;
    while (const base::Message* message = peer.session.next_transmit()) {
        gateway.out_.push_back(Outgoing{peer.handle, *message, false});
        ++gateway.counters_.messages_out;
        peer.last_sent = now;
    }
}

void GatewayOps::share_of_current(Peer& client) {
    // A client that is away acks nothing for a while: its session holds the copy that is needed.
    if (gateway.current_worker_ == engine::kNoSession || !client.connected) return;
    Peer& worker = *gateway.peers_[gateway.current_worker_];
    ++worker.frames.back().open;
    if (!client.open_shares.empty()) {
        CustodyShare& last = client.open_shares.back();
        if (last.worker == worker.index && last.worker_epoch == worker.epoch &&
            last.number == gateway.current_frame_) {
            ++last.count;
            return;
        }
    }
    client.open_shares.push_back({worker.index, worker.epoch, gateway.current_frame_, 1});
}

void GatewayOps::release_share(const CustodyShare& share) {
    Peer* worker =
        share.worker < gateway.peers_.size() ? gateway.peers_[share.worker].get() : nullptr;
    if (worker == nullptr || worker->epoch != share.worker_epoch) return;
    auto frame =
        std::lower_bound(worker->frames.begin(),
                         worker->frames.end(),
                         share.number,
                         [](const FrameCustody& f, std::uint64_t n) { return f.number < n; });
    if (frame == worker->frames.end() || frame->number != share.number) return;
    frame->open -= std::min(frame->open, share.count);
    if (frame == worker->frames.begin()) advance_floor(*worker);
}

void GatewayOps::advance_floor(Peer& worker) {
    while (!worker.frames.empty() && worker.frames.front().open == 0) {
        worker.floor = worker.frames.front().number;
        worker.frames.pop_front();
    }
}

void GatewayOps::release_acked_shares(Peer& client) {
    while (!client.unacked_results.empty() &&
           client.unacked_results.front().number <= client.session.acked()) {
        const UnackedResults acked = std::move(client.unacked_results.front());
        client.unacked_results.pop_front();
        for (const CustodyShare& share : acked.shares) release_share(share);
    }
}

// The client is away: the broker's session now holds the only copy that is needed, and the workers
// may forget theirs (semantics.md 5).
void GatewayOps::release_all_shares(Peer& client) {
    for (UnackedResults& results : std::exchange(client.unacked_results, {})) {
        for (const CustodyShare& share : results.shares) release_share(share);
    }
    for (const CustodyShare& share : std::exchange(client.open_shares, {})) release_share(share);
}

}  // namespace forkmill::broker
