// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "core/base/identity.h"
#include "core/base/log.h"
#include "core/net/listen.h"
#include "core/supervisor/master.h"
#include "core/supervisor/signal_master.h"
#include "core/supervisor/state_dir.h"
#include "core/supervisor/worker_birth.h"

namespace forkmill::broker {

namespace {

constexpr const char* kConfigVariable = "FORKMILL_ROUTER_CONFIG_FD";
constexpr const char* kListenVariable =
    "FORKMILL_ROUTER_LISTEN";  // "fd=endpoint", joined with '\n'.
constexpr const char* kIncarnationVariable = "FORKMILL_ROUTER_INCARNATION";
constexpr const char* kHostKeyVariable = "FORKMILL_ROUTER_HOST_KEY";

int complain(int code, const std::string& text) {
    std::fprintf(stderr, "forkmilld: %s\n", text.c_str());
    return code;
}

std::filesystem::path own_program() {
    std::error_code ignored;
    return std::filesystem::read_symlink("/proc/self/exe", ignored);
}

/// The effective config as the router will read it: the very bytes that were judged good, whatever
/// happens to the file.
base::Result<net::UniqueFd> config_copy(const std::string& dump) {
    net::UniqueFd fd{::memfd_create("forkmill-config", MFD_CLOEXEC)};
    if (!fd || ::write(fd.get(), dump.data(), dump.size()) != static_cast<ssize_t>(dump.size()))
        return base::Failure{"cannot keep a copy of the config", errno};
    return fd;
}

struct Served {
    std::vector<net::Listener> listeners;
    net::UniqueFd config;
    std::string host_key;
};

supervisor::CommandBuilder router_command(const Served& served, const supervisor::StateDir& state) {
    return
        [&served, &state](const supervisor::ChildEnv& child) -> base::Result<supervisor::Command> {
            // A router never starts under an incarnation that another one ever had (semantics.md
            // 1).
            const auto incarnation = state.raise_incarnation();
            if (!incarnation.ok()) return incarnation.failure();
            supervisor::Command command;
            command.argv = {own_program().string(), "--router"};
            command.environment = supervisor::to_environment(child);
            command.environment.push_back(std::string{kConfigVariable} + "=" +
                                          std::to_string(served.config.get()));
            command.environment.push_back(std::string{kIncarnationVariable} + "=" +
                                          std::to_string(incarnation.value()));
            command.environment.push_back(std::string{kHostKeyVariable} + "=" + served.host_key);
            command.inherit.push_back(served.config.get());
            std::string listen;
            for (const net::Listener& listener : served.listeners) {
                listen += std::to_string(listener.fd.get()) + "=" +
                          net::to_string(listener.endpoint) + "\n";
                command.inherit.push_back(listener.fd.get());
            }
            command.environment.push_back(std::string{kListenVariable} + "=" + listen);
            return command;
        };
}

supervisor::CommandBuilder worker_command(const BrokerConfig& config,
                                          const PoolConfig& pool,
                                          const std::string& host_key) {
    return [&config, &pool, host_key](
               const supervisor::ChildEnv& child) -> base::Result<supervisor::Command> {
        supervisor::WorkerBirth birth;
        birth.channel_fd = child.channel_fd;
        birth.scoreboard_fd = child.scoreboard_fd;
        birth.scoreboard_slot = child.slot;
        birth.host_key = host_key;
        birth.endpoint = config.worker_endpoint();
        birth.pool = pool.name;
        birth.pool_index = child.pool;
        birth.slot = child.slot;
        birth.birth = child.generation;
        birth.threads = pool.threads;
        birth.max_tasks_per_child = pool.max_tasks_per_child;
        birth.drain_timeout_ms = static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(pool.drain_timeout).count());
        birth.queues = pool.queues;
        birth.modules = pool.modules;
        birth.module_path = config.module_path;
        supervisor::Command command;
        command.argv = {pool.executable.empty()
                            ? (own_program().parent_path() / "forkmill-worker").string()
                            : pool.executable};
        command.argv.insert(command.argv.end(), pool.arguments.begin(), pool.arguments.end());
        for (const auto& [name, value] : pool.environment)
            command.environment.push_back(name + "=" + value);
        for (std::string& variable : supervisor::to_environment(birth))
            command.environment.push_back(std::move(variable));
        return command;
    };
}

supervisor::MasterSpec master_spec(const BrokerConfig& config,
                                   const Served& served,
                                   const supervisor::StateDir& state) {
    supervisor::MasterSpec spec;
    spec.relay.name = "router";
    spec.relay.command = router_command(served, state);
    spec.shutdown_timeout = config.shutdown_timeout;
    spec.reopen = [] { static_cast<void>(base::log_reopen()); };
    for (const PoolConfig& pool : config.pools) {
        supervisor::PoolSpec slots;
        slots.name = pool.name;
        slots.workers = pool.workers;
        slots.command = worker_command(config, pool, served.host_key);
        slots.timeouts.start = pool.start_timeout;
        slots.timeouts.drain = pool.drain_timeout;
        slots.timeouts.stop = pool.stop_timeout;
        spec.pools.push_back(std::move(slots));
    }
    return spec;
}

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string{} : std::string{value};
}

