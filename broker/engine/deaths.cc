// SPDX-License-Identifier: Apache-2.0
// Deaths: who is blamed (semantics.md 14b), and what becomes of tasks that no worker can run.
#include <algorithm>

#include "broker/engine/core.h"

namespace forkmill::engine {

namespace {

constexpr std::size_t kDeadBirthsMax = 16'384;
constexpr std::size_t kCrashLogLine = 2048;
constexpr std::size_t kCrashLogMax = wire::kDetailMax;

std::string describe(const DeathInfo& death) {
    std::string text = "the worker process " + std::to_string(death.pid) +
                       " ended: " + (death.cause_name.empty() ? "unknown" : death.cause_name);
    if (death.detail != 0) text += " " + std::to_string(death.detail);
    return text;
}

/// What its supervisor knows of its end beside the cause; empty where nothing is known.
std::string figures(const DeathInfo& death) {
    constexpr std::uint64_t kMebibyte = 1024 * 1024;
    std::string text;
    if (death.core_dumped) text += ", core dumped";
    if (death.rss_peak != 0)
        text += ", peak resident memory " +
                std::to_string((death.rss_peak + kMebibyte - 1) / kMebibyte) + " MiB";
    return text;
}

/// What is reported of a death that has no place in the log of the task's crashes.
std::string last_report(const DeathInfo& death) {
    const std::string known = figures(death);
    if (known.empty()) return death.stderr_tail;
    return describe(death) + known + "\n" + death.stderr_tail;
}

}  // namespace

std::string place_name(std::string_view host_key, std::string_view pool, std::uint32_t slot) {
    std::string name{host_key};
    name += '\n';
    name += pool;
    name += '\n';
    name += std::to_string(slot);
    return name;
}

std::string worker_name(std::string_view host_key,
                        std::string_view pool,
                        std::uint32_t slot,
                        std::uint32_t birth) {
    return place_name(host_key, pool, slot) + '\n' + std::to_string(birth);
}

void Core::on_death(const DeathInfo& death, base::Time now, Effects& out) {
    ++counters.deaths;
    const std::string name = worker_name(death.host_key, death.pool, death.slot, death.birth);
    const std::string place = place_name(death.host_key, death.pool, death.slot);
    if (dead_births.size() < kDeadBirthsMax || dead_births.count(place) != 0) {
        std::uint32_t& newest = dead_births[place];
        newest = std::max(newest, death.birth);
    }
    const auto found = worker_of.find(name);
    if (found != worker_of.end()) {
        const SessionIx ix = found->second;
        lose_leases(ix, death, now, out);
        Effect& effect = out.list.emplace_back();
        effect.kind = Effect::Kind::CloseSession;
        effect.session = ix;
        effect.code = wire::Code::WorkerLost;
        close_session(ix, now, out);
    } else if (!death.expected && !death.host_lost && death.running.size() == 1) {
        // Its session closed first: what it ran waits again, and is blamed while it still does.
        const Slot slot = slot_of(death.running.front());
        TaskNode* node = tasks.find(slot);
        if (node != nullptr && node->generation == generation_of(death.running.front()) &&
            node->state == State::Ready)
            blame(slot, death, kNoSession, now, out);
    }
    accounted_for(name, now, out);
}

/// Takes back all that the dead one held: the running are judged, the others go free of charge.
void Core::lose_leases(SessionIx ix, const DeathInfo& death, base::Time now, Effects& out) {
    Worker& worker = *sessions[ix]->worker;
    std::vector<Lease> running = death.running;
    for (Lease& lease : running)
        for (const auto& [old_lease, new_lease] : worker.adopted)
            if (lease == old_lease) lease = new_lease;
    // A cell is cleared after the result was queued: what settled meanwhile ran to its end.
    std::erase_if(running, [&](Lease lease) { return holder_check(ix, lease) == nullptr; });
    const bool innocent = death.expected || death.host_lost;
    // The last lease first, so that each goes back before the one that was leased after it.
    while (worker.leases.tail != kNone) {
        const Slot slot = worker.leases.tail;
        TaskNode& node = tasks[slot];
        ++worker.lost;
        const bool ran =
            std::find(running.begin(), running.end(), lease_of(slot, node)) != running.end();
        const Template* t = template_of(node);
        if (ran || node.started || death.host_lost) node.set(kBegan);
        // With several running it is not known here whose timeout it was.
        if (node.has(kTimedOut) || (death.timed_out && ran && running.size() == 1)) {
            wire::ErrorInfo info;
            info.code = wire::Code::TaskTimeout;
            info.what = "the task ran into its timeout and its worker was killed";
            info.ran = wire::Ran::Yes;
            info.host = sessions[ix]->info.host;
            info.pid = sessions[ix]->info.pid;
            const base::Body error = error_for(node, std::move(info));
            if (node.state == State::Cancelling) {
                finish(slot, wire::Outcome::Cancelled, error, now, out);
            } else {
                fail_or_retry(slot, false, error, now, out);
            }
        } else if (node.state == State::Cancelling) {
            finish_error(slot,
                         wire::Outcome::Cancelled,
                         wire::Code::TaskCancelled,
                         "cancelled; its worker is gone",
                         ran || node.started ? wire::Ran::Yes : wire::Ran::Maybe,
                         now,
                         out);
        } else if (t != nullptr && t->def.at_most_once) {
            const wire::Ran known = death.host_lost && !node.started ? wire::Ran::Maybe
                                    : node.has(kBegan)               ? wire::Ran::Yes
                                                                     : wire::Ran::No;
            end_lost(slot, wire::Outcome::Dead, known, death, ix, now, out);
        } else if (ran && !innocent && !worker.doomed && running.size() == 1) {
            blame(slot, death, ix, now, out);
        } else if (ran && !innocent && !worker.doomed && t != nullptr && t->def.crash_limit <= 1) {
            end_lost(slot, wire::Outcome::Dead, wire::Ran::Yes, death, ix, now, out);
        } else {
            if (ran && !innocent && !worker.doomed && !node.has(kSuspect)) {
                ++counters.suspects;
                node.set(kSuspect);
            }
            return_lease(slot, now, out);
        }
    }
}

/// It alone was running when its worker died.
void Core::blame(Slot slot,
                 const DeathInfo& death,
                 SessionIx worker,
                 base::Time now,
                 Effects& out) {
    TaskNode& node = tasks[slot];
    ++counters.crashes;
    if (node.crashes < UINT8_MAX) ++node.crashes;
    const Template* t = template_of(node);
    const std::uint32_t limit = t == nullptr ? 3 : std::min(t->def.crash_limit, 255U);
    Side& side = tasks.side_of(node);
    std::string line =
        "attempt " + std::to_string(node.attempt) + ": " + describe(death) + figures(death);
    if (!death.stderr_tail.empty()) {
        // A crash report says most at its head, anything else at its end.
        const std::size_t room = kCrashLogLine - std::min(kCrashLogLine, line.size() + 1);
        const std::string_view tail = death.stderr_tail;
        const bool is_report = tail.find("forkmill: crashed by ") != std::string_view::npos;
        const std::size_t cut = tail.size() - std::min(tail.size(), room);
        line.append("\n").append(is_report ? tail.substr(0, room) : tail.substr(cut));
    }
    if (side.crash_log.size() < kCrashLogMax) side.crash_log += line + "\n";
    if (t != nullptr && (node.crashes >= limit || t->def.at_most_once))
        return end_lost(slot, wire::Outcome::Dead, wire::Ran::Yes, death, worker, now, out);
    if (has_worker(node.state)) {
        ++counters.returned;
        if (node.timer != 0) timers.disarm(node.timer);
        unlease(slot);
        put_back(slot, now);
    }
}

void Core::end_lost(Slot slot,
                    wire::Outcome outcome,
                    wire::Ran ran,
                    const DeathInfo& death,
                    SessionIx worker,
                    base::Time now,
                    Effects& out) {
    const TaskNode& node = tasks[slot];
    wire::ErrorInfo info;
    info.code = wire::Code::WorkerLost;
    info.ran = ran;
    info.what = describe(death);
    if (node.crashes > 1)
        info.what += " (it took " + std::to_string(node.crashes) + " workers along)";
    info.cause = death.cause_name;
    info.number = death.detail;
    info.pid = death.pid;
    if (const Session* session = session_at(worker); session != nullptr)
        info.host = session->info.host;
    const Side* side = tasks.find_side(node);
    info.detail =
        side != nullptr && !side->crash_log.empty() ? side->crash_log : last_report(death);
    if (info.detail.size() > wire::kTextMax) info.detail.resize(wire::kTextMax);
    finish(slot, outcome, error_for(node, std::move(info)), now, out);
}

/// The broken pool that leaves the queue without anybody, if there is one.
const Pool* Tables::breakage_of(std::uint32_t queue) const {
    // Until all have come back, nobody knows who serves it.
    if (recovering || !lines.queues()[queue].workers.empty()) return nullptr;
    const Pool* broken = nullptr;
    for (const auto& [name, pool] : pools) {
        // A pool that never had a worker is taken to serve every queue.
        if (!pool.queues.empty() && pool.queues.count(queue) == 0) continue;
        if (!pool.broken) return nullptr;
        broken = &pool;
    }
    return broken;
}

void Core::set_pool_broken(std::string_view name,
                           bool broken,
                           std::string_view text,
                           base::Time now,
                           Effects& out) {
    Pool& pool = pools[std::string{name}];
    pool.broken = broken;
    pool.text = text;
    for (std::uint32_t q = 0; q < lines.queues().size(); ++q) {
        ++lines.queues()[q].offers_version;
        if (broken && breakage_of(q) != nullptr) judge_waiting(q, now, out);
    }
}

/// The queue's workers changed: waiting tasks that nobody will ever run end now, with the reason.
void Core::judge_waiting(std::uint32_t queue, base::Time now, Effects& out) {
    std::vector<std::uint32_t> condemned;
    lines.for_each_lane([&](std::uint32_t id, const Lane& lane) {
        if (lane.queue == queue) condemned.push_back(id);
    });
    for (const std::uint32_t id : condemned) {
        if (lines.lane(id).stream == kNone) continue;  // It ended with its last task.
        std::string text;
        const wire::Code code = verdict_of(id, text);
        if (code == wire::Code::None) continue;
        std::vector<Slot> waiting;
        for (Slot slot = lines.lane(id).head; slot != kNone; slot = tasks[slot].next)
            waiting.push_back(slot);
        if (code == wire::Code::PoolBroken)
            tasks.for_each([&](Slot slot, const TaskNode& node) {
                if (node.lane == id && node.state == State::Scheduled && !node.has(kAlias) &&
                    !node.has(kParked))
                    waiting.push_back(slot);
            });
        for (const Slot slot : waiting)
            if (tasks[slot].state == State::Ready || tasks[slot].state == State::Scheduled)
                finish_error(slot, wire::Outcome::Failed, code, text, wire::Ran::No, now, out);
    }
}

}  // namespace forkmill::engine
