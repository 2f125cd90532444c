// SPDX-License-Identifier: Apache-2.0
// The end of a task: recorded once, told to whoever waits, kept as long as somebody may ask.
#include <algorithm>
#include <utility>

#include "broker/engine/core.h"
#include "core/base/check.h"
#include "core/wire/codec.h"

namespace forkmill::engine {

namespace {

constexpr std::uint32_t kRecentMax = 4096;             ///< Delivered results kept as arguments …
constexpr std::uint64_t kRecentBytesMax = 1ULL << 20;  ///< … per session that uses them so.
constexpr std::size_t kNestedMax = 16;
constexpr std::uint64_t kOutcomeOverhead =
    64;  ///< What an undelivered outcome costs beside its body.

base::Body owned(const base::Body& body) {
    if (body.chunks || !body.blob.empty()) return body;
    return base::Body::of(base::Blob::copy(body.view));
}

}  // namespace

void Core::finish(Slot slot,
                  wire::Outcome outcome,
                  const base::Body& body,
                  base::Time now,
                  Effects& out) {
    TaskNode& node = tasks[slot];
    unplace(slot);
    const std::uint64_t position = journal == nullptr ? 0 : journal_settle(node, outcome, body);
    set_state(node, final_state(outcome));
    node.outcome = outcome;
    node.clear(kParked);
    ++counters.settled[static_cast<std::size_t>(outcome)];
    Session* session = session_at(streams[stream_of(node)].session);
    if (session != nullptr && !node.has(kOwnerGone) && !node.has(kPlaceholder))
        finished_one(*session);
    if (outcome == wire::Outcome::Dead) bury(node, body);
    if (node.side != kNone) settle_side(slot, outcome, body, now, out);
    hand_over(slot, outcome, body, position, now, out);
    if (cascading || (cascade.empty() && abandoned.empty())) return;
    // A chain of a thousand dependent tasks fails in a loop, not in a thousand nested calls.
    cascading = true;
    while (!cascade.empty() || !abandoned.empty()) {
        if (!abandoned.empty()) {
            const Slot task = abandoned.back();
            abandoned.pop_back();
            cancel_task(task, false, now, out);
            continue;
        }
        const Doomed next = std::move(cascade.back());
        cascade.pop_back();
        finish(next.slot, wire::Outcome::Failed, next.error, now, out);
    }
    cascading = false;
}

void Core::finish_error(Slot slot,
                        wire::Outcome outcome,
                        wire::Code code,
                        std::string_view what,
                        wire::Ran ran,
                        base::Time now,
                        Effects& out) {
    finish(slot, outcome, error_for(tasks[slot], code, what, ran), now, out);
}

std::uint64_t Tables::journal_settle(const TaskNode& node,
                                     wire::Outcome outcome,
                                     const base::Body& body) {
    JournalRecord record;
    record.fact = JournalRecord::Fact::Ended;
    record.task = id_of(node);
    record.attempt = node.attempt;
    record.outcome = outcome;
    record.body = &body;
    return journal->append(record);
}

/// Tells the tasks that wait for this one: those that take its result, and its other handles.
void Core::settle_side(Slot slot,
                       wire::Outcome outcome,
                       const base::Body& body,
                       base::Time now,
                       Effects& out) {
    Side& side = *tasks.find_side(tasks[slot]);
    base::Body value;
    for (const Slot outer : std::exchange(side.dependents, {})) {
        Side& waiting = *tasks.find_side(tasks[outer]);
        if (outcome == wire::Outcome::Succeeded) {
            if (value.size() == 0) value = owned(body);
            for (auto& [inner, argument] : waiting.awaited)
                if (inner == slot) waiting.dependencies.emplace_back(argument, value);
            std::erase_if(waiting.awaited, [slot](const auto& each) { return each.first == slot; });
            if (waiting.awaited.empty() && tasks[outer].state == State::Scheduled &&
                !tasks[outer].has(kParked))
                place(outer, now, out);
            continue;
        }
        if (waiting.awaited.empty()) continue;  // Two of its arguments were this task.
        release_awaited(outer);
        wire::ErrorInfo info;
        info.code = wire::Code::DependencyFailed;
        info.ran = wire::Ran::No;
        info.what = "task " + base::to_string(id_of(tasks[slot])) + ", an argument of this one, " +
                    std::string{wire::name_of(outcome)};
        if (base::Result<wire::ErrorInfo> inner = wire::unpack_error(body.view); inner.ok()) {
            info.nested.emplace_back(inner.value().type, inner.value().what);
            for (auto& each : inner.value().nested)
                if (info.nested.size() < kNestedMax) info.nested.push_back(std::move(each));
        }
        cascade.push_back({outer, error_for(tasks[outer], std::move(info))});
    }
    for (const Slot alias : std::exchange(side.waiters, {})) {
        tasks.find_side(tasks[alias])->primary = kNone;
        finish(alias, outcome, body, now, out);
    }
}

/// The outer task waits for nothing any more; its inner tasks forget it.
void Tables::release_awaited(Slot outer) {
    Side& side = *tasks.find_side(tasks[outer]);
    for (const auto& [inner, argument] : std::exchange(side.awaited, {})) {
        if (Side* other = tasks.find_side(tasks[inner]); other != nullptr)
            std::erase(other->dependents, outer);
    }
}

bool Tables::can_deliver(const Session& session, std::uint64_t size) const {
    return session.writable && session.retained.size == 0 &&
           session.results_records < session.results_records_max &&
           (session.results_bytes < session.results_bytes_max || size == 0);
}

void Tables::emit_outcome(SessionIx ix,
                          std::uint64_t seq,
                          wire::Outcome outcome,
                          const base::Body& body,
                          std::uint64_t position,
                          Effects& out) {
    Session& session = *sessions[ix];
    ++session.results_records;
    session.results_bytes += body.size();
    Effect& effect = out.list.emplace_back();
    effect.kind = Effect::Kind::Outcome;
    effect.session = ix;
    effect.seq = seq;
    effect.outcome = outcome;
    effect.view = body.view;
    effect.position = position;
    if (body.chunks || !body.blob.empty()) {
        out.bodies.push_back(body);
        effect.extra = static_cast<std::uint32_t>(out.bodies.size());
    }
}

/// Brings the outcome of a node in its final state to its owner, or keeps it, or lets it go.
void Core::hand_over(Slot slot,
                     wire::Outcome outcome,
                     const base::Body& body,
                     std::uint64_t position,
                     base::Time now,
                     Effects& out) {
    TaskNode& node = tasks[slot];
    const Stream& stream = streams[stream_of(node)];
    if (node.has(kPlaceholder)) {  // Its client will ask for it.
        drop_body(node);
        store_body(node, body);
        return;
    }
    if (node.has(kReleased) && !node.has(kKeyed)) return free_task(slot);
    const SessionIx owner =
        node.has(kOwnerGone) || node.has(kReleased) ? kNoSession : stream.session;
    if (owner != kNoSession) {
        Session& session = *sessions[owner];
        if (!can_deliver(session, body.size())) {
            if (position != 0) tasks.side_of(node).position = position;
            return retain(owner, slot, outcome, body);
        }
        emit_outcome(owner, node.seq, outcome, body, position, out);
        return after_delivery(session, slot, outcome, body, false, now);
    }
    if (!node.has(kDetached) && !node.has(kKeyed)) return free_task(slot);
    drop_body(node);
    store_body(node, body);
    node.set(kDelivered);
    timers.arm(node.timer, now + config.result_ttl, Timers::Kind::Outcome, slot);
}

void Core::retain(SessionIx ix, Slot slot, wire::Outcome outcome, const base::Body& body) {
    TaskNode& node = tasks[slot];
    Session& session = *sessions[ix];
    drop_body(node);
    store_body(node, body);
    node.outcome = outcome;
    node.set(kRetained);
    append(session.retained, slot);
    session.retained_bytes += node.size + kOutcomeOverhead;
    refresh_pause(session);
}

void Core::after_delivery(Session& session,
                          Slot slot,
                          wire::Outcome outcome,
                          const base::Body& body,
                          bool stored,
                          base::Time now) {
    TaskNode& node = tasks[slot];
    const bool keep = node.has(kDetached) || node.has(kKeyed);
    const bool nameable = session.names_results && outcome == wire::Outcome::Succeeded &&
                          node.seq >= streams[session.stream].window.floor() && !body.chunks &&
                          body.size() < wire::kInlineBodyMax;
    if (!keep && !nameable) return free_task(slot);
    if (!stored) {
        drop_body(node);
        store_body(node, body);
    }
    node.set(kDelivered);
    if (keep) {
        timers.arm(node.timer, now + config.result_ttl, Timers::Kind::Outcome, slot);
        return;
    }
    node.set(kRecent);
    append(session.recent, slot);
    session.recent_bytes += node.size;
    trim_recent(session);
}

void Tables::trim_recent(Session& session) {
    while (session.recent.size > kRecentMax || session.recent_bytes > kRecentBytesMax)
        free_task(session.recent.head);
}

void Core::flush_retained(SessionIx ix, base::Time now, Effects& out) {
    Session& session = *sessions[ix];
    while (session.retained.size > 0) {
        const Slot slot = session.retained.head;
        TaskNode& node = tasks[slot];
        const bool room = session.writable &&
                          session.results_records < session.results_records_max &&
                          (session.results_bytes < session.results_bytes_max || node.size == 0);
        if (!room) break;
        unlink(session.retained, slot);
        node.clear(kRetained);
        session.retained_bytes -= node.size + kOutcomeOverhead;
        const base::Body body = body_of(node);
        const Side* side = tasks.find_side(node);
        emit_outcome(ix, node.seq, node.outcome, body, side == nullptr ? 0 : side->position, out);
        after_delivery(session, slot, node.outcome, body, true, now);
    }
    refresh_pause(session);
}

/// Nothing is dropped when a client does not fetch: its further tasks wait (semantics.md 21).
void Tables::refresh_pause(Session& session) {
    const bool pause = session.retained_bytes >= config.result_bytes_per_session_max;
    if (pause == session.paused) return;
    session.paused = pause;
    lines.pause(session.stream, pause);
}

void Tables::bury(const TaskNode& node, const base::Body& error) {
    if (node.lane == kNone) return;
    const std::uint32_t queue = lines.lane(node.lane).queue;
    const QueueConfig& bounds = lines.queues()[queue].config;
    std::deque<DeadLetter>& line = letters[queue];
    DeadLetter letter{id_of(node), template_of(node)->def.name, base::Blob::copy(error.view)};
    const auto cost = [](const DeadLetter& each) {
        return sizeof(DeadLetter) + each.name.size() + each.error.size();
    };
    letter_bytes[queue] += cost(letter);
    line.push_back(std::move(letter));
    while (line.size() > bounds.dead_tasks_max ||
           (letter_bytes[queue] > bounds.dead_bytes_max && !line.empty())) {
        letter_bytes[queue] -= cost(line.front());
        line.pop_front();
        ++counters.dead_letters_dropped;
    }
}

}  // namespace forkmill::engine
