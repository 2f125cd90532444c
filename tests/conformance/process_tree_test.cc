// SPDX-License-Identifier: Apache-2.0
// Many processes of a program, and trees of them (X09-X11): always embedded.
#include "forkmill/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/conformance/cluster.h"
#include "tests/conformance/process_support.h"
#include "tests/conformance/tasks.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using forkmill::Process;
using forkmill::test::TempDir;

CONFORMANCE(X09, FiftyAtOnce, "E") {
    const TempDir directory;
    const std::size_t files = forkmill::test::open_files(::getpid()).size();
    {
        std::vector<Process> all;
        for (int i = 0; i < 50; ++i) all.emplace_back(wait_for_file, directory / "go");
        std::set<int> pids;
        for (Process& process : all) {
            process.start();
            pids.insert(process.pid());
        }
        EXPECT_EQ(pids.size(), 50U);
        EXPECT_EQ(forkmill::active_children().size(), 50U);
        static_cast<void>(directory.write("go", ""));
        for (Process& process : all) {
            process.join();
            EXPECT_EQ(process.exit_code(), 0);
        }
    }
    EXPECT_EQ(forkmill::test::open_files(::getpid()).size(), files);
    expect_nothing_left();
}

CONFORMANCE(X09, AThousandLeaveNothing, "E") {
    expect_nothing_left();
    const Process keeper{nothing};  // One fork server for all.
    const auto one_life = [] {
        Process process{exit_with, 3};
        process.start();
        process.join();
        EXPECT_EQ(process.exit_code(), 3);
    };
    for (int i = 0; i < 20; ++i) one_life();
    const pid_t server = fork_server_of_this_program();
    ASSERT_GT(server, 0);
    const std::size_t files = forkmill::test::open_files(::getpid()).size();
    const std::size_t server_files = forkmill::test::open_files(server).size();
    const long pages = resident_pages(::getpid());
    const long server_pages = resident_pages(server);
    const int lives = forkmill::test::full_or_twentieth(1000);
    for (int i = 0; i < lives; ++i) one_life();
    EXPECT_EQ(forkmill::test::open_files(::getpid()).size(), files);
    EXPECT_TRUE(forkmill::test::wait_until(
        [&] { return forkmill::test::open_files(server).size() == server_files; }, 5s));
    EXPECT_EQ(forkmill::test::descendants_of(::getpid()).size(), 1U) << "more than the fork server";
    if (!kSanitized) {
        EXPECT_LT(resident_pages(::getpid()) - pages, 64);
        EXPECT_LT(resident_pages(server) - server_pages, 64);
    }
}

CONFORMANCE(X09, AFreshForkServerIsAsGood, "E") {
    for (int i = 0; i < 20; ++i) {
        Process process{exit_with, i};
        process.start();
        process.join();
        EXPECT_EQ(process.exit_code(), i);
    }
    expect_nothing_left();
}

CONFORMANCE(X09, WithoutDescriptorsLeftAStartIsBusyAndTheRestGoesOn, "E") {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    // Each process takes some of the fork server's: one limit after another, so that what is left
    // at last is every remainder once.
    for (rlim_t limit = 96; limit < 100; ++limit) {
        const rlimit few{limit, before.rlim_max};
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
        std::vector<Process> all;
        all.emplace_back(wait_for_ever);
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
        const auto start_all = [&] {
            for (int i = 0; i < 100; ++i) {
                all.back().start();
                all.emplace_back(wait_for_ever);
            }
        };
        EXPECT_THROW(start_all(), forkmill::Busy);
        EXPECT_GT(all.size(), 5U);
        EXPECT_FALSE(all.back().is_alive());
        // The order of a pool's worker brings more descriptors; it is refused too, and no more.
        static_cast<void>(forkmill::Pool{1});
        EXPECT_TRUE(all.front().is_alive());
        all.front().kill();
        all.front().join();
        EXPECT_NO_THROW(all.back().start()) << "there is room again";
        for (Process& process : all) process.kill();
        for (Process& process : all) EXPECT_TRUE(process.join(20s));
    }
}

