// SPDX-License-Identifier: Apache-2.0
// E9: a TCP echo service in nginx's work model: processes for the processors, threads in each for
// connections that wait, one listening socket for all. Whoever dies is replaced; connections that
// nobody has accepted yet wait in the socket's backlog meanwhile.
//
//   echo_service [PORT [PROCESSES [THREADS]]]     0: a port that is free. Ends with its stdin.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "forkmill/pool.h"
#include "forkmill/process.h"

/// Gives back what comes, after the number of this process, until the other side has said all.
static void answer(int connection) {
    std::string said = std::to_string(::getpid()) + " ";
    std::array<char, 4096> bytes;
    do {
        for (std::size_t sent = 0; sent < said.size();) {
            const ssize_t more =
                ::send(connection, said.data() + sent, said.size() - sent, MSG_NOSIGNAL);
            if (more <= 0) break;
            sent += static_cast<std::size_t>(more);
        }
        const ssize_t size = ::recv(connection, bytes.data(), bytes.size(), 0);
        said.assign(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    } while (!said.empty());
    ::close(connection);
}

static void accept_for_ever(int listener) {
    for (;;) {
        const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (connection >= 0) answer(connection);
    }
}

static void serve(int listener, int threads) {
    std::vector<std::jthread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(accept_for_ever, listener);
    accept_for_ever(listener);
}

/// The socket, and its port.
static std::pair<int, int> listen_on(int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(fd, any, size) != 0 || ::listen(fd, 128) != 0 ||
        ::getsockname(fd, any, &size) != 0) {
        std::perror("echo_service: cannot listen");
        std::exit(1);
    }
    return {fd, ntohs(address.sin_port)};
}

static int number(const char* text, int least) {
    return std::max(least, std::atoi(text));
}

int main(int argc, char** argv) {
    forkmill::init(argc, argv);
    const auto [listener, port] = listen_on(argc > 1 ? number(argv[1], 0) : 0);
    const int processes = argc > 2 ? number(argv[2], 1) : forkmill::cpu_count();
    const int threads = argc > 3 ? number(argv[3], 1) : 4;

    forkmill::ProcessOptions options;
    options.daemon = true;  // They end with us.
    options.keep_fds = {listener};
    const auto start = [&, fd = listener] {
        forkmill::Process process{options, serve, fd, threads};
        process.start();
        return process;
    };
    std::vector<forkmill::Process> crew;
    for (int i = 0; i < processes; ++i) crew.push_back(start());
    std::cout << "serving on port " << port << std::endl;

    for (;;) {
        std::vector<forkmill::Waitable> watched{STDIN_FILENO};
        for (const forkmill::Process& process : crew) watched.emplace_back(process);
        const std::vector<int> ended = forkmill::wait(watched);
        if (std::ranges::count(ended, STDIN_FILENO) != 0) return 0;
        for (forkmill::Process& process : crew) {
            if (process.is_alive()) continue;
            std::cout << process.name() << " ended with " << process.exit_code().value_or(0)
                      << std::endl;
            process = start();
        }
    }
}