template <class T>
bool parse_number(const std::string& text, T& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

int run_daemon(const LoadedConfig& loaded) {
    const BrokerConfig& config = loaded.config;
    supervisor::hold_master_signals();
    auto state = supervisor::StateDir::open(config.state_dir);
    if (!state.ok())
        return complain(supervisor::exit_code_for(state.failure()), state.failure().text);
    static_cast<void>(
        base::log_start({.name = "forkmilld", .level = config.log_level, .file = config.log_file}));

    Served served;
    std::vector<std::string> endpoints = config.listen;
    endpoints.push_back(config.worker_endpoint());
    for (const std::string& text : endpoints) {
        auto listener = net::listen_socket(net::parse_endpoint(text).value());
        if (!listener.ok())
            return complain(supervisor::kExitTempFail, text + ": " + listener.failure().text);
        served.listeners.push_back(std::move(listener).value());
    }
    auto copy = config_copy(loaded.dump);
    if (!copy.ok()) return complain(supervisor::kExitTempFail, copy.failure().text);
    served.config = std::move(copy).value();
    served.host_key = base::host_name() + ":" + std::to_string(::getpid());

    int code = 0;
    {
        supervisor::Master master{master_spec(config, served, state.value())};
        code = master.run();
    }
    for (const net::Listener& listener : served.listeners) net::remove_socket_file(listener);
    return code;
}

bool is_router_process() {
    return std::getenv(kConfigVariable) != nullptr;
}

base::Result<RouterStart> router_start_from_environment(const supervisor::ChildEnv& child) {
    RouterStart start;
    start.child = child;
    start.host_key = variable(kHostKeyVariable);
    int config_fd = -1;
    if (!parse_number(variable(kIncarnationVariable), start.incarnation) ||
        !parse_number(variable(kConfigVariable), config_fd))
        return base::Failure{"the router is started by forkmilld's master only"};
    const net::UniqueFd config{config_fd};
    LoadedConfig loaded = load_broker_config({.file = "/proc/self/fd/" + std::to_string(config_fd),
                                              .fragments = {},
                                              .environment = {},
                                              .overrides = {}});
    if (!loaded.faults.empty()) return base::Failure{loaded.faults.front()};
    start.config = std::move(loaded.config);
    const std::string listen = variable(kListenVariable);
    for (std::size_t at = 0; at < listen.size();) {
        const std::size_t end = listen.find('\n', at);
        const std::string line = listen.substr(at, end - at);
        at = end == std::string::npos ? listen.size() : end + 1;
        const std::size_t equals = line.find('=');
        int fd = -1;
        const auto endpoint =
            net::parse_endpoint(equals == std::string::npos ? "" : line.substr(equals + 1));
        if (equals == std::string::npos || !parse_number(line.substr(0, equals), fd) ||
            !endpoint.ok())
            return base::Failure{"unusable listening socket '" + line + "'"};
        start.listeners.push_back({endpoint.value(), net::UniqueFd{fd}});
    }
    for (const char* name :
         {kConfigVariable, kListenVariable, kIncarnationVariable, kHostKeyVariable})
        ::unsetenv(name);
    return start;
}

int signal_daemon(const BrokerConfig& config, const std::string& verb) {
    const base::Status sent =
        supervisor::signal_master(config.state_dir, supervisor::signal_of(verb));
    return sent.ok() ? 0 : complain(69, sent.failure().text);
}

}  // namespace forkmill::broker
