// SPDX-License-Identifier: Apache-2.0
// A worker's right to one attempt: given, told to have begun, settled, given back.
#include <algorithm>

#include "broker/engine/core.h"

namespace forkmill::engine {

namespace {

constexpr base::Duration kBackoffFirst = std::chrono::milliseconds{100};
constexpr base::Duration kBackoffMax = std::chrono::seconds{30};
/// What a lease may wait at its worker before it begins; a worker returns what waits longer.
constexpr base::Duration kLeaseSlack = std::chrono::seconds{1};

}  // namespace

/// REQUIRES: the task is ready and was taken out of its line; the worker may run it.
void Core::lease(SessionIx ix, Slot slot, base::Time now, Effects& out) {
    TaskNode& node = tasks[slot];
    Worker& worker = *sessions[ix]->worker;
    const Template& t = templates[lines.lane(node.lane).template_id];
    if (++node.generation == 0) node.generation = 1;
    ++node.attempt;
    node.worker = ix;
    node.started = false;
    node.clear(kBegan);
    set_state(node, State::Leased);
    append(worker.leases, slot);
    node.estimate =
        static_cast<std::uint32_t>(std::min<std::int64_t>(t.estimate_ns, std::int64_t{UINT32_MAX}));
    worker.held_work += node.estimate;
    if (node.has(kSuspect)) worker.alone = true;
    ++counters.leased;
    if (t.def.timeout_ns != 0) {
        timers.arm(node.timer,
                   now + base::Duration{static_cast<std::int64_t>(t.def.timeout_ns)} +
                       config.kill_grace + kLeaseSlack,
                   Timers::Kind::Task,
                   slot);
    } else if (node.timer != 0) {
        timers.disarm(node.timer);  // A deadline binds until a run begins.
    }
    Effect& effect = out.list.emplace_back();
    effect.kind = Effect::Kind::Assign;
    effect.session = ix;
    effect.lease = lease_of(slot, node);
    if (journal != nullptr && t.def.at_most_once) {
        JournalRecord record;
        record.fact = JournalRecord::Fact::LeaseTaken;
        record.task = id_of(node);
        record.attempt = node.attempt;
        effect.position = journal->append(record);
    }
}

TaskNode* Tables::holder_check(SessionIx ix, Lease lease) {
    TaskNode* node = tasks.find(slot_of(lease));
    if (node == nullptr || node->generation != generation_of(lease) || node->worker != ix ||
        !has_worker(node->state))
        return nullptr;
    return node;
}

/// The worker does not hold it any more. The state is the caller's to change.
void Tables::unlease(Slot slot) {
    TaskNode& node = tasks[slot];
    const SessionIx ix = node.worker;
    Worker& worker = *sessions[ix]->worker;
    // One that is killed reports its end while its code still runs: its process must go first.
    const bool killed = node.has(kKillDue) || node.has(kKillSent) || node.has(kTimedOut);
    if (objects.knows(ix)) ended_attempts.push_back({ix, lease_of(slot, node), killed});
    unlink(worker.leases, slot);
    worker.held_work -= node.estimate;
    if (node.started) --worker.running;
    if (node.has(kBlocked)) --worker.lent;
    if (node.has(kSuspect)) worker.alone = false;
    node.worker = kNone;
    node.started = false;
    node.clear(kBlocked);
    feel_hungry(ix);
}

void Core::started(SessionIx ix, Lease lease, base::Time now) {
    TaskNode* node = holder_check(ix, lease);
    if (node == nullptr || node->started) return;
    node->started = true;
    ++sessions[ix]->worker->running;
    if (node->state != State::Leased) return;
    set_state(*node, State::Running);
    const Template* t = template_of(*node);
    if (t != nullptr && t->def.timeout_ns != 0)
        timers.arm(
            node->timer,
            now + base::Duration{static_cast<std::int64_t>(t->def.timeout_ns)} + config.kill_grace,
            Timers::Kind::Task,
            slot_of(lease));
}

Settled Core::settle(SessionIx ix,
                     Lease lease,
                     wire::Outcome outcome,
                     wire::Code code,
                     bool no_retry,
                     const base::Body& body,
                     base::Duration run,
                     base::Time now,
                     Effects& out) {
    TaskNode* node = holder_check(ix, lease);
    if (node == nullptr) {
        ++counters.stale;
        return Settled::Stale;
    }
    const Slot slot = slot_of(lease);
    // Its worker says so of code that does not stop, and exits.
    if (code == wire::Code::TaskTimeout) node->set(kTimedOut);
    ++sessions[ix]->worker->done;
    if (node->lane != kNone) templates.measured(lines.lane(node->lane).template_id, run.count());
    if (outcome == wire::Outcome::Dead)
        outcome = wire::Outcome::Failed;  // Only the broker says so.
    if (outcome != wire::Outcome::Failed || node->state == State::Cancelling) {
        finish(slot, outcome, body, now, out);
        return Settled::Ok;
    }
    fail_or_retry(slot, no_retry || code == wire::Code::TaskCancelled, body, now, out);
    return Settled::Ok;
}

/// An attempt failed or was timed out; deaths do not come here.
void Core::fail_or_retry(Slot slot,
                         bool no_retry,
                         const base::Body& body,
                         base::Time now,
                         Effects& out) {
    TaskNode& node = tasks[slot];
    const Template* t = template_of(node);
    if (t == nullptr) {  // A placeholder: whether it is retried stands in the submit to come.
        unlease(slot);
        set_state(node, State::Scheduled);
        drop_body(node);
        store_body(node, body);
        node.set(kUndecided);
        if (no_retry) node.failures = UINT16_MAX;
        return;
    }
    if (no_retry || node.failures >= t->def.max_retries || node.has(kOwnerGone))
        return finish(slot, wire::Outcome::Failed, body, now, out);
    if (node.timer != 0) timers.disarm(node.timer);
    if (has_worker(node.state)) unlease(slot);
    ++counters.retries;
    ++node.failures;
    node.clear(kTimedOut);
    node.clear(kKillSent);
    base::Duration pause = kBackoffFirst;
    for (std::uint16_t k = 1; k < node.failures && pause < kBackoffMax; ++k) pause *= 2;
    pause = std::min(pause, kBackoffMax);
    // Half of it is jitter, so that what failed together does not come back together.
    pause = pause / 2 + base::Duration{static_cast<std::int64_t>(
                            random() % static_cast<std::uint64_t>(pause.count() / 2 + 1))};
    schedule_at(slot, now + pause);
}

void Core::give_back(SessionIx ix, Lease lease, base::Time now, Effects& out) {
    if (holder_check(ix, lease) == nullptr) {
        ++counters.stale;
        return;
    }
    return_lease(slot_of(lease), now, out);
}

/// Lost or given back without anybody's fault: it waits at the head of its line again.
void Core::return_lease(Slot slot, base::Time now, Effects& out) {
    TaskNode& node = tasks[slot];
    if (node.state == State::Cancelling)
        return finish_error(slot,
                            wire::Outcome::Cancelled,
                            wire::Code::TaskCancelled,
                            "cancelled",
                            node.started ? wire::Ran::Yes : wire::Ran::Maybe,
                            now,
                            out);
    ++counters.returned;
    if (node.timer != 0) timers.disarm(node.timer);
    unlease(slot);
    node.clear(kTimedOut);
    node.clear(kKillSent);
    put_back(slot, now);
}

void Core::partial(SessionIx ix,
                   Lease lease,
                   double fraction,
                   std::string_view note,
                   Effects& out) {
    const TaskNode* node = holder_check(ix, lease);
    if (node == nullptr) return;
    out.texts.emplace_back(note);
    const auto text = static_cast<std::uint32_t>(out.texts.size());
    const auto tell = [&](const TaskNode& handle) {
        const SessionIx owner = streams[stream_of(handle)].session;
        if (owner == kNoSession || handle.has(kOwnerGone)) return;
        Effect& effect = out.list.emplace_back();
        effect.kind = Effect::Kind::Partial;
        effect.session = owner;
        effect.seq = handle.seq;
        effect.fraction = fraction;
        effect.text = text;
    };
    tell(*node);
    if (const Side* side = tasks.find_side(*node); side != nullptr)
        for (const Slot alias : side->waiters) tell(tasks[alias]);
}

void Core::blocked(SessionIx ix, Lease lease, bool is_blocked) {
    TaskNode* node = holder_check(ix, lease);
    if (node == nullptr || node->has(kBlocked) == is_blocked) return;
    Worker& worker = *sessions[ix]->worker;
    if (is_blocked) {
        if (worker.lent >= kLentMax) return;  // The worker itself answers WouldDeadlock.
        ++worker.lent;
        node->set(kBlocked);
        feel_hungry(ix);
    } else {
        --worker.lent;
        node->clear(kBlocked);
    }
}

}  // namespace forkmill::engine
