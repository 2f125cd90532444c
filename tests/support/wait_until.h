// SPDX-License-Identifier: Apache-2.0
// wait_until: how a test waits for another process or thread: for a condition, with a limit.
//
// Threading: any thread; the predicate runs on the caller's.
#pragma once

#include <chrono>
#include <functional>

namespace forkmill::test {

/// True as soon as `predicate` is true; false when `limit` has passed first. Sanitizer builds get
/// four times the limit, because they run that much slower.
[[nodiscard]] bool wait_until(const std::function<bool()>& predicate,
                              std::chrono::milliseconds limit = std::chrono::seconds{10});

/// `limit`, stretched for a sanitizer build: for time limits a test states itself.
std::chrono::milliseconds stretched(std::chrono::milliseconds limit);

/// `count`, or a twentieth of it (at least `least`) unless FORKMILL_FULL=1: long repetitions run
/// whole only in `tools/test --full`, and never under a sanitizer. Counts of 200 and fewer are
/// not reduced.
int full_or_twentieth(int count, int least = 1);

}  // namespace forkmill::test
