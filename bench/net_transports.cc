// SPDX-License-Identifier: Apache-2.0
// Echo of whole messages between two threads, through each transport and through a bare socket
// pair: what the layer costs. Usage: bench_net_transports [messages] [message bytes] [in flight]
// [spin us]
#include <sys/socket.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/net/client_transport.h"
#include "core/net/listen.h"
#include "core/net/local_socket.h"
#include "core/net/poll_loop.h"
#include "core/net/zmq_router.h"

namespace forkmill::net {
namespace {

struct Load {
    std::size_t messages = 100'000;
    std::size_t bytes = 12'000;
    std::size_t window = 16;
    base::Duration spin = base::kSpin;
};

double cpu_seconds() {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

void report(const char* name, const Load& load, const std::function<void()>& run) {
    const base::Time begin = base::monotonic_now();
    const double cpu = cpu_seconds();
    run();
    const double wall = std::chrono::duration<double>(base::monotonic_now() - begin).count();
    const auto count = static_cast<double>(load.messages);
    std::printf("%-22s %9.0f echoes/s %8.2f us each %8.2f us CPU %8.0f MB/s one way\n",
                name,
                count / wall,
                wall / count * 1e6,
                (cpu_seconds() - cpu) / count * 1e6,
                count * static_cast<double>(load.bytes) / wall / 1e6);
}

void serve(Transport& transport, const Load& load, const std::atomic<bool>& stop) {
    PollLoop loop{load.spin};
    Incoming in;
    loop.add(transport, [&] {
        while (transport.receive(in)) {
            if (in.kind == Incoming::Kind::Message) transport.send(in.conn, in.message);
            in.message = base::Message{};
        }
        transport.flush();
    });
    while (!stop.load(std::memory_order_relaxed)) {
        loop.run_once(base::monotonic_now() + std::chrono::milliseconds{100});
    }
}

void ask(Transport& transport, const Load& load) {
    PollLoop loop{load.spin};
    Incoming in;
    ConnId conn = 0;
    std::size_t sent = 0;
    std::size_t done = 0;
    base::Message message;
    message.control = base::Blob::allocate(load.bytes);
    std::memset(message.control.mutable_data(), 'b', load.bytes);
    loop.add(transport, [&] {
        while (transport.receive(in)) {
            if (in.kind == Incoming::Kind::Connected) conn = in.conn;
            if (in.kind == Incoming::Kind::Message) ++done;
            in.message = base::Message{};
        }
        while (conn != 0 && sent < load.messages && sent - done < load.window) {
            if (transport.send(conn, message) != Sent::Ok) break;
            ++sent;
        }
        transport.flush();
    });
    while (done < load.messages) loop.run_once(base::monotonic_now() + std::chrono::seconds{1});
}

void run_pair(const char* name,
              const Load& load,
              const std::function<std::unique_ptr<Transport>()>& server,
              const std::function<std::unique_ptr<Transport>()>& client) {
    std::atomic<bool> stop{false};
    auto serving = server();
    std::thread thread{[&] { serve(*serving, load, stop); }};
    {
        auto asking = client();
        Load warm = load;
        warm.messages = load.messages / 10 + 1;
        ask(*asking, warm);
    }
    auto asking = client();
    report(name, load, [&] { ask(*asking, load); });
    stop = true;
    thread.join();
}

/// A blocking echo of `window` messages at a time, with no framing at all.
void run_raw(const Load& load) {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) std::exit(1);
    const std::size_t batch = load.bytes * load.window;
    const auto move = [](int fd, std::vector<char>& bytes, bool out) {
        for (std::size_t at = 0; at < bytes.size();) {
            const ssize_t n = out ? ::send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL)
                                  : ::recv(fd, bytes.data() + at, bytes.size() - at, 0);
            if (n <= 0) return false;
            at += static_cast<std::size_t>(n);
        }
        return true;
    };
    std::thread thread{[&] {
        std::vector<char> bytes(batch);
        while (move(fds[1], bytes, false) && move(fds[1], bytes, true)) {
        }
    }};
    std::vector<char> bytes(batch);
    report("raw socket pair", load, [&] {
        for (std::size_t i = 0; i < load.messages; i += load.window) {
            move(fds[0], bytes, true);
            move(fds[0], bytes, false);
        }
    });
    ::shutdown(fds[0], SHUT_RDWR);
    thread.join();
    ::close(fds[0]);
    ::close(fds[1]);
}

template <class T>
T must(base::Result<T> result) {
    if (!result.ok()) {
        std::fprintf(stderr, "%s\n", result.failure().text.c_str());
        std::exit(1);
    }
    return std::move(result).value();
}

void run_endpoint(const char* name, const Load& load, const std::string& text) {
    Listener listener = must(listen_socket(must(parse_endpoint(text))));
    const Endpoint endpoint = listener.endpoint;
    run_pair(
        name,
        load,
        [&]() -> std::unique_ptr<Transport> {
            if (endpoint.scheme == Scheme::Unix) {
                auto server = std::make_unique<LocalServer>();
                must(server->listen(std::move(listener.fd)));
                return server;
            }
            auto router = must(ZmqRouter::make());
            must(router->adopt(endpoint, std::move(listener.fd)));
            return router;
        },
        [&] { return must(make_client_transport(endpoint)); });
}

}  // namespace
}  // namespace forkmill::net

int main(int argc, char** argv) {
    using namespace forkmill::net;
    Load load;
    if (argc > 1) load.messages = std::strtoul(argv[1], nullptr, 10);
    if (argc > 2) load.bytes = std::strtoul(argv[2], nullptr, 10);
    if (argc > 3) load.window = std::strtoul(argv[3], nullptr, 10);
    if (argc > 4) load.spin = std::chrono::microseconds{std::strtoul(argv[4], nullptr, 10)};
    std::string dir = (std::filesystem::temp_directory_path() / "forkmill-bench-XXXXXX").string();
    if (::mkdtemp(dir.data()) == nullptr) return 1;
    std::printf(
        "%zu messages of %zu bytes, %zu in flight\n", load.messages, load.bytes, load.window);
    run_raw(load);
    run_endpoint("local sockets", load, "unix://" + dir + "/unix");
    run_endpoint("ZeroMQ ipc", load, "ipc://" + dir + "/ipc");
    run_endpoint("ZeroMQ tcp", load, "tcp://127.0.0.1:*");
    std::filesystem::remove_all(dir);
    return 0;
}
