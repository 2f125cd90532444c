// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/escapes.h"

#include <unistd.h>

#include <fstream>

namespace forkmill::supervisor {

namespace {

/// Orphans become children of a process's first thread.
std::string children_file() {
    const std::string self = std::to_string(::getpid());
    return "/proc/" + self + "/task/" + self + "/children";
}

std::string name_of_process(pid_t pid) {
    std::ifstream file{"/proc/" + std::to_string(pid) + "/comm"};
    std::string name;
    std::getline(file, name);
    return name;
}

}  // namespace

void Escapes::on_death(const IsOwn& is_own, base::Time now) {
    std::ifstream children{children_file()};
    for (pid_t pid = 0; children >> pid && known_.size() < kKnownMax;)
        if (!is_own(pid)) known_.try_emplace(pid, now + kDying);
}

std::vector<Escaped> Escapes::due(const IsOwn& is_own, base::Time now) {
    std::vector<Escaped> found;
    for (auto entry = known_.begin(); entry != known_.end();) {
        const auto [pid, at] = *entry;
        if (at > now) {
            ++entry;
        } else if (is_own(::getpgid(pid))) {
            entry = known_.erase(entry);  // It will die with its worker; else that death shows it.
        } else {
            found.push_back({pid, name_of_process(pid)});
            entry->second = base::kNever;
            ++entry;
        }
    }
    count_ += found.size();
    return found;
}

}  // namespace forkmill::supervisor
