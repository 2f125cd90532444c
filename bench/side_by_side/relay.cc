// SPDX-License-Identifier: Apache-2.0
#include "bench/side_by_side/relay.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <vector>

namespace bench {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

void* open_socket(void* context, int type) {
    void* socket = zmq_socket(context, type);
    const int none = 0;
    zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    return socket;
}

/// One whole message as it is, or false.
bool receive(void* socket, std::vector<zmq_msg_t>& frames, int flags) {
    frames.clear();
    do {
        frames.emplace_back();
        zmq_msg_init(&frames.back());
        if (zmq_msg_recv(&frames.back(), socket, frames.size() == 1 ? flags : 0) < 0) return false;
    } while (zmq_msg_more(&frames.back()) != 0);
    return true;
}

/// Messages a worker is handed ahead: what a balancing broker can do without measuring its tasks.
/// (With 500, the relay is about 1.5 times as fast and balances nothing.)
constexpr int kCredit = 64;

[[noreturn]] void run_broker(const std::string& front, const std::string& back) {
    void* context = zmq_ctx_new();
    void* clients = open_socket(context, ZMQ_ROUTER);
    void* servers = open_socket(context, ZMQ_ROUTER);
    if (zmq_bind(clients, front.c_str()) != 0 || zmq_bind(servers, back.c_str()) != 0) ::_exit(1);
    std::deque<std::string> idle;
    std::vector<zmq_msg_t> frames;
    zmq_pollitem_t items[2] = {{servers, 0, ZMQ_POLLIN, 0}, {clients, 0, ZMQ_POLLIN, 0}};
    for (;;) {
        zmq_poll(items, idle.empty() ? 1 : 2, -1);
        for (int i = 0; i < 256 && receive(servers, frames, ZMQ_DONTWAIT); ++i) {
            const std::string worker{static_cast<char*>(zmq_msg_data(&frames[0])),
                                     zmq_msg_size(&frames[0])};
            if (frames.size() == 2) {  // A worker's greeting.
                for (int c = 0; c < kCredit; ++c) idle.push_back(worker);
                zmq_msg_close(&frames[1]);
            } else {
                zmq_msg_send(&frames[1], clients, ZMQ_SNDMORE);
                zmq_msg_send(&frames[2], clients, 0);
                idle.push_back(worker);
            }
            zmq_msg_close(&frames[0]);
        }
        for (int i = 0; i < 256 && !idle.empty() && receive(clients, frames, ZMQ_DONTWAIT); ++i) {
            zmq_send(servers, idle.front().data(), idle.front().size(), ZMQ_SNDMORE);
            zmq_msg_send(&frames[0], servers, ZMQ_SNDMORE);
            zmq_msg_send(&frames[1], servers, 0);
            idle.pop_front();
        }
    }
}

[[noreturn]] void run_worker(const std::string& back) {
    void* context = zmq_ctx_new();
    void* socket = open_socket(context, ZMQ_DEALER);
    zmq_connect(socket, back.c_str());
    zmq_send(socket, "+", 1, 0);
    std::vector<zmq_msg_t> frames;
    while (receive(socket, frames, 0)) {
        zmq_msg_send(&frames[0], socket, ZMQ_SNDMORE);
        zmq_msg_send(&frames[1], socket, 0);
    }
    ::_exit(0);
}

template <class Body>
pid_t start(Body body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        body();
    }
    return pid;
}

RelayFigures drive(void* socket, long count, int window, std::size_t bytes) {
    const std::vector<char> payload(bytes, 'x');
    std::vector<char> reply(bytes + 16);
    for (int i = 0; i < 200; ++i) {
        zmq_send(socket, payload.data(), bytes, 0);
        zmq_recv(socket, reply.data(), reply.size(), 0);
    }
    RelayFigures figures;
    std::vector<double> trips;
    const auto start_time = Clock::now();
    if (window == 1) {
        for (long i = 0; i < count; ++i) {
            const auto sent = Clock::now();
            zmq_send(socket, payload.data(), bytes, 0);
            zmq_recv(socket, reply.data(), reply.size(), 0);
            trips.push_back(since(sent) * 1e6);
        }
        std::sort(trips.begin(), trips.end());
        figures.p50_us = trips[trips.size() / 2];
        figures.p99_us = trips[trips.size() * 99 / 100];
    } else {
        long sent = 0;
        for (long got = 0; got < count;) {
            for (; sent < count && sent - got < window; ++sent)
                zmq_send(socket, payload.data(), bytes, 0);
            zmq_recv(socket, reply.data(), reply.size(), 0);
            for (++got; zmq_recv(socket, reply.data(), reply.size(), ZMQ_DONTWAIT) >= 0;) ++got;
        }
    }
    const double seconds = since(start_time);
    figures.per_second = static_cast<double>(count) / seconds;
    figures.mb_per_second = static_cast<double>(count) * static_cast<double>(bytes) / seconds / 1e6;
    return figures;
}

}  // namespace

RelayFigures run_relay(const std::string& transport,
                       int workers,
                       long count,
                       int window,
                       std::size_t bytes) {
    const std::string base =
        (std::filesystem::temp_directory_path() / ("forkmill-relay-" + std::to_string(::getpid())))
            .string();
    const int port = 20000 + ::getpid() % 20000;
    const std::string front =
        transport == "tcp" ? "tcp://127.0.0.1:" + std::to_string(port) : "ipc://" + base + ".front";
    const std::string back = transport == "tcp" ? "tcp://127.0.0.1:" + std::to_string(port + 1)
                                                : "ipc://" + base + ".back";
    std::vector<pid_t> children;
    children.push_back(start([&] { run_broker(front, back); }));
    for (int i = 0; i < workers; ++i) children.push_back(start([&] { run_worker(back); }));
    void* context = zmq_ctx_new();
    void* socket = open_socket(context, ZMQ_DEALER);
    zmq_connect(socket, front.c_str());
    const RelayFigures figures = drive(socket, count, window, bytes);
    zmq_close(socket);
    zmq_ctx_term(context);
    for (const pid_t child : children) ::kill(child, SIGKILL);
    for (const pid_t child : children) ::waitpid(child, nullptr, 0);
    std::error_code ignored;
    std::filesystem::remove(base + ".front", ignored);
    std::filesystem::remove(base + ".back", ignored);
    return figures;
}

}  // namespace bench
