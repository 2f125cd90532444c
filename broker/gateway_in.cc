// SPDX-License-Identifier: Apache-2.0
// Kinds into engine calls: one function per kind that carries more than a struct. Nothing is
// decided here but whether a frame may be said at all.
#include <algorithm>
#include <utility>

#include "broker/gateway_ops.h"
#include "core/wire/limits.h"

namespace forkmill::broker {

namespace {

bool may_submit(wire::Role role) {
    return role != wire::Role::Uplink;
}

engine::DeathInfo identity_of(std::string_view host_key,
                              std::string_view pool,
                              std::uint32_t slot,
                              std::uint32_t birth) {
    engine::DeathInfo info;
    info.host_key = host_key;
    info.pool = pool;
    info.slot = slot;
    info.birth = birth;
    return info;
}

bool is_expected(supervisor::Cause cause) {
    return cause == supervisor::Cause::Recycle || cause == supervisor::Cause::Drain;
}

}  // namespace

void GatewayOps::on_frame(Peer& peer,
                          const wire::Header& header,
                          wire::Cursor& cursor,
                          const base::Message& message,
                          base::Time now,
                          base::WallNanos wall) {
    peer.last_heard = now;
    peer.ping_sent = false;
    if (header.ack != 0 && !peer.session.on_ack(header.ack))
        return protocol_error(peer, header.kind, wire::Code::ProtoNumber, now);
    release_acked_shares(peer);
    forget_acked_answers(peer);
    transmit(peer, now);
    mark_dirty(peer);  // The ack may have opened the window: flush() tells the engine.
    if (!wire::is_numbered(header.kind)) return on_unnumbered(peer, header, cursor, now);
    if (header.number == 0) return protocol_error(peer, header.kind, wire::Code::ProtoNumber, now);
    switch (peer.session.on_number(header.number, message.bytes())) {
        case session::Verdict::Duplicate:
            ++gateway.counters_.duplicates;
            peer.ack_now = true;  // It would not send this again had it heard our ack.
            return;
        case session::Verdict::Gap:
            ++gateway.counters_.gaps;
            if (std::exchange(peer.who_sent, true)) return;
            return send_bare(peer.handle,
                             wire::encode({wire::Kind::Who}, wire::Bye{"a frame is missing"}),
                             false);
        case session::Verdict::Process:
            break;
    }
    const wire::Code code = on_numbered(peer, header, cursor, message, now, wall);
    if (code != wire::Code::None) protocol_error(peer, header.kind, code, now);
}

void GatewayOps::on_unnumbered(Peer& peer,
                               const wire::Header& header,
                               wire::Cursor& cursor,
                               base::Time now) {
    switch (header.kind) {
        case wire::Kind::Ping: {
            wire::Ping ping;
            const wire::Code code = wire::decode(cursor, ping);
            if (code != wire::Code::None) return protocol_error(peer, header.kind, code, now);
            peer.session.ack_told();
            peer.floor_told = peer.floor;
            return send_bare(
                peer.handle,
                wire::encode({wire::Kind::Pong, 0, peer.session.received(), peer.floor},
                             wire::Ping{ping.echo, 0, 0, 0}),
                false);
        }
        case wire::Kind::Pong:
        case wire::Kind::Ack:
            return;
        case wire::Kind::Err: {
            wire::Err err;
            if (wire::decode(cursor, err) == wire::Code::None)
                note("peer " + base::to_string(peer.key) +
                     " refused a frame: " + wire::escape_for_log(err.text));
            return;
        }
        default:
            return protocol_error(peer, header.kind, wire::Code::ProtoKind, now);
    }
}

wire::Code GatewayOps::on_numbered(Peer& peer,
                                   const wire::Header& header,
                                   wire::Cursor& cursor,
                                   const base::Message& message,
                                   base::Time now,
                                   base::WallNanos wall) {
    switch (header.kind) {
        case wire::Kind::Template:
        case wire::Kind::Submit:
        case wire::Kind::Cancel:
        case wire::Kind::Attach:
        case wire::Kind::Release:
        case wire::Kind::Query:
        case wire::Kind::Object:
            if (!may_submit(peer.role)) return wire::Code::DeniedRole;
            return on_client_kind(peer, header, cursor, message, now, wall);
        case wire::Kind::Results:
        case wire::Kind::Started:
        case wire::Kind::Return:
        case wire::Kind::Held:
        case wire::Kind::Blocked:
        case wire::Kind::Unblocked:
        case wire::Kind::Partial:
            if (peer.role != wire::Role::Worker) return wire::Code::DeniedRole;
            return on_worker_kind(peer, header, cursor, message, now);
        case wire::Kind::Chunk:
            return on_chunk(peer, cursor, message);
        case wire::Kind::Host:
            return peer.role == wire::Role::Uplink ? on_host(peer, cursor, now)
                                                   : wire::Code::DeniedRole;
        case wire::Kind::Credit: {
            wire::Credit credit;
            const wire::Code code = wire::decode(cursor, credit);
            if (code == wire::Code::None)
                gateway.engine_.grant_results(
                    peer.index, credit.records, credit.bytes, now, gateway.effects_);
            return code;
        }
        case wire::Kind::Drain:
            if (peer.role == wire::Role::Worker)
                gateway.engine_.drain_worker(peer.index, now, gateway.effects_);
            return wire::Code::None;
        case wire::Kind::Bye: {
            send_ack(
                peer,
                now);  // Whoever leaves waits for this ack, to know that all it said was heard.
            if (peer.role == wire::Role::Client || peer.role == wire::Role::Admin) {
                forget_peer(peer, now, true);
            } else if (peer.role == wire::Role::Worker) {
                gateway.engine_.drain_worker(peer.index, now, gateway.effects_);
            }
            return wire::Code::None;
        }
        default:
            return wire::Code::DeniedRole;
    }
}

wire::Code GatewayOps::on_client_kind(Peer& peer,
                                      const wire::Header& header,
                                      wire::Cursor& cursor,
                                      const base::Message& message,
                                      base::Time now,
                                      base::WallNanos wall) {
    if (header.floor != 0) gateway.engine_.set_floor(peer.index, header.floor);
    const auto with = [&](auto record, auto&& act) {
        const wire::Code code = wire::decode(cursor, record);
        if (code == wire::Code::None) act(record);
        return code;
    };
    switch (header.kind) {
        case wire::Kind::Template: {
            wire::TemplateDef def;
            const wire::Code code = wire::decode(cursor, def);
            return code == wire::Code::None ? gateway.engine_.define_template(peer.index, def)
                                            : code;
        }
        case wire::Kind::Submit:
            return on_submit(peer, cursor, message, now, wall);
        case wire::Kind::Object:
            return on_objects(peer, cursor, message, now);
        case wire::Kind::Cancel:
            return with(wire::Cancel{}, [&](const wire::Cancel& c) {
                gateway.engine_.cancel(peer.index, c.seqs, c.kill, c.all, now, gateway.effects_);
            });
        case wire::Kind::Attach:
            return with(wire::Attach{}, [&](const wire::Attach& a) {
                gateway.engine_.attach(peer.index, a.seq, a.task, now, gateway.effects_);
            });
        case wire::Kind::Release:
            return with(wire::Release{}, [&](const wire::Release& release) {
                for (const wire::Range& range : release.ranges)
                    gateway.engine_.release(peer.index, range.first, range.count, now);
            });
        default:
            return with(wire::Query{}, [&](const wire::Query& query) {
                if (!gateway.answer || peer.replies.size() >= wire::kUncreditedMax)
                    return peer.replies.push_back(
                        {query.id, wire::Code::Busy, "too many questions at once"});
                peer.replies.push_back(gateway.answer(query, now));
            });
    }
}

wire::Code GatewayOps::on_submit(Peer& peer,
                                 wire::Cursor& cursor,
                                 const base::Message& message,
                                 base::Time now,
                                 base::WallNanos wall) {
    wire::SubmitReader reader{cursor, message};
    wire::SubmitRecord record;
    while (reader.next(record)) {
        base::Body body;
        const wire::Code code = body_of(peer, record.body, body);
        if (code != wire::Code::None) return code;
        if (record.body.size > gateway.config_.payload_max) {
            peer.refused.push_back({record.seq,
                                    wire::Code::TooBig,
                                    "the arguments are larger than limits.payload",
                                    0});
            continue;
        }
        if (gateway.draining_) {
            peer.refused.push_back(
                {record.seq, wire::Code::Draining, "the broker is stopping", 1000});
            continue;
        }
        gateway.engine_.submit(peer.index,
                               record.template_id,
                               record.seq,
                               body,
                               record.extras,
                               record.resent,
                               now,
                               wall,
                               gateway.effects_);
    }
    return reader.code();
}

wire::Code GatewayOps::on_objects(Peer& peer,
                                  wire::Cursor& cursor,
                                  const base::Message& message,
                                  base::Time now) {
    if (peer.answers + peer.answers_here > gateway.config_.answers_max) {
        note("session " + base::to_string(peer.key) + " takes no answers: ended");
        end_session(peer, wire::Code::ObjectLimit, now);
        return wire::Code::None;
    }
    wire::ObjectReader reader{cursor, message};
    wire::ObjectOp op;
    while (reader.next(op)) {
        for (wire::ObjectItem& item : op.items) {
            base::Body body;
            const wire::Code code = body_of(peer, item.body, body);
            if (code != wire::Code::None) return code;
            item.body.body = std::move(body);
        }
        gateway.operate(peer.index, op, now);
    }
    return reader.code();
}

wire::Code GatewayOps::on_worker_kind(Peer& peer,
                                      const wire::Header& header,
                                      wire::Cursor& cursor,
                                      const base::Message& message,
                                      base::Time now) {
    engine::Engine& engine = gateway.engine_;
    engine::Effects& effects = gateway.effects_;
    const auto with = [&](auto record, auto&& act) {
        const wire::Code code = wire::decode(cursor, record);
        if (code == wire::Code::None) act(record);
        return code;
    };
    switch (header.kind) {
        case wire::Kind::Results:
            return on_results(peer, header, cursor, message, now);
        case wire::Kind::Started:
            return with(wire::Started{}, [&](const wire::Started& started) {
                for (const std::uint64_t lease : started.leases)
                    engine.started(peer.index, lease, now, effects);
            });
        case wire::Kind::Return:
            return with(wire::Return{}, [&](const wire::Return& returned) {
                for (const std::uint64_t lease : returned.leases)
                    engine.give_back(peer.index, lease, now, effects);
            });
        case wire::Kind::Held:
            return with(wire::Held{}, [&](const wire::Held& held) {
                engine.held(peer.index, held, now, effects);
            });
        case wire::Kind::Blocked:
            return with(wire::Blocked{}, [&](const wire::Blocked& b) {
                engine.blocked(peer.index, b.lease, true, now, effects);
            });
        case wire::Kind::Unblocked:
            return with(wire::Unblocked{}, [&](const wire::Unblocked& b) {
                engine.blocked(peer.index, b.lease, false, now, effects);
            });
        default:
            return with(wire::Partial{}, [&](const wire::Partial& p) {
                engine.partial(peer.index, p.ref, p.fraction, p.note, effects);
            });
    }
}

wire::Code GatewayOps::on_results(Peer& peer,
                                  const wire::Header& header,
                                  wire::Cursor& cursor,
                                  const base::Message& message,
                                  base::Time now) {
    wire::ResultsReader reader{cursor, message};
    if (reader.code() != wire::Code::None) return reader.code();
    // The guard keeps the frame open while its records are routed, so that the floor cannot pass it
    // half-way.
    peer.frames.push_back({header.number, 1});
    gateway.current_worker_ = peer.index;
    gateway.current_frame_ = header.number;
    const base::Duration each =
        std::chrono::nanoseconds{reader.busy_ns() / std::max<std::uint64_t>(1, reader.count())};
    wire::ResultRecord record;
    wire::Code code = wire::Code::None;
    while (code == wire::Code::None && reader.next(record)) {
        base::Body body;
        code = body_of(peer, record.body, body);
        if (code != wire::Code::None) break;
        wire::Code error = wire::Code::None;
        bool no_retry = false;
        if (record.outcome != wire::Outcome::Succeeded) wire::peek_error(body, error, no_retry);
        const auto settled = gateway.engine_.settle(peer.index,
                                                    record.ref,
                                                    record.outcome,
                                                    error,
                                                    no_retry,
                                                    body,
                                                    each,
                                                    now,
                                                    gateway.effects_);
        if (settled == engine::Settled::Stale) {
            ++gateway.counters_.stale_results;
            peer.stale.push_back(record.ref);
        }
    }
    if (code == wire::Code::None) code = reader.code();
    gateway.apply_effects(
        now);  // The outcomes' views point into this frame, and their custody is this frame's.
    gateway.current_worker_ = engine::kNoSession;
    if (!peer.frames.empty() && peer.frames.back().number == header.number)
        --peer.frames.back().open;
    advance_floor(peer);
    return code;
}

wire::Code GatewayOps::on_chunk(Peer& peer, wire::Cursor& cursor, const base::Message& message) {
    wire::Chunk chunk;
    const wire::Code code = wire::decode(cursor, chunk);
    if (code != wire::Code::None) return code;
    if (message.payloads.size() != 1) return wire::Code::ProtoParts;
    const bool given_up = message.payloads[0].empty() && chunk.last;
    if (message.payloads[0].size() > wire::kChunkSize || (message.payloads[0].empty() && !given_up))
        return wire::Code::LimitSize;
    auto known = peer.incoming.find(chunk.transfer);
    if (known == peer.incoming.end()) {
        const auto unfinished =
            std::count_if(peer.incoming.begin(), peer.incoming.end(), [](const auto& entry) {
                return !entry.second.complete;
            });
        if (static_cast<std::size_t>(unfinished) >= wire::kReassembliesMax ||
            peer.incoming.size() >= wire::kRecordsMax)
            return wire::Code::LimitSize;
        known = peer.incoming.emplace(chunk.transfer, Reassembly{}).first;
    }
    Reassembly& parts = known->second;
    if (parts.complete) return wire::Code::UnknownTransfer;
    if (given_up) {
        forget_transfer(peer, known);
        return wire::Code::None;
    }
    parts.bytes += message.payloads[0].size();
    if (parts.bytes > wire::kPayloadMaxCeiling) return wire::Code::LimitSize;
    // Past the limit the bytes are dropped as they come; the task that names them is refused with
    // its size, not the connection.
    if (parts.bytes <= gateway.config_.payload_max) {
        parts.chunks.push_back(message.payloads[0]);
        parts.held += message.payloads[0].size();
        peer.incoming_bytes += message.payloads[0].size();
    }
    parts.complete = chunk.last;
    const std::uint64_t most = 2 * gateway.config_.payload_max + wire::kUnackedBytesMax;
    return peer.incoming_bytes > most ? wire::Code::LimitSize : wire::Code::None;
}

void GatewayOps::forget_transfer(Peer& peer,
                                 std::unordered_map<std::uint64_t, Reassembly>::iterator which) {
    peer.incoming_bytes -= which->second.held;
    peer.incoming.erase(which);
}

wire::Code GatewayOps::body_of(Peer& peer, const wire::BodyRef& ref, base::Body& body) {
    if (ref.transfer == 0) {
        body = ref.body;
        return wire::Code::None;
    }
    auto known = peer.incoming.find(ref.transfer);
    if (known == peer.incoming.end() || !known->second.complete || known->second.bytes != ref.size)
        return wire::Code::UnknownTransfer;
    body = base::Body::of(
        std::make_shared<const std::vector<base::Blob>>(std::move(known->second.chunks)));
    forget_transfer(peer, known);
    return wire::Code::None;
}

wire::Code GatewayOps::on_host(Peer& peer, wire::Cursor& cursor, base::Time now) {
    wire::HostRecord record;
    const wire::Code code = wire::decode(cursor, record);
    if (code != wire::Code::None) return code;
    if (record.leases.size() > supervisor::kLeasesInNotice ||
        record.text.size() > supervisor::kStderrTail)
        return wire::Code::LimitSize;
    peer.host_key = record.host_key;
    supervisor::Notice notice;
    notice.verb = static_cast<supervisor::Verb>(record.verb);
    notice.cause = static_cast<supervisor::Cause>(record.cause);
    notice.slot = record.slot;
    notice.pid = record.pid;
    notice.generation = record.birth;
    notice.detail = record.detail;
    notice.lease_count = static_cast<std::uint32_t>(record.leases.size());
    std::copy(record.leases.begin(), record.leases.end(), notice.leases.begin());
    notice.set_text(record.text);
    notice.rss_peak = record.rss_peak;
    notice.core_dumped = record.core_dumped ? 1 : 0;
    gateway.on_notice(record.host_key, record.pool, notice, now);
    return wire::Code::None;
}

Peer* GatewayOps::worker_of(const engine::DeathInfo& who) {
    for (const auto& peer : gateway.peers_) {
        if (peer && peer->role == wire::Role::Worker && peer->host_key == who.host_key &&
            peer->pool == who.pool && peer->slot == who.slot && peer->birth == who.birth)
            return peer.get();
    }
    return nullptr;
}

void GatewayOps::on_worker_notice(const engine::DeathInfo& who,
                                  supervisor::Verb verb,
                                  base::Time now) {
    Peer* peer = worker_of(who);
    if (peer != nullptr)
        gateway.engine_.suspend_worker(
            peer->index, verb == supervisor::Verb::Stopped, now, gateway.effects_);
}

void Gateway::on_notice(std::string_view host_key,
                        std::string_view pool,
                        const supervisor::Notice& notice,
                        base::Time now) {
    GatewayOps ops{*this};
    engine::DeathInfo who = identity_of(host_key, pool, notice.slot, notice.generation);
    who.pid = notice.pid;
    switch (notice.verb) {
        case supervisor::Verb::Born:
            roster_.push_back(who);
            break;
        case supervisor::Verb::Ready:
            engine_.set_pool_broken(pool, false, {}, now, effects_);
            break;
        case supervisor::Verb::Roster:
            engine_.set_roster(host_key, roster_, true, now, effects_);
            roster_.clear();
            break;
        case supervisor::Verb::Stopped:
        case supervisor::Verb::Continued:
            ops.on_worker_notice(who, notice.verb, now);
            break;
        case supervisor::Verb::Failed:
            engine_.set_pool_broken(pool, true, notice.text_view(), now, effects_);
            break;
        case supervisor::Verb::Died: {
            who.cause = static_cast<std::uint8_t>(notice.cause);
            who.cause_name = supervisor::name_of(notice.cause);
            who.detail = notice.detail;
            who.expected = is_expected(notice.cause);
            who.timed_out = notice.cause == supervisor::Cause::HardTimeout;
            who.host_lost = notice.cause == supervisor::Cause::HostLost;
            const std::size_t leases =
                std::min<std::size_t>(notice.lease_count, supervisor::kLeasesInNotice);
            who.running.assign(notice.leases.begin(),
                               notice.leases.begin() + static_cast<std::ptrdiff_t>(leases));
            who.stderr_tail = notice.text_view();
            who.core_dumped = notice.core_dumped != 0;
            who.rss_peak = notice.rss_peak;
            Peer* peer = ops.worker_of(who);
            const bool drained = peer == nullptr || !peer->connected;
            deaths_.push_back({std::move(who), drained ? now : now + config_.death_grace});
            break;
        }
        default:
            break;
    }
    if (roster_.size() > config_.handles_max)
        roster_.clear();  // A supervisor that never ends its roster must not grow ours.
    apply_effects(now);
}

void GatewayOps::apply_deaths(base::Time now) {
    for (std::size_t i = 0; i < gateway.deaths_.size();) {
        if (gateway.deaths_[i].at > now) {
            ++i;
            continue;
        }
        const engine::DeathInfo info = std::move(gateway.deaths_[i].info);
        gateway.deaths_.erase(gateway.deaths_.begin() + static_cast<std::ptrdiff_t>(i));
        note("worker " + info.pool + "/" + std::to_string(info.slot) + " died: " + info.cause_name +
             " " + std::to_string(info.detail));
        gateway.engine_.on_death(info, now, gateway.effects_);
        gateway.apply_effects(now);
        if (Peer* peer = worker_of(info)) forget_peer(*peer, now, true);
        gateway.apply_effects(now);
    }
}

}  // namespace forkmill::broker
