// SPDX-License-Identifier: Apache-2.0
// What `ps` shows of a worker.
#include <algorithm>

#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using test::wait_until;

inline constexpr Task<"demo.sleep_ms", std::int64_t(std::int64_t)> sleep_ms;

std::string title_of(pid_t pid) {
    std::string words = test::read_text("/proc/" + std::to_string(pid) + "/cmdline");
    words.resize(words.find_last_not_of('\0') + 1);
    std::replace(words.begin(), words.end(), '\0', ' ');
    return words;
}

/// Only of the stock program: a program of one's own may hold on to its arguments.
TEST_F(Supervised, ALongTaskIsNamedInItsWorkersTitleUntilItEnds) {
    start_pool(
        {.workers = 1,
         .executable = "stock",
         .pool = "    modules: [" FORKMILL_TEST_LIB_DIR "/forkmill/modules/demo_module.so]\n"});
    const pid_t worker = workers()[0];
    EXPECT_EQ(title_of(worker), "forkmill-worker: default/0");
    auto result = pool().apply_async(sleep_ms, 3'600'000);
    EXPECT_TRUE(wait_until(
        [&] { return title_of(worker) == "forkmill-worker: default/0 running demo.sleep_ms"; },
        kLimit))
        << title_of(worker);
    result.cancel();
    EXPECT_TRUE(
        wait_until([&] { return title_of(worker) == "forkmill-worker: default/0"; }, kLimit))
        << title_of(worker);
    EXPECT_EQ(workers(), std::vector<pid_t>{worker}) << "it is the same one";
}

}  // namespace
}  // namespace forkmill::e2e
