// SPDX-License-Identifier: Apache-2.0
#include "broker/status.h"

#include <nlohmann/json.hpp>

#include "broker/engine/status.h"

namespace forkmill::broker {

namespace {

using Json = nlohmann::json;

Json queues_of(const engine::Engine::Snapshot& snapshot) {
    Json rows = Json::array();
    for (const engine::QueueRow& queue : snapshot.queues) {
        rows.push_back({{"name", queue.name},
                        {"ready", queue.ready},
                        {"scheduled", queue.scheduled},
                        {"leased", queue.leased},
                        {"running", queue.running},
                        {"cancelling", queue.cancelling},
                        {"dead", queue.dead},
                        {"workers", queue.workers},
                        {"weight", queue.weight},
                        {"waiting", queue.waiting}});
    }
    return rows;
}

Json workers_of(const engine::Engine::Snapshot& snapshot) {
    Json rows = Json::array();
    for (const engine::WorkerRow& worker : snapshot.workers) {
        rows.push_back({{"pool", worker.pool},
                        {"host", worker.host},
                        {"pid", worker.pid},
                        {"slot", worker.slot},
                        {"birth", worker.birth},
                        {"threads", worker.threads},
                        {"state", worker.state},
                        {"held", worker.held},
                        {"running", worker.running},
                        {"lent", worker.lent},
                        {"done", worker.done},
                        {"task", worker.task},
                        {"task_id", worker.task_id}});
    }
    return rows;
}

Json sessions_of(const engine::Engine::Snapshot& snapshot) {
    Json rows = Json::array();
    for (const engine::SessionRow& session : snapshot.sessions) {
        rows.push_back({{"key", session.key},
                        {"principal", session.principal},
                        {"host", session.host},
                        {"role", session.role},
                        {"pid", session.pid},
                        {"connected", session.connected},
                        {"paused", session.paused},
                        {"tasks", session.live},
                        {"results_waiting", session.retained}});
    }
    return rows;
}

/// As many as a reply holds, whatever their texts.
constexpr std::size_t kObjectRowsMax = 1000;
constexpr std::size_t kTypeShown = 128;

Json object_of(const engine::ObjectRow& object) {
    return {{"id", object.id},
            {"name", object.name},
            {"kind", object.kind},
            {"type", object.type.substr(0, kTypeShown)},
            {"size", object.size},
            {"capacity", object.capacity},
            {"bytes", object.bytes},
            {"handles", object.handles},
            {"waiting", object.waiting},
            {"holder", object.holder},
            {"token", object.token},
            {"persistent", object.persistent}};
}

Json objects_of(const engine::Engine& engine, std::string_view prefix, wire::ObjectKind kind) {
    Json rows = Json::array();
    for (const engine::ObjectRow& object : engine.objects(prefix, kObjectRowsMax, kind))
        rows.push_back(object_of(object));
    return rows;
}

Json status_of(const engine::Engine::Snapshot& snapshot,
               const Gateway& gateway,
               const engine::Engine& engine,
               const StatusContext& context,
               base::Time now) {
    const engine::Engine::Counters& counters = engine.counters();
    const GatewayCounters& frames = gateway.counters();
    return {{"version", context.version},
            {"incarnation", context.incarnation},
            {"durability", context.durability},
            {"uptime_seconds", std::chrono::duration<double>(now - context.started).count()},
            {"recovering", snapshot.recovering},
            {"sessions", snapshot.sessions.size()},
            {"tasks", snapshot.tasks},
            {"objects", snapshot.objects},
            {"object_waits", snapshot.object_waits},
            {"object_bytes", snapshot.object_bytes},
            {"memory_used_bytes", snapshot.memory_used},
            {"memory_max_bytes", snapshot.memory_max},
            {"queues", queues_of(snapshot)},
            {"workers", workers_of(snapshot)},
            {"counters",
             {{"submitted", counters.submitted},
              {"accepted", counters.accepted},
              {"refused", counters.refused},
              {"leased", counters.leased},
              {"returned", counters.returned},
              {"retries", counters.retries},
              {"crashes", counters.crashes},
              {"succeeded", counters.settled[0]},
              {"failed", counters.settled[1]},
              {"cancelled", counters.settled[2]},
              {"expired", counters.settled[3]},
              {"dead", counters.settled[4]},
              {"stale_results", counters.stale},
              {"messages_in", frames.messages_in},
              {"messages_out", frames.messages_out},
              {"duplicate_frames", frames.duplicates},
              {"refused_frames", frames.refused_frames}}}};
}

wire::Reply reply_with(std::uint64_t id, Json body) {
    body["api"] = "v1";
    // Names came from peers: bytes that are no UTF-8 are replaced, never thrown for.
    return {id, wire::Code::None, body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

wire::Reply task_reply(const wire::Query& query, const engine::Engine& engine) {
    const auto id = base::parse_task_id(query.argument);
    engine::Engine::TaskRow row;
    if (!id || !engine.find_task(*id, row)) return {query.id, wire::Code::NotFound, "no such task"};
    return reply_with(query.id,
                      {{"task", query.argument},
                       {"name", row.name},
                       {"queue", row.queue},
                       {"state", row.state},
                       {"attempt", row.attempt},
                       {"crashes", row.crashes},
                       {"failures", row.failures},
                       {"worker", row.worker},
                       {"detached", row.detached}});
}

wire::Reply object_reply(const wire::Query& query, const engine::Engine& engine) {
    engine::ObjectRow row;
    if (!engine.find_object(query.argument, row))
        return {query.id, wire::Code::NotFound, "there is no object " + query.argument};
    return reply_with(query.id, object_of(row));
}

}  // namespace

wire::Reply answer_query(const wire::Query& query,
                         const Gateway& gateway,
                         const engine::Engine& engine,
                         const StatusContext& context,
                         base::Time now) {
    if (query.what == "task") return task_reply(query, engine);
    if (query.what == "function") {
        const std::string signature = gateway.signature_of(query.argument);
        if (signature.empty())
            return {query.id, wire::Code::NotFound, "no living worker offers this task"};
        return reply_with(query.id, {{"name", query.argument}, {"signature", signature}});
    }
    if (query.what == "object") return object_reply(query, engine);
    if (query.what == "objects")
        return reply_with(query.id, {{"objects", objects_of(engine, query.argument, {})}});
    if (query.what == "locks")
        return reply_with(query.id,
                          {{"locks", objects_of(engine, query.argument, wire::ObjectKind::Lock)}});
    const engine::Engine::Snapshot snapshot = engine.snapshot(now);
    if (query.what == "status")
        return reply_with(query.id, status_of(snapshot, gateway, engine, context, now));
    if (query.what == "workers") return reply_with(query.id, {{"workers", workers_of(snapshot)}});
    if (query.what == "queues") return reply_with(query.id, {{"queues", queues_of(snapshot)}});
    if (query.what == "sessions")
        return reply_with(query.id, {{"sessions", sessions_of(snapshot)}});
    return {query.id, wire::Code::NotFound, "unknown query"};
}

}  // namespace forkmill::broker
