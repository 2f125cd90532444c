// SPDX-License-Identifier: Apache-2.0
// After a restart: workers say what they hold, clients what they wait for, in any order
// (semantics.md 4). A held task nobody described yet is a placeholder that its client completes.
#include <algorithm>

#include "broker/engine/core.h"

namespace forkmill::engine {

namespace {
constexpr std::uint32_t kHeldMax = 8192;  ///< Leases one worker may bring along.
}

void Core::held(SessionIx ix, const wire::Held& held, base::Time now, Effects& out) {
    Worker* worker = worker_at(ix);
    if (worker == nullptr) return;
    for (const wire::HeldTask& task : held.tasks) hold_one(ix, task, now, out);
    if (!held.last) return;
    worker->reattaching = false;
    accounted_for(worker->name, now, out);
}

/// Takes a known task from wherever it is, for a worker that holds it. False: it is not the
/// holder's any more.
bool Core::free_for_holder(Slot slot, std::uint32_t attempt, base::Time now, Effects& out) {
    TaskNode& node = tasks[slot];
    if (is_final(node.state) || node.state == State::Accepting || node.has(kUndecided) ||
        node.has(kAlias) || attempt <= node.attempt)
        return false;
    if (has_worker(node.state)) {
        if (node.state == State::Cancelling) return false;
        Effect& stale = out.list.emplace_back();
        stale.kind = Effect::Kind::Stale;
        stale.session = node.worker;
        stale.lease = lease_of(slot, node);
        if (node.timer != 0) timers.disarm(node.timer);
        unlease(slot);
        if (node.lane == kNone) {
            set_state(node, State::Scheduled);
        } else {
            put_back(slot, now);
        }
    }
    const Side* side = tasks.find_side(node);
    // It runs already: its arguments went with it.
    if (side != nullptr && !side->awaited.empty()) release_awaited(slot);
    unplace(slot);
    return true;
}

void Core::hold_one(SessionIx ix, const wire::HeldTask& task, base::Time now, Effects& out) {
    Worker& worker = *sessions[ix]->worker;
    const std::size_t at = out.list.size();
    Effect& answer = out.list.emplace_back();
    answer.kind = Effect::Kind::Adopt;
    answer.session = ix;
    answer.seq = task.lease;
    answer.lease = 0;  // Stale, unless something below says otherwise.
    if (incarnation == 1 || worker.leases.size >= kHeldMax || task.task.stream == 0) return;
    const std::uint32_t stream_ix = stream_named(task.task.stream, kNone);
    Stream& stream = streams[stream_ix];
    const std::uint32_t known = stream.window.find(task.task.seq);
    if (known == Window::kSettled ||
        (known == Window::kAbsent && !stream.window.fits(task.task.seq)))
        return drop_stream_if_idle(stream_ix);
    Slot slot = known;
    if (known == Window::kAbsent) {
        slot = new_task(stream_ix, kNone, task.task.seq);
        tasks[slot].set(kPlaceholder);
        if (stream.session == kNoSession && stream.timer == 0)
            timers.arm(stream.timer,
                       now + config.session_ttl + config.client_lost_grace,
                       Timers::Kind::Stream,
                       stream_ix);
    } else if (!free_for_holder(slot, task.attempt, now, out)) {
        return;
    }
    TaskNode& node = tasks[slot];
    if (++node.generation == 0) node.generation = 1;
    node.clear(kParked);
    node.attempt = task.attempt;
    node.crashes = static_cast<std::uint8_t>(
        std::min(std::max<std::uint32_t>(node.crashes, task.crashes), 255U));
    node.worker = ix;
    node.estimate = 0;
    set_state(node, State::Leased);
    append(worker.leases, slot);
    if (task.state != wire::HeldState::Waiting) node.set(kBegan);
    if (task.state == wire::HeldState::Running) {
        node.started = true;
        ++worker.running;
        set_state(node, State::Running);
    }
    worker.adopted.emplace_back(task.lease, lease_of(slot, node));
    ++counters.adopted;
    out.list[at].lease = lease_of(slot, node);
}

/// The client resent what a worker holds (or held): the placeholder becomes a task like others.
void Core::claim(Slot slot,
                 std::uint32_t lane_id,
                 const base::Body& body,
                 const wire::Extras* extras,
                 base::Time now,
                 base::WallNanos wall,
                 Effects& out) {
    TaskNode& node = tasks[slot];
    Lane& lane = lines.lane(lane_id);
    Queue& queue = lines.queues()[lane.queue];
    const Template& t = templates[lane.template_id];
    node.clear(kPlaceholder);
    node.lane = lane_id;
    ++lane.refs;
    ++queue.counts[static_cast<std::size_t>(node.state)];
    if (t.def.detached) node.set(kDetached);
    tell_accepted(slot, 0, out);
    Session& session = *sessions[streams[lane.stream].session];
    if (is_final(node.state)) return hand_over(slot, node.outcome, body_of(node), 0, now, out);
    ++queue.tasks;
    ++session.live;
    base::Body error;
    if (node.has(kUndecided)) {
        const base::Body stored = body_of(node);
        error = stored.chunks || !stored.blob.empty()
                    ? stored
                    : base::Body::of(base::Blob::copy(stored.view));
        drop_body(node);
    }
    store_body(node, body);
    if (extras != nullptr) {
        Side& side = tasks.side_of(node);
        side.extras = *extras;
        if (extras->deadline != 0 && extras->deadline > wall)
            side.deadline =
                now + base::Duration{std::min<std::int64_t>(
                          extras->deadline - wall, std::int64_t{400} * 86'400'000'000'000)};
        if (!extras->dependencies.empty()) {
            // For the case that it must run again; one that is unknown was used up by the first
            // run.
            session.names_results = true;
            const Stream& stream = streams[lane.stream];
            for (const auto& [argument, seq] : extras->dependencies) {
                const Slot inner = slot_in(stream, seq);
                if (inner == kNone || inner == slot || is_final(tasks[inner].state)) continue;
                side.awaited.emplace_back(inner, argument);
                tasks.side_of(tasks[inner]).dependents.push_back(slot);
            }
        }
    }
    if (node.has(kUndecided)) {
        node.clear(kUndecided);
        const bool no_retry = node.failures == UINT16_MAX;
        node.failures = 0;
        return fail_or_retry(slot, no_retry, error, now, out);
    }
    if (node.state == State::Scheduled && t.def.at_most_once && node.has(kBegan))
        return finish_error(slot,
                            wire::Outcome::Dead,
                            wire::Code::WorkerLost,
                            "its worker was lost while the broker was restarting",
                            wire::Ran::Yes,
                            now,
                            out);
    if (node.state == State::Scheduled) return place(slot, now, out);
    if (t.def.timeout_ns != 0 && node.state != State::Cancelling)
        timers.arm(
            node.timer,
            now + base::Duration{static_cast<std::int64_t>(t.def.timeout_ns)} + config.kill_grace,
            Timers::Kind::Task,
            slot);
}

void Core::set_roster(std::string_view host_key,
                      std::span<const DeathInfo> living,
                      bool complete,
                      base::Time now,
                      Effects& out) {
    if (!recovering) return;
    for (const DeathInfo& each : living) {
        const std::string name = worker_name(host_key, each.pool, each.slot, each.birth);
        if (accounted.count(name) == 0) roster.insert(name);
    }
    roster_complete = roster_complete || complete;
    if (roster_complete && roster.empty()) end_recovery(now, out);
}

void Core::accounted_for(const std::string& worker, base::Time now, Effects& out) {
    if (!recovering) return;
    accounted.insert(worker);
    roster.erase(worker);
    if (roster_complete && roster.empty()) end_recovery(now, out);
}

/// A resent task that no worker holds. An at_most_once task may have been leased by the router that
/// died, to a worker that died too: running it would be once too often, so it ends as lost.
void Core::unpark(Slot slot, base::Time now, Effects& out) {
    TaskNode& node = tasks[slot];
    node.clear(kParked);
    if (node.state != State::Scheduled && node.state != State::Ready) return;
    const Template* t = template_of(node);
    if (t != nullptr && t->def.at_most_once) {
        finish_error(slot,
                     wire::Outcome::Dead,
                     wire::Code::WorkerLost,
                     "the broker was restarted while it may have been running",
                     wire::Ran::Maybe,
                     now,
                     out);
    } else if (node.state == State::Scheduled) {
        place(slot, now, out);
    }
}

/// What nobody holds runs now, in the order it was resent.
void Core::end_recovery(base::Time now, Effects& out) {
    recovering = false;
    roster.clear();
    accounted.clear();
    for (const auto& [slot, id] : parked) {
        TaskNode* node = tasks.find(slot);
        if (node == nullptr || !node->has(kParked) || id_of(*node) != id) continue;
        unpark(slot, now, out);
    }
    parked.clear();
    parked.shrink_to_fit();
    for (std::uint32_t q = 0; q < lines.queues().size(); ++q)
        if (!lines.queues()[q].workers.empty() || breakage_of(q) != nullptr)
            judge_waiting(q, now, out);
    out.list.emplace_back().kind = Effect::Kind::Recovered;
}

/// Nobody came for the placeholders of this stream: its client is gone.
void Core::stream_timer(std::uint32_t stream_ix, base::Time now, Effects& out) {
    Stream& stream = streams[stream_ix];
    if (stream.session != kNoSession) return;
    std::vector<Slot> unclaimed;
    stream.window.for_each([&](std::uint64_t, Slot slot) {
        if (tasks[slot].has(kPlaceholder)) unclaimed.push_back(slot);
    });
    for (const Slot slot : unclaimed) {
        tasks[slot].clear(kPlaceholder);
        if (is_final(tasks[slot].state)) {
            free_task(slot);
        } else {
            cancel_task(slot, false, now, out);
        }
    }
}

}  // namespace forkmill::engine
