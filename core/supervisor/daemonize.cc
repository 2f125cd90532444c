// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/daemonize.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "core/supervisor/exit_codes.h"
#include "core/supervisor/spawn.h"

namespace forkmill::supervisor {

namespace {

/// Puts /dev/null in the place of `fd`.
void nullify(int fd) {
    const OwnedFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    if (null) ::dup2(null.get(), fd);
}

/// A terminal, or a pipe whose reader waits for its end, must not be held; a file was meant.
void nullify_unless_file(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) nullify(fd);
}

[[noreturn]] void leave(int exit_code) {
    std::fflush(nullptr);
    ::_exit(exit_code);
}

/// True when the pipe has something to read, be it its end; false when the time is over.
bool wait_for_word(int fd, base::Duration limit) {
    const base::Time start = base::monotonic_now();
    for (;;) {
        const base::Duration passed = base::monotonic_now() - start;
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
            std::max(limit - passed, base::Duration::zero()));
        pollfd polled{fd, POLLIN, 0};
        // In steps, since poll(2) takes an int; a signal cuts one short.
        const auto step = std::min<std::int64_t>(left.count(), 60'000);
        if (::poll(&polled, 1, static_cast<int>(step)) > 0) return true;
        if (left.count() == 0) return false;
    }
}

/// The caller's last act: waits for the daemon's word and passes it on.
[[noreturn]] void await_daemon(int fd, const DaemonizeOptions& options) {
    if (!wait_for_word(fd, options.limit)) {
        const auto seconds = std::chrono::duration<double>{options.limit}.count();
        std::fprintf(stderr,
                     "%s: the daemon is not ready after %g s; it goes on starting, and `-s stop` "
                     "ends it\n",
                     options.name.c_str(),
                     seconds);
        leave(kExitTempFail);
    }
    std::uint8_t word = 0;
    ssize_t size = 0;
    do {
        size = ::read(fd, &word, sizeof word);
    } while (size < 0 && errno == EINTR);
    if (size == sizeof word) leave(word);
    std::fprintf(
        stderr,
        "%s: the daemon died while it started; see its log, or start it without --daemon\n",
        options.name.c_str());
    leave(kExitSoftware);
}

/// The process between the caller and the daemon: it leads a session, and leaves it to the daemon.
void become_session(ReadinessPipe& pipe, const DaemonizeOptions& options) {
    ::setsid();
    const pid_t daemon = ::fork();
    if (daemon == 0) return;
    if (daemon < 0) {
        std::fprintf(stderr, "%s: cannot fork: %s\n", options.name.c_str(), std::strerror(errno));
        pipe.failed(kExitTempFail);
    }
    leave(kExitOk);
}

}  // namespace

void ReadinessPipe::ready() {
    if (!is_awaited()) return;
    nullify_unless_file(STDERR_FILENO);
    say(kExitOk);
}

void ReadinessPipe::failed(int exit_code) {
    say(exit_code == kExitOk ? kExitSoftware : exit_code);
}

void ReadinessPipe::say(int exit_code) {
    if (!is_awaited()) return;
    const auto word = static_cast<std::uint8_t>(exit_code);
    // A caller that was interrupted reads no more. SIGPIPE for it would end a good daemon, so that
    // signal is set aside, and taken back if it came.
    sigset_t pipe_signal;
    sigset_t before;
    ::sigemptyset(&pipe_signal);
    ::sigaddset(&pipe_signal, SIGPIPE);
    ::sigprocmask(SIG_BLOCK, &pipe_signal, &before);
    if (::write(pipe_.get(), &word, sizeof word) < 0 && errno == EPIPE) {
        const timespec at_once{};
        ::sigtimedwait(&pipe_signal, nullptr, &at_once);
    }
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    pipe_.reset();
}

base::Result<ReadinessPipe> daemonize(const DaemonizeOptions& options) {
    // On one of 0–2 the pipe would be taken for what is put aside below.
    if (const base::Status filled = fill_standard_fds(); !filled) return filled.failure();
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return base::system_failure("cannot make a pipe");
    OwnedFd read_end{ends[0]};
    ReadinessPipe pipe{OwnedFd{ends[1]}};
    std::fflush(nullptr);  // Else both sides would print what is buffered.
    const pid_t child = ::fork();
    if (child < 0) return base::system_failure("cannot fork");
    if (child > 0) {
        pipe = {};  // Its end is seen only when nobody else can write.
        while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
        }
        await_daemon(read_end.get(), options);
    }
    read_end.reset();
    become_session(pipe, options);
    nullify(STDIN_FILENO);
    // Children are born with this stdout before ready() is said, and would hold the caller's pipe.
    nullify_unless_file(STDOUT_FILENO);
    return pipe;
}

}  // namespace forkmill::supervisor
