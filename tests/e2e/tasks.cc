// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/tasks.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace forkmill::e2e {

namespace {

/// A line is written whole: every writer appends with one call.
void note(const std::string& file, long number) {
    const std::string line = std::to_string(number) + "\n";
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const bool written =
        fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    if (fd >= 0) ::close(fd);
    if (!written) throw std::runtime_error("cannot write " + file);
}

/// Sleeps in the kernel while the test holds the gate: a thousand waiting tasks cost no processor.
void wait_at(const std::string& gate) {
    const int fd = ::open(gate.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw std::runtime_error("no gate " + gate);
    const int passed = ::flock(fd, LOCK_SH);
    ::close(fd);
    if (passed != 0) throw std::runtime_error("cannot wait at " + gate);
}

int do_start_child(std::string notes) {
    std::string program = "/bin/sleep";
    std::string length = "600";
    std::array<char*, 3> argv{program.data(), length.data(), nullptr};
    pid_t child = 0;
    if (::posix_spawn(&child, program.c_str(), nullptr, nullptr, argv.data(), environ) != 0)
        throw std::runtime_error("cannot start " + program);
    note(notes, child);
    ::waitpid(child, nullptr, 0);
    return child;
}

int do_deaf(std::string notes, int ms) {
    note(notes, ::getpid());
    std::this_thread::sleep_for(std::chrono::milliseconds{ms});
    return ms;
}

[[gnu::noinline]] int overflow(volatile char* above) {
    volatile char here[4096];
    here[0] = *above;
    return here[0] == 0 ? 0 : overflow(here) + here[0];  // Never 0.
}

int do_end_by(std::string how) {
    if (how == "exit0") std::exit(0);
    if (how == "exit3") std::exit(3);
    if (how == "abort") std::abort();
    if (how == "terminate") std::terminate();
    if (how == "segv") ::raise(SIGSEGV);
    volatile char start = 1;
    if (how == "stack") return overflow(&start);
    if (how == "bad_free") {
        int local = 0;
        int* volatile wrong = &local;
        std::free(wrong);  // NOLINT(bugprone-*): on purpose.
    }
    throw std::runtime_error("unknown end: " + how);
}

void pause_for_ever(int) {
    for (;;) ::pause();
}

int do_freeze(std::string notes) {
    struct sigaction action {};
    action.sa_handler = pause_for_ever;
    ::sigaction(SIGUSR2, &action, nullptr);
    ::tgkill(::getpid(), ::getpid(), SIGUSR2);  // The first thread is the I/O thread.
    note(notes, ::getpid());
    pause_for_ever(0);
    return 0;
}

int do_stubborn(std::string notes, int ms) {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    for (const int signo : {SIGABRT, SIGTERM, SIGINT}) ::sigaction(signo, &ignore, nullptr);
    return do_deaf(std::move(notes), ms);
}

std::string do_partial() {
    const std::stop_token stop = context().stop;
    while (!stop.stop_requested()) std::this_thread::yield();
    return "half";
}

int do_grab(std::string notes, std::string gate, int mib) {
    const auto bytes = static_cast<std::size_t>(mib) << 20;
    auto* kept = new std::string(bytes, 'x');
    note(notes, ::getpid());
    wait_at(gate);
    return kept->back() == 'x' ? mib : 0;
}

int do_leave_orphans(int count) {
    for (int i = 0; i < count; ++i) {
        const pid_t child = ::fork();
        if (child == 0) {
            if (::fork() == 0) ::usleep(10'000);
            ::_exit(0);
        }
        ::waitpid(child, nullptr, 0);
    }
    return count;
}

int do_escape(std::string notes, std::string gate) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    const pid_t between = ::fork();
    if (between == 0) {
        ::setsid();
        const pid_t escaped = ::fork();
        if (escaped == 0)
            for (;;) ::pause();
        const bool told = ::write(ends[1], &escaped, sizeof escaped) == sizeof escaped;
        ::_exit(told ? 0 : 1);
    }
    pid_t escaped = 0;
    const bool heard = ::read(ends[0], &escaped, sizeof escaped) == sizeof escaped;
    ::waitpid(between, nullptr, 0);
    for (const int end : ends) ::close(end);
    if (!heard) throw std::runtime_error("nobody escaped");
    note(notes, escaped);
    wait_at(gate);
    return escaped;
}

/// Only calls between fork and exec that a program with threads may make.
int do_start_daemon() {
    std::array<int, 2> told{};
    if (::pipe(told.data()) != 0) throw std::runtime_error("no pipe");
    const pid_t child = ::fork();
    if (child == 0) {
        ::setsid();
        const pid_t daemon = ::fork();
        if (daemon == 0) {
            ::execl("/bin/sleep", "sleep", "600", nullptr);
            ::_exit(1);
        }
        const bool written = ::write(told[1], &daemon, sizeof daemon) == sizeof daemon;
        ::_exit(written ? 0 : 1);
    }
    ::waitpid(child, nullptr, 0);
    pid_t daemon = 0;
    const bool read = ::read(told[0], &daemon, sizeof daemon) == sizeof daemon;
    for (const int fd : told) ::close(fd);
    if (!read) throw std::runtime_error("no daemon");
    return daemon;
}

void exit_as_misconfigured() {
    std::fputs("no model file: the config is wrong\n", stderr);
    std::_Exit(78);
}
void throw_at_start() {
    throw std::runtime_error("this worker cannot start");
}
int inherited = 0;

void start_a_thread() {
    std::thread{[] { ::pause(); }}.detach();
}

/// Ends its process when there is a file NAME.bad.
void note_and_thrive(std::string name) {
    if (::access((name + ".bad").c_str(), F_OK) == 0) throw std::runtime_error{"it is bad"};
    std::ofstream{name, std::ios::app} << ::getpid() << '\n';
    ::signal(SIGUSR2, SIG_IGN);
    inherited = ::getpid();
}

void throw_while_there(std::string file) {
    if (::access(file.c_str(), F_OK) == 0) throw_at_start();
}
void wait_at_start(std::string gate) {
    wait_at(gate);
}
void hang_at_start() {
    for (;;) ::pause();
}

int do_crash() {
    std::fprintf(stderr, "no way on\n");
    std::abort();
}

std::string do_host() {
    std::array<char, 256> name{};
    ::gethostname(name.data(), name.size() - 1);
    return name.data();
}

}  // namespace

Tasks all_tasks() {
    Tasks tasks;
    tasks.bind(mark, [](std::string notes, int number) {
        note(notes, number);
        return number;
    });
    tasks.bind(pass, [](std::string notes, std::string gate, int number) {
        note(notes, number);
        wait_at(gate);
        return number;
    });
    tasks.bind(first_waits, [](std::string notes, std::string gate) {
        const int attempt = context().attempt;
        note(notes, ::getpid());
        if (attempt == 1) wait_at(gate);
        return attempt;
    });
    tasks.bind(start_child, &do_start_child);
    tasks.bind(deaf, &do_deaf);
    tasks.bind(crash, &do_crash);
    tasks.bind(pid, []() -> int { return ::getpid(); });
    tasks.bind(inheritance, []() -> int { return inherited; });
    tasks.bind(host, &do_host);
    tasks.bind(echo, [](std::string what) { return what; });
    tasks.bind(end_by, &do_end_by);
    tasks.bind(leave_orphans, &do_leave_orphans);
    tasks.bind(escape, &do_escape);
    tasks.bind(twice, [](std::string notes, std::string gate) -> int {
        note(notes, ::getpid());
        wait_at(gate);
        std::fputs("the gate is open\n", stderr);
        note(notes, ::getpid());
        return ::getpid();
    });
    tasks.bind(start_daemon, &do_start_daemon);
    tasks.bind(freeze, &do_freeze);
    tasks.bind(stubborn, &do_stubborn);
    tasks.bind(partial, &do_partial);
    tasks.bind(grab, &do_grab);
    tasks.bind(text, [](std::size_t size) { return std::string(size, 't'); });
    tasks.bind(throw_text,
               [](std::size_t size) -> int { throw std::runtime_error(std::string(size, 'e')); });
    tasks.bind(grow, [](Box box) { return Box{box.width + 1, box.height + 1}; });
    return tasks;
}

Initializer asked_initializer() {
    const char* asked = std::getenv("E2E_INITIALIZER");
    const std::string kind = asked == nullptr ? "" : asked;
    constexpr std::string_view kWhile = "throw_while ";
    constexpr std::string_view kGate = "wait_at ";
    constexpr std::string_view kNote = "note_and_thrive ";
    if (kind == "exit78") return initializer(&exit_as_misconfigured);
    if (kind == "throw") return initializer(&throw_at_start);
    if (kind == "hang") return initializer(&hang_at_start);
    if (kind == "thread") return initializer(&start_a_thread);
    if (kind.starts_with(kNote)) return initializer(&note_and_thrive, kind.substr(kNote.size()));
    if (kind.starts_with(kWhile))
        return initializer(&throw_while_there, kind.substr(kWhile.size()));
    if (kind.starts_with(kGate)) return initializer(&wait_at_start, kind.substr(kGate.size()));
    return {};
}

}  // namespace forkmill::e2e
