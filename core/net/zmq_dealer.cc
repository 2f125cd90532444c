// SPDX-License-Identifier: Apache-2.0
#include "core/net/zmq_dealer.h"

#include <sys/epoll.h>
#include <zmq.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <random>
#include <utility>

#include "core/base/backoff.h"
#include "core/base/check.h"
#include "core/net/unique_fd.h"
#include "core/net/zmq_socket.h"

namespace forkmill::net {

namespace {

constexpr int kEvents = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
                        ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                        ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_CONNECT_RETRIED;

std::string handshake_failure(const Monitor::Event& event) {
    switch (event.kind) {
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
            return "key rejected";
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return "handshake failed: the server speaks another protocol, or one side wants "
                   "encryption and the other does not";
        default:
            return std::string{
                "handshake failed: the server closed the connection (it may expect another key)"};
    }
}

}  // namespace

struct ZmqDealer::Impl {
    Impl(const Endpoint& where, const DealerOptions& how)
        : endpoint(where),
          options(how),
          backoff({.first = first_wait(), .max = longest_wait()}, std::random_device{}()) {}

    std::chrono::milliseconds first_wait() const {
        if (options.reconnect_first.count() > 0) return options.reconnect_first;
        return std::chrono::milliseconds{endpoint.scheme == Scheme::Tcp ? 100 : 10};
    }
    std::chrono::milliseconds longest_wait() const {
        return std::max(options.reconnect_max, first_wait());
    }

    base::Status open();
    void close();
    void reopen();
    bool read_monitor();
    void take_event(const Monitor::Event& event);

