// SPDX-License-Identifier: Apache-2.0
#include "broker/router.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <random>

#include "broker/gateway.h"
#include "broker/status.h"
#include "core/base/identity.h"
#include "core/base/log.h"
#include "core/net/local_socket.h"
#include "core/net/poll_loop.h"
#include "core/net/zap.h"
#include "core/net/zmq_router.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/master.h"
#include "core/supervisor/process_title.h"

namespace forkmill::broker {

namespace {

using base::LogLevel;

constexpr int kReadBatch = 256;
constexpr base::Duration kPressureEvery = std::chrono::milliseconds{500};
constexpr base::Duration kTickEvery = std::chrono::seconds{2};
constexpr base::Duration kFarewell = std::chrono::milliseconds{100};
constexpr base::Duration kByeLimit = std::chrono::milliseconds{300};

/// What a listed key is for. Peers that the file system let in may do everything.
bool may_act(const net::AllowList& allowed, std::string_view principal, wire::Role role) {
    if (principal == "local" || principal.starts_with("uid:")) return true;
    const auto key = allowed.find_name(principal);
    if (!key) return false;
    const auto has = [&](std::string_view name) {
        return std::find(key->roles.begin(), key->roles.end(), name) != key->roles.end();
    };
    switch (role) {
        case wire::Role::Worker:
        case wire::Role::Uplink:
            return has("work");
        case wire::Role::Client:
            return has("submit") || has("admin");
        case wire::Role::Admin:
            return has("admin");
    }
    return false;
}

class Router {
  public:
    explicit Router(RouterStart start)
        : start_(std::move(start)),
          channel_(supervisor::OwnedFd{start_.child.channel_fd}),
          engine_(start_.config.engine,
                  start_.incarnation,
                  base::monotonic_now(),
                  std::random_device{}()),
          gateway_(gateway_config(), engine_, base::monotonic_now()) {}

    base::Status open();
    int run();

  private:
    /// A connection that was told why and is to be closed once that had time to arrive.
    struct Farewell {
        base::Time at;
        Handle handle;
    };

    GatewayConfig gateway_config() const;
    base::Status open_curve();
    base::Status open_listeners();
    void watch(std::uint32_t index);
    void read(std::uint32_t index);
    void read_channel();
    void on_notice(const supervisor::Notice& notice);
    void turn();
    void send_out();
    void send_kills();
    void tell_title();
    void tell_pressure(base::Time now);
    void say_goodbye();
    base::Time wake_at() const;

