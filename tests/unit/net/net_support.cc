// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/net/net_support.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/support/wait_until.h"

namespace forkmill::net {

base::Message make_message(std::initializer_list<std::string_view> frames) {
    base::Message message;
    bool first = true;
    for (const std::string_view frame : frames) {
        base::Blob blob = base::Blob::copy(base::bytes_of(frame));
        if (std::exchange(first, false)) {
            message.control = std::move(blob);
        } else {
            message.payloads.push_back(std::move(blob));
        }
    }
    return message;
}

base::Message make_sized(std::size_t size, char fill) {
    base::Message message;
    message.control = base::Blob::allocate(size);
    std::memset(message.control.mutable_data(), fill, size);
    return message;
}

std::string text_of_control(const base::Message& message) {
    return std::string{base::text_of(message.control)};
}

ConnId Station::conn() const {
    ConnId last = 0;
    for (const Incoming& event : events) {
        if (event.kind == Incoming::Kind::Connected) last = event.conn;
        if (event.kind != Incoming::Kind::Connected && event.kind != Incoming::Kind::Message &&
            event.conn == last)
            last = 0;
    }
    return last;
}

std::size_t Station::count(Incoming::Kind kind) const {
    return static_cast<std::size_t>(std::count_if(
        events.begin(), events.end(), [kind](const Incoming& e) { return e.kind == kind; }));
}

std::vector<const Incoming*> Station::messages() const {
    std::vector<const Incoming*> found;
    for (const Incoming& event : events) {
        if (event.kind == Incoming::Kind::Message) found.push_back(&event);
    }
    return found;
}

void Desk::add(Station& station) {
    loop_.add(*station.transport, [&station] {
        Incoming in;
        while (station.reading && station.transport->receive(in))
            station.events.push_back(std::move(in));
        station.transport->flush();
    });
}

bool Desk::until(const std::function<bool()>& done) {
    const base::Time end = base::monotonic_now() + test::stretched(std::chrono::seconds{10});
    while (!done()) {
        const base::Time now = base::monotonic_now();
        if (now >= end) return false;
        loop_.run_once(now + std::chrono::milliseconds{5});
    }
    return true;
}

void Desk::settle() {
    for (int idle = 0; idle < 5;) {
        idle = loop_.run_once(base::monotonic_now() + std::chrono::milliseconds{5}) ? 0 : idle + 1;
    }
}

World::World(const std::string& endpoint) {
    const std::string text =
        endpoint.ends_with("://") ? endpoint + (dir_ / "s").string() : endpoint;
    auto parsed = parse_endpoint(text);
    EXPECT_TRUE(parsed.ok()) << text;
    auto made = listen_socket(parsed.value());
    EXPECT_TRUE(made.ok()) << made.failure().text;
    listener_ = std::move(made).value();
}

UniqueFd World::duplicate() const {
    return UniqueFd{::fcntl(listener_.fd.get(), F_DUPFD_CLOEXEC, 0)};
}

UniqueFd World::raw() const {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(listener_.fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    UniqueFd fd{::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    return fd;
}

namespace {

std::unique_ptr<Transport> serve_zmq(const Endpoint& endpoint, UniqueFd fd, Bounds bounds) {
    auto router = ZmqRouter::make({.connections_max = bounds.connections,
                                   .high_water = static_cast<int>(bounds.queued_messages)});
    EXPECT_TRUE(router.ok());
    const auto adopted = router.value()->adopt(endpoint, std::move(fd));
    EXPECT_TRUE(adopted.ok()) << adopted.failure().text;
    return std::move(router).value();
}

std::unique_ptr<Transport> connect_zmq(const Endpoint& endpoint) {
    auto dealer = ZmqDealer::make(endpoint,
                                  {.reconnect_first = std::chrono::milliseconds{5},
                                   .linger = std::chrono::milliseconds{200}});
    EXPECT_TRUE(dealer.ok());
    return std::move(dealer).value();
}

}  // namespace

std::unique_ptr<Transport> UnixWorld::serve(Bounds bounds) const {
    LocalServerOptions options;
    options.limits.queued_messages = bounds.queued_messages;
    options.connections_max = bounds.connections;
    auto server = std::make_unique<LocalServer>(options);
    const auto listening = server->listen(duplicate());
    EXPECT_TRUE(listening.ok());
    return server;
}
std::unique_ptr<Transport> UnixWorld::connect() const {
    return std::make_unique<LocalClient>(endpoint().path);
}

std::unique_ptr<Transport> IpcWorld::serve(Bounds bounds) const {
    return serve_zmq(endpoint(), duplicate(), bounds);
}
std::unique_ptr<Transport> IpcWorld::connect() const {
    return connect_zmq(endpoint());
}

std::unique_ptr<Transport> TcpWorld::serve(Bounds bounds) const {
    return serve_zmq(endpoint(), duplicate(), bounds);
}
std::unique_ptr<Transport> TcpWorld::connect() const {
    return connect_zmq(endpoint());
}

}  // namespace forkmill::net
