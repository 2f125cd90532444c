// SPDX-License-Identifier: Apache-2.0
// The one notion of time: nanoseconds on the monotonic clock.
//
// Everything that decides takes `now` as an argument (law 4); only the outermost loops call
// monotonic_now(). Wall time appears in two places only: a task's `deadline` and schedules
// (semantics.md 10).
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

namespace forkmill::base {

using Duration = std::chrono::nanoseconds;

/// Tag clock: a point on CLOCK_MONOTONIC, or on a simulation's virtual clock. It has no now().
struct Monotonic {
    using rep = std::int64_t;
    using period = std::nano;
    using duration = Duration;
    using time_point = std::chrono::time_point<Monotonic, Duration>;
    static constexpr bool is_steady = true;
};
using Time = Monotonic::time_point;

inline constexpr Time kNever = Time::max();

/// Wall-clock nanoseconds since 1970 UTC; 0 means "none".
using WallNanos = std::int64_t;

inline Time monotonic_now() {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return Time{Duration{std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec}};
}

inline WallNanos wall_now() {
    timespec t{};
    ::clock_gettime(CLOCK_REALTIME, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace forkmill::base
