// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>

#include "core/base/identity.h"
#include "core/base/log.h"
#include "core/net/listen.h"
#include "core/supervisor/control.h"
#include "core/supervisor/fd_text.h"
#include "core/supervisor/handover.h"
#include "core/supervisor/master.h"
#include "core/supervisor/master_program.h"
#include "core/supervisor/module_store.h"
#include "core/supervisor/probe.h"
#include "core/supervisor/process_title.h"
#include "core/supervisor/service_manager.h"
#include "core/supervisor/signal_master.h"
#include "core/supervisor/state_dir.h"
#include "core/supervisor/worker_program.h"

namespace forkmill::broker {

namespace {

constexpr const char* kConfigVariable = "FORKMILL_ROUTER_CONFIG_FD";
constexpr const char* kListenVariable =
    "FORKMILL_ROUTER_LISTEN";  // "fd=endpoint", joined with '\n'.
constexpr const char* kIncarnationVariable = "FORKMILL_ROUTER_INCARNATION";
constexpr const char* kHostKeyVariable = "FORKMILL_ROUTER_HOST_KEY";
constexpr const char* kPoolsVariable = "FORKMILL_ROUTER_POOLS";  // Names by index, with '\n'.

constexpr const char* kName = "forkmilld";

constexpr int kBacklog = 1024;
/// The router of a master that was killed listens a moment longer than it.
constexpr std::chrono::seconds kDying{2};
/// Orphans look for a router once a second at least; until then what they hold is not run again.
constexpr std::chrono::milliseconds kOrphansReturn{1500};

int complain(int code, const std::string& text) {
    return supervisor::complain(kName, code, text);
}

/// A listening socket, whose file goes with it.
struct Socket {
    explicit Socket(net::Listener&& bound) : listener(std::move(bound)) {}
    ~Socket() { net::remove_socket_file(listener); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    net::Listener listener;
};

/// What one version of the config comes to; the commands that start children share it.
struct Served {
    BrokerConfig config;
    std::vector<std::pair<std::string, std::shared_ptr<const Socket>>> sockets;  ///< As configured.
    supervisor::OwnedFd dump;  ///< What the router reads: the very bytes that were judged good.
    std::string host_key;
    std::vector<std::string> pool_names;  ///< By the index that notices carry.
};

using ServedPtr = std::shared_ptr<const Served>;

/// Clients', then the workers', each once.
std::vector<std::string> endpoints_of(const BrokerConfig& config) {
    std::vector<std::string> endpoints = config.listen;
    endpoints.push_back(config.worker_endpoint());
    for (const PoolConfig& pool : config.pools) {
        const std::string endpoint = config.worker_endpoint(pool);
        if (std::find(endpoints.begin(), endpoints.end(), endpoint) == endpoints.end())
            endpoints.push_back(endpoint);
    }
    return endpoints;
}

/// What workers of other users need: the way to their socket and to their modules, and the socket.
base::Status admit_users(const Served& served) {
    for (const PoolConfig& pool : served.config.pools) {
        if (!pool.privileges.is_foreign()) continue;
        const supervisor::Account& account = *pool.privileges.account;
        if (base::Status open = supervisor::open_to_users(served.config.state_dir); !open.ok())
            return open;
        const std::string endpoint = served.config.worker_endpoint(pool);
        const std::string path = net::parse_endpoint(endpoint).value().path;
        if (::lchown(path.c_str(), account.uid, static_cast<gid_t>(-1)) != 0)
            return base::system_failure("cannot give " + path + " to user " + account.name);
        const std::string closed = supervisor::closed_directory(account, served.config.state_dir);
        if (!closed.empty())
            base::log_line(base::LogLevel::Warning,
                           "the pool's user may not pass a directory above state_dir",
                           {{"pool", pool.name}, {"user", account.name}, {"directory", closed}});
    }
    return base::Done{};
}

/// All that is bound, by its name in the config, whichever version of it holds it.
using Sockets = std::map<std::string, std::weak_ptr<const Socket>>;

/// Binds what is not bound yet.
base::Status open_sockets(Served& served, Sockets& bound, base::Duration patience) {
    for (const std::string& text : endpoints_of(served.config)) {
        std::shared_ptr<const Socket> socket = bound[text].lock();
        if (!socket) {
            auto listener =
                net::listen_socket(net::parse_endpoint(text).value(), kBacklog, patience);
            if (!listener.ok()) return base::Failure{text + ": " + listener.failure().text};
            socket = std::make_shared<const Socket>(std::move(listener).value());
            bound[text] = socket;
        }
        served.sockets.emplace_back(text, std::move(socket));
    }
    return base::Done{};
}

/// Workers of a pool that changed its user, or left, still deliver where they always did.
void keep_worker_sockets(Served& served, const Served& before) {
    const std::string workers = served.config.state_dir + "/workers";
    for (const auto& [name, socket] : before.sockets) {
        const auto same = [&name = name](const auto& each) { return each.first == name; };
        if (socket->listener.endpoint.path.starts_with(workers) &&
            std::none_of(served.sockets.begin(), served.sockets.end(), same))
            served.sockets.emplace_back(name, socket);
    }
}

supervisor::CommandBuilder router_command(const ServedPtr& served,
                                          const supervisor::StateDir& state) {
    return [served,
            &state](const supervisor::ChildEnv& child) -> base::Result<supervisor::Command> {
        // A router never starts under an incarnation that another one ever had (semantics.md 1).
        const auto incarnation = state.raise_incarnation();
        if (!incarnation.ok()) return incarnation.failure();
        supervisor::Command command;
        // Not by its name: a router is of its master's build, whatever lies there by now.
        command.argv = {"/proc/self/exe", "--router"};
        command.environment = supervisor::to_environment(child);
        const auto set = [&](const char* name, const std::string& value) {
            command.environment.push_back(std::string{name} + "=" + value);
        };
        set(kConfigVariable, std::to_string(served->dump.get()));
        set(kIncarnationVariable, std::to_string(incarnation.value()));
        set(kHostKeyVariable, served->host_key);
        command.inherit.push_back(served->dump.get());
        std::string listen;
        for (const auto& [name, socket] : served->sockets) {
            const int fd = socket->listener.fd.get();
            listen += std::to_string(fd) + "=" + net::to_string(socket->listener.endpoint) + "\n";
            command.inherit.push_back(fd);
        }
        set(kListenVariable, listen);
        std::string pools;
        for (const std::string& name : served->pool_names) pools += name + "\n";
        set(kPoolsVariable, pools);
        return command;
    };
}

supervisor::WorkerProgram worker_program(const Served& served, const PoolConfig& pool) {
    supervisor::WorkerProgram program;
    program.argv = {pool.executable};
    if (pool.executable.empty()) {
        const std::filesystem::path self{supervisor::own_command_line().front()};
        program.argv = {self.parent_path() / "forkmill-worker"};
    }
    program.argv.insert(program.argv.end(), pool.arguments.begin(), pool.arguments.end());
    program.rules = pool;
    program.birth.host_key = served.host_key;
    program.birth.endpoint = served.config.worker_endpoint(pool);
    program.birth.pool = pool.name;
    program.birth.module_path = served.config.module_path;
    return program;
}

/// What the router reads of the config: all but most of the pools' settings, which are the
/// master's.
std::string router_identity(const Served& served, const std::string& dump) {
    std::string identity;
    bool skipping = false;
    for (std::size_t at = 0; at < dump.size();) {
        const std::size_t end = std::min(dump.find('\n', at), dump.size() - 1) + 1;
        const std::string line = dump.substr(at, end - at);
        at = end;
        if (line[0] != ' ')
            skipping = line.starts_with("pools:") || line.starts_with("shutdown_") ||
                       line.starts_with("cgroup:");
        if (!skipping) identity += line;
    }
    for (const std::string& name : served.pool_names) identity += name + "\n";
    for (const auto& [name, socket] : served.sockets) identity += name + "\n";
    for (const PoolConfig& pool : served.config.pools) {
        if (!pool.sizing.varies()) continue;
        identity += "its queues are watched: " + pool.name;
        for (const std::string& queue : pool.queues) identity += " " + queue;
        identity += "\n";
    }
    return identity + supervisor::identity_of_file("/proc/self/exe");
}

class Daemon {
  public:
    explicit Daemon(supervisor::StateDir state) : state_(std::move(state)) {}

