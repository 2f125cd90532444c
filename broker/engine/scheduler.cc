// SPDX-License-Identifier: Apache-2.0
// Who runs what. A worker holds a task per free slot, and beyond that at most prefetch_work of
// measured work: tiny tasks flow in batches, long ones never queue behind one another (semantics.md
// 18).
#include <algorithm>

#include "broker/engine/core.h"
#include "core/wire/signatures.h"

namespace forkmill::engine {

namespace {

constexpr std::int64_t kUnknownCost =
    1'000'000;  ///< What an unmeasured task counts as in fairness.
constexpr std::int64_t kLeastEstimate = 500;
constexpr std::int64_t kTinyBatchWork = 1'000'000;  ///< A batch up to this much work is not split.

std::uint32_t slots_of(const Worker& worker) {
    return worker.threads + worker.lent;
}

std::int64_t waiting_work(const Worker& worker) {
    const std::uint32_t slots = slots_of(worker);
    if (worker.leases.size <= slots) return 0;
    return worker.held_work / worker.leases.size * (worker.leases.size - slots);
}

}  // namespace

bool Tables::usable(const Session& session) const {
    const Worker& worker = *session.worker;
    return session.connected && session.writable && !worker.draining && !worker.suspended &&
           !worker.doomed && !worker.gone && !worker.alone && !worker.reserved &&
           !worker.reattaching;
}

/// How many tasks of this kind the worker may take now.
std::uint32_t Tables::room_for(const Worker& worker, const Template& t) const {
    const std::uint32_t slots = slots_of(worker);
    const std::uint32_t free = slots > worker.leases.size ? slots - worker.leases.size : 0;
    if (t.def.at_most_once || t.estimate_ns == 0 || worker.running >= slots) return free;
    const std::int64_t estimate = std::max(t.estimate_ns, kLeastEstimate);
    const std::int64_t budget = config.prefetch_work.count() - waiting_work(worker);
    if (budget < estimate) return free;
    const std::uint32_t waiting = worker.leases.size > slots ? worker.leases.size - slots : 0;
    if (waiting >= config.prefetch_max) return free;
    return free + static_cast<std::uint32_t>(
                      std::min<std::int64_t>(budget / estimate, config.prefetch_max - waiting));
}

bool Tables::has_room(const Worker& worker) const {
    const std::uint32_t slots = slots_of(worker);
    if (slots > worker.leases.size) return true;
    return worker.running < slots && worker.leases.size - slots < config.prefetch_max &&
           waiting_work(worker) + kLeastEstimate <= config.prefetch_work.count();
}

/// Whether the worker offers the task. Asked once per pair.
bool Tables::runs(const Worker& worker, std::uint32_t id) const {
    if (id < worker.runs.size() && worker.runs[id] != 0) return worker.runs[id] == 1;
    const Template& t = templates[id];
    const auto offer = worker.offers.find(t.offer);
    const bool can = offer != worker.offers.end() &&
                     (t.is_bare || t.def.signature.empty() || offer->second.empty() ||
                      wire::signatures_agree(offer->second, t.def.signature));
    if (worker.runs.size() <= id) worker.runs.resize(templates.count(), 0);
    worker.runs[id] = can ? 1 : 2;
    return can;
}

void Tables::feel_hungry(SessionIx ix) {
    Worker& worker = *sessions[ix]->worker;
    if (worker.hungry_at != kNone) return;
    worker.hungry_at = static_cast<std::uint32_t>(hungry.size());
    hungry.push_back(ix);
}

void Tables::not_hungry(Worker& worker) {
    if (worker.hungry_at == kNone) return;
    hungry.erase(hungry.begin() + worker.hungry_at);
    for (std::size_t i = worker.hungry_at; i < hungry.size(); ++i)
        sessions[hungry[i]]->worker->hungry_at = static_cast<std::uint32_t>(i);
    worker.hungry_at = kNone;
}

void Core::schedule(base::Time now, Effects& out) {
    if (!dirty_credit.empty()) refresh_credit(now, out);
    if (suspects > 0) give_suspects(now, out);
    // Free slots first: a task must not queue at a busy worker while another one idles.
    while (lines.ready() > 0 && feed(true, now, out)) {
    }
    while (lines.ready() > 0 && feed(false, now, out)) {
    }
}

/// One round over the workers with room, the one that was active last first. True: something moved.
bool Core::feed(bool free_only, base::Time now, Effects& out) {
    const std::uint64_t before = counters.leased;
    const std::size_t eaters = hungry.size();
    if (eaters == 0) return false;
    const auto share = static_cast<std::uint32_t>((lines.ready() + eaters - 1) / eaters);
    for (std::size_t i = hungry.size(); i-- > 0 && lines.ready() > 0;) {
        Session& session = *sessions[hungry[i]];
        Worker& worker = *session.worker;
        if (!usable(session)) continue;
        if (free_only && worker.leases.size >= slots_of(worker)) continue;
        take(hungry[i], share, now, out);
        if (!has_room(worker)) not_hungry(worker);
    }
    return counters.leased != before;
}

/// Leases up to about `share` tasks to the worker; a batch of tiny ones is not cut thinner.
void Core::take(SessionIx ix, std::uint32_t share, base::Time now, Effects& out) {
    const Worker& worker = *sessions[ix]->worker;
    std::uint32_t taken = 0;
    for (;;) {
        const Lines::Pick pick = lines.pick(worker.queues, [&](const Lane& lane) {
            return runs(worker, lane.template_id) &&
                   room_for(worker, templates[lane.template_id]) > 0;
        });
        if (pick.lane == kNone) return;
        const Lane& lane = lines.lane(pick.lane);
        const Template& t = templates[lane.template_id];
        const std::int64_t cost =
            t.estimate_ns == 0 ? kUnknownCost : std::max(t.estimate_ns, kLeastEstimate);
        std::uint32_t limit = share;
        if (t.estimate_ns != 0)
            limit = std::max(limit,
                             static_cast<std::uint32_t>(
                                 std::min<std::int64_t>(kTinyBatchWork / cost, config.min_batch)));
        if (taken >= limit) return;
        std::uint32_t most = std::min(limit - taken, room_for(worker, t));
        most = static_cast<std::uint32_t>(
            std::min<std::int64_t>(most, pick.work / cost > 0 ? pick.work / cost : 1));
        std::uint32_t given = 0;
        while (given < most && lane.head != kNone) {
            const Slot slot = lane.head;
            const TaskNode& head = tasks[slot];
            if (given > 0 && (head.key > pick.key || (head.key == pick.key && head.seq > pick.seq)))
                break;
            lines.remove(pick.lane, slot);
            lease(ix, slot, now, out);
            ++given;
        }
        lines.charge(pick.lane, std::int64_t{given} * cost);
        taken += given;
    }
}

/// Suspects go to an empty worker; if none is empty, the least busy one is emptied for them.
void Core::give_suspects(base::Time now, Effects& out) {
    for (std::uint32_t q = 0; q < lines.queues().size(); ++q) {
        Queue& queue = lines.queues()[q];
        if (Worker* worker = worker_at(queue.reserved); worker != nullptr) worker->reserved = false;
        queue.reserved = kNone;
        std::uint32_t stuck = kNone;  // The capable worker with the least to do.
        for (std::size_t i = 0; i < queue.suspects.size();) {
            const Slot slot = queue.suspects[i];
            const std::uint32_t id = lines.lane(tasks[slot].lane).template_id;
            std::uint32_t best = kNone;
            for (const SessionIx ix : queue.workers) {
                const Worker& worker = *sessions[ix]->worker;
                if (!usable(*sessions[ix]) || !runs(worker, id)) continue;
                if (best == kNone || worker.leases.size < sessions[best]->worker->leases.size)
                    best = ix;
            }
            if (best != kNone && sessions[best]->worker->leases.size == 0) {
                queue.suspects.erase(queue.suspects.begin() + static_cast<std::ptrdiff_t>(i));
                --suspects;
                lease(best, slot, now, out);
                continue;
            }
            if (stuck == kNone) stuck = best;
            ++i;
        }
        if (queue.suspects.empty() || stuck == kNone) continue;
        queue.reserved = stuck;
        sessions[stuck]->worker->reserved = true;
    }
}

}  // namespace forkmill::engine
