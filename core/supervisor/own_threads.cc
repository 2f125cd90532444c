// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <unistd.h>

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "core/supervisor/fork_server.h"

// Present when this program was built with one of them.
extern "C" {
void __tsan_init() __attribute__((weak));
void __asan_init() __attribute__((weak));
}

namespace forkmill::supervisor {

namespace {

/// A sanitizer starts its own threads with all signals blocked, which hardly any program does.
bool blocks_all_signals(const std::string& task) {
    std::ifstream status{"/proc/self/task/" + task + "/status"};
    for (std::string line; std::getline(status, line);) {
        constexpr std::string_view key = "SigBlk:\t";
        if (!line.starts_with(key)) continue;
        std::uint64_t mask = 0;
        std::from_chars(line.data() + key.size(), line.data() + line.size(), mask, 16);
        return std::popcount(mask) >= 58;
    }
    return false;
}

}  // namespace

std::uint32_t count_own_threads() {
    const bool sanitized = &__tsan_init != nullptr || &__asan_init != nullptr;
    const std::string self = std::to_string(::getpid());
    std::uint32_t count = 0;
    DIR* tasks = ::opendir("/proc/self/task");
    if (tasks == nullptr) return 1;  // No /proc: nothing to count with.
    while (const dirent* entry = ::readdir(tasks)) {
        const std::string task = entry->d_name;
        if (task.front() == '.') continue;
        if (sanitized && task != self && blocks_all_signals(task)) continue;
        ++count;
    }
    ::closedir(tasks);
    return count;
}

}  // namespace forkmill::supervisor
