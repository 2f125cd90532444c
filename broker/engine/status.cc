// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/status.h"

#include "broker/engine/core.h"

namespace forkmill::engine {

namespace {

constexpr std::size_t kReasonsMax = 16;

std::string_view name_of_role(wire::Role role) {
    switch (role) {
        case wire::Role::Client:
            return "client";
        case wire::Role::Worker:
            return "worker";
        case wire::Role::Uplink:
            return "uplink";
        case wire::Role::Admin:
            return "admin";
    }
    return "unknown";
}

std::string state_of(const Session& session) {
    const Worker& worker = *session.worker;
    if (worker.gone) return "silent";
    if (worker.doomed) return "dying";
    if (worker.suspended) return "stopped";
    if (!session.connected) return "disconnected";
    if (worker.draining) return "draining";
    return worker.leases.size == 0 ? "idle" : "busy";
}

std::uint64_t count(const Queue& queue, State state) {
    return queue.counts[static_cast<std::size_t>(state)];
}

/// Why a lane's tasks wait although they are ready; empty: only for a free worker.
std::string reason_of(const Tables& core, const Queue& queue, const Lane& lane) {
    const Template& t = core.templates[lane.template_id];
    if (queue.workers.empty()) return "no worker serves queue \"" + queue.config.name + "\"";
    bool able = false;
    for (const SessionIx ix : queue.workers) {
        const Session& session = *core.sessions[ix];
        if (!core.runs(*session.worker, lane.template_id)) continue;
        able = true;
        if (core.usable(session) || session.worker->alone || session.worker->reserved) return {};
    }
    if (!able) return "no worker offers \"" + t.def.name + "\"";
    return "every worker that offers \"" + t.def.name + "\" is draining, stopped or away";
}

}  // namespace

Engine::Snapshot Tables::snapshot(base::Time) const {
    Engine::Snapshot shot;
    shot.tasks = tasks.size();
    shot.objects = objects.by_id.size();
    shot.object_waits = objects.parked;
    shot.object_bytes = objects.bytes;
    shot.memory_used = memory_used();
    shot.memory_max = config.memory_max;
    shot.credit_out = unused_credit;
    shot.recovering = recovering;
    for (std::uint32_t q = 0; q < lines.queues().size(); ++q) {
        const Queue& queue = lines.queues()[q];
        QueueRow row;
        row.name = queue.config.name;
        row.accepting = count(queue, State::Accepting);
        row.scheduled = count(queue, State::Scheduled);
        row.ready = count(queue, State::Ready);
        row.leased = count(queue, State::Leased);
        row.running = count(queue, State::Running);
        row.cancelling = count(queue, State::Cancelling);
        row.dead = letters[q].size();
        row.workers = static_cast<std::uint32_t>(queue.workers.size());
        row.weight = queue.config.weight;
        lines.for_each_lane([&](std::uint32_t, const Lane& lane) {
            if (lane.queue != q || lane.ready == 0 || row.waiting.size() >= kReasonsMax) return;
            std::string reason = reason_of(*this, queue, lane);
            if (!reason.empty() &&
                std::find(row.waiting.begin(), row.waiting.end(), reason) == row.waiting.end())
                row.waiting.push_back(std::move(reason));
        });
        shot.queues.push_back(std::move(row));
    }
    for (const auto& session : sessions) {
        if (session == nullptr) continue;
        const SessionInfo& info = session->info;
        SessionRow row;
        row.key = base::to_string(info.key);
        row.principal = info.principal;
        row.host = info.host;
        row.role = name_of_role(info.role);
        row.pid = info.pid;
        row.connected = session->connected;
        row.paused = session->paused;
        row.live = session->live;
        row.retained = session->retained.size;
        shot.sessions.push_back(std::move(row));
        if (session->worker == nullptr) continue;
        const Worker& worker = *session->worker;
        WorkerRow each;
        each.pool = info.pool;
        each.host = info.host;
        each.pid = info.pid;
        each.slot = info.slot;
        each.birth = info.birth;
        each.threads = worker.threads;
        each.state = state_of(*session);
        each.held = worker.leases.size;
        each.running = worker.running;
        each.lent = worker.lent;
        each.done = worker.done;
        if (worker.leases.head != kNone) {
            const TaskNode& oldest = tasks[worker.leases.head];
            if (const Template* t = template_of(oldest); t != nullptr) each.task = t->def.name;
            each.task_id = base::to_string(id_of(oldest));
        }
        shot.workers.push_back(std::move(each));
    }
    return shot;
}

std::uint64_t Tables::waiting(std::string_view queue) const {
    for (const Queue& each : lines.queues())
        if (each.config.name == queue) return count(each, State::Ready);
    return 0;
}

bool Tables::find_task(const base::TaskId& task, Engine::TaskRow& row) const {
    const auto found = stream_of_id.find(task.stream);
    if (found == stream_of_id.end()) return false;
    const Slot slot = slot_in(streams[found->second], task.seq);
    if (slot == kNone) return false;
    const TaskNode& node = tasks[slot];
    row = {};
    row.task = task;
    row.state = name_of(node.state);
    row.attempt = node.attempt;
    row.crashes = node.crashes;
    row.failures = node.failures;
    row.detached = node.has(kDetached);
    if (const Template* t = template_of(node); t != nullptr) {
        row.name = t->def.name;
        row.queue = lines.queues()[lines.lane(node.lane).queue].config.name;
    }
    row.worker = process_of(node.worker);
    return true;
}

std::string Tables::process_of(SessionIx ix) const {
    if (ix >= sessions.size() || sessions[ix] == nullptr) return {};
    const SessionInfo& info = sessions[ix]->info;
    return info.host + ":" + std::to_string(info.pid);
}

}  // namespace forkmill::engine
