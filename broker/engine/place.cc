// SPDX-License-Identifier: Apache-2.0
// Where a task stands: its state, the one list it is in, its timer, its body.
#include <algorithm>

#include "broker/engine/core.h"
#include "core/base/check.h"

namespace forkmill::engine {

void Tables::set_state(TaskNode& node, State to) {
    FORKMILL_CHECK(may_become(node.state, to));
    if (node.lane != kNone) {
        Queue& queue = lines.queues()[lines.lane(node.lane).queue];
        if (node.state != State::Free) {
            --queue.counts[static_cast<std::size_t>(node.state)];
        } else {
            ++queue.tasks;
        }
        ++queue.counts[static_cast<std::size_t>(to)];
        if (is_final(to)) --queue.tasks;
    }
    node.state = to;
}

// splitmix64: only jitter comes from it, so that a seed repeats a run.
std::uint64_t Tables::random() {
    rng += 0x9e3779b97f4a7c15ULL;
    std::uint64_t x = rng;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

std::uint32_t Tables::stream_of(const TaskNode& node) const {
    if (node.lane != kNone) return lines.lane(node.lane).stream;
    return tasks.find_side(node)->stream;
}

base::TaskId Tables::id_of(const TaskNode& node) const {
    return {streams[stream_of(node)].id, node.seq};
}

const Template* Tables::template_of(const TaskNode& node) const {
    return node.lane == kNone ? nullptr : &templates[lines.lane(node.lane).template_id];
}

Slot Tables::slot_in(const Stream& stream, std::uint64_t seq) const {
    const std::uint32_t slot = stream.window.find(seq);
    if (slot < Window::kSettled) return slot;
    const auto found = stream.below.find(seq);
    return found == stream.below.end() ? kNone : found->second;
}

Slot Tables::new_task(std::uint32_t stream_ix, std::uint32_t lane, std::uint64_t seq) {
    const Slot slot = tasks.allocate();
    TaskNode& node = tasks[slot];
    node.seq = seq;
    node.lane = lane;
    if (lane != kNone) {
        ++lines.lane(lane).refs;
    } else {
        tasks.side_of(node).stream = stream_ix;
    }
    Stream& stream = streams[stream_ix];
    ++stream.live;
    stream.window.put(seq, slot);
    return slot;
}

void Tables::free_task(Slot slot) {
    TaskNode& node = tasks[slot];
    FORKMILL_CHECK(is_final(node.state));
    const std::uint32_t stream_ix = stream_of(node);
    Stream& stream = streams[stream_ix];
    Session* session = session_at(stream.session);
    if (node.has(kRetained)) {
        unlink(session->retained, slot);
        session->retained_bytes -= node.size + 64;
    }
    if (node.has(kRecent)) {
        unlink(session->recent, slot);
        session->recent_bytes -= node.size;
    }
    if (node.timer != 0) timers.disarm(node.timer);
    if (node.has(kKeyed)) forget_key(slot);
    drop_body(node);
    if (!node.has(kOwnerGone)) {
        stream.window.settle(node.seq);
        if (!stream.below.empty()) stream.below.erase(node.seq);
    }
    --stream.live;
    if (node.lane != kNone) {
        Lane& lane = lines.lane(node.lane);
        --lines.queues()[lane.queue].counts[static_cast<std::size_t>(node.state)];
        if (--lane.refs == 0) {
            --templates[lane.template_id].lanes;
            lines.close_lane(node.lane);
        }
    }
    tasks.free(slot);
    ++counters.freed;
    if (stream.session == kNoSession) drop_stream_if_idle(stream_ix);
}

void Tables::append(List& list, Slot slot) {
    TaskNode& node = tasks[slot];
    node.next = kNone;
    node.prev = list.tail;
    (list.tail != kNone ? tasks[list.tail].next : list.head) = slot;
    list.tail = slot;
    ++list.size;
}

void Tables::unlink(List& list, Slot slot) {
    TaskNode& node = tasks[slot];
    (node.prev != kNone ? tasks[node.prev].next : list.head) = node.next;
    (node.next != kNone ? tasks[node.next].prev : list.tail) = node.prev;
    node.next = node.prev = kNone;
    --list.size;
}

// A small body is copied, so that it never pins a received batch; a large one is shared.
void Tables::store_body(TaskNode& node, const base::Body& body) {
    const std::uint64_t size = body.size();
    node.size = static_cast<std::uint32_t>(size);
    if (!body.chunks && size < wire::kInlineBodyMax) {
        node.data = arena.store(body.view);
        return;
    }
    Side& side = tasks.side_of(node);
    side.large =
        body.chunks || !body.blob.empty() ? body : base::Body::of(base::Blob::copy(body.view));
    node.set(kLargeBody);
    large_bytes += size;
}

void Tables::drop_body(TaskNode& node) {
    if (node.has(kLargeBody)) {
        tasks.find_side(node)->large = {};
        large_bytes -= node.size;
        node.clear(kLargeBody);
    } else if (is_final(node.state) && node.data != nullptr) {
        graveyard.emplace_back(node.data, node.size);  // An effect may still show it.
    } else {
        arena.free(node.data, node.size);
    }
    node.data = nullptr;
    node.size = 0;
}

base::Body Tables::body_of(const TaskNode& node) const {
    if (node.has(kLargeBody)) return tasks.find_side(node)->large;
    return base::Body::of(base::ByteView{node.data, node.size});
}

// The one timer of a waiting task: what comes first of its due time and its deadline.
void Tables::arm_task(Slot slot) {
    TaskNode& node = tasks[slot];
    const Side* side = tasks.find_side(node);
    base::Time at = base::kNever;
    if (side != nullptr) {
        at = side->deadline;
        if (node.state == State::Scheduled) at = std::min(at, side->due);
    }
    if (at != base::kNever) {
        timers.arm(node.timer, at, Timers::Kind::Task, slot);
    } else if (node.timer != 0) {
        timers.disarm(node.timer);
    }
}

void Tables::make_ready(Slot slot, base::Time now) {
    TaskNode& node = tasks[slot];
    Lane& lane = lines.lane(node.lane);
    node.key = now.time_since_epoch().count() - std::int64_t{lane.priority} * kPriorityStep;
    set_state(node, State::Ready);
    if (node.has(kSuspect)) {
        lines.queues()[lane.queue].suspects.push_back(slot);
        ++suspects;
    } else {
        lines.push_back(node.lane, slot);
    }
    if (node.side != kNone) arm_task(slot);
}

// Back to the head of the line with its old key: it waited longest.
void Tables::put_back(Slot slot, base::Time now) {
    TaskNode& node = tasks[slot];
    if (node.lane ==
        kNone) {  // A placeholder waits for its client; nobody else knows its template.
        set_state(node, State::Scheduled);
        return;
    }
    const Side* side = tasks.find_side(node);
    if (side != nullptr && !side->awaited.empty()) return set_state(node, State::Scheduled);
    if (node.key == 0) return make_ready(slot, now);  // Adopted: it never was in a line.
    set_state(node, State::Ready);
    if (node.has(kSuspect)) {
        lines.queues()[lines.lane(node.lane).queue].suspects.push_back(slot);
        ++suspects;
    } else {
        lines.put_back(node.lane, slot);
    }
    if (node.side != kNone) arm_task(slot);
}

void Tables::schedule_at(Slot slot, base::Time due) {
    TaskNode& node = tasks[slot];
    tasks.side_of(node).due = due;
    if (node.state != State::Scheduled) set_state(node, State::Scheduled);
    arm_task(slot);
}

// An accepted task goes where it belongs: parked, waiting for arguments, delayed, or ready.
void Core::place(Slot slot, base::Time now, Effects& out) {
    TaskNode& node = tasks[slot];
    Side* side = tasks.find_side(node);
    if (side != nullptr && side->due <= now) side->due = base::kNever;  // It must not fire again.
    if (side != nullptr && side->deadline <= now) {
        return finish_error(slot,
                            wire::Outcome::Expired,
                            wire::Code::TaskExpired,
                            "the deadline passed before the task began",
                            wire::Ran::No,
                            now,
                            out);
    }
    const bool waits = node.has(kParked) || (side != nullptr && !side->awaited.empty());
    const bool delayed = side != nullptr && side->due != base::kNever;
    if (!waits && !delayed) return make_ready(slot, now);
    if (node.state != State::Scheduled) set_state(node, State::Scheduled);
    arm_task(slot);
}

// Takes an unsettled task out of whatever list, timer and relation it stands in.
void Tables::unplace(Slot slot) {
    TaskNode& node = tasks[slot];
    if (node.timer != 0) timers.disarm(node.timer);
    if (Side* side = tasks.find_side(node); side != nullptr) {
        if (!side->awaited.empty()) release_awaited(slot);
        if (side->primary != kNone) leave_waiters(slot);
    }
    if (has_worker(node.state)) return unlease(slot);
    if (node.state != State::Ready) return;
    if (!node.has(kSuspect)) return lines.remove(node.lane, slot);
    auto& line = lines.queues()[lines.lane(node.lane).queue].suspects;
    line.erase(std::find(line.begin(), line.end(), slot));
    --suspects;
}

}  // namespace forkmill::engine
