// SPDX-License-Identifier: Apache-2.0
#include "tests/support/wait_until.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <thread>

namespace forkmill::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSlowness = 4;
#else
constexpr int kSlowness = 1;
#endif

// Short enough to add nothing to a test, long enough to leave two cores to those waited for.
constexpr std::chrono::milliseconds kPoll{2};

}  // namespace

std::chrono::milliseconds stretched(std::chrono::milliseconds limit) {
    return limit * kSlowness;
}

bool wait_until(const std::function<bool()>& predicate, std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + stretched(limit);
    while (!predicate()) {
        if (std::chrono::steady_clock::now() >= end) return predicate();
        std::this_thread::sleep_for(kPoll);
    }
    return true;
}

int full_or_twentieth(int count, int least) {
    const char* full = std::getenv("FORKMILL_FULL");
    // A sanitizer looks for what a run does, and needs no thousand of them; they cost it hours.
    if (kSlowness > 1) full = nullptr;
    if (count <= 200 || (full != nullptr && std::string_view{full} == "1")) return count;
    return std::max(count / 20, least);
}

}  // namespace forkmill::test
