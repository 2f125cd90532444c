// SPDX-License-Identifier: Apache-2.0
// E9: the echo service under load, while one of its processes is killed.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "tests/e2e/site.h"
#include "tests/support/wait_until.h"

namespace forkmill::e2e {
namespace {

using test::wait_until;

/// One connection: what the service says of its process, 0 when it fails.
int ask_echo(int port, const std::string& text) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    std::string said;
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
        ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size())) {
        ::shutdown(fd, SHUT_WR);
        char bytes[4096];
        for (ssize_t size = 0; (size = ::recv(fd, bytes, sizeof bytes, 0)) > 0;)
            said.append(bytes, static_cast<std::size_t>(size));
    }
    ::close(fd);
    const std::size_t blank = said.find(' ');
    if (blank == std::string::npos || said.substr(blank + 1) != text) return 0;
    return std::stoi(said);
}

class EchoService : public Site {
  protected:
    /// Two processes of two threads; ends when `input_` is closed.
    Daemon& start_service() {
        const std::string fifo = (directory_ / "input").string();
        EXPECT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
        input_ = ::open(fifo.c_str(), O_RDWR | O_CLOEXEC);
        Daemon& service = start("service",
                                {"/bin/sh",
                                 "-c",
                                 "exec \"$0\" 0 2 2 < \"$1\"",
                                 test::built_program("example_echo_service").string(),
                                 fifo});
        const std::string mark = "serving on port ";
        EXPECT_TRUE(wait_until(
            [&] {
                const std::string log = test::read_text(service.log);
                const std::size_t at = log.find(mark);
                if (at == std::string::npos || log.find('\n', at) == std::string::npos)
                    return false;
                port_ = std::stoi(log.substr(at + mark.size()));
                return true;
            },
            kLimit));
        return service;
    }

    int input_ = -1;
    int port_ = 0;
};

TEST_F(EchoService, E9ServesOnWhileAKilledProcessIsReplaced) {
    Daemon& service = start_service();
    std::atomic<bool> over{false};
    std::atomic<int> good{0};
    std::atomic<int> bad{0};
    std::mutex mutex;
    std::set<int> pids;
    std::vector<std::jthread> clients;
    for (int i = 0; i < 4; ++i)
        clients.emplace_back([&, i] {
            const std::string text(static_cast<std::size_t>(1 + i * 3000), 'x');
            while (!over) {
                const int pid = ask_echo(port_, text);
                ++(pid > 0 ? good : bad);
                const std::lock_guard lock{mutex};
                if (pid > 0) pids.insert(pid);
            }
        });
    const auto seen = [&] {
        const std::lock_guard lock{mutex};
        return pids;
    };
    EXPECT_TRUE(wait_until([&] { return seen().size() == 2 && good > 200; }, kLimit));
    EXPECT_EQ(bad, 0);
    const int victim = *seen().begin();
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return seen().size() == 3; }, kLimit));
    const int before = good;
    EXPECT_TRUE(wait_until([&] { return good > before + 200; }, kLimit));
    over = true;
    clients.clear();
    EXPECT_LE(bad, 2) << "its two threads had one connection each";
    EXPECT_NE(test::read_text(service.log).find(" ended with -9\n"), std::string::npos);
    ::close(input_);
    EXPECT_EQ(service.program->wait(kLimit).value_or(-1), 0);
}

}  // namespace
}  // namespace forkmill::e2e
