// SPDX-License-Identifier: Apache-2.0
#include "worker/worker_config.h"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "core/net/endpoint.h"
#include "core/supervisor/cgroup.h"
#include "core/wire/limits.h"
#include "core/wire/names.h"

namespace forkmill::worker {

namespace {

using std::chrono::hours;
using std::chrono::seconds;

void read_broker(base::ConfigSection s, WorkerConfig& config) {
    config.broker = s.text("broker", {.required = true});
    if (config.broker.empty()) return;
    const auto endpoint = net::parse_endpoint(config.broker);
    if (!endpoint.ok()) {
        s.problem(
            "broker",
            endpoint.failure().text + "; expected tcp://host:port, ipc://path or unix://path");
    } else if (endpoint.value().scheme == net::Scheme::Local) {
        s.problem("broker",
                  "local: is a pool inside one program; expected tcp://, ipc:// or unix://");
    } else if (endpoint.value().scheme == net::Scheme::Tcp &&
               (endpoint.value().port == 0 || net::is_wildcard(endpoint.value()))) {
        s.problem("broker", "no place to connect to; expected a host and a port");
    }
}

void read_curve(base::ConfigSection s, WorkerConfig& config) {
    config.keys.server_key = s.text("server_key");
    config.keys.key_file = s.text("key_file");
    std::error_code ignored;
    if (!config.keys.key_file.empty())
        config.keys.key_file = std::filesystem::absolute(config.keys.key_file, ignored).string();
    if (const auto read = net::client_keys(config.keys); !read.ok())
        s.problem(config.keys.server_key.empty() ? "server_key" : "key_file", read.failure().text);
}

}  // namespace

LoadedWorkerConfig load_worker_config(const base::ConfigInput& input) {
    LoadedWorkerConfig loaded;
    WorkerConfig& config = loaded.config;
    base::ConfigReader reader{input};
    base::ConfigSection root = reader.root();
    const auto cpus = std::max(1U, std::thread::hardware_concurrency());
    config.state_dir =
        root.text("state_dir", {.fallback = input.file.empty() ? "" : "forkmill-worker-state"});
    read_broker(root, config);
    read_curve(root.section("security").section("curve"), config);
    config.host = root.text("host", {.max_bytes = 255});
    config.pool = root.text("pool", {.fallback = "default", .max_bytes = wire::kQueueNameMax});
    if (!wire::valid_queue_name(config.pool))
        root.problem("pool", "not a usable name; expected letters, digits, _ . and -");
    static_cast<supervisor::WorkerRules&>(config) =
        supervisor::read_worker_rules(root, cpus, false);
    for (const std::string& queue : config.queues) {
        if (!wire::valid_queue_name(queue))
            root.problem("queues",
                         "'" + queue + "' is no queue's name; expected letters, digits, _ . and -");
    }
    if (config.privileges.is_foreign() && !config.keys.key_file.empty())
        root.problem("user",
                     "workers of another user cannot read security.curve.key_file, which is this "
                     "one's alone; expected no user, or a broker whose endpoint needs no key");
    config.module_path = root.texts("module_path");
    config.shutdown_timeout =
        root.duration("shutdown_timeout", {.max = hours{24}, .fallback = seconds{30}});
    config.cgroup = supervisor::read_cgroup(root);
    base::ConfigSection log = root.section("log");
    config.log_level = log.choice<base::LogLevel>("level",
                                                  {{"error", base::LogLevel::Error},
                                                   {"warning", base::LogLevel::Warning},
                                                   {"info", base::LogLevel::Info},
                                                   {"debug", base::LogLevel::Debug}},
                                                  base::LogLevel::Info);
    config.log_file = log.text("file");
    loaded.faults = reader.finish();
    loaded.exit_code = reader.exit_code();
    loaded.dump = reader.dump();
    return loaded;
}

}  // namespace forkmill::worker
