// SPDX-License-Identifier: Apache-2.0
#include "core/net/zmq_router.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <zmq.h>

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "core/net/listen.h"
#include "core/net/zap.h"
#include "core/net/zmq_socket.h"

namespace forkmill::net {

namespace {

/// Sockets, monitors, eventfds, files: what a router opens besides connections.
constexpr std::size_t kOtherFds = 256;
/// ZMQ_ZAP_ENFORCE_DOMAIN: libzmq 4.3.4 has it, its stable header does not name it.
constexpr int kZapEnforceDomain = 93;
constexpr ConnId kIdBits = 0xffff'ffff;
/// How often, and when at first, a closing socket is looked at again (each wait is five times the
/// one before): libzmq tells of a disconnect just before it closes the socket.
constexpr int kChecks = 5;
constexpr base::Duration kFirstCheck = std::chrono::milliseconds{1};

/// A number that no other socket of this host ever has; 0 when fd is no open socket.
std::uint64_t cookie_of(int fd) {
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (fd < 0 || ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return 0;
    return cookie;
}

}  // namespace

struct ZmqRouter::Impl {
    /// libzmq closes and re-uses fds in its own thread, so an fd alone proves nothing: with the
    /// cookie it is known whether it still is this connection's socket.
    struct Conn {
        int fd = -1;
        std::uint64_t cookie = 0;
        bool forgotten = false;
        std::string principal;
        bool alive() const { return cookie != 0 && cookie_of(fd) == cookie; }
    };
    struct Suspect {
        std::uint32_t id = 0;
        int checks = 0;
        base::Time next{};
    };

    ConnId conn_of(std::uint32_t id) const { return prefix | id; }
    Conn* find(ConnId conn) {
        if ((conn & ~kIdBits) != prefix) return nullptr;
        const auto it = conns.find(static_cast<std::uint32_t>(conn & kIdBits));
        return it == conns.end() || it->second.forgotten ? nullptr : &it->second;
    }
    bool read_message(Incoming& out);
    Conn& meet(const ZmqSocket::Source& source);
    void read_monitor();
    void suspect(int fd, base::Time now);
    void check_suspects(base::Time now);
    void forget(std::uint32_t id);
    void cut(const Conn& conn);

