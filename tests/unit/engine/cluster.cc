// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/engine/cluster.h"

#include <algorithm>

namespace forkmill::engine::test {

Cluster::Cluster(Config config, std::uint64_t incarnation)
    : engine(std::make_unique<Engine>(std::move(config), incarnation, now, 7)) {}

SessionIx Cluster::open(const SessionInfo& info) {
    SessionIx ix = kNoSession;
    const wire::Code code = engine->open_session(info, now, effects, ix);
    EXPECT_EQ(code, wire::Code::None);
    infos_[ix] = info;
    streams_[ix] = info.stream;
    next_seq_[ix] = 1;
    templates_[ix].clear();
    step("open");
    return ix;
}

SessionIx Cluster::client(std::string principal, std::uint64_t stream, wire::Role role) {
    SessionInfo info;
    info.role = role;
    info.key = {1, next_stream_};
    info.stream = stream != 0 ? stream : next_stream_++;
    info.principal = std::move(principal);
    info.host = "client-host";
    const SessionIx ix = open(info);
    if (first_client_ == kNoSession) first_client_ = ix;
    return ix;
}

SessionIx Cluster::worker(WorkerOptions options) {
    SessionInfo info;
    info.role = wire::Role::Worker;
    info.key = {2, next_stream_};
    info.stream = next_stream_++;
    info.principal = "worker";
    info.host = "worker-host";
    info.host_key = "host";
    info.pool = options.pool;
    info.slot = options.slot != 0 ? options.slot : next_slot_++;
    info.birth = options.birth;
    info.pid = static_cast<std::int32_t>(4000 + info.slot);
    info.threads = options.threads;
    info.queues = options.queues;
    info.offers = options.offers;
    info.reattaching = options.reattaching;
    return open(info);
}

std::uint32_t Cluster::template_for(SessionIx session,
                                    const std::string& name,
                                    const SubmitOptions& options) {
    wire::TemplateDef def;
    def.name = name;
    def.signature = options.signature;
    def.queue = options.queue;
    def.priority = options.priority;
    def.timeout_ns = static_cast<std::uint64_t>(options.timeout.count());
    def.delay_ns = static_cast<std::uint64_t>(options.delay.count());
    def.max_retries = options.max_retries;
    def.crash_limit = options.crash_limit;
    def.at_most_once = options.at_most_once;
    def.detached = options.detached;
    const std::string text =
        name + "|" + def.signature + "|" + def.queue + "|" + std::to_string(def.priority) + "|" +
        std::to_string(def.timeout_ns) + "|" + std::to_string(def.delay_ns) + "|" +
        std::to_string(def.max_retries) + "|" + std::to_string(def.crash_limit) + "|" +
        std::to_string(def.at_most_once) + std::to_string(def.detached);
    auto [it, made] = templates_[session].try_emplace(
        text, static_cast<std::uint32_t>(templates_[session].size()));
    def.id = it->second;
    if (made) {
        EXPECT_EQ(engine->define_template(session, def), wire::Code::None);
    }
    return it->second;
}

Task Cluster::submit(std::string name, SubmitOptions options, SessionIx session) {
    if (session == kNoSession) session = first_client_ != kNoSession ? first_client_ : client();
    const std::uint32_t id = template_for(session, name, options);
    Task task;
    task.session = session;
    task.seq = options.seq != 0 ? options.seq : next_seq_[session]++;
    task.id = {streams_[session], task.seq};
    wire::Extras extras;
    if (options.deadline.count() != 0) extras.deadline = wall + options.deadline.count();
    extras.key = options.key;
    for (const auto& [argument, inner] : options.arguments)
        extras.dependencies.push_back({argument, inner.seq});
    const bool plain = extras.deadline == 0 && extras.key.empty() && extras.dependencies.empty();
    engine->submit(session,
                   id,
                   task.seq,
                   options.blob.empty() ? base::Body::of(base::bytes_of(options.body))
                                        : base::Body::of(options.blob),
                   plain ? nullptr : &extras,
                   options.resent,
                   now,
                   wall,
                   effects);
    step("submit");
    return task;
}

std::vector<Task> Cluster::submit_many(int count,
                                       std::string name,
                                       SubmitOptions options,
                                       SessionIx session) {
    std::vector<Task> tasks;
    const bool was = std::exchange(automatic, false);
    for (int i = 0; i < count; ++i) tasks.push_back(submit(name, options, session));
    automatic = was;
    step("submit_many");
    return tasks;
}

Task Cluster::attach(const base::TaskId& id, SessionIx session) {
    Task task;
    task.session = session;
    task.seq = next_seq_[session]++;
    task.id = {streams_[session], task.seq};
    engine->attach(session, task.seq, id, now, effects);
    step("attach");
    return task;
}

void Cluster::cancel(const Task& task, bool kill) {
    engine->cancel(task.session, {&task.seq, 1}, kill, false, now, effects);
    step("cancel");
}

void Cluster::cancel_all(SessionIx session, bool kill) {
    engine->cancel(session, {}, kill, true, now, effects);
    step("cancel_all");
}

void Cluster::release(const Task& task) {
    engine->release(task.session, task.seq, 1, now);
    step("release");
}

void Cluster::floor(SessionIx session, std::uint64_t floor) {
    engine->set_floor(session, floor);
    step("floor");
}

Settled Cluster::finish(const Task& task, std::string value, base::Duration run) {
    return settle(holder(task), lease(task), wire::Outcome::Succeeded, std::move(value), run);
}

Settled Cluster::fail(const Task& task, wire::Code code, bool no_retry) {
    wire::ErrorInfo info;
    info.code = code;
    info.type = "std::runtime_error";
    info.what = "it went wrong";
    const auto packed = wire::pack_error(info);
    const Settled settled = engine->settle(holder(task),
                                           lease(task),
                                           wire::Outcome::Failed,
                                           code,
                                           no_retry,
                                           base::Body::of(base::ByteView{packed}),
                                           1ms,
                                           now,
                                           effects);
    step("fail");
    return settled;
}

Settled Cluster::settle(SessionIx worker,
                        Lease lease,
                        wire::Outcome outcome,
                        std::string body,
                        base::Duration run) {
    const Settled settled = engine->settle(worker,
                                           lease,
                                           outcome,
                                           wire::Code::None,
                                           false,
                                           base::Body::of(base::bytes_of(body)),
                                           run,
                                           now,
                                           effects);
    step("settle");
    return settled;
}

void Cluster::start(const Task& task) {
    engine->started(holder(task), lease(task), now, effects);
    step("start");
}

void Cluster::give_back(const Task& task) {
    engine->give_back(holder(task), lease(task), now, effects);
    step("give_back");
}

void Cluster::block(const Task& task, bool blocked) {
    engine->blocked(holder(task), lease(task), blocked, now, effects);
    step("block");
}

DeathInfo Cluster::death_of(SessionIx worker, std::vector<Lease> running) {
    const SessionInfo& info = infos_[worker];
    DeathInfo death;
    death.host_key = info.host_key;
    death.pool = info.pool;
    death.slot = info.slot;
    death.birth = info.birth;
    death.pid = info.pid;
    death.cause_name = "signal";
    death.detail = 11;
    death.running = std::move(running);
    death.stderr_tail = "Segmentation fault";
    return death;
}

void Cluster::lose(SessionIx worker, std::vector<Task> running) {
    std::vector<Lease> leases;
    for (const Task& task : running) leases.push_back(lease(task));
    tell_death(death_of(worker, leases));
}

void Cluster::tell_death(const DeathInfo& death) {
    engine->on_death(death, now, effects);
    step("death");
}

void Cluster::disconnect(SessionIx session) {
    engine->set_connected(session, false, now, effects);
    step("disconnect");
}

void Cluster::reconnect(SessionIx session) {
    engine->set_connected(session, true, now, effects);
    step("reconnect");
}

void Cluster::close(SessionIx session) {
    engine->close_session(session, now, effects);
    if (session == first_client_) first_client_ = kNoSession;
    step("close");
}

void Cluster::pass(base::Duration time) {
    const base::Time until = now + time;
    while (engine->next_timer() <= until) {
        const base::Time next = std::max(now, engine->next_timer());
        wall += (next - now).count();
        now = next;
        engine->tick(now, wall, effects);
        step("tick");
    }
    wall += (until - now).count();
    now = until;
    step("pass");
}

void Cluster::schedule() {
    engine->schedule(now, effects);
    step("schedule");
}

void Cluster::step(const char* what) {
    if (automatic) engine->schedule(now, effects);
    for (const Effect& effect : effects.list) file(effect);
    effects.clear();
    engine->collect();
    const std::string broken = engine->check_invariants();
    ASSERT_EQ(broken, "") << "after " << what;
}

void Cluster::file(const Effect& effect) {
    using Kind = Effect::Kind;
    filed.push_back({effect, effect.text == 0 ? "" : effects.texts[effect.text - 1]});
    const Task task{effect.session, effect.seq, {streams_[effect.session], effect.seq}};
    switch (effect.kind) {
        case Kind::Assign: {
            const Leased leased = engine->leased(effect.lease);
            if (leased.attempt == 0) return;
            holders_[leased.task] = {effect.session, effect.lease};
            lease_order.push_back({kNoSession, leased.task.seq, leased.task});
            return;
        }
        case Kind::Outcome: {
            const base::Body body =
                effect.extra != 0 ? effects.bodies[effect.extra - 1] : base::Body::of(effect.view);
            EXPECT_EQ(ends.count(task), 0U) << "settled twice: " << task.seq;
            End& end = ends[task];
            end.outcome = effect.outcome;
            end.body = base::text_of(body.view);
            end.position = effect.position;
            if (auto error = wire::unpack_error(body.view); error.ok()) end.error = error.value();
            end_order.push_back(task);
            return;
        }
        case Kind::Accepted:
            for (std::uint64_t i = 0; i < effect.count; ++i)
                accepts.insert(
                    {effect.session, effect.seq + i, {streams_[effect.session], effect.seq + i}});
            return;
        case Kind::Refused:
            refusals[task] = {effect.code, filed.back().text};
            return;
        case Kind::ObjectReply: {
            const wire::ObjectReply& reply = effects.object_replies[effect.extra - 1];
            EXPECT_TRUE(answers.emplace(reply.op, std::pair{effect.session, reply}).second)
                << "operation " << reply.op << " was answered twice";
            answer_order.push_back(reply.op);
            return;
        }
        case Kind::ObjectEvent:
            events.emplace_back(effect.session, effects.object_events[effect.extra - 1]);
            return;
        case Kind::Forgotten:
            for (std::uint64_t i = 0; i < effect.count; ++i)
                forgotten.insert(
                    {effect.session, effect.seq + i, {streams_[effect.session], effect.seq + i}});
            return;
        case Kind::Adopt:
            if (effect.lease != 0)
                for (const auto& [id, holder] : std::map{holders_})
                    if (holder.second == effect.seq) holders_[id] = {effect.session, effect.lease};
            return;
        default:
            return;
    }
}

const End& Cluster::end(const Task& task) const {
    static const End kNothing{static_cast<wire::Outcome>(99), "not ended", {}, 0};
    const auto found = ends.find(task);
    EXPECT_NE(found, ends.end()) << "task " << task.seq << " has not ended";
    return found == ends.end() ? kNothing : found->second;
}

wire::Code Cluster::refused(const Task& task) const {
    const auto found = refusals.find(task);
    return found == refusals.end() ? wire::Code::None : found->second.first;
}

Engine::TaskRow Cluster::row(const Task& task) const {
    Engine::TaskRow found;
    EXPECT_TRUE(engine->find_task(task.id, found)) << "task " << task.seq << " is not known";
    return found;
}

std::string Cluster::state(const Task& task) const {
    Engine::TaskRow found;
    return engine->find_task(task.id, found) ? found.state : "gone";
}

Lease Cluster::lease(const Task& task) const {
    const auto found = holders_.find(task.id);
    return found == holders_.end() ? 0 : found->second.second;
}

SessionIx Cluster::holder(const Task& task) const {
    const auto found = holders_.find(task.id);
    if (found == holders_.end()) return kNoSession;
    if (engine->leased(found->second.second).attempt != 0) return found->second.first;
    const std::string where = state(task);
    if (where != "leased" && where != "running" && where != "cancelling") return kNoSession;
    return found->second.first;
}

std::vector<Task> Cluster::held(SessionIx worker) const {
    std::vector<Task> tasks;
    for (const auto& [id, where] : holders_) {
        const Task task{kNoSession, id.seq, id};  // Its session may be gone.
        if (where.first == worker && holder(task) == worker) tasks.push_back(task);
    }
    return tasks;
}

std::uint64_t Cluster::count(Effect::Kind kind) const {
    return static_cast<std::uint64_t>(std::count_if(
        filed.begin(), filed.end(), [kind](const Filed& f) { return f.effect.kind == kind; }));
}

const Effect& Cluster::last(Effect::Kind kind) const {
    static const Effect kNothing;
    for (auto it = filed.rbegin(); it != filed.rend(); ++it)
        if (it->effect.kind == kind) return it->effect;
    ADD_FAILURE() << "no such effect";
    return kNothing;
}

}  // namespace forkmill::engine::test
