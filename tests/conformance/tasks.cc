// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/tasks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <new>
#include <stdexcept>
#include <system_error>

namespace conformance {

namespace {

std::atomic<int> living{0};
std::atomic<int> initializer_runs{0};
std::atomic<int> tasks_before_initializer{0};

void append_to(const std::string& path, const std::string& line) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const std::string text = line + "\n";
    if (fd < 0 || ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        throw std::runtime_error("cannot write " + path);
    ::close(fd);
}

int do_sleep(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds{ms});
    return ::getpid();
}

int do_fail(const std::string& kind, const std::string& text) {
    if (kind == "logic_error") throw std::logic_error(text);
    if (kind == "out_of_range") throw std::out_of_range(text);
    if (kind == "invalid_argument") throw std::invalid_argument(text);
    if (kind == "length_error") throw std::length_error(text);
    if (kind == "domain_error") throw std::domain_error(text);
    if (kind == "range_error") throw std::range_error(text);
    if (kind == "overflow_error") throw std::overflow_error(text);
    if (kind == "underflow_error") throw std::underflow_error(text);
    if (kind == "bad_alloc") throw std::bad_alloc();
    if (kind == "system_error") throw std::system_error(ENOENT, std::generic_category(), text);
    if (kind == "int") throw 42;
    throw std::runtime_error(text);
}

int overflow_stack(volatile char* above);
int (*volatile again)(volatile char*) =
    &overflow_stack;  // Through a pointer the compiler sees no endless recursion.
int overflow_stack(volatile char* above) {
    volatile char frame[4096];
    frame[0] = *above;
    return again(frame) + frame[0];
}

int do_crash(const std::string& how) {
    if (how == "exit3") std::exit(3);
    if (how == "abort") std::abort();
    if (how == "kill") ::kill(::getpid(), SIGKILL);
    if (how == "segv") {
        // A real invalid access, hidden from the compiler and from sanitizers' own handlers.
        ::signal(SIGSEGV, SIG_DFL);
        // Not a null pointer: UBSan would report that one before the store.
        void* nowhere = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *static_cast<volatile char*>(nowhere) = 1;
    }
    if (how == "stack") {
        ::signal(SIGSEGV, SIG_DFL);
        volatile char first = 0;
        return overflow_stack(&first);
    }
    return 0;
}

int do_die_until(const std::string& path, int deaths) {
    const int attempt = forkmill::context().attempt;
    append_to(path, std::to_string(::getpid()) + " " + std::to_string(attempt));
    if (attempt <= deaths) ::kill(::getpid(), SIGKILL);
    return attempt;
}

int do_wait_file(const std::string& path) {
    for (int i = 0; i < 6000 && ::access(path.c_str(), F_OK) != 0; ++i) {
        if (forkmill::context().stop.stop_requested()) throw forkmill::Cancelled("asked to stop");
        ::poll(nullptr, 0, 5);
    }
    return ::getpid();
}

int do_spin(int ms) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{ms};
    while (std::chrono::steady_clock::now() < end) {
    }
    return ::getpid();
}

std::pair<int, int> do_initialized(int sleep) {
    if (initializer_runs == 0) ++tasks_before_initializer;
    ::poll(nullptr, 0, sleep);
    return {::getpid(), initializer_runs.load() * 100 + tasks_before_initializer.load()};
}

void initialize(std::string kind, int expected) {
    if (kind == "throw") throw std::runtime_error("the initializer refuses");
    if (kind == "throw-until-file") {
        const char* directory = std::getenv("CONFORMANCE_DIRECTORY");
        if (directory == nullptr ||
            ::access((std::string{directory} + "/cured").c_str(), F_OK) != 0)
            throw std::runtime_error("the initializer refuses until it is cured");
    }
    initializer_runs += expected;
}

}  // namespace

Counted::Counted() {
    ++living;
}
Counted::Counted(const Counted& other) : data(other.data) {
    ++living;
}
Counted::Counted(Counted&& other) noexcept : data(std::move(other.data)) {
    ++living;
}
Counted::~Counted() {
    --living;
}
int Counted::alive() {
    return living;
}

forkmill::Tasks all_tasks() {
    forkmill::Tasks tasks;
    tasks.bind(square, [](int x) { return x * x; });
    tasks.bind(add, [](int a, int b) { return a + b; });
    tasks.bind(pid_of_worker, []() -> int { return ::getpid(); });
    tasks.bind(sleep_ms, &do_sleep);
    tasks.bind(fail, [](std::string kind, std::string text) { return do_fail(kind, text); });
    tasks.bind(crash, [](std::string how) { return do_crash(how); });
    tasks.bind(die_until, [](std::string path, int deaths) { return do_die_until(path, deaths); });
    tasks.bind(append_line, [](std::string path, std::string line) {
        append_to(path, line);
        return static_cast<int>(::getpid());
    });
    tasks.bind(wait_file, [](std::string path) { return do_wait_file(path); });
    tasks.bind(nested, [](int n) { return forkmill::context().pool().apply(square, n); });
    tasks.bind(text_of_size, [](std::size_t size) { return std::string(size, 'x'); });
    tasks.bind(length, [](std::string text) { return text.size(); });
    tasks.bind(unpackable, [] { return Stubborn{}; });
    tasks.bind(counted, [](Counted value) { return value; });
    tasks.bind(counted_alive, [] { return Counted::alive(); });
    tasks.bind(initialized, &do_initialized);
    tasks.bind(spin_ms, &do_spin);
    tasks.bind(sum, [](std::vector<int> values) {
        std::int64_t total = 0;
        for (const int value : values) total += value;
        return total;
    });
    return tasks;
}

forkmill::Initializer make_initializer(const std::string& kind) {
    return forkmill::initializer(&initialize, kind, 1);
}

}  // namespace conformance