    RouterStart start_;
    supervisor::Channel channel_;
    engine::Engine engine_;
    Gateway gateway_;
    net::PollLoop loop_;
    std::shared_ptr<net::AllowList> allowed_;  ///< Null without security.curve.
    std::unique_ptr<net::Zap> zap_;            ///< Outlives the routers below, which ask it.
    std::vector<std::unique_ptr<net::ZmqRouter>> zmq_;
    std::unique_ptr<net::LocalServer> local_;
    std::vector<net::Transport*> transports_;  ///< All of them, by Handle::transport.
    std::deque<Farewell> farewells_;
    base::Time tick_at_{};      ///< When the master is to hear from us.
    base::Time pressure_at_{};  ///< And of the queues; kNever: no pool's size varies.
    std::vector<std::uint64_t> pressure_told_;
    bool stopping_ = false;
};

GatewayConfig Router::gateway_config() const {
    GatewayConfig config;
    config.incarnation = start_.incarnation;
    config.host_key = start_.host_key;
    config.name = base::host_name() + ":" + std::to_string(::getpid());
    config.ping_after = start_.config.ping_after;
    config.gone_after = start_.config.gone_after;
    config.session_ttl = start_.config.engine.session_ttl;
    config.payload_max = start_.config.engine.payload_max;
    // All that a session may have waiting can be answered at once.
    const std::uint64_t waits = start_.config.engine.object_waits_per_session_max;
    config.answers_max = std::max(config.answers_max, 4 * waits);
    config.handles_max = 2 * start_.config.engine.sessions_max;
    return config;
}

/// Who may connect is settled before the first encrypted socket exists: libzmq lets every key in
/// that nobody checks.
base::Status Router::open_curve() {
    if (!start_.config.curve) return base::Done{};
    auto allowed = std::make_shared<net::AllowList>();
    if (const base::Status set = allowed->replace(start_.config.curve->allowed); !set.ok())
        return set.failure();
    auto zap = net::Zap::start(allowed);
    if (!zap.ok()) return zap.failure();
    if (const base::Status tested = net::curve_self_test(); !tested.ok()) return tested.failure();
    zap_ = std::move(zap).value();
    allowed_ = std::move(allowed);
    gateway_.may_act = [this](std::string_view principal, wire::Role role) {
        return may_act(*allowed_, principal, role);
    };
    return base::Done{};
}

base::Status Router::open_listeners() {
    const std::size_t connections_max = 2 * start_.config.engine.sessions_max;
    // tcp:// is encrypted where there are keys; ipc:// is guarded by its directory's mode.
    for (const bool guarded : {false, true}) {
        net::RouterOptions options{.connections_max = connections_max, .curve = {}};
        if (guarded && !start_.config.curve) break;
        if (guarded) options.curve = start_.config.curve->server;
        auto zmq = net::ZmqRouter::make(options);
        if (!zmq.ok()) return zmq.failure();
        zmq_.push_back(std::move(zmq).value());
        transports_.push_back(zmq_.back().get());
    }
    net::LocalServerOptions local_options;
    local_options.connections_max = connections_max;
    local_ = std::make_unique<net::LocalServer>(local_options);
    transports_.push_back(local_.get());
    for (RouterListener& listener : start_.listeners) {
        const std::string name = net::to_string(listener.endpoint);
        net::ZmqRouter& zmq =
            listener.endpoint.scheme == net::Scheme::Tcp ? *zmq_.back() : *zmq_.front();
        const base::Status adopted = listener.endpoint.scheme == net::Scheme::Unix
                                         ? local_->listen(std::move(listener.fd))
                                         : zmq.adopt(listener.endpoint, std::move(listener.fd));
        if (!adopted.ok())
            return base::Failure{name + ": " + adopted.failure().text,
                                 adopted.failure().error_number};
        base::log_line(LogLevel::Info, "listening", {{"endpoint", name}});
    }
    return base::Done{};
}

base::Status Router::open() {
    if (base::Status curve = open_curve(); !curve.ok()) return curve;
    if (base::Status listening = open_listeners(); !listening.ok()) return listening;
    for (std::uint32_t i = 0; i < transports_.size(); ++i) watch(i);
    loop_.add(channel_.fd(), [this] { read_channel(); });
    gateway_.log = [](std::string_view text) { base::log_line(LogLevel::Debug, text); };
    StatusContext context{"0.1.0", "memory", start_.incarnation, base::monotonic_now()};
    gateway_.answer = [this, context](const wire::Query& query, base::Time now) {
        return answer_query(query, gateway_, engine_, context, now);
    };
    return base::Done{};
}

void Router::watch(std::uint32_t index) {
    loop_.add(*transports_[index], [this, index] { read(index); });
}

void Router::read(std::uint32_t index) {
    net::Transport& transport = *transports_[index];
    net::Incoming incoming;
    for (int i = 0; i < kReadBatch && transport.receive(incoming); ++i) {
        const base::Time now = base::monotonic_now();
        const Handle from{index, incoming.conn};
        switch (incoming.kind) {
            case net::Incoming::Kind::Message:
                gateway_.on_message(from,
                                    std::move(incoming.message),
                                    now,
                                    base::wall_now(),
                                    transport.principal(incoming.conn));
                break;
            case net::Incoming::Kind::Disconnected:
                gateway_.on_disconnected(from, now);
                break;
            case net::Incoming::Kind::Rejected:
                gateway_.on_broken(from, incoming.reason, now);
                break;
            case net::Incoming::Kind::Connected:
                break;
        }
    }
}

void Router::read_channel() {
    while (auto packet = channel_.receive()) on_notice(packet->notice);
    if (channel_.has_backlog()) channel_.flush();
    if (channel_.closed()) {
        base::log_line(LogLevel::Error, "the master is gone");
        ::_exit(1);  // Nobody is left who could use an orderly end; the next master's router
                     // recovers from clients and workers.
    }
}

void Router::on_notice(const supervisor::Notice& notice) {
    switch (notice.verb) {
        case supervisor::Verb::Stop:
            stopping_ = true;
            return;
        case supervisor::Verb::Drain:
            gateway_.drain();
            return;
        case supervisor::Verb::Reopen:
            static_cast<void>(base::log_reopen());
            return;
        default:
            break;
    }
    const auto& pools = start_.pool_names;
    const std::string_view pool =
        notice.pool < pools.size() ? std::string_view{pools[notice.pool]} : std::string_view{};
    if (notice.verb == supervisor::Verb::Died) {
        base::log_line(LogLevel::Info,
                       "worker died",
                       {{"pool", pool},
                        {"slot", notice.slot},
                        {"pid", notice.pid},
                        {"cause", supervisor::name_of(notice.cause)},
                        {"detail", notice.detail},
                        {"leases", notice.lease_count}});
    }
    gateway_.on_notice(start_.host_key, pool, notice, base::monotonic_now());
}

void Router::send_out() {
    std::vector<Outgoing>& out = gateway_.out();
    for (std::size_t i = 0; i < out.size(); ++i) {
        const Outgoing outgoing = std::move(out[i]);
        net::Transport& transport = *transports_[outgoing.to.transport];
        if (!outgoing.message.control.empty()) {
            const net::Sent sent = transport.send(outgoing.to.conn, outgoing.message);
            if (sent == net::Sent::Gone)
                gateway_.on_disconnected(outgoing.to, base::monotonic_now());
            if (sent == net::Sent::Full) {
                // Windows and credits make this impossible for a peer that keeps to them.
                gateway_.on_broken(
                    outgoing.to, "it does not read what it is sent", base::monotonic_now());
                transport.disconnect(outgoing.to.conn);
            }
        }
        if (outgoing.disconnect)
            farewells_.push_back({base::monotonic_now() + kFarewell, outgoing.to});
    }
    out.clear();
    for (net::Transport* transport : transports_) transport->flush();
}

void Router::send_kills() {
    for (const KillOrder& order : gateway_.kills()) {
        supervisor::Notice notice;
        notice.verb = supervisor::Verb::Kill;
        notice.cause = order.cause;
        notice.slot = order.slot;
        notice.pid = order.pid;
        notice.generation = order.birth;
        const auto& pools = start_.pool_names;
        const auto pool = std::find(pools.begin(), pools.end(), order.pool);
        if (pool == pools.end()) continue;
        notice.pool = static_cast<std::uint16_t>(pool - pools.begin());
        channel_.post(notice);
    }
    gateway_.kills().clear();
}

/// Of pools that grow with their queues, when there is something new.
void Router::tell_pressure(base::Time now) {
    pressure_at_ = base::kNever;
    pressure_told_.resize(start_.pool_names.size());
    for (const PoolConfig& pool : start_.config.pools) {
        if (!pool.sizing.varies()) continue;
        pressure_at_ = now + kPressureEvery;
        const auto place = std::find(start_.pool_names.begin(), start_.pool_names.end(), pool.name);
        if (place == start_.pool_names.end()) continue;
        const auto index = static_cast<std::size_t>(place - start_.pool_names.begin());
        std::uint64_t queued = 0;
        for (const std::string& queue : pool.queues) queued += engine_.waiting(queue);
        if (std::exchange(pressure_told_[index], queued) == queued) continue;
        supervisor::Notice notice;
        notice.verb = supervisor::Verb::Pressure;
        notice.pool = static_cast<std::uint16_t>(index);
        notice.detail = static_cast<std::int32_t>(std::min<std::uint64_t>(queued, INT32_MAX));
        channel_.post(notice);
    }
}

/// As ps shows it.
void Router::tell_title() {
    supervisor::set_process_title("forkmilld: router, " + std::to_string(gateway_.peers()) +
                                  " peers");
}

void Router::turn() {
    const base::Time now = base::monotonic_now();
    gateway_.pump(now, base::wall_now());
    send_out();
    send_kills();
    if (now >= tick_at_) {
        tick_at_ = now + kTickEvery;
        channel_.post({.verb = supervisor::Verb::Tick});
        tell_title();
    }
    if (now >= pressure_at_) tell_pressure(now);
    while (!farewells_.empty() && farewells_.front().at <= now) {
        transports_[farewells_.front().handle.transport]->disconnect(
            farewells_.front().handle.conn);
        farewells_.pop_front();
    }
}

base::Time Router::wake_at() const {
    base::Time next = std::min({gateway_.next_timer(), tick_at_, pressure_at_});
    if (!farewells_.empty()) next = std::min(next, farewells_.front().at);
    return next;
}

void Router::say_goodbye() {
    gateway_.say_bye("the broker stops", base::monotonic_now());
    const base::Time until = base::monotonic_now() + kByeLimit;
    turn();
    const auto unsent = [&] {
        return std::any_of(transports_.begin(),
                           transports_.end(),
                           [](const net::Transport* transport) { return transport->unsent(); });
    };
    while (unsent() && base::monotonic_now() < until) {
        for (net::Transport* transport : transports_) transport->flush();
        loop_.run_once(base::monotonic_now() + std::chrono::milliseconds{5});
    }
    for (auto& zmq : zmq_)
        zmq->set_linger(std::chrono::duration_cast<std::chrono::milliseconds>(kByeLimit));
}

int Router::run() {
    supervisor::Notice up;
    up.verb = supervisor::Verb::Up;
    channel_.post(up);
    base::log_line(LogLevel::Info, "router serves", {{"incarnation", start_.incarnation}});
    while (!stopping_) {
        loop_.run_once(wake_at());
        turn();
    }
    say_goodbye();
    base::log_line(LogLevel::Info, "router stops");
    return supervisor::kExitOk;
}

}  // namespace

int run_router(RouterStart start) {
    static_cast<void>(base::log_start(
        {.name = "router", .level = start.config.log_level, .file = start.config.log_file}));
    Router router{std::move(start)};
    const base::Status opened = router.open();
    if (!opened.ok()) {
        base::log_line(LogLevel::Error, "cannot serve", {{"reason", opened.failure().text}});
        return supervisor::kExitConfig;
    }
    return router.run();
}

}  // namespace forkmill::broker
