// SPDX-License-Identifier: Apache-2.0
// What one measurement of an operation finds, and how: peer.py measures exactly like this.
//
// First the rate without a clock around each operation, then the same again with one, for the
// percentiles; both for a length of time, because the operations differ by a factor of a thousand.
// Threading: one thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace bench {

/// CLOCK_MONOTONIC here and in peer.py, so two processes can agree on an end.
using Clock = std::chrono::steady_clock;

struct Figure {
    double rate = 0;
    double p50_us = 0;  ///< 0: single operations were not timed.
    double p99_us = 0;
};

inline double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Runs between two looks at the clock.
inline constexpr int kBatch = 16;
inline constexpr std::size_t kSamplesMax = 200'000;

/// Runs per second until `end`.
template <class Run>
double rate_until(Clock::time_point end, const Run& run) {
    std::size_t count = 0;
    const auto start = Clock::now();
    do {
        for (int i = 0; i < kBatch; ++i) run();
        count += kBatch;
    } while (Clock::now() < end);
    return static_cast<double>(count) / seconds_since(start);
}

template <class Run>
void time_each_until(Clock::time_point end, const Run& run, Figure& figure) {
    std::vector<double> samples;
    samples.reserve(kSamplesMax);
    for (auto before = Clock::now(); before < end && samples.size() < kSamplesMax;) {
        run();
        const auto after = Clock::now();
        samples.push_back(std::chrono::duration<double, std::micro>(after - before).count());
        before = after;
    }
    std::sort(samples.begin(), samples.end());
    figure.p50_us = samples[samples.size() / 2];
    figure.p99_us = samples[samples.size() * 99 / 100];
}

template <class Run>
Figure measure(Clock::duration length, const Run& run) {
    for (int i = 0; i < 4 * kBatch; ++i) run();
    Figure figure;
    figure.rate = rate_until(Clock::now() + length, run);
    time_each_until(Clock::now() + length, run, figure);
    return figure;
}

}  // namespace bench
