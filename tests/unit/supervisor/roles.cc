// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/supervisor/roles.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/supervisor/channel.h"
#include "core/supervisor/child_env.h"
#include "core/supervisor/last_will.h"
#include "core/supervisor/scoreboard.h"

namespace forkmill::supervisor {

namespace {

struct Self {
    ChildEnv env;
    Channel channel;

    void say(Verb verb, std::string_view text = {}) {
        Notice notice;
        notice.verb = verb;
        notice.set_text(text);
        channel.send(notice);
    }
};

int signals_of(int signo) {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, signo);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/// Waits for the channel or the signal; true when the signal came.
bool wait(const Self& self, int signals) {
    std::array<pollfd, 2> polled{pollfd{self.channel.fd(), POLLIN, 0}, pollfd{signals, POLLIN, 0}};
    ::poll(polled.data(), polled.size(), -1);
    signalfd_siginfo info{};
    return ::read(signals, &info, sizeof info) > 0;
}

void write_line(const std::string& line) {
    const char* path = std::getenv(kTestOut);
    const OwnedFd file{::open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)};
    const std::string text = line + "\n";
    if (::write(file.get(), text.data(), text.size()) < 0) std::perror("write_line");
}

std::string line_of(const Notice& notice) {
    std::ostringstream out;
    out << name_of(notice.verb) << " pool=" << notice.pool << " slot=" << notice.slot
        << " pid=" << notice.pid << " generation=" << notice.generation
        << " cause=" << name_of(notice.cause) << " detail=" << notice.detail << " leases=[";
    for (std::uint32_t i = 0; i < notice.lease_count; ++i)
        out << (i == 0 ? "" : ",") << notice.leases[i];
    std::string text{notice.text_view()};
    for (char& c : text)
        if (c == '\n') c = '|';
    out << "] text=" << text;
    return out.str();
}

int relay(Self& self) {
    const int signals = signals_of(SIGUSR1);
    write_line("relay pid=" + std::to_string(::getpid()));
    self.say(Verb::Up);
    while (!self.channel.closed()) {
        if (wait(self, signals)) {
            std::ifstream orders{std::string{std::getenv(kTestOut)} + ".orders"};
            std::string verb;
            Notice notice;
            while (orders >> verb >> notice.slot >> notice.pid) {
                notice.verb = verb == "kill" ? Verb::Kill : Verb::Drain;
                notice.pool = 0;
                notice.cause = Cause::HardTimeout;
                self.channel.send(notice);
            }
        }
        while (const std::optional<Packet> packet = self.channel.receive()) {
            write_line(line_of(packet->notice));
            if (packet->notice.verb == Verb::Stop) return 0;
        }
    }
    return 1;
}

/// Obeys like a good worker; SIGUSR1 makes it leave on purpose.
int worker(Self& self) {
    const int signals = signals_of(SIGUSR1);
    self.say(Verb::Up);
    while (!self.channel.closed()) {
        if (wait(self, signals)) {
            self.say(Verb::Recycle);
            return 0;
        }
        while (const std::optional<Packet> packet = self.channel.receive())
            if (packet->notice.verb == Verb::Drain || packet->notice.verb == Verb::Stop) return 0;
    }
    return 1;
}

/// Obeys nothing but SIGKILL, and has a lease.
int stubborn(Self& self) {
    ::signal(SIGTERM, SIG_IGN);
    ::signal(SIGABRT, SIG_IGN);
    const base::Result<Scoreboard> board = Scoreboard::attach(OwnedFd{self.env.scoreboard_fd});
    board.value().cells(self.env.slot).cells[0].lease = 4711;
    self.say(Verb::Up);
    for (;;) ::pause();
}

/// Dies with two leases running, its last words on stderr.
int poison(Self& self) {
    const base::Result<Scoreboard> board = Scoreboard::attach(OwnedFd{self.env.scoreboard_fd});
    SlotCells& cells = board.value().cells(self.env.slot);
    self.say(Verb::Up);
    std::fprintf(stderr, "first line\nabout to die\n");
    cells.cells[0].lease = 77;
    cells.cells[2].lease = 78;
    ::signal(SIGABRT, SIG_DFL);
    std::abort();
}

/// Starts a process that would live for ever, tells its pid, and goes on as a worker.
int parent(Self& self) {
    take_group_along();
    const pid_t child = ::fork();
    if (child == 0)
        for (;;) ::pause();
    write_line("grandchild pid=" + std::to_string(child));
    const int code = worker(self);
    end_group();
    return code;
}

/// Which descriptors it was given, as a line.
int audit(Self& self) {
    std::string line = "fds";
    for (int fd = 0; fd < 256; ++fd)
        if (::fcntl(fd, F_GETFD) >= 0) line += " " + std::to_string(fd);
    line += " channel=" + std::to_string(self.env.channel_fd) +
            " scoreboard=" + std::to_string(self.env.scoreboard_fd);
    sigset_t blocked;
    ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
    for (int signo = 1; signo < SIGRTMIN; ++signo) {
        struct sigaction action {};
        ::sigaction(signo, nullptr, &action);
        const bool odd = action.sa_handler == SIG_IGN || ::sigismember(&blocked, signo) == 1;
        if (odd) line += " odd_signal=" + std::to_string(signo);
    }
    line += " group=" + std::string{::getpgrp() == ::getpid() ? "own" : "parent's"};
    write_line(line);
    return worker(self);
}

}  // namespace

int play(std::string_view role) {
    const std::optional<ChildEnv> env = take_child_env();
    if (!env) return 64;
    Self self{*env, Channel{OwnedFd{env->channel_fd}}};
    if (role == "relay") return relay(self);
    if (role == "relay-crash") return 3;
    if (role == "worker") return worker(self);
    if (role == "stubborn") return stubborn(self);
    if (role == "poison") return poison(self);
    if (role == "parent") return parent(self);
    if (role == "audit") return audit(self);
    if (role == "crash") {
        self.say(Verb::Failed, "initializer refuses");
        return 1;
    }
    if (role == "bad-config") {
        std::fprintf(stderr, "no such module\n");
        return 78;
    }
    if (role == "silent")
        for (;;) ::pause();
    return 64;
}

}  // namespace forkmill::supervisor
