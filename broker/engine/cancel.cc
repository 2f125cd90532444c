// SPDX-License-Identifier: Apache-2.0
// Cancel is a request: the outcome is whatever is recorded first (semantics.md 15).
#include "broker/engine/core.h"

namespace forkmill::engine {

void Core::cancel(SessionIx ix,
                  std::span<const std::uint64_t> seqs,
                  bool kill,
                  bool all,
                  base::Time now,
                  Effects& out) {
    Session* session = session_at(ix);
    if (session == nullptr || session->stream == kNone) return;
    Stream& stream = streams[session->stream];
    if (all) {
        std::vector<Slot> live;
        stream.window.for_each([&](std::uint64_t, Slot slot) { live.push_back(slot); });
        for (const auto& [seq, slot] : stream.below) live.push_back(slot);
        // What an ended task took along (dependents) is final by the time it is reached.
        std::vector<std::uint64_t> numbers;
        for (const Slot slot : live)
            if (!is_final(tasks[slot].state) && !tasks[slot].has(kDetached))
                numbers.push_back(tasks[slot].seq);
        return cancel(ix, numbers, kill, false, now, out);
    }
    for (const std::uint64_t seq : seqs) {
        const Slot slot = slot_in(stream, seq);
        if (slot != kNone) {
            TaskNode& node = tasks[slot];
            if (node.has(kPlaceholder)) {  // It is resent as CANCEL, never as SUBMIT.
                node.clear(kPlaceholder);
                if (is_final(node.state)) {
                    hand_over(slot, node.outcome, base::Body{body_of(node)}, 0, now, out);
                    continue;
                }
                ++session->live;
            }
            if (node.has(kOwnerGone) || is_final(node.state)) continue;
            if (node.has(kAttached)) {
                // Whoever knows the id means the task, not the handle, which ends with it.
                cancel_task(tasks.find_side(node)->primary, kill, now, out);
            } else if (!detach_owner(slot, now, out)) {
                cancel_task(slot, kill, now, out);
            }
        } else if (incarnation > 1 && stream.window.find(seq) == Window::kAbsent &&
                   stream.window.fits(seq)) {
            // Known to an earlier incarnation only: whoever holds it is told that it is stale.
            const Slot made = new_task(session->stream, kNone, seq);
            ++session->live;
            set_state(tasks[made], State::Accepting);
            finish_error(made,
                         wire::Outcome::Cancelled,
                         wire::Code::TaskCancelled,
                         "cancelled while the broker restarted",
                         wire::Ran::Maybe,
                         now,
                         out);
        }
    }
}

void Core::cancel_task(Slot slot, bool kill, base::Time now, Effects& out) {
    TaskNode& node = tasks[slot];
    if (is_final(node.state)) return;
    if (!has_worker(node.state)) {
        const wire::Ran ran = node.attempt == 0 ? wire::Ran::No : wire::Ran::Maybe;
        return finish_error(slot,
                            wire::Outcome::Cancelled,
                            wire::Code::TaskCancelled,
                            node.attempt == 0 ? "cancelled before it ran" : "cancelled",
                            ran,
                            now,
                            out);
    }
    const bool first = node.state != State::Cancelling;
    if (!first && (!kill || node.has(kKillDue))) return;
    if (first) set_state(node, State::Cancelling);
    if (kill) {
        node.set(kKillDue);
        timers.arm(node.timer, now + config.kill_grace, Timers::Kind::Task, slot);
    }
    Effect& effect = out.list.emplace_back();
    effect.kind = Effect::Kind::CancelLease;
    effect.session = node.worker;
    effect.lease = lease_of(slot, node);
    effect.kill = kill;
}

/// Cancelling one of several handles of a keyed task ends that handle only; the last one cancels.
bool Core::detach_owner(Slot slot, base::Time now, Effects& out) {
    TaskNode& node = tasks[slot];
    Side* side = tasks.find_side(node);
    if (side == nullptr || side->waiters.empty()) return false;
    const std::uint32_t stream_ix = stream_of(node);
    Stream& stream = streams[stream_ix];
    const std::uint64_t seq = node.seq;
    node.set(kOwnerGone);
    if (stream.session == kNoSession || seq < stream.window.floor()) {
        stream.below.erase(seq);
        stream.window.settle(seq);
        if (Session* session = session_at(stream.session); session != nullptr)
            finished_one(*session);
        return true;
    }
    // The handle gets an end of its own under the same number.
    const Slot handle = new_task(stream_ix, node.lane, seq);
    set_state(tasks[handle], State::Accepting);
    ++counters.accepted;  // The task goes on as one more than its owner's.
    finish_error(handle,
                 wire::Outcome::Cancelled,
                 wire::Code::TaskCancelled,
                 "cancelled; other handles of the same key still wait",
                 wire::Ran::Maybe,
                 now,
                 out);
    return true;
}

}  // namespace forkmill::engine