    base::Result<supervisor::MasterSpec> make_spec(BrokerConfig config,
                                                   const supervisor::Judged& judged);

    /// What a Daemon saved before the exec.
    static base::Result<Daemon> take_over(const std::string& saved, const BrokerConfig& config);

  private:
    base::Result<supervisor::MasterSpec> respec(const std::string& result);
    std::string save(std::vector<int>& kept) const;

    supervisor::StateDir state_;
    ServedPtr served_;
    Sockets sockets_;
};

base::Result<supervisor::MasterSpec> Daemon::make_spec(BrokerConfig config,
                                                       const supervisor::Judged& judged) {
    auto served = std::make_shared<Served>();
    served->config = std::move(config);
    for (PoolConfig& pool : served->config.pools) supervisor::take_modules(judged, pool.name, pool);
    if (base::Status open = open_sockets(*served, sockets_, served_ ? base::Duration{} : kDying);
        !open.ok())
        return open.failure();
    if (served_) keep_worker_sockets(*served, *served_);
    if (base::Status admitted = admit_users(*served); !admitted.ok()) return admitted.failure();
    auto dump = supervisor::text_as_file(judged.dump);
    if (!dump.ok()) return dump.failure();
    served->dump = std::move(dump).value();
    served->host_key =
        served_ ? served_->host_key : base::host_name() + ":" + std::to_string(::getpid());
    // An index, once given, stays: workers of a pool that is gone may still be told of.
    if (served_) served->pool_names = served_->pool_names;
    std::vector<std::string>& names = served->pool_names;
    for (const PoolConfig& pool : served->config.pools)
        if (std::find(names.begin(), names.end(), pool.name) == names.end())
            names.push_back(pool.name);
    served_ = served;

    supervisor::MasterSpec spec;
    spec.relay.name = "router";
    spec.relay.command = router_command(served_, state_);
    spec.relay.identity = router_identity(*served_, judged.dump);
    spec.shutdown_timeout = served->config.shutdown_timeout;
    const std::vector<PoolConfig>& pools = served_->config.pools;
    const auto outlives = [](const PoolConfig& pool) { return pool.finish_orphaned; };
    if (state_.was_left_behind() && std::any_of(pools.begin(), pools.end(), outlives))
        spec.orphans_return = kOrphansReturn;
    spec.cgroup = {served->config.cgroup, supervisor::cgroup_name(state_.path())};
    spec.reopen = [] { static_cast<void>(base::log_reopen()); };
    for (const PoolConfig& pool : served_->config.pools)
        spec.pools.push_back(supervisor::pool_of(worker_program(*served_, pool)));
    spec.reload.probe = supervisor::probe_self;
    spec.reload.respec = [this](const std::string& result) { return respec(result); };
    spec.control_path = supervisor::control_path(state_.path());
    spec.upgrade.argv = supervisor::own_command_line();
    spec.upgrade.save = [this](std::vector<int>& kept) { return save(kept); };
    return spec;
}

std::string Daemon::save(std::vector<int>& kept) const {
    supervisor::PieceWriter out;
    out.text(state_.path());
    kept.push_back(state_.lock_fd());
    out.number(state_.lock_fd());
    out.text(served_->host_key);
    out.number(static_cast<std::int64_t>(served_->pool_names.size()));
    for (const std::string& name : served_->pool_names) out.text(name);
    std::vector<std::pair<std::string, std::shared_ptr<const Socket>>> open;
    for (const auto& [name, held] : sockets_)
        if (auto socket = held.lock()) open.emplace_back(name, std::move(socket));
    out.number(static_cast<std::int64_t>(open.size()));
    for (const auto& [name, socket] : open) {
        const net::Listener& listener = socket->listener;
        out.text(name);
        out.text(net::to_string(listener.endpoint));
        kept.push_back(listener.fd.get());
        out.number(listener.fd.get());
        if (listener.lock) kept.push_back(listener.lock.get());
        out.number(listener.lock ? listener.lock.get() : -1);
    }
    return out.take();
}

/// Whether take_over() and make_spec() would succeed, as far as that shows without what is handed
/// over: in a rehearsal, whose descriptors are not those of the master.
base::Status rehearse(const std::string& saved, const BrokerConfig& config) {
    supervisor::PieceReader in{saved};
    if (const std::string path = in.text(); path != config.state_dir)
        return base::Failure{"state_dir cannot change in an upgrade; expected " + path};
    in.number();
    in.text();
    for (std::int64_t pools = in.number(); pools > 0 && in.good(); --pools) in.text();
    std::vector<std::string> bound;
    for (std::int64_t sockets = in.number(); sockets > 0 && in.good(); --sockets) {
        bound.push_back(in.text());
        in.text();
        in.number();
        in.number();
    }
    for (const std::string& text : endpoints_of(config)) {
        if (std::find(bound.begin(), bound.end(), text) != bound.end()) continue;
        auto listener = net::listen_socket(net::parse_endpoint(text).value());
        if (!listener.ok()) return base::Failure{text + ": " + listener.failure().text};
        const Socket removed{std::move(listener).value()};
    }
    if (!in.good()) return base::Failure{"what the running master hands over cannot be read"};
    return base::Done{};
}

base::Result<Daemon> Daemon::take_over(const std::string& saved, const BrokerConfig& config) {
    constexpr std::int64_t kMany = 100'000;
    supervisor::PieceReader in{saved};
    const std::string path = in.text();
    const auto lock = static_cast<int>(in.number());
    auto served = std::make_shared<Served>();
    served->host_key = in.text();
    const std::int64_t pools = in.number();
    for (std::int64_t i = 0; i < std::min(pools, kMany) && in.good(); ++i)
        served->pool_names.push_back(in.text());
    const std::int64_t sockets = in.number();
    for (std::int64_t i = 0; i < std::min(sockets, kMany) && in.good(); ++i) {
        std::string name = in.text();
        const auto endpoint = net::parse_endpoint(in.text());
        if (!endpoint.ok()) return endpoint.failure();
        net::Listener listener;
        listener.endpoint = endpoint.value();
        listener.fd = net::UniqueFd{static_cast<int>(in.number())};
        listener.lock = net::UniqueFd{static_cast<int>(in.number())};
        for (const int fd : {listener.fd.get(), listener.lock.get()})
            if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
        served->sockets.emplace_back(std::move(name),
                                     std::make_shared<const Socket>(std::move(listener)));
    }
    if (!in.good() || path != config.state_dir)
        return base::Failure{"state_dir cannot change in an upgrade; expected " + path};
    Daemon daemon{supervisor::StateDir::adopt(path, supervisor::OwnedFd{lock})};
    for (const auto& [name, socket] : served->sockets) daemon.sockets_[name] = socket;
    daemon.served_ = std::move(served);
    return daemon;
}

base::Result<supervisor::MasterSpec> Daemon::respec(const std::string& result) {
    const auto judged = supervisor::read_judged(result);
    if (!judged.ok()) return judged.failure();
    auto config = supervisor::load_judged(judged.value().dump, load_broker_config);
    if (!config.ok()) return config.failure();
    if (config.value().state_dir != state_.path())
        return base::Failure{"state_dir cannot change in a reload; expected " + state_.path()};
    return make_spec(std::move(config).value(), judged.value());
}

/// `lenient`: a module that cannot be kept is left to the workers, who say what is wrong with it.
base::Result<supervisor::Judged> judge(const LoadedConfig& loaded, bool lenient) {
    supervisor::Judged judged{loaded.dump, {}};
    const BrokerConfig& config = loaded.config;
    for (const PoolConfig& pool : config.pools) {
        const base::Status kept = supervisor::judge_modules(
            judged, pool.name, pool, config.module_path, config.state_dir);
        if (!kept.ok() && !lenient) return kept.failure();
    }
    return judged;
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

base::Result<Daemon> open_daemon(const BrokerConfig& config, const supervisor::SavedMaster* saved) {
    if (saved != nullptr) return Daemon::take_over(saved->owner, config);
    auto state = supervisor::StateDir::open(config.state_dir);
    if (!state.ok()) return state.failure();
    return Daemon{std::move(state).value()};
}

int serve(const LoadedConfig& loaded,
          const DaemonWanted& wanted,
          const supervisor::SavedMaster* saved,
          supervisor::ReadinessPipe& caller) {
    const BrokerConfig& config = loaded.config;
    supervisor::ServiceManager manager;
    supervisor::set_process_title("forkmilld: master " + wanted.file);
    supervisor::hold_master_signals();
    base::Result<Daemon> daemon = open_daemon(config, saved);
    if (!daemon.ok())
        return complain(supervisor::exit_code_for(daemon.failure()), daemon.failure().text);
    static_cast<void>(
        base::log_start({.name = "forkmilld", .level = config.log_level, .file = config.log_file}));
    const auto judged = judge(loaded, true);
    if (saved == nullptr) supervisor::sweep_modules(config.state_dir, judged.value());
    auto spec = daemon.value().make_spec(config, judged.value());
    if (!spec.ok()) return complain(supervisor::kExitTempFail, spec.failure().text);
    supervisor::Master master{std::move(spec).value(), {&manager, &caller}};
    return saved == nullptr ? master.run() : master.run(*saved);
}

}  // namespace

int run_daemon(const LoadedConfig& loaded, const DaemonWanted& wanted) {
    std::optional<supervisor::SavedMaster> saved;
    if (const auto handover = supervisor::take_handover_fd()) {
        auto read = supervisor::read_handover(*handover);
        if (!read.ok()) return complain(supervisor::kExitConfig, read.failure().text);
        saved = std::move(read).value();
    }
    if (const auto probe = supervisor::take_probe_fd()) {
        const auto judged = judge(loaded, false);
        if (!judged.ok()) return complain(supervisor::kExitConfig, judged.failure().text);
        if (saved)
            if (const base::Status good = rehearse(saved->owner, loaded.config); !good.ok())
                return complain(supervisor::kExitConfig, good.failure().text);
        return supervisor::answer_probe(*probe, judged.value());
    }
    // A program that was executed in place is in the background already.
    return supervisor::run_master(
        kName, wanted.background && !saved, [&](supervisor::ReadinessPipe& caller) {
            return serve(loaded, wanted, saved ? &*saved : nullptr, caller);
        });
}

bool is_router_process() {
    return std::getenv(kConfigVariable) != nullptr;
}

base::Result<RouterStart> router_start_from_environment(const supervisor::ChildEnv& child) {
    RouterStart start;
    start.child = child;
    start.host_key = variable(kHostKeyVariable);
    const net::UniqueFd config{supervisor::take_fd(kConfigVariable).value_or(-1)};
    if (!parse_number(variable(kIncarnationVariable), start.incarnation) || !config)
        return base::Failure{"the router is started by forkmilld's master only"};
    LoadedConfig loaded = load_broker_config(supervisor::config_in(config.get()));
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
    const std::string pools = variable(kPoolsVariable);
    for (std::size_t at = 0; at < pools.size();) {
        const std::size_t end = pools.find('\n', at);
        start.pool_names.push_back(pools.substr(at, end - at));
        at = end + 1;
    }
    for (const char* name :
         {kListenVariable, kIncarnationVariable, kHostKeyVariable, kPoolsVariable})
        ::unsetenv(name);
    return start;
}

int signal_daemon(const BrokerConfig& config, const std::string& verb) {
    return supervisor::send_verb(kName, config.state_dir, verb);
}

}  // namespace forkmill::broker
