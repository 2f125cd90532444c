// SPDX-License-Identifier: Apache-2.0
#include "worker/host.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/base/identity.h"
#include "core/base/ids.h"
#include "core/base/log.h"
#include "core/supervisor/control.h"
#include "core/supervisor/daemonize.h"
#include "core/supervisor/master.h"
#include "core/supervisor/module_store.h"
#include "core/supervisor/probe.h"
#include "core/supervisor/process_title.h"
#include "core/supervisor/service_manager.h"
#include "core/supervisor/signal_master.h"
#include "core/supervisor/state_dir.h"
#include "core/supervisor/worker_birth.h"

namespace forkmill::worker {

namespace {

constexpr int kUnreachable = 69;

int complain(int code, const std::string& text) {
    std::fprintf(stderr, "forkmill-worker: %s\n", text.c_str());
    return code;
}

std::string level_name(base::LogLevel level) {
    switch (level) {
        case base::LogLevel::Error:
            return "error";
        case base::LogLevel::Warning:
            return "warning";
        case base::LogLevel::Debug:
            return "debug";
        default:
            return "info";
    }
}

/// What uplink and workers have in common.
supervisor::WorkerBirth birth_of(const WorkerConfig& config,
                                 const std::string& host_key,
                                 const supervisor::ChildEnv& child) {
    supervisor::WorkerBirth birth;
    birth.channel_fd = child.channel_fd;
    birth.scoreboard_fd = child.scoreboard_fd;
    birth.scoreboard_slot = child.slot;
    birth.host_key = host_key;
    birth.host = config.host.empty() ? base::host_name() : config.host;
    birth.endpoint = config.broker;
    birth.server_key = config.keys.server_key;
    birth.key_file = config.keys.key_file;
    birth.pool = config.pool;
    birth.pool_index = child.pool;
    birth.slot = child.slot;
    birth.birth = child.generation;
    supervisor::set_rules(birth, config);
    birth.queues = config.queues;
    birth.modules = config.modules;
    birth.module_path = config.module_path;
    birth.log_level = level_name(config.log_level);
    return birth;
}

supervisor::Command command_of(const std::vector<std::string>& argv,
                               const WorkerConfig& config,
                               const supervisor::WorkerBirth& birth) {
    supervisor::Command command;
    command.argv = argv;
    if (birth.role == "worker") command.privileges = config.privileges;
    command.environment = supervisor::environment_of(command.privileges);
    for (const auto& [name, value] : config.environment)
        command.environment.push_back(name + "=" + value);
    for (std::string& variable : supervisor::to_environment(birth))
        command.environment.push_back(std::move(variable));
    return command;
}

/// All that a worker is born with and a live one cannot change.
std::string identity_of(const WorkerConfig& config, const std::string& program) {
    std::string identity =
        supervisor::identity_of_file(program) + "\n" + config.broker + "\n" + config.pool + "\n" +
        config.keys.server_key + "\n" + config.keys.key_file + "\n" + config.host + "\n" +
        std::to_string(config.threads) + " " + std::to_string(config.max_tasks_per_child) + " " +
        std::to_string(config.hung_timeout.count()) + " " +
        std::to_string(config.slowlog_timeout.count()) + " " +
        std::to_string(config.finish_orphaned ? 1 : 0) + " " +
        supervisor::to_text(config.privileges);
    const auto add = [&](const std::string& text) { identity += "\n" + text; };
    for (const std::string& argument : config.arguments) add(argument);
    for (const auto& [name, value] : config.environment) add(name + "=" + value);
    for (const std::string& queue : config.queues) add(queue);
    for (const std::string& module : config.modules) add(supervisor::identity_of_file(module));
    return identity;
}

/// What one run of the host keeps while its configs come and go.
struct Host {
    std::string host_key;
    std::vector<std::string> self;  ///< This program's command line.
    std::string state_dir;
};

supervisor::MasterSpec master_spec(WorkerConfig loaded,
                                   const supervisor::Judged& judged,
                                   const Host& host) {
    if (!judged.modules.empty()) loaded.modules = judged.modules.front().second;
    // A module that cannot be read is the workers' to complain of.
    if (loaded.privileges.is_foreign() && !loaded.state_dir.empty())
        static_cast<void>(supervisor::open_to_users(loaded.state_dir));
    const auto config = std::make_shared<const WorkerConfig>(std::move(loaded));
    supervisor::MasterSpec spec;
    spec.shutdown_timeout = config->shutdown_timeout;
    spec.cgroup = {config->cgroup, supervisor::cgroup_name(host.state_dir)};
    spec.reopen = [] { static_cast<void>(base::log_reopen()); };
    spec.relay.name = "uplink";
    spec.relay.command =
        [config, &host](const supervisor::ChildEnv& child) -> base::Result<supervisor::Command> {
        supervisor::WorkerBirth birth = birth_of(*config, host.host_key, child);
        birth.role = "uplink";
        return command_of(host.self, *config, birth);
    };
    spec.relay.identity = config->broker + "\n" + config->pool + "\n" + config->host + "\n" +
                          config->keys.server_key + "\n" + config->keys.key_file;
    supervisor::PoolSpec pool;
    pool.name = config->pool;
    supervisor::set_rules(pool, *config);
    std::vector<std::string> program = host.self;
    if (!config->executable.empty()) {
        program = {config->executable};
        program.insert(program.end(), config->arguments.begin(), config->arguments.end());
    }
    pool.identity = identity_of(*config, program.front());
    pool.command = [config, &host, program](
                       const supervisor::ChildEnv& child) -> base::Result<supervisor::Command> {
        return command_of(program, *config, birth_of(*config, host.host_key, child));
    };
    spec.pools.push_back(std::move(pool));
    if (!host.state_dir.empty()) spec.control_path = supervisor::control_path(host.state_dir);
    spec.reload.probe = [&host](int fd) -> base::Result<supervisor::Command> {
        return supervisor::probe_command(host.self, fd);
    };
    spec.reload.respec = [&host, name = config->pool](
                             const std::string& result) -> base::Result<supervisor::MasterSpec> {
        auto fresh = supervisor::read_judged(result);
        if (!fresh) return fresh.failure();
        const auto file = supervisor::text_as_file(fresh.value().dump);
        if (!file) return file.failure();
        LoadedWorkerConfig again =
            load_worker_config({.file = "/proc/self/fd/" + std::to_string(file.value().get()),
                                .fragments = {},
                                .environment = {},
                                .overrides = {}});
        if (!again.faults.empty()) return base::Failure{again.faults.front()};
        if (again.config.state_dir != host.state_dir)
            return base::Failure{"state_dir cannot change in a reload"};
        if (again.config.pool != name)
            return base::Failure{"a host's pool cannot change its name in a reload; expected " +
                                 name};
        return master_spec(std::move(again.config), fresh.value(), host);
    };
    return spec;
}

/// Without a state directory there is nowhere to keep modules: workers load them where they are.
base::Result<supervisor::Judged> judge(const LoadedWorkerConfig& loaded, bool lenient) {
    supervisor::Judged judged{loaded.dump, {}};
    const WorkerConfig& config = loaded.config;
    if (config.modules.empty() || config.state_dir.empty()) return judged;
    auto kept =
        supervisor::keep_modules(config.modules, config.module_path, config.state_dir + "/modules");
    if (!kept && !lenient) return kept.failure();
    if (kept) judged.modules.emplace_back(config.pool, std::move(kept).value());
    return judged;
}

int serve(const LoadedWorkerConfig& loaded, supervisor::ReadinessPipe& caller) {
    const WorkerConfig& config = loaded.config;
    supervisor::ServiceManager manager;
    supervisor::hold_master_signals();
    std::optional<supervisor::StateDir> state;
    if (!config.state_dir.empty()) {
        auto opened = supervisor::StateDir::open(config.state_dir);
        if (!opened)
            return complain(supervisor::exit_code_for(opened.failure()), opened.failure().text);
        state.emplace(std::move(opened).value());
    }
    static_cast<void>(base::log_start(
        {.name = "forkmill-worker", .level = config.log_level, .file = config.log_file}));
    std::error_code error;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error)
        return complain(supervisor::kExitSoftware, "cannot find this program: " + error.message());
    Host host;
    host.self = supervisor::original_command_line();
    std::erase(host.self, "--daemon");
    if (host.self.empty())
        return complain(supervisor::kExitSoftware, "cannot read /proc/self/cmdline");
    host.self[0] = program.string();
    host.state_dir = config.state_dir;
    // A master that is started again is another one, even under the same pid.
    host.host_key = base::host_name() + ":" + std::to_string(::getpid()) + ":" +
                    base::hex128(0, base::random_number()).substr(16);
    const auto judged = judge(loaded, true);
    std::vector<std::string> used;
    if (!judged.value().modules.empty()) used = judged.value().modules.front().second;
    if (state) supervisor::sweep_modules(config.state_dir + "/modules", used);
    supervisor::set_process_title("forkmill-worker: master of pool " + config.pool);
    supervisor::Master master{master_spec(config, judged.value(), host), {&manager, &caller}};
    return master.run();
}

}  // namespace

int run_host(const LoadedWorkerConfig& loaded, bool background) {
    if (const auto probe = supervisor::take_probe_fd()) {
        const auto judged = judge(loaded, false);
        if (!judged) return complain(supervisor::kExitConfig, judged.failure().text);
        return supervisor::answer_probe(*probe, judged.value());
    }
    supervisor::ReadinessPipe caller;
    if (background) {
        auto begun = supervisor::daemonize({.name = "forkmill-worker"});
        if (!begun) return complain(supervisor::kExitTempFail, begun.failure().text);
        caller = std::move(begun).value();
    }
    const int code = serve(loaded, caller);
    caller.failed(code);
    return code;
}

bool is_stock_program() {
    std::error_code ignored;
    return std::filesystem::read_symlink("/proc/self/exe", ignored).filename() == "forkmill-worker";
}

int signal_host(const WorkerConfig& config, const std::string& verb) {
    const base::Status sent =
        supervisor::signal_master(config.state_dir, supervisor::signal_of(verb));
    return sent.ok() ? 0 : complain(kUnreachable, sent.failure().text);
}

}  // namespace forkmill::worker
