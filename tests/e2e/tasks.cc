// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/tasks.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
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
    tasks.bind(host, &do_host);
    tasks.bind(echo, [](std::string what) { return what; });
    tasks.bind(text, [](std::size_t size) { return std::string(size, 't'); });
    tasks.bind(throw_text,
               [](std::size_t size) -> int { throw std::runtime_error(std::string(size, 'e')); });
    tasks.bind(grow, [](Box box) { return Box{box.width + 1, box.height + 1}; });
    return tasks;
}

}  // namespace forkmill::e2e
