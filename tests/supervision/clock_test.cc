// SPDX-License-Identifier: Apache-2.0
// Case 56: a system clock that jumps ends no wait, because nothing that waits reads it.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "tests/style/source.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using style::make_source;
using style::Source;

constexpr std::array<std::string_view, 8> kWallClock{"system_clock",
                                                     "CLOCK_REALTIME",
                                                     "wall_now",
                                                     "gettimeofday",
                                                     "utc_clock",
                                                     "std::time",
                                                     "::time(",
                                                     " time("};
/// A line that may read the system's clock, and why that ends no wait.
struct Reason {
    std::string_view file;
    std::string_view line;
    std::string_view why;
};
constexpr std::array<Reason, 9> kReasons{{
    {"core/base/time.h", "inline WallNanos wall_now() {", "it is made here"},
    {"core/base/time.h", "::clock_gettime(CLOCK_REALTIME, &t);", "it is made here"},
    {"core/supervisor/master_control.cc", "base::wall_now(),", "shows when somebody died"},
    {"core/supervisor/master.cc", "seed_ = ", "a seed of the jitter, not a time"},
    {"broker/router.cc", "base::wall_now(),", "a deadline becomes a wait once, at the submit"},
    {"broker/router.cc", "gateway_.pump(now, base::wall_now());", "as above"},
    {"worker/task_runner.cc", "wall_time(base::WallNanos", "shows a task its deadline"},
    {"worker/task_runner.cc", "return std::chrono::system_clock::time_point{", "as above"},
    {"worker/task_runner.cc", "duration_cast<std::chrono::system_clock::duration>(", "as above"},
}};

bool has_reason(const Source& source, const std::string& line) {
    return std::any_of(kReasons.begin(), kReasons.end(), [&](const Reason& reason) {
        return source.path == reason.file && line.find(reason.line) != std::string::npos;
    });
}

bool reads_the_clock(const std::string& line) {
    return std::any_of(kWallClock.begin(), kWallClock.end(), [&](std::string_view word) {
        return line.find(word) != std::string::npos;
    });
}

/// Lines that read the system's clock without a reason.
std::string readings(const Source& source) {
    std::string found;
    const bool waits =
        source.is_below("core/") || source.is_below("broker/") || source.is_below("worker/");
    if (!waits || !source.is_cpp()) return found;
    for (std::size_t i = 0; i < source.code.size(); ++i) {
        const std::string& line = source.code[i];
        if (reads_the_clock(line) && !has_reason(source, line))
            found += style::at(source, static_cast<int>(i) + 1, line) + "\n";
    }
    return found;
}

SUPERVISION(56, NothingThatWaitsReadsTheSystemsClock) {
    std::string found;
    int files = 0;
    for (const Source& source : style::tree()) {
        found += readings(source);
        files += source.is_below("core/supervisor/") ? 1 : 0;
    }
    EXPECT_EQ(found, "");
    EXPECT_GT(files, 30) << "the sources were not found";
}

SUPERVISION(56, AReadingOfTheSystemsClockIsFound) {
    for (const char* line : {"const auto now = std::chrono::system_clock::now();",
                             "::clock_gettime(CLOCK_REALTIME, &t);",
                             "if (base::wall_now() > limit) return;",
                             "seed = time(nullptr);",
                             "x = ::time(nullptr);"})
        EXPECT_NE(readings(make_source("broker/engine/timers.cc", line)), "") << line;
    EXPECT_EQ(readings(make_source("core/supervisor/slot.cc", "// wall_now() is not for us")), "");
    EXPECT_EQ(readings(make_source("core/supervisor/slot.cc", "on_time(now);")), "");
}

}  // namespace
}  // namespace forkmill::e2e
