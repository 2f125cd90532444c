// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/self.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <utility>

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

struct Self {
    ProcessInfo info{"MainProcess", 0, false};
    std::optional<ProcessInfo> parent;
    std::string path;
    std::atomic<std::uint32_t> made{0};
};

Self& self() {
    static auto* one = new Self;  // Threads may ask while the program's statics are destroyed.
    return *one;
}

}  // namespace

ProcessInfo current_info() {
    ProcessInfo info = self().info;
    info.pid = ::getpid();
    return info;
}

std::optional<ProcessInfo> parent_info() {
    return self().parent;
}

std::string next_path() {
    Self& own = self();
    const std::string number = std::to_string(own.made.fetch_add(1) + 1);
    return own.path.empty() ? number : own.path + ":" + number;
}

void become(ProcessInfo info, std::string path, pid_t program) {
    Self& own = self();
    own.parent = std::exchange(own.info, std::move(info));
    own.parent->pid = program;
    own.path = std::move(path);
    own.made = 0;
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
