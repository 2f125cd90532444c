// SPDX-License-Identifier: Apache-2.0
#include "worker/host.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "core/base/identity.h"
#include "core/base/ids.h"
#include "core/base/log.h"
#include "core/supervisor/master.h"
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
    birth.threads = config.threads;
    birth.max_tasks_per_child = config.max_tasks_per_child;
    birth.drain_timeout_ms = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(config.drain_timeout).count());
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
    for (const auto& [name, value] : config.environment)
        command.environment.push_back(name + "=" + value);
    for (std::string& variable : supervisor::to_environment(birth))
        command.environment.push_back(std::move(variable));
    return command;
}

supervisor::MasterSpec master_spec(const WorkerConfig& config,
                                   const std::string& host_key,
                                   const std::vector<std::string>& self) {
    supervisor::MasterSpec spec;
    spec.shutdown_timeout = config.shutdown_timeout;
    spec.reopen = [] { static_cast<void>(base::log_reopen()); };
    spec.relay.name = "uplink";
    spec.relay.command =
        [&config, host_key, self](
            const supervisor::ChildEnv& child) -> base::Result<supervisor::Command> {
        supervisor::WorkerBirth birth = birth_of(config, host_key, child);
        birth.role = "uplink";
        return command_of(self, config, birth);
    };
    supervisor::PoolSpec pool;
    pool.name = config.pool;
    pool.workers = config.workers;
    pool.timeouts.start = config.start_timeout;
    pool.timeouts.drain = config.drain_timeout;
    pool.timeouts.stop = config.stop_timeout;
    std::vector<std::string> program = self;
    if (!config.executable.empty()) {
        program = {config.executable};
        program.insert(program.end(), config.arguments.begin(), config.arguments.end());
    }
    pool.command = [&config, host_key, program](
                       const supervisor::ChildEnv& child) -> base::Result<supervisor::Command> {
        return command_of(program, config, birth_of(config, host_key, child));
    };
    spec.pools.push_back(std::move(pool));
    return spec;
}

/// As this program was started, not as run() was called: a main() that took words off before it
/// called run() takes them off again in the children.
std::vector<std::string> own_command_line() {
    std::ifstream file{"/proc/self/cmdline", std::ios::binary};
    std::vector<std::string> words;
    for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
    return words;
}

}  // namespace

int run_host(const WorkerConfig& config) {
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
    std::vector<std::string> self = own_command_line();
    if (self.empty()) return complain(supervisor::kExitSoftware, "cannot read /proc/self/cmdline");
    self[0] = program.string();
    // A master that is started again is another one, even under the same pid.
    const std::string host_key = base::host_name() + ":" + std::to_string(::getpid()) + ":" +
                                 base::hex128(0, base::random_number()).substr(16);
    supervisor::Master master{master_spec(config, host_key, self)};
    return master.run();
}

int signal_host(const WorkerConfig& config, const std::string& verb) {
    const base::Status sent =
        supervisor::signal_master(config.state_dir, supervisor::signal_of(verb));
    return sent.ok() ? 0 : complain(kUnreachable, sent.failure().text);
}

}  // namespace forkmill::worker
