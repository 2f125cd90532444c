// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/birth_server.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "core/supervisor/fd_hygiene.h"
#include "core/supervisor/fork_server.h"
#include "core/supervisor/spawn.h"

namespace forkmill::supervisor {

namespace {

/// Blocks until there is a packet; nullopt: the other end is gone.
std::optional<Packet> next_packet(Channel& channel) {
    for (;;) {
        if (std::optional<Packet> packet = channel.receive()) return packet;
        if (channel.closed()) return std::nullopt;
        pollfd wanted{channel.fd(), POLLIN, 0};
        ::poll(&wanted, 1, -1);
    }
}

/// Returns once this process's parent, which is about to leave, is gone and another has adopted
/// it, in a group of its own. REQUIRES: all signals are blocked.
void await_adoption(pid_t parent) {
    sigset_t told;
    ::sigemptyset(&told);
    ::sigaddset(&told, SIGRTMAX);
    ::prctl(PR_SET_PDEATHSIG, SIGRTMAX);
    // It may have left before the line above.
    while (::getppid() == parent && ::sigwaitinfo(&told, nullptr) < 0 && errno == EINTR) {
    }
    // One who sees the new parent may be ahead of the signal. This takes the kernel's lock under
    // which it is adopted and told, so both are behind us; ignoring the signal throws it away.
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct sigaction before {};
    ::sigaction(SIGRTMAX, nullptr, &before);
    ::signal(SIGRTMAX, SIG_IGN);
    ::sigaction(SIGRTMAX, &before, nullptr);
}

/// From the fork to the worker's first line.
[[noreturn]] void begin_life(Packet& order,
                             bool placed,
                             pid_t parent,
                             pid_t master,
                             const sigset_t& mask,
                             const std::function<int(NewBorn)>& live) noexcept {
    await_adoption(parent);
    NewBorn born{order.notice.slot, order.notice.generation, Channel{std::move(order.fds[0])}};
    ::dup2(order.fds[1].get(), STDERR_FILENO);
    detach_inherited_fds({born.channel.fd()});
    // What the initializer made of signals holds for the worker too.
    ::sigprocmask(SIG_SETMASK, &mask, nullptr);
    if (::getppid() != master) ::_exit(0);  // PDEATHSIG was set too late to tell.
    Notice notice = order.notice;
    notice.verb = Verb::Born;
    notice.pid = static_cast<std::int32_t>(::getpid());
    notice.detail = placed ? 0 : kNotInCgroup;
    born.channel.send(notice);
    for (;;) {
        const std::optional<Packet> answer = next_packet(born.channel);
        if (!answer) ::_exit(0);
        if (answer->notice.verb == Verb::Born) break;
    }
    const int code = live(std::move(born));
    flush_output();
    ::_exit(code);
}

/// By way of a process that leaves at once, so that the new one is nobody's here.
base::Status give_birth(Packet& order, const std::function<int(NewBorn)>& live) {
    flush_output();
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t master = ::getppid();
    const int cgroup = order.fds.size() > 2 ? order.fds[2].get() : -1;
    pid_t middle = cgroup < 0 ? -1 : fork_into(cgroup);
    const bool placed = cgroup < 0 || middle >= 0;
    if (middle < 0) middle = ::fork();
    if (middle == 0) {
        const pid_t parent = ::getpid();
        const pid_t child = ::fork();
        if (child == 0) begin_life(order, placed, parent, master, before, live);
        ::_exit(child < 0 ? errno : 0);
    }
    int number = middle < 0 ? errno : 0;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (middle > 0) {
        int status = 0;
        while (::waitpid(middle, &status, 0) < 0 && errno == EINTR) {
        }
        number = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    }
    if (number == 0) return base::Done{};
    return base::Failure{std::string{"the fork server cannot fork: "} + std::strerror(number),
                         number};
}

}  // namespace

void serve_births(Channel& master, const std::function<int(NewBorn)>& live) {
    while (std::optional<Packet> order = next_packet(master)) {
        if (order->notice.verb == Verb::Stop) return;
        if (order->notice.verb != Verb::Spawn || order->fds.size() < 2) continue;
        Notice answer = order->notice;
        if (const std::uint32_t threads = count_own_threads(); threads > 1) {
            answer.verb = Verb::Threaded;
            answer.detail = static_cast<std::int32_t>(threads);
            master.post(answer);
        } else if (const base::Status born = give_birth(*order, live); !born) {
            answer.verb = Verb::Died;
            answer.detail = born.failure().error_number;
            answer.set_text(born.failure().text);
            master.post(answer);
        }
        master.flush();
    }
}

}  // namespace forkmill::supervisor
