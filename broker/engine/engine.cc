// SPDX-License-Identifier: Apache-2.0
// The engine's face: arguments that peers name are checked here, the verbs are Core's.
#include "broker/engine/engine.h"

#include <algorithm>

#include "broker/engine/core.h"
#include "core/base/check.h"

namespace forkmill::engine {

Engine::Engine(Config config, std::uint64_t incarnation, base::Time now, std::uint64_t seed)
    : core_(std::make_unique<Core>(std::move(config), incarnation, now, seed)) {}

Engine::~Engine() = default;

wire::Code Engine::open_session(const SessionInfo& info,
                                base::Time now,
                                Effects& out,
                                SessionIx& index) {
    return core_->open_session(info, now, out, index);
}

void Engine::set_connected(SessionIx session, bool connected, base::Time now, Effects& out) {
    core_->set_connected(session, connected, now, out);
    if (const Session* found = core_->session_at(session); found != nullptr)
        core_->objects.set_session(session, found->connected, found->writable, {now, out});
}

void Engine::set_writable(SessionIx session, bool writable, base::Time now, Effects& out) {
    core_->set_writable(session, writable, now, out);
    if (const Session* found = core_->session_at(session); found != nullptr)
        core_->objects.set_session(session, found->connected, found->writable, {now, out});
}

void Engine::close_session(SessionIx session, base::Time now, Effects& out) {
    core_->close_session(session, now, out);
}

std::uint64_t Engine::credit_records(SessionIx session) const {
    const Session* found = core_->session_at(session);
    return found == nullptr ? 0 : found->flow.records;
}

std::uint64_t Engine::credit_bytes(SessionIx session) const {
    const Session* found = core_->session_at(session);
    return found == nullptr ? 0 : found->flow.bytes;
}

wire::Code Engine::define_template(SessionIx session, const wire::TemplateDef& def) {
    if (core_->session_at(session) == nullptr) return wire::Code::SessionExpired;
    return core_->define_template(session, def);
}

void Engine::submit(SessionIx session,
                    std::uint32_t session_template,
                    std::uint64_t seq,
                    const base::Body& body,
                    const wire::Extras* extras,
                    bool resent,
                    base::Time now,
                    base::WallNanos wall,
                    Effects& out) {
    core_->submit(session, session_template, seq, body, extras, resent, now, wall, out);
}

void Engine::cancel(SessionIx session,
                    std::span<const std::uint64_t> seqs,
                    bool kill,
                    bool all,
                    base::Time now,
                    Effects& out) {
    core_->cancel(session, seqs, kill, all, now, out);
}

void Engine::attach(SessionIx session,
                    std::uint64_t seq,
                    const base::TaskId& task,
                    base::Time now,
                    Effects& out) {
    core_->attach(session, seq, task, now, out);
}

void Engine::release(SessionIx session, std::uint64_t first, std::uint64_t count, base::Time now) {
    core_->release(session, first, count, now);
}

void Engine::set_floor(SessionIx session, std::uint64_t floor) {
    core_->set_floor(session, floor);
}

void Engine::grant_results(SessionIx session,
                           std::uint64_t records,
                           std::uint64_t bytes,
                           base::Time now,
                           Effects& out) {
    Session* found = core_->session_at(session);
    if (found == nullptr) return;
    // The first grant replaces "no limit"; then the larger one counts, for grants may overtake.
    const auto raise = [](std::uint64_t& limit, std::uint64_t granted) {
        limit = limit == UINT64_MAX ? granted : std::max(limit, granted);
    };
    raise(found->results_records_max, records);
    raise(found->results_bytes_max, bytes);
    core_->flush_retained(session, now, out);
}

void Engine::operate(SessionIx session, const wire::ObjectOp& op, base::Time now, Effects& out) {
    if (core_->session_at(session) != nullptr) core_->operate(session, op, now, out);
}

wire::Code Engine::pass(SessionIx from,
                        SessionIx to,
                        const wire::ObjectOp& op,
                        wire::ObjectReply& reply) {
    return core_->objects.pass(from, to, op, reply);
}

void Core::operate(SessionIx ix, const wire::ObjectOp& op, base::Time now, Effects& out) {
    end_attempts(now, out);
    const Session& session = *sessions[ix];
    Step step{now, out};
    if (!objects.knows(ix)) {
        objects.member(ix);
        objects.set_session(ix, session.connected, session.writable, step);
    }
    if (op.has(wire::kOpTask) && holder_check(ix, op.owner) == nullptr)
        return objects.refuse(
            ix, op, wire::Code::StaleLease, "the attempt that asks has ended", step);
    objects.operate(ix, session.info.role == wire::Role::Admin, memory_free(), op, step);
}

void Core::end_attempts(base::Time now, Effects& out) {
    while (!ended_attempts.empty()) {
        const EndedAttempt ended = ended_attempts.back();
        ended_attempts.pop_back();
        if (ended.killed) {
            objects.end_killed(ended.worker, ended.lease, now);
        } else {
            objects.end_attempt(ended.worker, ended.lease, {now, out});
        }
    }
}

void Engine::started(SessionIx worker, Lease lease, base::Time now, Effects&) {
    core_->started(worker, lease, now);
}

Settled Engine::settle(SessionIx worker,
                       Lease lease,
                       wire::Outcome outcome,
                       wire::Code code,
                       bool no_retry,
                       const base::Body& body,
                       base::Duration run,
                       base::Time now,
                       Effects& out) {
    return core_->settle(worker, lease, outcome, code, no_retry, body, run, now, out);
}

void Engine::give_back(SessionIx worker, Lease lease, base::Time now, Effects& out) {
    core_->give_back(worker, lease, now, out);
}

void Engine::partial(SessionIx worker,
                     Lease lease,
                     double fraction,
                     std::string_view note,
                     Effects& out) {
    core_->partial(worker, lease, fraction, note, out);
}

void Engine::blocked(SessionIx worker, Lease lease, bool is_blocked, base::Time, Effects&) {
    core_->blocked(worker, lease, is_blocked);
}

void Engine::held(SessionIx worker, const wire::Held& held, base::Time now, Effects& out) {
    core_->held(worker, held, now, out);
}

void Engine::drain_worker(SessionIx session, base::Time, Effects& out) {
    Worker* worker = core_->worker_at(session);
    if (worker == nullptr || worker->draining) return;
    worker->draining = true;
    Effect& effect = out.list.emplace_back();
    effect.kind = Effect::Kind::DrainWorker;
    effect.session = session;
}

void Engine::suspend_worker(SessionIx session, bool suspended, base::Time, Effects&) {
    Worker* worker = core_->worker_at(session);
    if (worker == nullptr) return;
    worker->suspended = suspended;
    if (!suspended) core_->feel_hungry(session);
}

void Engine::on_death(const DeathInfo& death, base::Time now, Effects& out) {
    core_->on_death(death, now, out);
}

void Engine::set_roster(std::string_view host_key,
                        std::span<const DeathInfo> living,
                        bool complete,
                        base::Time now,
                        Effects& out) {
    core_->set_roster(host_key, living, complete, now, out);
}

void Engine::set_pool_broken(std::string_view pool,
                             bool broken,
                             std::string_view text,
                             base::Time now,
                             Effects& out) {
    core_->set_pool_broken(pool, broken, text, now, out);
}

void Engine::schedule(base::Time now, Effects& out) {
    core_->end_attempts(now, out);
    core_->objects.memory_free = core_->memory_free();
    core_->objects.turn_over({now, out});
    core_->schedule(now, out);
}

void Engine::tick(base::Time now, base::WallNanos, Effects& out) {
    core_->tick(now, out);
    core_->objects.tick({now, out});
}

base::Time Engine::next_timer() const {
    const base::Time next = std::min(core_->timers.next(), core_->objects.next_timer());
    return core_->recovering ? std::min(next, core_->recovery_until) : next;
}

void Engine::collect() {
    for (const auto& [data, size] : core_->graveyard) core_->arena.free(data, size);
    core_->graveyard.clear();
    core_->free_sessions.insert(
        core_->free_sessions.end(), core_->closed_sessions.begin(), core_->closed_sessions.end());
    core_->closed_sessions.clear();
}

void Engine::set_journal(Journal* journal) {
    core_->journal = journal;
    core_->objects.journal = journal;
}

void Engine::committed(std::uint64_t position, base::Time now, Effects& out) {
    core_->committed(position, now, out);
}

void Engine::commit_failed(Effects&) {
    core_->commit_failed = true;
}

Leased Engine::leased(Lease lease) const {
    Leased result;
    const TaskNode* node = core_->tasks.find(slot_of(lease));
    if (node == nullptr || node->generation != generation_of(lease) || !has_worker(node->state) ||
        node->lane == kNone)
        return result;
    result.template_id = core_->lines.lane(node->lane).template_id;
    result.task = core_->id_of(*node);
    result.attempt = node->attempt;
    result.crashes = node->crashes;
    result.body = core_->body_of(*node);
    if (const Side* side = core_->tasks.find_side(*node); side != nullptr) {
        const wire::Extras& extras = side->extras;
        if (extras.deadline != 0 || !extras.trace.empty() || extras.parent != base::TaskId{})
            result.extras = &extras;
        result.dependencies = side->dependencies;
    }
    return result;
}

const wire::TemplateDef& Engine::template_of(std::uint32_t template_id) const {
    FORKMILL_CHECK(core_->templates.known(template_id));
    return core_->templates[template_id].def;
}

bool Engine::find_task(const base::TaskId& task, TaskRow& row) const {
    return core_->find_task(task, row);
}

bool Engine::recovering() const {
    return core_->recovering;
}

const Engine::Counters& Engine::counters() const {
    return core_->counters;
}

Engine::Snapshot Engine::snapshot(base::Time now) const {
    return core_->snapshot(now);
}

std::vector<ObjectRow> Engine::objects(std::string_view prefix,
                                       std::size_t most,
                                       wire::ObjectKind kind) const {
    std::vector<ObjectRow> rows = core_->objects.rows(prefix, most, kind);
    for (ObjectRow& row : rows) row.holder = core_->process_of(row.holder_session);
    return rows;
}

bool Engine::find_object(std::string_view which, ObjectRow& row) const {
    if (!core_->objects.find_row(which, row)) return false;
    row.holder = core_->process_of(row.holder_session);
    return true;
}

std::uint64_t Engine::waiting(std::string_view queue) const {
    return core_->waiting(queue);
}

std::string Engine::check_invariants() const {
    return core_->check();
}

}  // namespace forkmill::engine