    RouterOptions options;
    std::shared_ptr<Context> context;
    ZmqSocket socket;
    Monitor monitor;
    UniqueFd epoll;
    ConnId prefix = next_transport_prefix();
    std::unordered_map<std::uint32_t, Conn> conns;  ///< By routing id: all that sent something.
    std::unordered_map<int, std::vector<std::uint32_t>> by_fd;  ///< Usually one each.
    std::vector<Suspect> suspects;
    std::deque<Incoming> told;
    std::size_t open = 0;  ///< Accepted and not yet disconnected.
    bool looked = false;   ///< The monitor was read since receive() last said false.
    RouterCounters counters;
};

ZmqRouter::Impl::Conn& ZmqRouter::Impl::meet(const ZmqSocket::Source& source) {
    Conn& conn = conns[source.routing_id];
    conn.fd = source.fd;
    conn.cookie = cookie_of(source.fd);
    conn.principal = source.user;
    by_fd[source.fd].push_back(source.routing_id);
    // Its socket was closed before its first message was read: nobody will tell of it again.
    if (conn.cookie == 0) suspects.push_back({source.routing_id, 0, base::Time{}});
    told.push_back(Incoming{Incoming::Kind::Connected, conn_of(source.routing_id), {}, {}});
    return conn;
}

/// Puts what is next in `told`, or a message straight into `out`; false when there is nothing.
bool ZmqRouter::Impl::read_message(Incoming& out) {
    for (;;) {
        ZmqSocket::Source source;
        std::string reason;
        const ZmqSocket::Got got = socket.receive(out.message, true, source, reason);
        if (got == ZmqSocket::Got::Nothing) return false;
        const auto it = conns.find(source.routing_id);
        if (it != conns.end() && it->second.forgotten) continue;
        const bool is_new = it == conns.end();
        Conn& conn = is_new ? meet(source) : it->second;
        if (got == ZmqSocket::Got::Message) {
            out.kind = Incoming::Kind::Message;
        } else {
            ++counters.rejected;
            out.kind = Incoming::Kind::Rejected;
            cut(conn);
            conn.forgotten = true;
        }
        out.conn = conn_of(source.routing_id);
        out.reason = std::move(reason);
        if (!is_new) return true;
        told.push_back(std::move(out));  // After its Connected.
        out = std::move(told.front());
        told.pop_front();
        return true;
    }
}

void ZmqRouter::Impl::cut(const Conn& conn) {
    // libzmq cannot drop one peer of a ROUTER, but it sees its socket end.
    if (conn.alive()) ::shutdown(conn.fd, SHUT_RDWR);
}

void ZmqRouter::Impl::suspect(int fd, base::Time now) {
    const auto it = by_fd.find(fd);
    if (it == by_fd.end()) return;
    for (const std::uint32_t id : it->second) suspects.push_back({id, 0, now});
}

void ZmqRouter::Impl::read_monitor() {
    const base::Time now = base::monotonic_now();
    Monitor::Event event;
    while (monitor.next(event)) {
        switch (event.kind) {
            case ZMQ_EVENT_ACCEPTED:
                ++counters.accepted;
                if (++open > options.connections_max) {
                    ++counters.over_limit;
                    ::shutdown(static_cast<int>(event.value), SHUT_RDWR);
                }
                break;
            case ZMQ_EVENT_DISCONNECTED:
                if (open > 0) --open;
                suspect(static_cast<int>(event.value), now);
                break;
            case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
                ++counters.keys_refused;
                break;
            case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
            case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                ++counters.handshakes_failed;
                break;
            default:
                break;
        }
    }
}

void ZmqRouter::Impl::forget(std::uint32_t id) {
    const auto it = conns.find(id);
    if (it == conns.end()) return;
    std::vector<std::uint32_t>& same = by_fd[it->second.fd];
    std::erase(same, id);
    if (same.empty()) by_fd.erase(it->second.fd);
    conns.erase(it);
}

/// REQUIRES: all that the suspects sent before they ended has been received.
void ZmqRouter::Impl::check_suspects(base::Time now) {
    std::erase_if(suspects, [&](Suspect& suspect) {
        if (suspect.next > now) return false;
        const auto it = conns.find(suspect.id);
        if (it == conns.end()) return true;
        if (it->second.alive()) {
            // Either it is about to be closed, or the news was of an older socket of that number.
            suspect.next = now + kFirstCheck * (1 << (2 * suspect.checks));
            return ++suspect.checks > kChecks;
        }
        if (!it->second.forgotten)
            told.push_back(Incoming{Incoming::Kind::Disconnected,
                                    conn_of(suspect.id),
                                    {},
                                    "the peer closed the connection"});
        forget(suspect.id);
        return true;
    });
}

base::Result<std::unique_ptr<ZmqRouter>> ZmqRouter::make(const RouterOptions& options) {
    if (base::Status enough = reserve_fds(options.connections_max + kOtherFds); !enough.ok())
        return enough.failure();
    auto impl = std::make_unique<Impl>();
    impl->options = options;
    impl->context = Context::get();
    if (options.curve.has_value() && !impl->context->has_zap().load())
        return base::Failure{"CURVE without an allow-list would let every key in"};
    impl->socket = ZmqSocket{impl->context, ZMQ_ROUTER};
    if (!impl->socket.open()) return ZmqSocket::last_failure("cannot make a router");
    ZmqSocket& socket = impl->socket;
    set_common_options(socket, options.high_water);
    socket.set(ZMQ_ROUTER_MANDATORY, 1);
    socket.set(ZMQ_ROUTER_HANDOVER, 0);
    socket.set(ZMQ_LINGER, 0);
    socket.set(ZMQ_BACKLOG, 1024);
    socket.set(ZMQ_HANDSHAKE_IVL, 5000);
    if (options.curve.has_value()) {
        if (!is_curve_key(options.curve->secret_key) || !is_curve_key(options.curve->public_key))
            return base::Failure{"the server's CURVE key is malformed"};
        socket.set(ZMQ_CURVE_SERVER, 1);
        socket.set(ZMQ_CURVE_SECRETKEY, options.curve->secret_key);
        socket.set(ZMQ_CURVE_PUBLICKEY, options.curve->public_key);
        socket.set(ZMQ_ZAP_DOMAIN, kGuardedDomain);
        socket.set(kZapEnforceDomain, 1);
    } else {
        // A socket with a domain refuses ZMTP 1 and 2, whose first bytes would pass for messages
        // and abort libzmq 4.3.4 when they come while it closes. Nothing else changes.
        socket.set(ZMQ_ZAP_DOMAIN, kOpenDomain);
    }
    base::Result<Monitor> monitor = Monitor::watch(
        impl->context,
        socket,
        ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
            ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL);
    if (!monitor.ok()) return monitor.failure();
    impl->monitor = std::move(monitor).value();
    impl->epoll = UniqueFd{::epoll_create1(EPOLL_CLOEXEC)};
    FORKMILL_CHECK(impl->epoll);
    for (const int fd : {socket.fd(), impl->monitor.fd()}) {
        epoll_event event{};
        event.events = EPOLLIN;
        FORKMILL_CHECK(::epoll_ctl(impl->epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0);
    }
    return std::unique_ptr<ZmqRouter>{new ZmqRouter{std::move(impl)}};
}

ZmqRouter::ZmqRouter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ZmqRouter::~ZmqRouter() {
    // Its end of the monitor must go before ours: a monitor without a reader blocks its writer.
    if (impl_->context->ours()) ::zmq_socket_monitor(impl_->socket.raw(), nullptr, 0);
}

base::Result<Endpoint> ZmqRouter::bind(const Endpoint& endpoint) {
    if (endpoint.scheme != Scheme::Ipc && endpoint.scheme != Scheme::Tcp)
        return base::Failure{"a ZeroMQ router serves ipc:// and tcp://, not " +
                             to_string(endpoint)};
    impl_->socket.set(ZMQ_USE_FD, -1);
    if (::zmq_bind(impl_->socket.raw(), to_string(endpoint).c_str()) != 0)
        return ZmqSocket::last_failure("cannot bind " + to_string(endpoint));
    Endpoint bound = endpoint;
    if (bound.scheme == Scheme::Tcp && bound.port == 0) {
        const auto actual = parse_endpoint(impl_->socket.last_endpoint());
        if (actual.ok()) bound.port = actual.value().port;
    }
    return bound;
}

base::Status ZmqRouter::adopt(const Endpoint& endpoint, UniqueFd listening) {
    if (endpoint.scheme != Scheme::Ipc && endpoint.scheme != Scheme::Tcp)
        return base::Failure{"a ZeroMQ router serves ipc:// and tcp://, not " +
                             to_string(endpoint)};
    if (base::Status fit = check_listening_fd(listening.get()); !fit.ok()) return fit;
    impl_->socket.set(ZMQ_USE_FD, listening.get());
    const int rc = ::zmq_bind(impl_->socket.raw(), to_string(endpoint).c_str());
    const base::Failure failure =
        rc == 0 ? base::Failure{} : ZmqSocket::last_failure("cannot adopt " + to_string(endpoint));
    impl_->socket.set(ZMQ_USE_FD, -1);
    if (rc != 0) return failure;
    listening.release();  // libzmq closes it.
    return base::Done{};
}

int ZmqRouter::fd() const {
    return impl_->epoll.get();
}

bool ZmqRouter::pending() {
    // Sending may have eaten the signal for what came in meanwhile; only ZMQ_EVENTS tells.
    return !impl_->told.empty() || impl_->socket.readable() || impl_->monitor.readable();
}

bool ZmqRouter::receive(Incoming& out) {
    for (;;) {
        if (!impl_->told.empty()) {
            out = std::move(impl_->told.front());
            impl_->told.pop_front();
            return true;
        }
        if (impl_->read_message(out)) return true;
        if (!impl_->suspects.empty()) {
            impl_->check_suspects(base::monotonic_now());
            if (!impl_->told.empty()) continue;
        }
        if (std::exchange(impl_->looked, !impl_->looked)) return false;
        // What the monitor tells of takes effect after one more look at the messages.
        impl_->read_monitor();
    }
}

Sent ZmqRouter::send(ConnId conn, const base::Message& message) {
    if (impl_->find(conn) == nullptr) return Sent::Gone;
    return impl_->socket.send(message, static_cast<std::uint32_t>(conn & kIdBits));
}

void ZmqRouter::disconnect(ConnId conn) {
    Impl::Conn* known = impl_->find(conn);
    if (known == nullptr) return;
    known->forgotten = true;
    std::erase_if(impl_->told, [conn](const Incoming& event) { return event.conn == conn; });
    impl_->cut(*known);
}

void ZmqRouter::disconnect_principal(std::string_view name) {
    for (const auto& [id, conn] : impl_->conns) {
        if (!name.empty() && conn.principal == name) impl_->cut(conn);
    }
}

std::string_view ZmqRouter::principal(ConnId conn) const {
    const Impl::Conn* known = impl_->find(conn);
    return known == nullptr ? std::string_view{} : std::string_view{known->principal};
}

base::Time ZmqRouter::wake_at() const {
    base::Time first = base::kNever;
    for (const Impl::Suspect& suspect : impl_->suspects) first = std::min(first, suspect.next);
    return first;
}

void ZmqRouter::set_linger(std::chrono::milliseconds linger) {
    impl_->socket.set(ZMQ_LINGER, static_cast<int>(linger.count()));
}

std::size_t ZmqRouter::connections() const {
    return impl_->open;
}

const RouterCounters& ZmqRouter::counters() const {
    return impl_->counters;
}

}  // namespace forkmill::net
