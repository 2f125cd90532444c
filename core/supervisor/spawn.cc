// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string_view>

#include "core/supervisor/respawn_policy.h"

namespace forkmill::supervisor {

namespace {

/// Async-signal-safe: a text without an allocation.
void say(std::string_view text) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

/// Sorted, without 0–2 and without doubles: what close_others() needs.
std::vector<int> sorted_fds(std::vector<int> fds) {
    std::sort(fds.begin(), fds.end());
    fds.erase(std::unique(fds.begin(), fds.end()), fds.end());
    fds.erase(fds.begin(), std::upper_bound(fds.begin(), fds.end(), STDERR_FILENO));
    return fds;
}

/// Closes all descriptors above 2 that are not in `keep`, gap by gap.
void close_others(const std::vector<int>& keep) {
    unsigned first = STDERR_FILENO + 1;
    for (const int fd : keep) {
        const auto kept = static_cast<unsigned>(fd);
        if (kept > first) ::syscall(SYS_close_range, first, kept - 1, 0U);
        first = kept + 1;
    }
    ::syscall(SYS_close_range, first, ~0U, 0U);
}

void null_stdin() {
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0) return;
    ::dup2(null, STDIN_FILENO);
    if (null > STDERR_FILENO) ::close(null);
}

void die_with(pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kExitTempFail);  // It died before the line above.
}

/// What every child does first. Signals are blocked here since before the fork.
void become_child(pid_t parent, int stderr_fd, const std::vector<int>& keep) {
    // Not the parent too: a child that has left its group again (end_group()) would be put back.
    ::setpgid(0, 0);
    die_with(parent);
    null_stdin();
    if (stderr_fd >= 0) ::dup2(stderr_fd, STDERR_FILENO);
    close_others(keep);
    reset_signals();
}

/// Forks with all signals blocked, so that no handler of the parent runs in the child.
template <class Child>
base::Result<Spawned> fork_with(const Child& run_child, int cgroup_fd = -1) {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t parent = ::getpid();
    pid_t pid = cgroup_fd >= 0 ? fork_into(cgroup_fd) : -1;
    const bool placed = pid >= 0 || cgroup_fd < 0;
    if (pid < 0) pid = ::fork();
    if (pid == 0) run_child(parent, placed ? 0 : enter_cgroup(cgroup_fd, 0));
    const int fork_error = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) {
        errno = fork_error;
        return base::system_failure("cannot fork");
    }
    OwnedFd pidfd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U))};
    if (!pidfd) {
        const base::Failure failure = base::system_failure("cannot watch a child");
        ::kill(pid, SIGKILL);
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
        return failure;
    }
    return Spawned{pid, std::move(pidfd)};
}

void warn(const char* what, int number, const char* name = "") {
    say("forkmill: cannot ");
    say(what);
    say(name);
    say(": ");
    say(::strerrordesc_np(number));
    say("\n");
}

[[noreturn]] void give_up(const char* what, const char* name, int number) {
    warn(what, number, name);
    const bool for_ever = number == ENOENT || number == EACCES || number == ENOEXEC ||
                          number == ENOTDIR || number == ELOOP || number == EPERM ||
                          number == EINVAL;
    ::_exit(for_ever ? kExitConfig : kExitTempFail);
}

}  // namespace

base::Result<Spawned> spawn_program(const Program& program) {
    FORKMILL_CHECK(!program.argv.empty());
    std::vector<std::string> arguments = program.argv;
    std::vector<std::string> environment = program.environment;
    const std::vector<char*> argv = pointers(arguments);
    const std::vector<char*> envp = pointers(environment);
    const std::vector<int> keep = sorted_fds(program.keep_fds);
    const auto run_child = [&](pid_t parent, int not_placed) {
        become_child(parent, program.stderr_fd, keep);
        if (not_placed != 0) warn("enter its control group", not_placed);
        for (const int fd : keep) ::fcntl(fd, F_SETFD, 0);
        if (const char* refused = assume(program.privileges))
            give_up("take its privileges: ", refused, errno);
        die_with(parent);
        ::execve(argv[0], argv.data(), envp.data());
        give_up("execute ", argv[0], errno);
    };
    return fork_with(run_child, program.cgroup_fd);
}

base::Result<Spawned> fork_child(const std::vector<int>& keep_fds,
                                 const std::function<int()>& body) {
    const std::vector<int> keep = sorted_fds(keep_fds);
    flush_output();
    // An exception must not run into the code that the parent was in: noexcept ends the child.
    return fork_with([&](pid_t parent, int) noexcept {
        become_child(parent, -1, keep);
        const int code = body();
        flush_output();
        ::_exit(code);
    });
}

pid_t fork_into(int cgroup_fd) {
    clone_args wanted{};
    wanted.flags = CLONE_INTO_CGROUP;
    wanted.exit_signal = SIGCHLD;
    wanted.cgroup = static_cast<std::uint64_t>(cgroup_fd);
    return static_cast<pid_t>(::syscall(SYS_clone3, &wanted, sizeof wanted));
}

int enter_cgroup(int cgroup_fd, pid_t process) {
    const int procs = ::openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (procs < 0) return errno;
    const int refused = ::dprintf(procs, "%d", process) > 0 ? 0 : errno;
    ::close(procs);
    return refused;
}

base::Result<Spawned> adopt(pid_t child) {
    // As long as it is not reaped its number is its own, so the descriptor is surely its.
    siginfo_t info{};
    constexpr int kAny = WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT;
    if (child <= 0 || ::waitid(P_PID, static_cast<id_t>(child), &info, kAny) != 0)
        return base::Failure{"no child of this process has the number " + std::to_string(child)};
    OwnedFd pidfd{static_cast<int>(::syscall(SYS_pidfd_open, child, 0U))};
    if (!pidfd) return base::system_failure("cannot watch a child");
    return Spawned{child, std::move(pidfd)};
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    out.reserve(texts.size() + 1);
    for (std::string& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

std::vector<std::string> environment_with(const std::vector<std::string>& additions) {
    std::vector<std::string> out;
    const auto set = [&](std::string_view text) {
        const std::string_view name = text.substr(0, text.find('=') + 1);
        const auto same = std::find_if(
            out.begin(), out.end(), [&](const std::string& old) { return old.starts_with(name); });
        if (same == out.end())
            out.emplace_back(text);
        else
            *same = text;
    };
    for (char** variable = environ; *variable != nullptr; ++variable) out.emplace_back(*variable);
    for (const std::string& text : additions) set(text);
    return out;
}

base::Status fill_standard_fds() {
    for (;;) {
        const int fd = ::open("/dev/null", O_RDWR);
        if (fd < 0) return base::system_failure("cannot open /dev/null");
        if (fd <= STDERR_FILENO) continue;
        ::close(fd);
        return base::Done{};
    }
}

void flush_output() {
    std::cout.flush();
    std::clog.flush();
    std::fflush(nullptr);
}

void reset_signals() {
    struct sigaction defaults {};
    defaults.sa_handler = SIG_DFL;
    for (int signo = 1; signo < NSIG; ++signo) ::sigaction(signo, &defaults, nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void kill_group(pid_t child) {
    // The group may not be there yet, or hold the zombie alone; the child itself is named too.
    ::kill(-child, SIGKILL);
    ::kill(child, SIGKILL);
}

void send_signal(pid_t child, int signo) {
    ::kill(child, signo);
}

}  // namespace forkmill::supervisor
