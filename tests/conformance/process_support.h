// SPDX-License-Identifier: Apache-2.0
// What the cases of processes have in common: what they run, and what they ask about it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

inline void nothing() {}
inline int exit_with(int code) {
    std::exit(code);
}
inline void wait_for_ever() {
    for (;;) ::pause();
}
inline void wait_for_file(const std::string& path) {
    static_cast<void>(
        forkmill::test::wait_until([&] { return std::filesystem::exists(path); }, 60s));
}
inline void write_file(const std::string& path, const std::string& text) {
    const std::string draft = path + "." + std::to_string(::getpid());
    std::ofstream{draft} << text;
    std::filesystem::rename(draft, path);
}
inline std::string read_file(const std::string& path) {
    return forkmill::test::read_text(path);
}
inline pid_t pid_in(const std::string& path) {
    return forkmill::test::wait_until([&] { return std::filesystem::exists(path); }, 20s)
               ? std::stoi(read_file(path))
               : -1;
}
inline void expect_nothing_left() {
    EXPECT_TRUE(forkmill::test::wait_until([] { return forkmill::test::leftovers().empty(); }, 5s));
}
inline bool is_dead(pid_t pid) {
    return forkmill::test::wait_until([&] { return !forkmill::test::process_alive(pid); }, 5s);
}
inline std::string thread_name(pid_t pid) {
    std::string name = read_file("/proc/" + std::to_string(pid) + "/comm");
    if (!name.empty()) name.pop_back();
    return name;
}
inline pid_t fork_server_of_this_program() {
    for (const pid_t pid : forkmill::test::descendants_of(::getpid())) {
        // Not one that an earlier case left to be reaped.
        if (thread_name(pid) == "forkmill-forks" && forkmill::test::process_alive(pid)) return pid;
    }
    return -1;
}
inline long resident_pages(pid_t pid) {
    std::ifstream statm{"/proc/" + std::to_string(pid) + "/statm"};
    long size = 0;
    long resident = 0;
    statm >> size >> resident;
    return resident;
}

}  // namespace conformance
