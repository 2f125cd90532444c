// SPDX-License-Identifier: Apache-2.0
#include "broker/broker_config.h"

#include <algorithm>
#include <filesystem>

#include "core/net/endpoint.h"
#include "core/net/key_file.h"
#include "core/supervisor/cgroup.h"

namespace forkmill::broker {

namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

void read_sessions(base::ConfigSection s, BrokerConfig& config) {
    engine::Config& engine = config.engine;
    engine.sessions_max =
        s.integer<std::uint32_t>("max", {.min = 1, .max = 100'000, .fallback = 4096});
    engine.session_ttl = s.duration("ttl", {.min = seconds{1}, .fallback = wire::kSessionTtl});
    config.ping_after = s.duration(
        "ping_after", {.min = milliseconds{10}, .max = hours{1}, .fallback = wire::kPingAfter});
    config.gone_after = s.duration(
        "gone_after", {.min = milliseconds{30}, .max = hours{4}, .fallback = wire::kGoneAfter});
    engine.client_lost_grace = s.duration("client_lost_grace", {.fallback = seconds{10}});
    engine.on_client_lost = s.choice<engine::OnClientLost>(
        "on_client_lost",
        {{"cancel", engine::OnClientLost::Cancel}, {"keep", engine::OnClientLost::Keep}},
        engine::OnClientLost::Cancel);
    engine.gone_after = config.gone_after;
    if (config.gone_after < 3 * config.ping_after) {
        s.problem("gone_after",
                  "gone_after (" + s.origin("gone_after") + ") is shorter than three ping_after (" +
                      s.origin("ping_after") +
                      "); expected at least 3 × ping_after, or one lost PING loses a peer");
    }
}

void read_limits(base::ConfigSection s, BrokerConfig& config) {
    engine::Config& engine = config.engine;
    constexpr std::uint64_t kMiB = 1ULL << 20;
    engine.memory_max =
        s.size("memory", {.min = 16 * kMiB, .max = 1ULL << 44, .fallback = 1ULL << 30});
    engine.payload_max = s.size(
        "payload",
        {.min = 4096, .max = wire::kPayloadMaxCeiling, .fallback = wire::kPayloadMaxDefault});
    engine.tasks_per_session_max = s.integer<std::uint64_t>(
        "tasks_per_session", {.min = 1, .max = wire::kWindowMax, .fallback = 100'000});
    engine.result_bytes_per_session_max =
        s.size("result_bytes_per_session", {.min = 4096, .fallback = 64 * kMiB});
    engine.result_ttl = s.duration(
        "result_ttl", {.min = seconds{1}, .max = hours{24 * 30}, .fallback = wire::kResultTtl});
    engine.objects_max =
        s.integer<std::uint32_t>("objects", {.min = 0, .max = 10'000'000, .fallback = 65'536});
    engine.object_waits_per_session_max = s.integer<std::uint32_t>(
        "object_waits_per_session", {.min = 1, .max = 1'000'000, .fallback = 1024});
    engine.object_waits_max =
        s.integer<std::uint32_t>("object_waits", {.min = 1, .max = 10'000'000, .fallback = 65'536});
    engine.object_memory_max =
        s.size("object_memory", {.min = 4096, .fallback = engine.memory_max / 2});
    if (engine.object_memory() > engine.memory_max) {
        s.problem("object_memory",
                  "object_memory (" + s.origin("object_memory") + ") is larger than memory (" +
                      s.origin("memory") + "); expected a share of what the broker may hold");
    }
    if (engine.object_waits_per_session_max > engine.object_waits_max) {
        s.problem("object_waits_per_session",
                  "object_waits_per_session (" + s.origin("object_waits_per_session") +
                      ") is larger than object_waits (" + s.origin("object_waits") +
                      "); expected what one session may have of those of all");
    }
    if (engine.payload_max > engine.memory_max) {
        s.problem("payload",
                  "payload (" + s.origin("payload") + ") is larger than memory (" +
                      s.origin("memory") + "); expected a largest body that the broker can hold");
    }
}

engine::QueueConfig read_queue(const std::string& name, base::ConfigSection s) {
    engine::QueueConfig queue;
    queue.name = name;
    queue.weight = s.integer<std::uint32_t>("weight", {.min = 1, .max = 1000, .fallback = 1});
    queue.tasks_max =
        s.integer<std::uint64_t>("tasks", {.min = 1, .max = 100'000'000, .fallback = 1'000'000});
    queue.dead_tasks_max =
        s.integer<std::uint64_t>("dead_tasks", {.min = 0, .max = 10'000'000, .fallback = 10'000});
    queue.dead_bytes_max = s.size("dead_bytes", {.fallback = 64ULL << 20});
    return queue;
}

PoolConfig read_pool(const std::string& name, base::ConfigSection s) {
    PoolConfig pool;
    pool.name = name;
    static_cast<supervisor::WorkerRules&>(pool) = supervisor::read_worker_rules(s, 4, true);
    return pool;
}

/// Both files or none; what they hold is read now, so that a fault ends the start.
void read_curve(base::ConfigSection s, BrokerConfig& config) {
    const auto file = [&](std::string_view key) {
        const std::string named = s.text(key);
        std::error_code ignored;
        return named.empty() ? named : std::filesystem::absolute(named, ignored).string();
    };
    const std::string key_file = file("key_file");
    const std::string authorized_keys = file("authorized_keys");
    if (key_file.empty() && authorized_keys.empty()) return;
    if (key_file.empty() || authorized_keys.empty())
        return s.problem(key_file.empty() ? "key_file" : "authorized_keys",
                         "is missing; expected key_file and authorized_keys together");
    const auto own = net::read_key_file(key_file);
    if (!own.ok()) s.problem("key_file", own.failure().text);
    auto allowed = net::read_authorized_keys(authorized_keys);
    if (!allowed.ok()) s.problem("authorized_keys", allowed.failure().text);
    if (own.ok() && allowed.ok())
        config.curve = {{own.value().secret_key, own.value().public_key},
                        std::move(allowed).value()};
}

void read_listen(base::ConfigSection root, BrokerConfig& config) {
    config.listen = root.texts(
        "listen", {.fallback = {"tcp://127.0.0.1:7700"}, .min_items = 1, .max_items = 64});
    for (const std::string& text : config.listen) {
        const auto endpoint = net::parse_endpoint(text);
        if (!endpoint.ok()) {
            root.problem("listen", "'" + text + "': " + endpoint.failure().text);
        } else if (endpoint.value().scheme == net::Scheme::Local) {
            root.problem(
                "listen",
                "'" + text + "' names an embedded pool; expected tcp://, ipc:// or unix://");
        } else if (endpoint.value().scheme == net::Scheme::Tcp &&
                   !net::is_loopback(endpoint.value()) && !config.curve) {
            root.problem("listen",
                         "'" + text +
                             "' can be reached from other hosts; expected security.curve.key_file "
                             "(made by `forkmill keygen`) and security.curve.authorized_keys, or a "
                             "loopback address");
        }
    }
    for (std::size_t i = 0; i < config.listen.size(); ++i) {
        if (std::count(config.listen.begin(),
                       config.listen.begin() + static_cast<std::ptrdiff_t>(i),
                       config.listen[i]) != 0)
            root.problem("listen",
                         "'" + config.listen[i] + "' is listed twice; expected each endpoint once");
    }
}

}  // namespace

std::string BrokerConfig::worker_endpoint(const PoolConfig& pool) const {
    if (!pool.privileges.is_foreign()) return worker_endpoint();
    // Local sockets let their own user in alone; with ZeroMQ's the file's owner decides.
    return "ipc://" + state_dir + "/workers-" + std::to_string(pool.privileges.account->uid) +
           ".sock";
}

LoadedConfig load_broker_config(const base::ConfigInput& input) {
    LoadedConfig loaded;
    BrokerConfig& config = loaded.config;
    base::ConfigReader reader{input};
    base::ConfigSection root = reader.root();
    config.state_dir = root.text("state_dir", {.fallback = "forkmill-state", .max_bytes = 1024});
    std::error_code ignored;
    config.state_dir =
        std::filesystem::absolute(config.state_dir, ignored).lexically_normal().string();
    const auto check_socket = [&](const std::string& text) {
        if (const auto endpoint = net::parse_endpoint(text); !endpoint.ok())
            root.problem("state_dir",
                         "the workers' socket in it is unusable: " + endpoint.failure().text);
    };
    check_socket(config.worker_endpoint());
    read_curve(root.section("security").section("curve"), config);
    read_listen(root, config);
    config.module_path = root.texts("module_path");
    base::ConfigSection log = root.section("log");
    config.log_level = log.choice<base::LogLevel>("level",
                                                  {{"error", base::LogLevel::Error},
                                                   {"warning", base::LogLevel::Warning},
                                                   {"info", base::LogLevel::Info},
                                                   {"debug", base::LogLevel::Debug}},
                                                  base::LogLevel::Info);
    config.log_file = log.text("file");
    read_sessions(root.section("sessions"), config);
    read_limits(root.section("limits"), config);
    config.shutdown_timeout = root.duration("shutdown_timeout", {.fallback = seconds{30}});
    config.cgroup = supervisor::read_cgroup(root);

    config.engine.queues.clear();
    for (auto& [name, section] : root.named_sections("queues"))
        config.engine.queues.push_back(read_queue(name, section));
    const auto declared = [&](const std::string& name) {
        return std::any_of(config.engine.queues.begin(),
                           config.engine.queues.end(),
                           [&](const auto& queue) { return queue.name == name; });
    };
    if (!declared("default")) config.engine.queues.push_back({});
    for (auto& [name, section] : root.named_sections("pools")) {
        config.pools.push_back(read_pool(name, section));
        config.engine.pools.push_back({name, config.pools.back().queues});
        if (config.pools.back().privileges.is_foreign())
            check_socket(config.worker_endpoint(config.pools.back()));
        for (const std::string& queue : config.pools.back().queues) {
            if (!declared(queue))
                section.problem("queues",
                                "queue '" + queue +
                                    "' is not declared; expected one of the keys under `queues:`");
        }
    }
    if (config.pools.size() > kPoolsMax)
        root.problem("pools",
                     std::to_string(config.pools.size()) + " pools; expected at most " +
                         std::to_string(kPoolsMax));
    loaded.faults = reader.finish();
    loaded.exit_code = reader.exit_code();
    loaded.dump = reader.dump();
    return loaded;
}

}  // namespace forkmill::broker
