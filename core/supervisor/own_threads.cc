// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "core/supervisor/fork_server.h"

// Present when this program was built with ThreadSanitizer, the one that runs a thread of its own.
// NOLINTNEXTLINE(bugprone-reserved-identifier): its name is not ours.
extern "C" void __tsan_init() __attribute__((weak));

namespace forkmill::supervisor {

namespace {

/// ThreadSanitizer blocks all signals in its thread but the C library's own (33); hardly any other
/// thread does. Every thread has all of them blocked while it is being born.
std::uint64_t blocked_signals(const std::string& task) {
    std::ifstream status{"/proc/self/task/" + task + "/status"};
    for (std::string line; std::getline(status, line);) {
        constexpr std::string_view key = "SigBlk:\t";
        if (!line.starts_with(key)) continue;
        std::uint64_t mask = 0;
        std::from_chars(line.data() + key.size(), line.data() + line.size(), mask, 16);
        return mask;
    }
    return 0;
}

bool is_sanitizers(const std::string& task) {
    constexpr std::uint64_t kSignal33 = 1ULL << 32;
    std::uint64_t mask = 0;
    for (int tries = 0; tries < 10'000; ++tries) {
        mask = blocked_signals(task);
        const bool being_born = (mask & kSignal33) != 0;
        if (!being_born) return std::popcount(mask) >= 58;
        ::sched_yield();
    }
    return false;
}

}  // namespace

std::uint32_t count_own_threads() {
    const bool sanitized = &__tsan_init != nullptr;
    const std::string self = std::to_string(::getpid());
    std::uint32_t count = 0;
    DIR* tasks = ::opendir("/proc/self/task");
    if (tasks == nullptr) return 1;  // No /proc: nothing to count with.
    while (const dirent* entry = ::readdir(tasks)) {
        const std::string task = entry->d_name;
        if (task.front() == '.') continue;
        if (sanitized && task != self && is_sanitizers(task)) continue;
        ++count;
    }
    ::closedir(tasks);
    return count;
}

}  // namespace forkmill::supervisor
