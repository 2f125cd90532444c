// SPDX-License-Identifier: Apache-2.0
// Case 55: a client that forks.
#include <sys/wait.h>
#include <unistd.h>

#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using test::wait_until;

template <class Call>
int is_refused(Call&& call) {
    try {
        call();
    } catch (const ForkedContextError&) {
        return 1;
    } catch (...) {
        return 0;
    }
    return 0;
}

/// How many of the calls that reach the broker are refused.
int refusals(Pool& pool, AsyncResult<int>& pending, const TaskId& id) {
    using std::chrono::seconds;
    int refused = 0;
    refused += is_refused([&] { pool.apply(pid); });
    refused += is_refused([&] { static_cast<void>(pool.apply_async(pid)); });
    refused += is_refused([&] { pool.map(text, std::vector<std::size_t>(3, 1)); });
    refused += is_refused([&] { static_cast<void>(pool.attach<int>(id)); });
    refused += is_refused([&] { pool.workers(); });
    refused += is_refused([&] { pending.get(seconds{5}); });
    refused += is_refused([&] { pending.wait(seconds{5}); });
    refused += is_refused([&] { static_cast<void>(pending.ready()); });
    refused += is_refused([&] { pending.cancel(); });
    refused += is_refused([&] { pool.close(); });
    refused += is_refused([&] { pool.join(seconds{5}); });
    return refused;
}
constexpr int kCalls = 11;

SUPERVISION(55, AForkedClientIsRefusedAndItsParentUnaffected) {
    start_pool({.workers = 2});
    Gate gate{gate_file()};
    auto pending = pool().apply_async(pass, notes(), gate.name(), 7);
    noted(1);
    const TaskId id = pending.id();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const int refused = refusals(pool(), pending, id);
        { const AsyncResult<int> dropped = std::move(pending); }
        // These throw nothing, being part of what ends a pool; they must reach nobody.
        pool().terminate();
        pool_.reset();
        ::_exit(refused);
    }
    int status = -1;
    const bool ended =
        wait_until([&] { return ::waitpid(child, &status, WNOHANG) == child; }, kLimit);
    EXPECT_TRUE(ended) << "it hangs";
    if (!ended) {
        ::kill(child, SIGKILL);
        ::waitpid(child, &status, 0);
    }
    EXPECT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), kCalls) << "calls that were refused";
    EXPECT_EQ(pool().apply(echo, std::string{"parent"}), "parent");
    gate.open();
    EXPECT_EQ(pending.get(kLimit), 7) << "what was pending went on";
    EXPECT_EQ(numbers_in(notes()).size(), 1U);
}

}  // namespace
}  // namespace forkmill::e2e
