// SPDX-License-Identifier: Apache-2.0
// A task module: forkmill-worker loads this shared library and runs its tasks.
//
//   broker.yaml:  pools: {default: {workers: 4, modules: [demo_module]}}
//   forkmill call demo.square 7
#include <forkmill/forkmill.h>
#include <forkmill/module.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "demo_tasks.h"

namespace {

std::int64_t sleep_ms(std::int64_t ms) {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const auto length = std::chrono::milliseconds{ms};
    forkmill::Context& context = forkmill::context();
    while (true) {
        const auto slept = Clock::now() - begin;
        if (slept >= length || context.stop.stop_requested())
            return std::chrono::duration_cast<std::chrono::milliseconds>(slept).count();
        if (ms >= 100)
            context.progress(std::chrono::duration<double>(slept) /
                             std::chrono::duration<double>(length));
        std::this_thread::sleep_for(
            std::min<Clock::duration>(length - slept, std::chrono::milliseconds{20}));
    }
}

/// Every call needs more stack than the one before it; what it reads and returns keeps the compiler
/// from turning that into a loop.
int overflow_stack(const volatile char* above) {
    volatile char frame[16 * 1024];
    frame[0] = *above;
    if (frame[0] != 0) return 1;
    return overflow_stack(frame) + frame[0];
}

void crash(std::string how) {
    if (how == "segv") {
        ::signal(SIGSEGV, SIG_DFL);
        volatile int* nowhere = nullptr;
        *nowhere = 1;
    }
    if (how == "abort") std::abort();
    if (how == "exit") std::exit(3);
    if (how == "stack") {
        ::signal(SIGSEGV, SIG_DFL);
        const volatile char first = 0;
        overflow_stack(&first);
    }
    // What the kernel does to a process that took too much memory, without taking any from others.
    if (how == "oom") ::kill(::getpid(), SIGKILL);
    throw std::invalid_argument("no such crash: " + how +
                                "; expected segv, abort, exit, stack or oom");
}

void spin() {
    volatile std::uint64_t turns = 0;
    while (true) turns = turns + 1;
}

}  // namespace

FORKMILL_MODULE(tasks) {
    tasks.bind(demo::square, [](std::int64_t x) { return x * x; });
    tasks.bind(demo::add, [](std::int64_t a, std::int64_t b) { return a + b; });
    tasks.bind(demo::echo, [](std::vector<std::uint8_t> bytes) { return bytes; });
    tasks.bind(demo::sleep_ms, &sleep_ms);
    tasks.bind(demo::pid, [] { return static_cast<std::int64_t>(::getpid()); });
    tasks.bind(demo::fail, [](std::string text) { throw std::runtime_error(text); });
    tasks.bind(demo::crash, &crash);
    tasks.bind(demo::spin, &spin);
}
