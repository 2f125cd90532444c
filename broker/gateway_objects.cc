// SPDX-License-Identifier: Apache-2.0
// Answers about shared objects into frames, their values as bodies of every form.
#include <utility>

#include "broker/gateway_ops.h"
#include "core/wire/limits.h"

namespace forkmill::broker {

wire::ObjectItem GatewayOps::ship_item(Peer& peer,
                                       const wire::ObjectItem& item,
                                       wire::BodyBudget& budget,
                                       base::Time now) {
    const base::Body& body = item.body.body;
    // What its record has no room for goes ahead as a transfer, whatever its size.
    const wire::BodyRef ref =
        budget.fits_record(body) ? wire::BodyRef::of(body) : ship_body(peer, body, now, 0);
    return {item.key, ref, item.refs};
}

/// An answer of many items goes out in several records, all but the last with `more`.
void GatewayOps::object_reply(Peer& peer, const wire::ObjectReply& reply, base::Time now) {
    wire::ObjectReply part;
    part.op = reply.op;
    part.code = reply.code;
    part.value = reply.value;
    part.count = reply.count;
    part.token = reply.token;
    part.version = reply.version;
    part.text = reply.text;
    wire::BodyBudget budget;
    for (const wire::ObjectItem& item : reply.items) {
        if (part.items.size() == wire::kObjectItemsMax) {
            part.flags = reply.flags | wire::kReplyMore;
            add_answer(peer, part, now);
            part.items.clear();
            budget = {};
        }
        part.items.push_back(ship_item(peer, item, budget, now));
    }
    part.flags = reply.flags;
    add_answer(peer, part, now);
}

void GatewayOps::add_answer(Peer& peer, const wire::ObjectReply& part, base::Time now) {
    if (!peer.object_replies.fits(part)) finish_objects(peer, now);
    peer.object_replies.add(part);
    if ((part.flags & wire::kReplyMore) == 0) ++peer.answers_here;
    // A peer keeps few transfers that no record has named yet.
    bool transfers = false;
    for (const wire::ObjectItem& item : part.items)
        transfers = transfers || item.body.transfer != 0;
    if (peer.object_replies.full() || transfers) finish_objects(peer, now);
}

void GatewayOps::object_event(Peer& peer, const wire::ObjectEvent& event, base::Time now) {
    wire::ObjectEvent told{event.watch, event.change, event.version, {}};
    wire::BodyBudget budget;
    for (const wire::ObjectItem& item : event.items)
        told.items.push_back(ship_item(peer, item, budget, now));
    if (!peer.object_events.fits(told)) finish_objects(peer, now);
    peer.object_events.add(told);
    if (peer.object_events.full()) finish_objects(peer, now);
}

void GatewayOps::finish_objects(Peer& peer, base::Time now) {
    const auto header = [&](wire::Kind kind) {
        return wire::Header{kind, peer.session.next_number(), peer.session.received(), peer.floor};
    };
    if (peer.object_replies.count() > 0) {
        const std::uint64_t count = std::exchange(peer.answers_here, 0);
        peer.answers += count;
        if (count > 0) peer.unacked_answers.emplace_back(peer.session.next_number(), count);
        queue(peer, peer.object_replies.finish(header(wire::Kind::ObjectReply)), now);
    }
    if (peer.object_events.count() > 0)
        queue(peer, peer.object_events.finish(header(wire::Kind::ObjectEvent)), now);
}

void GatewayOps::forget_acked_answers(Peer& peer) {
    while (!peer.unacked_answers.empty() &&
           peer.unacked_answers.front().first <= peer.session.acked()) {
        peer.answers -= peer.unacked_answers.front().second;
        peer.unacked_answers.pop_front();
    }
}

}  // namespace forkmill::broker
