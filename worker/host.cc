// SPDX-License-Identifier: Apache-2.0
#include "worker/host.h"

#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "core/base/identity.h"
#include "core/base/ids.h"
#include "core/base/log.h"
#include "core/supervisor/control.h"
#include "core/supervisor/master.h"
#include "core/supervisor/master_program.h"
#include "core/supervisor/probe.h"
#include "core/supervisor/process_title.h"
#include "core/supervisor/service_manager.h"
#include "core/supervisor/signal_master.h"
#include "core/supervisor/state_dir.h"
#include "core/supervisor/worker_program.h"

namespace forkmill::worker {

namespace {

constexpr const char* kName = "forkmill-worker";

int complain(int code, const std::string& text) {
    return supervisor::complain(kName, code, text);
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
supervisor::WorkerBirth birth_of(const WorkerConfig& config, const std::string& host_key) {
    supervisor::WorkerBirth birth;
    birth.host_key = host_key;
    birth.host = config.host.empty() ? base::host_name() : config.host;
    birth.endpoint = config.broker;
    birth.server_key = config.keys.server_key;
    birth.key_file = config.keys.key_file;
    birth.pool = config.pool;
    birth.module_path = config.module_path;
    birth.log_level = level_name(config.log_level);
    return birth;
}

/// What one run of the host keeps while its configs come and go.
struct Host {
    std::string host_key;
    std::string state_dir;
};

supervisor::MasterSpec master_spec(WorkerConfig loaded,
                                   const supervisor::Judged& judged,
                                   const Host& host) {
    supervisor::take_modules(judged, loaded.pool, loaded);
    // A module that cannot be read is the workers' to complain of.
    if (loaded.privileges.is_foreign() && !loaded.state_dir.empty())
        static_cast<void>(supervisor::open_to_users(loaded.state_dir));
    const WorkerConfig& config = loaded;
    const std::vector<std::string>& self = supervisor::own_command_line();
    supervisor::WorkerProgram program{self, config, birth_of(config, host.host_key)};
    supervisor::MasterSpec spec;
    spec.shutdown_timeout = config.shutdown_timeout;
    spec.cgroup = {config.cgroup, supervisor::cgroup_name(host.state_dir)};
    spec.reopen = [] { static_cast<void>(base::log_reopen()); };
    spec.relay.name = "uplink";
    program.birth.role = "uplink";
    spec.relay.command = supervisor::command_of(program);
    spec.relay.identity = config.broker + "\n" + config.pool + "\n" + config.host + "\n" +
                          config.keys.server_key + "\n" + config.keys.key_file;
    program.birth.role = "worker";
    if (!config.executable.empty()) {
        program.argv = {config.executable};
        program.argv.insert(program.argv.end(), config.arguments.begin(), config.arguments.end());
    }
    spec.pools.push_back(supervisor::pool_of(std::move(program)));
    if (!host.state_dir.empty()) spec.control_path = supervisor::control_path(host.state_dir);
    spec.reload.probe = supervisor::probe_self;
    spec.reload.respec = [&host, name = config.pool](
                             const std::string& result) -> base::Result<supervisor::MasterSpec> {
        auto fresh = supervisor::read_judged(result);
        if (!fresh) return fresh.failure();
        auto again = supervisor::load_judged(fresh.value().dump, load_worker_config);
        if (!again) return again.failure();
        if (again.value().state_dir != host.state_dir)
            return base::Failure{"state_dir cannot change in a reload"};
        if (again.value().pool != name)
            return base::Failure{"a host's pool cannot change its name in a reload; expected " +
                                 name};
        return master_spec(std::move(again).value(), fresh.value(), host);
    };
    return spec;
}

/// Without a state directory there is nowhere to keep modules: workers load them where they are.
base::Result<supervisor::Judged> judge(const LoadedWorkerConfig& loaded, bool lenient) {
    supervisor::Judged judged{loaded.dump, {}};
    const WorkerConfig& config = loaded.config;
    if (config.state_dir.empty()) return judged;
    const base::Status kept = supervisor::judge_modules(
        judged, config.pool, config, config.module_path, config.state_dir);
    if (!kept && !lenient) return kept.failure();
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
    Host host;
    host.state_dir = config.state_dir;
    // A master that is started again is another one, even under the same pid.
    host.host_key = base::host_name() + ":" + std::to_string(::getpid()) + ":" +
                    base::hex128(0, base::random_number()).substr(16);
    const auto judged = judge(loaded, true);
    if (state) supervisor::sweep_modules(config.state_dir, judged.value());
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
    return supervisor::run_master(kName, background, [&](supervisor::ReadinessPipe& caller) {
        return serve(loaded, caller);
    });
}

bool is_stock_program() {
    std::error_code ignored;
    return std::filesystem::read_symlink("/proc/self/exe", ignored).filename() == "forkmill-worker";
}

int signal_host(const WorkerConfig& config, const std::string& verb) {
    return supervisor::send_verb(kName, config.state_dir, verb);
}

}  // namespace forkmill::worker
