// SPDX-License-Identifier: Apache-2.0
#include "tests/supervision/figures.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "tests/support/temp_dir.h"

namespace forkmill::e2e {

std::chrono::milliseconds processor_time_of(pid_t pid) {
    const std::string text = test::read_text("/proc/" + std::to_string(pid) + "/stat");
    const std::size_t end = text.rfind(')');  // The name before it may hold blanks.
    if (end == std::string::npos) return {};
    std::istringstream fields{text.substr(end + 1)};
    constexpr int kBeforeUserTime = 11;
    std::string skipped;
    for (int i = 0; i < kBeforeUserTime; ++i) fields >> skipped;
    std::int64_t user = 0;
    std::int64_t kernel = 0;
    fields >> user >> kernel;
    return std::chrono::milliseconds{(user + kernel) * 1000 / ::sysconf(_SC_CLK_TCK)};
}

std::uint64_t resident_bytes_of(pid_t pid) {
    std::ifstream statm{"/proc/" + std::to_string(pid) + "/statm"};
    std::uint64_t size = 0;
    std::uint64_t pages = 0;
    statm >> size >> pages;
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace forkmill::e2e
