// SPDX-License-Identifier: Apache-2.0
// What this process may use of its host: CPUs and memory, cgroups included.
//
// Owns nothing; reads /proc and /sys. Unreadable limits count as none. Threading: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace forkmill {
inline namespace v0 {
namespace local {

/// max(1, min(CPU affinity, cgroup quota rounded up)).
std::uint32_t usable_cpus();
/// min(1 GiB, a quarter of the memory this process may use).
std::uint64_t broker_memory();

/// "max 100000" or "150000 100000" of cpu.max: CPUs rounded up; 0: no limit.
std::uint32_t cpus_of_quota(std::string_view cpu_max);

}  // namespace local
}  // namespace v0
}  // namespace forkmill