    Endpoint endpoint;
    DealerOptions options;
    std::shared_ptr<Context> context;
    ZmqSocket socket;
    Monitor monitor;
    UniqueFd epoll;
    ConnId next_id = next_transport_prefix();
    ConnId conn = 0;       ///< 0: not connected.
    bool leaving = false;  ///< `conn` ended; what it had sent is still read.
    bool looked = false;   ///< The monitor was read since receive() last said false.
    std::deque<Incoming> told;
    std::string last_error;
    base::Backoff backoff;
    base::Time reopen_at = base::kNever;  ///< libzmq gave up, or a socket could not be made.
};

base::Status ZmqDealer::Impl::open() {
    socket = ZmqSocket{context, ZMQ_DEALER};
    if (!socket.open()) return ZmqSocket::last_failure("cannot make a dealer");
    set_common_options(socket, options.high_water);
    const bool tcp = endpoint.scheme == Scheme::Tcp;
    socket.set(ZMQ_IMMEDIATE, 1);
    socket.set(ZMQ_LINGER, static_cast<int>(options.linger.count()));
    // libzmq adds up to as much again at random, against herds.
    socket.set(ZMQ_RECONNECT_IVL, static_cast<int>(first_wait().count()));
    socket.set(ZMQ_RECONNECT_IVL_MAX, static_cast<int>(longest_wait().count()));
    socket.set(ZMQ_CONNECT_TIMEOUT, static_cast<int>(options.connect_timeout.count()));
    socket.set(ZMQ_HANDSHAKE_IVL, static_cast<int>(options.handshake_timeout.count()));
    if (tcp) {
        // A slow reaper of dead TCP only; liveness is the session layer's (PING).
        socket.set(ZMQ_HEARTBEAT_IVL, 10'000);
        socket.set(ZMQ_HEARTBEAT_TIMEOUT, 60'000);
    }
    if (options.curve.has_value()) {
        socket.set(ZMQ_CURVE_SERVERKEY, options.curve->server_public);
        socket.set(ZMQ_CURVE_PUBLICKEY, options.curve->public_key);
        socket.set(ZMQ_CURVE_SECRETKEY, options.curve->secret_key);
    }
    base::Result<Monitor> watched = Monitor::watch(context, socket, kEvents);
    if (!watched.ok()) return watched.failure();
    monitor = std::move(watched).value();
    for (const int fd : {socket.fd(), monitor.fd()}) {
        epoll_event event{};
        event.events = EPOLLIN;
        FORKMILL_CHECK(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0);
    }
    if (::zmq_connect(socket.raw(), to_string(endpoint).c_str()) != 0)
        return ZmqSocket::last_failure("cannot connect to " + to_string(endpoint));
    return base::Done{};
}

void ZmqDealer::Impl::close() {
    if (!socket.open()) return;
    if (!context->ours()) {
        socket.close();
        return;
    }
    for (const int fd : {socket.fd(), monitor.fd()})
        ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
    // The socket's end of the monitor first: a monitor without a reader blocks its writer.
    ::zmq_socket_monitor(socket.raw(), nullptr, 0);
    socket.close();
    monitor = Monitor{};
}

/// A socket of its own for the next connection: nothing of an older one can turn up in it.
void ZmqDealer::Impl::reopen() {
    close();
    reopen_at = base::kNever;
    const base::Status opened = open();
    if (opened.ok()) return;
    close();
    last_error = opened.failure().text;
    reopen_at = base::monotonic_now() + backoff.next();
}

void ZmqDealer::Impl::take_event(const Monitor::Event& event) {
    switch (event.kind) {
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
            conn = ++next_id;
            last_error.clear();
            backoff.reset();
            reopen_at = base::kNever;
            told.push_back(Incoming{Incoming::Kind::Connected, conn, {}, {}});
            return;
        case ZMQ_EVENT_CONNECT_RETRIED:
            if (last_error.empty()) last_error = "nobody answers on " + to_string(endpoint);
            reopen_at = base::kNever;
            return;
        case ZMQ_EVENT_DISCONNECTED:
            leaving = conn != 0;
            // After a refused key or broken framing libzmq never tries again; whenever it does, it
            // says so at once (CONNECT_RETRIED).
            if (reopen_at == base::kNever) reopen_at = base::monotonic_now() + backoff.next();
            return;
        default: {
            std::string reason = handshake_failure(event);
            if (conn != 0 || reason == last_error) return;
            last_error = std::move(reason);
            told.push_back(Incoming{Incoming::Kind::Rejected, 0, {}, last_error});
        }
    }
}

/// False when the monitor has nothing more to tell. Stops where messages must be read first.
bool ZmqDealer::Impl::read_monitor() {
    Monitor::Event event;
    while (!leaving && told.empty()) {
        if (!monitor.next(event)) return false;
        take_event(event);
    }
    return true;
}

base::Result<std::unique_ptr<ZmqDealer>> ZmqDealer::make(const Endpoint& endpoint,
                                                         const DealerOptions& options) {
    if (endpoint.scheme != Scheme::Ipc && endpoint.scheme != Scheme::Tcp)
        return base::Failure{"ZeroMQ connects to ipc:// and tcp://, not to " + to_string(endpoint)};
    if (endpoint.scheme == Scheme::Tcp && (endpoint.port == 0 || is_wildcard(endpoint)))
        return base::Failure{"cannot connect to " + to_string(endpoint) +
                             ": expected a host and a port"};
    if (options.curve.has_value() &&
        (!is_curve_key(options.curve->server_public) || !is_curve_key(options.curve->public_key) ||
         !is_curve_key(options.curve->secret_key)))
        return base::Failure{"a CURVE key is malformed; expected 40 characters of Z85"};
    auto impl = std::make_unique<Impl>(endpoint, options);
    impl->context = Context::get();
    impl->epoll = UniqueFd{::epoll_create1(EPOLL_CLOEXEC)};
    FORKMILL_CHECK(impl->epoll);
    if (base::Status opened = impl->open(); !opened.ok()) {
        impl->close();
        return opened.failure();
    }
    return std::unique_ptr<ZmqDealer>{new ZmqDealer{std::move(impl)}};
}

ZmqDealer::ZmqDealer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ZmqDealer::~ZmqDealer() {
    impl_->close();
}

int ZmqDealer::fd() const {
    return impl_->epoll.get();
}

bool ZmqDealer::pending() {
    // Sending may have eaten the signal for what came in meanwhile; only ZMQ_EVENTS tells.
    if (!impl_->told.empty() || impl_->leaving) return true;
    return impl_->socket.open() && (impl_->socket.readable() || impl_->monitor.readable());
}

bool ZmqDealer::receive(Incoming& out) {
    Impl& self = *impl_;
    for (;;) {
        if (!self.told.empty()) {
            out = std::move(self.told.front());
            self.told.pop_front();
            return true;
        }
        ZmqSocket::Source source;
        std::string reason;
        const ZmqSocket::Got got = self.conn == 0
                                       ? ZmqSocket::Got::Nothing
                                       : self.socket.receive(out.message, false, source, reason);
        if (got == ZmqSocket::Got::Message) {
            out.kind = Incoming::Kind::Message;
            out.conn = self.conn;
            out.reason.clear();
            return true;
        }
        if (got == ZmqSocket::Got::TooMuch) {
            const ConnId broken = self.conn;
            disconnect(broken);
            self.last_error = reason;
            out = Incoming{Incoming::Kind::Rejected, broken, {}, std::move(reason)};
            return true;
        }
        if (std::exchange(self.leaving, false)) {
            self.last_error = "the server closed the connection";
            out = Incoming{
                Incoming::Kind::Disconnected, std::exchange(self.conn, 0), {}, self.last_error};
            return true;
        }
        if (std::exchange(self.looked, true)) {
            self.looked = false;
            return false;
        }
        if (self.conn == 0 && self.reopen_at <= base::monotonic_now()) self.reopen();
        if (!self.socket.open()) continue;
        // News may stop half-way at an end of connection; the rest is read once that is told.
        if (self.read_monitor()) self.looked = false;
    }
}

Sent ZmqDealer::send(ConnId conn, const base::Message& message) {
    if (impl_->conn == 0 || impl_->conn != conn) return Sent::Gone;
    return impl_->socket.send(message, std::nullopt);
}

void ZmqDealer::disconnect(ConnId conn) {
    if (impl_->conn == 0 || impl_->conn != conn) return;
    impl_->conn = 0;
    impl_->leaving = false;
    impl_->told.clear();
    impl_->last_error = "disconnected";
    impl_->reopen();
}

base::Time ZmqDealer::wake_at() const {
    return impl_->conn == 0 ? impl_->reopen_at : base::kNever;
}

void ZmqDealer::set_linger(std::chrono::milliseconds linger) {
    impl_->options.linger = linger;
    if (impl_->socket.open()) impl_->socket.set(ZMQ_LINGER, static_cast<int>(linger.count()));
}

const std::string& ZmqDealer::last_error() const {
    return impl_->last_error;
}

}  // namespace forkmill::net
