// SPDX-License-Identifier: Apache-2.0
// What the reaper knows of the dead. Every child here is reaped by the reaper or by the test, so
// none is left when a case ends.
#include "core/supervisor/reaper.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <vector>

#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace forkmill::supervisor {
namespace {

constexpr std::size_t kMebibyte = 1024 * 1024;

pid_t child_that(const std::function<void()>& act) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    act();
    ::_exit(0);
}

/// The end of the only child there is.
ChildEvent end_of(pid_t child) {
    std::optional<ChildEvent> event;
    EXPECT_TRUE(test::wait_until([&] {
        event = next_child_event([](pid_t) { return false; });
        return event.has_value();
    }));
    EXPECT_TRUE(event && event->pid == child && event->is_death());
    return event.value_or(ChildEvent{});
}

void touch(std::size_t bytes) {
    auto* all = new std::vector<char>(bytes, 'x');
    asm volatile("" : : "r"(all->data()) : "memory");  // Nobody reads it: it is to be there.
}

TEST(Reaper, TheMostMemoryOfTheDeadIsKnown) {
    const ChildEvent small = end_of(child_that([] {}));
    const ChildEvent large = end_of(child_that([] {
        touch(100 * kMebibyte);
        ::kill(::getpid(), SIGKILL);
    }));
    EXPECT_EQ(large.detail, SIGKILL);
    EXPECT_GT(small.rss_peak, 0U);
    EXPECT_GE(large.rss_peak, 100 * kMebibyte);
    // In bytes, not in pages or KiB; sanitizers keep some of their own for each.
    EXPECT_LT(large.rss_peak, small.rss_peak + 1000 * kMebibyte);
}

TEST(Reaper, WhatADeadProcessWaitedForCounts) {
    const ChildEvent parent = end_of(child_that([] {
        const pid_t grandchild = child_that([] { touch(100 * kMebibyte); });
        ::waitpid(grandchild, nullptr, 0);
    }));
    EXPECT_GE(parent.rss_peak, 100 * kMebibyte);
}

/// Whether the kernel writes a core is the machine's matter: so the same death is also told by
/// waitpid.
TEST(Reaper, ACoreIsToldOfAsTheKernelTellsIt) {
    const test::TempDir directory;
    const auto abort_there = [&](int dumpable, rlim_t most) {
        return child_that([&, dumpable, most] {
            const rlimit limit{most, most};
            ::setrlimit(RLIMIT_CORE, &limit);
            ::prctl(PR_SET_DUMPABLE, dumpable);
            ::signal(SIGABRT, SIG_DFL);
            if (::chdir(directory.path().c_str()) == 0) ::kill(::getpid(), SIGABRT);
        });
    };
    rlimit allowed{};
    ::getrlimit(RLIMIT_CORE, &allowed);
    for (const int dumpable : {0, 1}) {
        SCOPED_TRACE(dumpable);
        int status = 0;
        ASSERT_GT(::waitpid(abort_there(dumpable, allowed.rlim_max), &status, 0), 0);
        const ChildEvent event = end_of(abort_there(dumpable, allowed.rlim_max));
        EXPECT_EQ(event.kind, ChildEvent::Kind::Signaled);
        EXPECT_EQ(event.detail, SIGABRT);
        EXPECT_EQ(event.core_dumped, WCOREDUMP(status) != 0);
        EXPECT_FALSE(dumpable == 0 && event.core_dumped);
    }
}

}  // namespace
}  // namespace forkmill::supervisor