CONFORMANCE(X09, AProgramWithoutDescriptorsLeftIsTold, "E") {
    // The sanitizer looks at a type it has not seen yet through a pipe, which needs descriptors.
    EXPECT_THROW(throw forkmill::Busy{"seen"}, forkmill::Busy);
    Process seen{nothing};
    seen.start();
    EXPECT_TRUE(seen.join(20s));
    Process process{nothing};
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    for (rlim_t spare = 0; spare < 3; ++spare) {
        const int next = ::dup(STDERR_FILENO);
        ::close(next);
        const rlimit few{static_cast<rlim_t>(next) + spare, before.rlim_max};
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
        EXPECT_THROW(process.start(), forkmill::Busy) << spare;
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    process.start();
    EXPECT_TRUE(process.join(20s));
    EXPECT_EQ(process.exit_code(), 0);
}

CONFORMANCE(X10, ATreeComesDownWithItsRoot, "E") {
    const TempDir directory;
    forkmill::test::Program program{
        {forkmill::test::built_program("conformance_process_tree"), "tree", directory.path()}};
    std::vector<pid_t> tree;
    for (const char* name : {"Process-1", "Process-1:1", "Process-1:1:1"})
        tree.push_back(pid_in(directory / name));
    for (const pid_t pid : tree) EXPECT_TRUE(forkmill::test::process_alive(pid));
    program.signal(SIGKILL);
    EXPECT_EQ(program.wait(forkmill::test::stretched(10s)), 128 + SIGKILL);
    for (const pid_t pid : tree) EXPECT_TRUE(is_dead(pid)) << pid;
    expect_nothing_left();
}

static void have_a_child(const std::string& path, const std::string& gate) {
    Process child{[](const std::string& to, const std::string& until) {
                      write_file(to, std::to_string(::getpid()));
                      wait_for_file(until);
                      write_file(to + ".done", "done");
                  },
                  path,
                  gate};
    child.start();  // And returns: its end is waited for.
}

CONFORMANCE(X10, ABranchComesDownWithItsParent, "E") {
    const TempDir directory;
    Process parent{have_a_child, directory / "pid", directory / "never"};
    parent.start();
    const pid_t grandchild = pid_in(directory / "pid");
    EXPECT_TRUE(forkmill::test::process_alive(grandchild));
    parent.kill();
    parent.join();
    EXPECT_TRUE(is_dead(grandchild));
}

CONFORMANCE(X10, AParentWaitsForItsChildren, "E") {
    const TempDir directory;
    Process parent{have_a_child, directory / "pid", directory / "go"};
    parent.start();
    EXPECT_GT(pid_in(directory / "pid"), 0);
    EXPECT_FALSE(parent.join(50ms));
    static_cast<void>(directory.write("go", ""));
    EXPECT_TRUE(parent.join(20s));
    EXPECT_EQ(parent.exit_code(), 0);
    EXPECT_EQ(read_file(directory / "pid.done"), "done");
}

static void use_a_pool(const std::string& path) {
    forkmill::Pool pool{2};
    write_file(path, std::to_string(pool.apply([](int n) { return n * n; }, 12)));
}

CONFORMANCE(X10, AProcessMayHaveAPool, "E") {
    const TempDir directory;
    Process process{use_a_pool, directory / "result"};
    process.start();
    EXPECT_TRUE(process.join(30s));
    EXPECT_EQ(process.exit_code(), 0);
    EXPECT_EQ(read_file(directory / "result"), "144");
}

CONFORMANCE(X10, WithoutItsForkServerAProcessIsGone, "E") {
    Process process{wait_for_ever};
    process.start();
    ::kill(fork_server_of_this_program(), SIGKILL);
    EXPECT_TRUE(process.join(20s));
    EXPECT_EQ(process.exit_code(), -SIGKILL);
    EXPECT_TRUE(is_dead(process.pid()));
    // It is an orphan now, and comes to us.
    EXPECT_TRUE(forkmill::test::wait_until(
        [&] {
            return forkmill::test::leftovers().empty() &&
                   forkmill::test::process_state(process.pid()) == 0;
        },
        5s));
    // With one thread the program gets a new one.
    Process next{exit_with, 4};
    next.start();
    next.join();
    EXPECT_EQ(next.exit_code(), 4);
}

/// Ten threads that allocate, print and lock without a pause.
class BusyThreads {
  public:
    BusyThreads() {
        for (int i = 0; i < 10; ++i) threads_.emplace_back([this] { run(); });
    }
    ~BusyThreads() {
        over_ = true;
        for (std::thread& thread : threads_) thread.join();
    }

  private:
    void run() {
        std::size_t size = 1;
        while (!over_) {
            size = size % 5000 + 1;
            const std::string text(size, 'x');
            const std::unique_ptr<FILE, int (*)(FILE*)> null{std::fopen("/dev/null", "w"),
                                                             std::fclose};
            if (null) std::fputs(text.c_str(), null.get());
        }
    }
    std::atomic<bool> over_{false};
    std::vector<std::thread> threads_;
};

CONFORMANCE(X11, BesideTenBusyThreadsNothingDeadlocks, "E") {
    const Process keeper{nothing};
    const BusyThreads threads;
    const int rounds = forkmill::test::full_or_twentieth(1000);
    for (int i = 0; i < rounds; ++i) {
        Process process{[](int number) { std::exit(std::to_string(number).size() == 1 ? 1 : 2); },
                        i};
        process.start();
        ASSERT_TRUE(process.join(forkmill::test::stretched(30s))) << "round " << i;
        ASSERT_EQ(process.exit_code(), i < 10 ? 1 : 2);
    }
}

CONFORMANCE(X11, ManyThreadsStartAndJoinBesideAPool, "E") {
    const Process keeper{nothing};
    forkmill::Pool pool{2};
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 10; ++i) {
                Process process{exit_with, i};
                process.start();
                if (process.join(forkmill::test::stretched(30s)) && process.exit_code() == i)
                    ++right;
            }
        });
    }
    for (int i = 0; i < 500; ++i) EXPECT_EQ(pool.apply([](int n) { return n + 1; }, i), i + 1);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(right, 60);
    EXPECT_TRUE(forkmill::active_children().empty());
}

}  // namespace conformance
