// SPDX-License-Identifier: Apache-2.0
// Sessions: opened once per incarnation, silent for a while, lost, closed (semantics.md 7-9).
#include <algorithm>

#include "broker/engine/core.h"
#include "core/base/check.h"

namespace forkmill::engine {

namespace {
constexpr std::uint32_t kThreadsMax = 1024;
}

Tables::Tables(Config settings, std::uint64_t number, base::Time now, std::uint64_t seed)
    : config(std::move(settings)),
      incarnation(number),
      rng(seed ^ number << 32),
      // Leases of different incarnations differ, so that a late result cannot hit a new lease.
      tasks(static_cast<std::uint32_t>((number & 0xfff) << 20)),
      lines(config, tasks),
      objects(config, number),
      letters(lines.queues().size()),
      letter_bytes(lines.queues().size()),
      recovering(number > 1 && !config.local),
      recovery_until(now + config.recovery_max) {
    for (const PoolConfig& each : config.pools) {
        Pool& pool = pools[each.name];
        for (const std::string& name : each.queues)
            if (const std::uint32_t queue = lines.queue_named(name); queue != kNone)
                pool.queues.insert(queue);
    }
}

Tables::~Tables() {
    tasks.for_each([this](Slot, const TaskNode& node) {
        if (!node.has(kLargeBody)) arena.free(node.data, node.size);
    });
    for (const auto& [data, size] : graveyard) arena.free(data, size);
}

std::uint32_t Tables::principal_named(const std::string& name) {
    auto [it, made] = principal_of.try_emplace(name, kNone);
    if (made) {
        it->second = static_cast<std::uint32_t>(principals.size());
        if (free_principals.empty()) {
            principals.emplace_back();
        } else {
            it->second = free_principals.back();
            free_principals.pop_back();
        }
        principals[it->second].name = name;
    }
    return it->second;
}

/// The stream `id` names, known or made; 0 names none: such a stream cannot be found by others.
std::uint32_t Tables::stream_named(std::uint64_t id, std::uint32_t principal) {
    if (id != 0)
        if (const auto found = stream_of_id.find(id); found != stream_of_id.end())
            return found->second;
    std::uint32_t at = static_cast<std::uint32_t>(streams.size());
    if (free_streams.empty()) {
        streams.emplace_back();
    } else {
        at = free_streams.back();
        free_streams.pop_back();
    }
    Stream& stream = streams[at];
    stream = Stream{};
    stream.used = true;
    stream.id = id;
    stream.named = id != 0;
    stream.principal = principal;
    if (principal != kNone) ++principals[principal].refs;
    if (id != 0) stream_of_id.emplace(id, at);
    return at;
}

void Tables::drop_stream_if_idle(std::uint32_t at) {
    Stream& stream = streams[at];
    if (!stream.used || stream.session != kNoSession || stream.live != 0) return;
    if (stream.timer != 0) timers.disarm(stream.timer);
    if (stream.named) stream_of_id.erase(stream.id);
    if (stream.principal != kNone && --principals[stream.principal].refs == 0) {
        principal_of.erase(principals[stream.principal].name);
        principals[stream.principal] = Principal{};
        free_principals.push_back(stream.principal);
    }
    stream = Stream{};
    free_streams.push_back(at);
}

wire::Code Core::open_session(const SessionInfo& info,
                              base::Time now,
                              Effects& out,
                              SessionIx& ix) {
    ix = kNoSession;
    if (open_sessions >= config.sessions_max) {
        // Whoever is away and is owed nothing makes room.
        for (SessionIx i = 0; i < sessions.size() && open_sessions >= config.sessions_max; ++i) {
            const Session* idle = sessions[i].get();
            if (idle == nullptr || idle->connected || idle->live > 0 || idle->retained.size > 0 ||
                idle->worker != nullptr || objects.has_handles(i))
                continue;
            Effect& effect = out.list.emplace_back();
            effect.kind = Effect::Kind::CloseSession;
            effect.session = i;
            effect.code = wire::Code::SessionExpired;
            close_session(i, now, out);
        }
        if (open_sessions >= config.sessions_max) return wire::Code::BrokerFull;
    }
    const bool submits = info.role != wire::Role::Uplink;
    if (submits && info.stream != 0) {
        const auto found = stream_of_id.find(info.stream);
        if (found != stream_of_id.end()) {
            const Stream& stream = streams[found->second];
            if (stream.session != kNoSession) return wire::Code::Denied;
            if (stream.principal != kNone && principals[stream.principal].name != info.principal)
                return wire::Code::Denied;
        }
    }
    if (info.role == wire::Role::Worker) {
        for (const std::string& name : info.queues)
            if (lines.queue_named(name) == kNone) return wire::Code::NoSuchQueue;
        const auto dead = dead_births.find(place_name(info.host_key, info.pool, info.slot));
        if (dead != dead_births.end() && info.birth <= dead->second && !info.host_key.empty())
            return wire::Code::WorkerLost;
    }
    if (free_sessions.empty()) {
        ix = static_cast<SessionIx>(sessions.size());
        sessions.emplace_back();
    } else {
        ix = free_sessions.back();
        free_sessions.pop_back();
    }
    sessions[ix] = std::make_unique<Session>();
    Session& session = *sessions[ix];
    session.info = info;
    ++open_sessions;
    if (submits) {
        const std::uint32_t principal = principal_named(info.principal);
        session.stream = stream_named(info.stream, principal);
        Stream& stream = streams[session.stream];
        if (stream.principal == kNone) {
            stream.principal = principal;
            ++principals[principal].refs;
        }
        stream.session = ix;
        // A stream that lived on without its session: detached tasks, or placeholders to be
        // claimed.
        const auto counts = [this](Slot slot) {
            const TaskNode& node = tasks[slot];
            return !is_final(node.state) && !node.has(kOwnerGone) && !node.has(kPlaceholder);
        };
        stream.window.for_each(
            [&](std::uint64_t, Slot slot) { session.live += counts(slot) ? 1U : 0U; });
        for (const auto& [seq, slot] : stream.below) session.live += counts(slot) ? 1U : 0U;
        if (stream.timer != 0) timers.disarm(stream.timer);
        open_credit(session);
    }
    return info.role == wire::Role::Worker ? open_worker(session, ix, now, out) : wire::Code::None;
}

wire::Code Core::open_worker(Session& session, SessionIx ix, base::Time now, Effects& out) {
    const SessionInfo& info = session.info;
    session.worker = std::make_unique<Worker>();
    Worker& worker = *session.worker;
    worker.name = worker_name(info.host_key, info.pool, info.slot, info.birth);
    worker.threads = std::clamp(info.threads, 1U, kThreadsMax);
    worker.reattaching = info.reattaching;
    for (const wire::Offer& offer : info.offers) worker.offers[offer.name] = offer.signature;
    Pool& pool = pools[info.pool];
    pool.broken = false;  // One of its workers is ready.
    ++pool.workers;
    const std::vector<std::string> served =
        info.queues.empty() ? std::vector<std::string>{"default"} : info.queues;
    for (const std::string& name : served) {
        const std::uint32_t queue = lines.queue_named(name);
        if (queue == kNone ||
            std::find(worker.queues.begin(), worker.queues.end(), queue) != worker.queues.end())
            continue;
        worker.queues.push_back(queue);
        pool.queues.insert(queue);
        lines.queues()[queue].workers.push_back(ix);
        ++lines.queues()[queue].offers_version;
    }
    worker_of[worker.name] = ix;
    feel_hungry(ix);
    if (!worker.reattaching) accounted_for(worker.name, now, out);
    if (!recovering)
        for (const std::uint32_t queue : worker.queues) judge_waiting(queue, now, out);
    return wire::Code::None;
}

void Core::set_connected(SessionIx ix, bool connected, base::Time now, Effects&) {
    Session* session = session_at(ix);
    if (session == nullptr || session->connected == connected) return;
    session->connected = connected;
    if (connected) {
        if (session->timer != 0) timers.disarm(session->timer);
        if (session->worker) {
            session->worker->gone = false;
            feel_hungry(ix);
        }
        return;
    }
    const base::Duration ttl =
        session->info.session_ttl.count() > 0 ? session->info.session_ttl : config.session_ttl;
    timers.arm(session->timer,
               session->worker ? now + config.gone_after : now + ttl + config.client_lost_grace,
               Timers::Kind::Session,
               ix);
}

void Core::set_writable(SessionIx ix, bool writable, base::Time now, Effects& out) {
    Session* session = session_at(ix);
    if (session == nullptr || session->writable == writable) return;
    session->writable = writable;
    if (!writable) return;
    if (session->worker) feel_hungry(ix);
    flush_retained(ix, now, out);
}

/// It stayed away too long. A worker's leases go back first; the session itself ends later.
void Core::session_timer(SessionIx ix, base::Time now, Effects& out) {
    Session& session = *sessions[ix];
    if (session.worker && !session.worker->gone) {
        Worker& worker = *session.worker;
        worker.gone = true;
        for (Slot slot = worker.leases.head; slot != kNone; slot = tasks[slot].next) {
            Effect& effect = out.list.emplace_back();
            effect.kind = Effect::Kind::Stale;
            effect.session = ix;
            effect.lease = lease_of(slot, tasks[slot]);
        }
        DeathInfo silence;
        silence.pid = session.info.pid;
        silence.cause_name = "silent";
        silence.host_lost = true;
        lose_leases(ix, silence, now, out);
        accounted_for(worker.name, now, out);
        timers.arm(session.timer, now + config.session_ttl, Timers::Kind::Session, ix);
        return;
    }
    Effect& effect = out.list.emplace_back();
    effect.kind = Effect::Kind::CloseSession;
    effect.session = ix;
    effect.code = wire::Code::SessionExpired;
    close_session(ix, now, out);
}

void Core::close_session(SessionIx ix, base::Time now, Effects& out) {
    Session* session = session_at(ix);
    if (session == nullptr) return;
    if (session->timer != 0) timers.disarm(session->timer);
    objects.close_session(ix, {now, out});
    if (session->worker) close_worker(ix, now, out);
    if (session->stream != kNone) {
        close_credit(*session);
        leave_client(ix, now, out);
    }
    sessions[ix].reset();
    closed_sessions.push_back(ix);
    --open_sessions;
}

void Core::close_worker(SessionIx ix, base::Time now, Effects& out) {
    Worker& worker = *sessions[ix]->worker;
    DeathInfo left;
    left.pid = sessions[ix]->info.pid;
    left.cause_name = "session closed";
    left.host_lost = true;
    worker.gone = true;  // Nothing is leased to it while its leases go back.
    lose_leases(ix, left, now, out);
    not_hungry(worker);
    for (const std::uint32_t q : worker.queues) {
        Queue& queue = lines.queues()[q];
        std::erase(queue.workers, ix);
        ++queue.offers_version;
        if (queue.reserved == ix) queue.reserved = kNone;
    }
    Pool& pool = pools[sessions[ix]->info.pool];
    --pool.workers;
    const auto named = worker_of.find(worker.name);
    if (named != worker_of.end() && named->second == ix) worker_of.erase(named);
    accounted_for(worker.name, now, out);
}

/// The client will not come back: on_client_lost decides over what is not detached.
void Core::leave_client(SessionIx ix, base::Time now, Effects& out) {
    Session& session = *sessions[ix];
    const std::uint32_t stream_ix = session.stream;
    Stream& stream = streams[stream_ix];
    lines.pause(stream_ix, false);
    std::vector<Slot> all;
    stream.window.for_each([&](std::uint64_t, Slot slot) { all.push_back(slot); });
    for (const auto& [seq, slot] : stream.below) all.push_back(slot);
    std::sort(
        all.begin(), all.end(), [this](Slot a, Slot b) { return tasks[a].seq < tasks[b].seq; });
    // First what is kept for it only: that needs no decision.
    std::vector<std::pair<Slot, std::uint64_t>> live;
    for (const Slot slot : all) {
        TaskNode& node = tasks[slot];
        if (!is_final(node.state)) {
            if (config.on_client_lost == OnClientLost::Keep && !node.has(kAlias))
                node.set(kDetached);
            live.emplace_back(slot, node.seq);
        } else if (node.has(kRetained) && (node.has(kDetached) || node.has(kKeyed))) {
            unlink(session.retained, slot);
            node.clear(kRetained);
            node.set(kDelivered);
            timers.arm(node.timer, now + config.result_ttl, Timers::Kind::Outcome, slot);
        } else if (!node.has(kDetached) && !node.has(kKeyed)) {
            free_task(slot);
        }
    }
    ++stream.live;  // Keeps the stream while its tasks end one after another.
    stream.session = kNoSession;
    for (const auto& [slot, seq] : live) {
        const TaskNode& node = tasks[slot];
        // One that ended took others along.
        if (node.state == State::Free || is_final(node.state) || node.seq != seq ||
            stream_of(node) != stream_ix || node.has(kDetached))
            continue;
        if (!detach_owner(slot, now, out)) cancel_task(slot, false, now, out);
    }
    for (const Registered& each : session.templates) {
        if (each.lane == kNone) continue;
        Lane& lane = lines.lane(each.lane);
        if (--lane.refs > 0) continue;
        --templates[lane.template_id].lanes;
        lines.close_lane(each.lane);
    }
    --stream.live;
    drop_stream_if_idle(stream_ix);
}

}  // namespace forkmill::engine
