// SPDX-License-Identifier: Apache-2.0
// Every table checked against every other. Tests call it after each step; nothing here changes a
// thing.
#include <array>

#include "broker/engine/core.h"

namespace forkmill::engine {

namespace {

struct Sums {
    std::vector<std::array<std::uint64_t, kStates>> by_queue;
    std::vector<std::uint64_t> by_stream;
    std::vector<std::uint64_t> live_by_session;
    std::vector<std::uint64_t> refs_by_lane;
    std::uint64_t arena = 0;
    std::uint64_t large = 0;
    std::uint64_t suspects = 0;
    std::uint64_t ready = 0;
};

std::string at(Slot slot, const char* what) {
    return "task in slot " + std::to_string(slot) + ": " + what;
}

std::string check_task(const Tables& core, Slot slot, const TaskNode& node, Sums& sums) {
    const std::uint32_t stream_ix = core.stream_of(node);
    const Stream& stream = core.streams[stream_ix];
    if (!stream.used) return at(slot, "its stream is gone");
    ++sums.by_stream[stream_ix];
    if (!node.has(kOwnerGone) && core.slot_in(stream, node.seq) != slot)
        return at(slot, "its number leads elsewhere");
    if (node.lane != kNone) {
        const Lane& lane = core.lines.lane(node.lane);
        ++sums.refs_by_lane[node.lane];
        ++sums.by_queue[lane.queue][static_cast<std::size_t>(node.state)];
    }
    if (node.has(kLargeBody)) {
        sums.large += node.size;
    } else {
        sums.arena += Arena::cost_of(node.size);
    }
    if ((node.worker != kNone) != has_worker(node.state))
        return at(slot, "it has a worker in a state without one, or the reverse");
    if (node.worker != kNone) {
        const Session* session = core.sessions[node.worker].get();
        if (session == nullptr || session->worker == nullptr)
            return at(slot, "its worker's session is closed");
        if (node.attempt == 0) return at(slot, "leased without an attempt");
    }
    if (node.state == State::Ready) {
        ++sums.ready;
        if (node.has(kSuspect)) ++sums.suspects;
        const Side* side = core.tasks.find_side(node);
        if (side != nullptr && !side->awaited.empty())
            return at(slot, "ready before its arguments are");
    }
    const bool counts = !is_final(node.state) && !node.has(kOwnerGone) && !node.has(kPlaceholder);
    if (counts && stream.session != kNoSession) ++sums.live_by_session[stream.session];
    if (is_final(node.state) && !node.has(kRetained) && !node.has(kDelivered) &&
        !node.has(kPlaceholder))
        return at(slot, "ended, and nobody keeps it");
    const Side* side = core.tasks.find_side(node);
    if (side == nullptr) return {};
    for (const auto& [inner, argument] : side->awaited) {
        const TaskNode* other = core.tasks.find(inner);
        if (other == nullptr || is_final(other->state))
            return at(slot, "waits for a task that ended");
        const auto& outers = core.tasks.find_side(*other)->dependents;
        if (std::find(outers.begin(), outers.end(), slot) == outers.end())
            return at(slot, "waits for a task that does not know it");
    }
    for (const Slot alias : side->waiters) {
        const TaskNode* other = core.tasks.find(alias);
        if (other == nullptr || core.tasks.find_side(*other)->primary != slot)
            return at(slot, "a handle of it points elsewhere");
    }
    return {};
}

std::string check_worker(const Tables& core, SessionIx ix, const Worker& worker) {
    std::uint32_t length = 0, running = 0, lent = 0;
    std::int64_t work = 0;
    for (Slot slot = worker.leases.head; slot != kNone; slot = core.tasks[slot].next) {
        const TaskNode& node = core.tasks[slot];
        if (node.worker != ix) return at(slot, "in the list of a worker that is not its own");
        if (++length > worker.leases.size) return "a worker's list is longer than its count";
        running += node.started ? 1 : 0;
        lent += node.has(kBlocked) ? 1 : 0;
        work += node.estimate;
        if (node.has(kSuspect) && (worker.leases.size != 1 || !worker.alone))
            return at(slot, "a suspect is not alone");
    }
    if (length != worker.leases.size) return "a worker's count of leases is wrong";
    if (running != worker.running) return "a worker's count of running tasks is wrong";
    if (lent != worker.lent || lent > kLentMax) return "a worker's count of lent slots is wrong";
    if (work != worker.held_work) return "a worker's held work is wrong";
    if (worker.hungry_at != kNone && core.hungry[worker.hungry_at] != ix)
        return "a hungry worker's place is wrong";
    return {};
}

std::string check_session(const Tables& core, SessionIx ix, const Session& session, Sums& sums) {
    if (session.live != sums.live_by_session[ix]) return "a session's count of tasks is wrong";
    std::uint64_t bytes = 0;
    std::uint32_t length = 0;
    for (Slot slot = session.retained.head; slot != kNone; slot = core.tasks[slot].next) {
        if (!core.tasks[slot].has(kRetained) || ++length > session.retained.size)
            return "a session's list of results is wrong";
        bytes += core.tasks[slot].size + 64;
    }
    if (length != session.retained.size || bytes != session.retained_bytes)
        return "a session's count of results is wrong";
    if (session.stream != kNone && core.streams[session.stream].session != ix)
        return "a session's stream belongs to another";
    for (const Registered& each : session.templates)
        if (each.lane != kNone) ++sums.refs_by_lane[each.lane];
    return session.worker == nullptr ? std::string{} : check_worker(core, ix, *session.worker);
}

std::string check_queues(const Tables& core, const Sums& sums) {
    for (std::size_t q = 0; q < core.lines.queues().size(); ++q) {
        const Queue& queue = core.lines.queues()[q];
        std::uint64_t unsettled = 0;
        for (std::size_t s = 1; s < kStates; ++s) {
            if (queue.counts[s] != sums.by_queue[q][s])
                return "queue \"" + queue.config.name + "\": its count of tasks that are " +
                       std::string{name_of(static_cast<State>(s))} + " is wrong";
            if (!is_final(static_cast<State>(s))) unsettled += queue.counts[s];
        }
        if (unsettled != queue.tasks) return "a queue's count of unsettled tasks is wrong";
        if (unsettled > queue.config.tasks_max + queue.config.tasks_max / 10 + 8192 &&
            core.incarnation == 1)
            return "a queue is beyond its bound";
        if (core.letters[q].size() > queue.config.dead_tasks_max) return "too many dead letters";
    }
    return {};
}

}  // namespace

std::string Tables::check() const {
    Sums sums;
    sums.by_queue.resize(lines.queues().size());
    sums.by_stream.resize(streams.size());
    sums.live_by_session.resize(sessions.size());
    std::uint32_t lanes = 0;
    lines.for_each_lane([&](std::uint32_t id, const Lane&) { lanes = std::max(lanes, id + 1); });
    sums.refs_by_lane.resize(lanes);
    std::string broken;
    tasks.for_each([&](Slot slot, const TaskNode& node) {
        if (broken.empty()) broken = check_task(*this, slot, node, sums);
    });
    if (!broken.empty()) return broken;
    std::uint64_t unused = 0;
    std::uint32_t open = 0;
    for (SessionIx ix = 0; ix < sessions.size(); ++ix) {
        if (sessions[ix] == nullptr) continue;
        ++open;
        broken = check_session(*this, ix, *sessions[ix], sums);
        if (!broken.empty()) return broken;
        const Flow& flow = sessions[ix]->flow;
        unused += flow.bytes > flow.consumed_bytes ? flow.bytes - flow.consumed_bytes : 0;
    }
    if (open != open_sessions) return "the number of open sessions is wrong";
    if (unused != unused_credit) return "credit that is out does not sum up";
    if (unused > config.memory_max) return "more credit is out than memory may be used";
    for (std::size_t i = 0; i < streams.size(); ++i)
        if (streams[i].used && streams[i].live != sums.by_stream[i])
            return "a stream's count of tasks is wrong";
    broken = check_queues(*this, sums);
    if (!broken.empty()) return broken;
    lines.for_each_lane([&](std::uint32_t id, const Lane& lane) {
        if (lane.refs != sums.refs_by_lane[id]) broken = "a lane's references are wrong";
    });
    if (!broken.empty()) return broken;
    for (const auto& [data, size] : graveyard) sums.arena += Arena::cost_of(size);
    if (sums.arena != arena.bytes_used()) return "arena bytes accounted are not those held";
    if (sums.large != large_bytes) return "large bytes accounted are not those held";
    if (sums.suspects != suspects) return "the number of suspects is wrong";
    // Tasks that were accepted are settled, or still here; what is gone was counted.
    std::uint64_t here = 0;
    tasks.for_each([&](Slot, const TaskNode& node) { here += is_final(node.state) ? 0U : 1U; });
    std::uint64_t placeholders = 0;
    tasks.for_each([&](Slot, const TaskNode& node) { placeholders += node.has(kPlaceholder); });
    if (incarnation == 1 && counters.accepted != counters.settled_total() + here)
        return "accepted tasks are neither settled nor here";
    if (incarnation == 1 && placeholders != 0) return "a placeholder without a restart";
    broken = objects.check();
    return broken.empty() ? lines.check() : broken;
}

}  // namespace forkmill::engine
