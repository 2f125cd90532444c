// SPDX-License-Identifier: Apache-2.0
// The program's side of a fork server; fork_server_loop.cc is the other.
#include "core/supervisor/fork_server.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/supervisor/fork_server_loop.h"
#include "core/supervisor/spawn.h"

namespace forkmill::supervisor {

namespace {

/// Waits for the end of a process; false at the limit, or when there is nothing to watch.
bool has_ended(int pidfd, base::Duration limit) {
    const base::Time until = base::monotonic_now() + limit;
    pollfd watched{pidfd, POLLIN, 0};
    for (;;) {
        const base::Duration left = std::max(until - base::monotonic_now(), base::Duration{});
        const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
        const int ready = pidfd < 0 ? 0 : ::poll(&watched, 1, static_cast<int>(ms));
        if (ready >= 0) return ready > 0;
        if (errno != EINTR) return false;
    }
}

Notice order(Verb verb, std::uint16_t pool, std::uint32_t slot, pid_t pid) {
    Notice notice;
    notice.verb = verb;
    notice.pool = pool;
    notice.slot = slot;
    notice.pid = pid;
    return notice;
}

}  // namespace

base::Result<ForkServer> ForkServer::start(Options options) {
    FORKMILL_CHECK(options.worker != nullptr);
    if (const std::uint32_t threads = count_own_threads(); threads > 1)
        return base::Failure{"the program has " + std::to_string(threads) +
                             " threads; a process can be forked safely only while it has one"};
    // Else a descriptor of ours could become the workers' stdout.
    if (const base::Status filled = fill_standard_fds(); !filled) return filled.failure();
    base::Result<std::array<Channel, 2>> channel = Channel::pair();
    if (!channel) return channel.failure();
    auto& [ours, theirs] = channel.value();
    const int ours_fd = ours.fd();
    flush_output();
    // No handler of the program may run in the fork server.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t program = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::close(ours_fd);
        serve_forks(program, std::move(theirs), std::move(options));
    }
    const int fork_error = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0)
        return base::Failure{std::string{"cannot fork: "} + std::strerror(fork_error), fork_error};
    OwnedFd pidfd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U))};
    const int watch_error = errno;
    ForkServer server{pid, std::move(pidfd), std::move(ours)};
    if (server.pidfd_) return server;
    return base::Failure{std::string{"cannot watch the fork server: "} + std::strerror(watch_error),
                         watch_error};
}

ForkServer::ForkServer(pid_t pid, OwnedFd pidfd, Channel channel)
    : pid_(pid), pidfd_(std::move(pidfd)), channel_(std::move(channel)) {}

ForkServer::ForkServer(ForkServer&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      channel_(std::move(other.channel_)),
      context_(other.context_) {}

ForkServer& ForkServer::operator=(ForkServer&& other) noexcept {
    if (this == &other) return *this;
    stop();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    channel_ = std::move(other.channel_);
    context_ = other.context_;
    return *this;
}

ForkServer::~ForkServer() {
    stop();
}

bool ForkServer::spawn(const SpawnOrder& wanted) {
    FORKMILL_CHECK(wanted.extra_fds.size() + 2 <= kFdsInPacket);
    FORKMILL_CHECK(!wanted.process || wanted.scoreboard_fd < 0);
    Notice notice = order(Verb::Spawn, wanted.pool, wanted.slot, 0);
    notice.generation = wanted.generation;
    std::vector<int> fds{wanted.socket_fd};
    if (wanted.process) notice.detail = kSpawnProcess;
    if (wanted.scoreboard_fd >= 0) {
        notice.detail = kSpawnHasScoreboard;
        fds.push_back(wanted.scoreboard_fd);
    }
    fds.insert(fds.end(), wanted.extra_fds.begin(), wanted.extra_fds.end());
    return channel_.post(notice, fds);
}

bool ForkServer::kill(std::uint16_t pool, std::uint32_t slot, pid_t pid, Cause cause) {
    Notice notice = order(Verb::Kill, pool, slot, pid);
    notice.cause = cause;
    return channel_.post(notice);
}

bool ForkServer::signal(std::uint16_t pool, std::uint32_t slot, pid_t pid, int signo) {
    return tell(Verb::Signal, pool, slot, pid, signo);
}

bool ForkServer::tell(Verb verb,
                      std::uint16_t pool,
                      std::uint32_t slot,
                      pid_t pid,
                      std::int32_t detail) {
    Notice notice = order(verb, pool, slot, pid);
    notice.detail = detail;
    return channel_.post(notice);
}

std::optional<Notice> ForkServer::next() {
    std::optional<Packet> packet = channel_.receive();
    if (!packet) return std::nullopt;
    return packet->notice;
}

void ForkServer::stop(base::Duration limit) {
    const pid_t pid = std::exchange(pid_, -1);
    channel_ = Channel{};
    if (pid <= 0 || context_.is_forked_child()) return;
    // By its number alone: the program's other children are none of our business. The program may
    // have reaped it itself, or ignore SIGCHLD; then there is nothing to do.
    siginfo_t info{};
    if (!has_ended(pidfd_.get(), limit)) {
        // Its workers die with it. The pidfd names it even if its number is somebody else's by now.
        ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0U);
        has_ended(pidfd_.get(), std::chrono::seconds{1});
    }
    ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
    pidfd_.reset();
}

}  // namespace forkmill::supervisor
