// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/host_limits.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <vector>

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

constexpr std::uint64_t kMemoryMax = 1ULL << 30;

std::string first_line(const std::string& path) {
    std::ifstream file{path};
    std::string line;
    std::getline(file, line);
    return line;
}

std::uint64_t number_of(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} ? value : 0;
}

/// Directories of this process's cgroup in hierarchy `controller` (empty: the unified one),
/// innermost first.
std::vector<std::string> cgroup_directories(std::string_view controller, const std::string& mount) {
    std::vector<std::string> directories;
    std::ifstream file{"/proc/self/cgroup"};
    for (std::string line; std::getline(file, line);) {
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
        const bool ours = controller.empty() ? names == ",,"
                                             : names.find("," + std::string{controller} + ",") !=
                                                   std::string::npos;
        if (!ours) continue;
        for (std::string path = line.substr(second + 1); !path.empty() && path != "/";
             path.resize(path.rfind('/')))
            directories.push_back(mount + path);
    }
    directories.push_back(mount);
    return directories;
}

void keep_least(std::uint64_t& least, std::uint64_t value) {
    if (value != 0 && (least == 0 || value < least)) least = value;
}

}  // namespace

std::uint32_t cpus_of_quota(std::string_view cpu_max) {
    const std::size_t space = cpu_max.find(' ');
    if (space == std::string_view::npos) return 0;
    const std::uint64_t quota = number_of(cpu_max.substr(0, space));
    const std::uint64_t period = number_of(cpu_max.substr(space + 1));
    if (quota == 0 || period == 0) return 0;
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>((quota + period - 1) / period, UINT32_MAX));
}

std::uint32_t usable_cpus() {
    std::uint64_t least = 0;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        keep_least(least, static_cast<std::uint64_t>(CPU_COUNT(&set)));
    } else {
        keep_least(least,
                   static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN))));
    }
    for (const std::string& directory : cgroup_directories("", "/sys/fs/cgroup"))
        keep_least(least, cpus_of_quota(first_line(directory + "/cpu.max")));
    for (const std::string& directory : cgroup_directories("cpu", "/sys/fs/cgroup/cpu")) {
        const std::string quota = first_line(directory + "/cpu.cfs_quota_us");
        if (!quota.empty() && quota[0] != '-')
            keep_least(least,
                       cpus_of_quota(quota + " " + first_line(directory + "/cpu.cfs_period_us")));
    }
    return static_cast<std::uint32_t>(std::max<std::uint64_t>(least, 1));
}

std::uint64_t broker_memory() {
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    const long size = ::sysconf(_SC_PAGESIZE);
    std::uint64_t least = pages > 0 && size > 0
                              ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size)
                              : 0;
    for (const std::string& directory : cgroup_directories("", "/sys/fs/cgroup"))
        keep_least(least, number_of(first_line(directory + "/memory.max")));
    for (const std::string& directory : cgroup_directories("memory", "/sys/fs/cgroup/memory"))
        keep_least(least, number_of(first_line(directory + "/memory.limit_in_bytes")));
    return least == 0 ? kMemoryMax : std::min(kMemoryMax, least / 4);
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
