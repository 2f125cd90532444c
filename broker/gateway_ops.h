// SPDX-License-Identifier: Apache-2.0
// GatewayOps: the gateway's private verbs, spread over gateway.cc (sessions), gateway_in.cc (kinds)
// and gateway_out.cc (effects, flushing, custody).
#pragma once

#include <string>
#include <string_view>

#include "broker/gateway.h"
#include "broker/peer.h"

namespace forkmill::broker {

struct GatewayOps {
    Gateway& gateway;

    // Sessions (gateway.cc).
    void note(std::string_view text);
    void send_bare(Handle to, base::Message message, bool disconnect);
    void reject(Handle to, wire::Code code, std::string_view text, std::uint64_t retry_after_ms);
    void protocol_error(Peer& peer, wire::Kind about, wire::Code code, base::Time now);
    void unbind(Peer& peer);
    void end_session(Peer& peer, wire::Code code, base::Time now);
    void forget_peer(Peer& peer, base::Time now, bool tell_engine);
    Peer* open_peer(const wire::Hello& hello,
                    Handle from,
                    std::string_view principal,
                    base::Time now);
    Peer& add_peer(const engine::SessionInfo& info, engine::SessionIx index);
    void on_hello(Handle from,
                  const wire::Hello& hello,
                  std::string_view principal,
                  base::Time now);
    void welcome(Peer& peer, bool resumed, base::Time now);
    void sweep(base::Time now);
    void send_ack(Peer& peer, base::Time now);

    // Kinds (gateway_in.cc).
    void on_frame(Peer& peer,
                  const wire::Header& header,
                  wire::Cursor& cursor,
                  const base::Message& message,
                  base::Time now,
                  base::WallNanos wall);
    void on_unnumbered(Peer& peer,
                       const wire::Header& header,
                       wire::Cursor& cursor,
                       base::Time now);
    wire::Code on_numbered(Peer& peer,
                           const wire::Header& header,
                           wire::Cursor& cursor,
                           const base::Message& message,
                           base::Time now,
                           base::WallNanos wall);
    wire::Code on_client_kind(Peer& peer,
                              const wire::Header& header,
                              wire::Cursor& cursor,
                              const base::Message& message,
                              base::Time now,
                              base::WallNanos wall);
    wire::Code on_worker_kind(Peer& peer,
                              const wire::Header& header,
                              wire::Cursor& cursor,
                              const base::Message& message,
                              base::Time now);
    wire::Code on_submit(Peer& peer,
                         wire::Cursor& cursor,
                         const base::Message& message,
                         base::Time now,
                         base::WallNanos wall);
    wire::Code on_objects(Peer& peer,
                          wire::Cursor& cursor,
                          const base::Message& message,
                          base::Time now);
    wire::Code on_results(Peer& peer,
                          const wire::Header& header,
                          wire::Cursor& cursor,
                          const base::Message& message,
                          base::Time now);
    wire::Code on_chunk(Peer& peer, wire::Cursor& cursor, const base::Message& message);
    static void forget_transfer(Peer& peer,
                                std::unordered_map<std::uint64_t, Reassembly>::iterator which);
    wire::Code on_host(Peer& peer, wire::Cursor& cursor, base::Time now);
    wire::Code body_of(Peer& peer, const wire::BodyRef& ref, base::Body& body);
    void apply_deaths(base::Time now);
    void on_worker_notice(const engine::DeathInfo& who, supervisor::Verb verb, base::Time now);
    Peer* worker_of(const engine::DeathInfo& who);

    // Effects and flushing (gateway_out.cc).
    void route(const engine::Effect& effect, base::Time now);
    void route_to_peer(Peer& peer, const engine::Effect& effect, base::Time now);
    void assign(Peer& peer, const engine::Effect& effect, base::Time now);
    void outcome(Peer& peer, const engine::Effect& effect, base::Time now);
    void mark_dirty(Peer& peer);
    void flush(Peer& peer, base::Time now);
    void flush_worker_side(Peer& peer, base::Time now);
    void flush_client_side(Peer& peer, base::Time now);
    void finish_tasks(Peer& peer, base::Time now);
    void finish_results(Peer& peer, base::Time now);
    template <class List, class Entry>
    void send_list(Peer& peer, wire::Kind kind, std::vector<Entry>& entries, base::Time now);
    template <class T>
    void send_numbered(Peer& peer, wire::Kind kind, const T& record, base::Time now);
    void queue(Peer& peer, base::Message message, base::Time now);
    void transmit(Peer& peer, base::Time now);
    wire::BodyRef ship_body(Peer& peer,
                            const base::Body& body,
                            base::Time now,
                            std::size_t frame_max = wire::kBodyFrameMax);
    void kill(const engine::Effect& effect, base::Time now);

    // Objects (gateway_objects.cc).
    void object_reply(Peer& peer, const wire::ObjectReply& reply, base::Time now);
    void object_event(Peer& peer, const wire::ObjectEvent& event, base::Time now);
    void add_answer(Peer& peer, const wire::ObjectReply& part, base::Time now);
    wire::ObjectItem ship_item(Peer& peer,
                               const wire::ObjectItem& item,
                               wire::BodyBudget& budget,
                               base::Time now);
    void finish_objects(Peer& peer, base::Time now);
    static void forget_acked_answers(Peer& peer);

    // Sessions of processes to be (gateway_heirs.cc).
    void answer(engine::SessionIx to, wire::ObjectReply reply);
    wire::Code pass(engine::SessionIx from,
                    const wire::ObjectOp& op,
                    wire::ObjectReply& reply,
                    base::Time now);
    wire::Code bury(engine::SessionIx from,
                    const wire::ObjectOp& op,
                    wire::ObjectReply& reply,
                    base::Time now);
    Peer* open_heir(engine::SessionIx from,
                    const base::SessionKey& key,
                    std::uint64_t stream,
                    wire::Code& code,
                    base::Time now);
    void apply_burials(base::Time now);
    void end_heirs_of(engine::SessionIx parent, base::Time now);

    // Custody (gateway_out.cc).
    void share_of_current(Peer& client);
    void release_share(const CustodyShare& share);
    void release_acked_shares(Peer& client);
    void release_all_shares(Peer& client);
    void advance_floor(Peer& worker);
};

template <class T>
void GatewayOps::send_numbered(Peer& peer, wire::Kind kind, const T& record, base::Time now) {
    queue(peer,
          wire::encode({kind, peer.session.next_number(), peer.session.received(), peer.floor},
                       record),
          now);
}

}  // namespace forkmill::broker
