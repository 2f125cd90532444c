// SPDX-License-Identifier: Apache-2.0
// Processes of a program, one by one (X01-X08): always embedded.
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

namespace {

void write_number_to(int first, int second) {
    if (::write(first, "1", 1) != 1 || ::write(second, "2", 1) != 1) ::_exit(1);
}

void introduce(const std::string& path, int number, const std::vector<double>& values) {
    const forkmill::ProcessInfo self = forkmill::current_process();
    write_file(path,
               self.name + " " + std::to_string(self.pid == ::getpid()) + " " +
                   std::to_string(number) + " " + std::to_string(values.size()));
}

}  // namespace

CONFORMANCE(X01, AProcessRunsItsFunction, "E") {
    const TempDir directory;
    const std::string path = directory / "said";
    Process process{introduce, path, 42, std::vector<double>(1000, 0.5)};
    const std::string name = process.name();
    ASSERT_TRUE(name.starts_with("Process-"));
    EXPECT_EQ(process.pid(), 0);
    EXPECT_FALSE(process.is_alive());
    EXPECT_FALSE(process.exit_code());
    process.start();
    EXPECT_GT(process.pid(), 0);
    EXPECT_NE(process.pid(), ::getpid());
    EXPECT_TRUE(process.join(20s));
    EXPECT_EQ(process.exit_code(), 0);
    EXPECT_FALSE(process.is_alive());
    EXPECT_EQ(read_file(path), name + " 1 42 1000");
    EXPECT_EQ(Process{nothing}.name(), "Process-" + std::to_string(std::stoi(name.substr(8)) + 1));
}

CONFORMANCE(X01, AnExitCodeIsThereOnlyAfterTheEnd, "E") {
    const TempDir directory;
    Process waiting{wait_for_file, directory / "go"};
    waiting.start();
    EXPECT_TRUE(waiting.is_alive());
    EXPECT_FALSE(waiting.exit_code());
    static_cast<void>(directory.write("go", ""));
    waiting.join();
    EXPECT_EQ(waiting.exit_code(), 0);
    Process exiting{exit_with, 7};
    exiting.start();
    exiting.join();
    EXPECT_EQ(exiting.exit_code(), 7);
}

CONFORMANCE(X01, ATaskAndALambdaAreFunctionsToo, "E") {
    const TempDir directory;
    const std::string prefix = directory.path();
    forkmill::ProcessOptions options;
    options.name = "with a task";
    static constexpr forkmill::Task<"x01.write", int(std::string, int)> write;
    // Code with a value in it: known because it was bound before the fork server was forked.
    options.tasks.bind(write, [prefix](const std::string& name, int number) {
        write_file(prefix + "/" + name, std::to_string(number));
        return 0;
    });
    Process bound{options, write, "bound", 5};
    Process lambda{[](const std::string& path) { write_file(path, "lambda"); }, prefix + "/lambda"};
    EXPECT_EQ(bound.name(), "with a task");
    bound.start();
    lambda.start();
    bound.join();
    lambda.join();
    EXPECT_EQ(bound.exit_code(), 0);
    EXPECT_EQ(read_file(directory / "bound"), "5");
    EXPECT_EQ(read_file(directory / "lambda"), "lambda");
    // This one comes too late for the fork server that `bound` holds.
    options.tasks.bind(write, [prefix](const std::string&, int) { return 1; });
    EXPECT_THROW((Process{options, write, "late", 6}), forkmill::Rejected);
    EXPECT_THROW((Process{write, "unbound", 6}), forkmill::UsageError);
}

CONFORMANCE(X02, StartingTwiceAndJoiningTheUnstartedThrows, "E") {
    const TempDir directory;
    Process process{wait_for_file, directory / "go"};
    EXPECT_THROW(process.join(), forkmill::UsageError);
    EXPECT_THROW(process.terminate(), forkmill::UsageError);
    EXPECT_THROW(static_cast<void>(process.sentinel()), forkmill::UsageError);
    process.start();
    EXPECT_THROW(process.start(), forkmill::UsageError);
    EXPECT_THROW(process.close(), forkmill::UsageError);
    static_cast<void>(directory.write("go", ""));
    process.join();
    EXPECT_THROW(process.start(), forkmill::UsageError);
    process.join();
    process.close();
    EXPECT_THROW(process.join(), forkmill::UsageError);
    EXPECT_THROW(static_cast<void>(process.is_alive()), forkmill::UsageError);
    EXPECT_THROW(static_cast<void>(process.exit_code()), forkmill::UsageError);
}

CONFORMANCE(X02, WithOtherThreadsTheFirstIsRefused, "E") {
    std::atomic<bool> over{false};
    std::thread other{[&] { over.wait(false); }};
    EXPECT_THROW(Process{nothing}, forkmill::UsageError);
    over = true;
    over.notify_all();
    other.join();
}

CONFORMANCE(X02, AForkOfTheProgramMayNotUseItsProcesses, "E") {
    Process process{wait_for_ever};
    process.start();
    const pid_t fork_of_this = ::fork();
    if (fork_of_this == 0) {
        int code = 1;
        try {
            process.kill();
        } catch (const forkmill::ForkedContextError&) {
            code = forkmill::active_children().empty() ? 0 : 2;
        }
        ::_exit(code);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(fork_of_this, &status, 0), fork_of_this);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(process.is_alive());
    process.kill();
    process.join();
}

CONFORMANCE(X03, TerminateAndKillAreSeenInTheExitCode, "E") {
    Process terminated{wait_for_ever};
    terminated.start();
    terminated.terminate();
    EXPECT_TRUE(terminated.join(20s));
    EXPECT_EQ(terminated.exit_code(), -SIGTERM);
    terminated.terminate();  // Nobody is there any more.
    Process killed{wait_for_ever};
    killed.start();
    killed.kill();
    EXPECT_TRUE(killed.join(20s));
    EXPECT_EQ(killed.exit_code(), -SIGKILL);
    EXPECT_FALSE(forkmill::test::process_alive(killed.pid()));
}

CONFORMANCE(X03, AJoinOfNoTimeReturnsAtOnce, "E") {
    Process process{wait_for_ever};
    process.start();
    const auto start = Clock::now();
    EXPECT_FALSE(process.join(0s));
    EXPECT_FALSE(process.join(-5s));
    EXPECT_LT(seconds_since(start), 1);
    EXPECT_FALSE(process.join(50ms));
    EXPECT_GE(seconds_since(start), 0.05);
    EXPECT_TRUE(process.is_alive());
    process.kill();
    EXPECT_TRUE(process.join());
    EXPECT_TRUE(process.join(0s));
}

/// Standard error of what is forked while it lives goes into a file.
class StderrIn {
  public:
    explicit StderrIn(const std::string& path) : before_(::dup(STDERR_FILENO)) {
        const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
        ::dup2(file, STDERR_FILENO);
        ::close(file);
    }
    ~StderrIn() {
        ::dup2(before_, STDERR_FILENO);
        ::close(before_);
    }

  private:
    int before_;
};

// Seen by its name in a stack.
__attribute__((noinline, visibility("default"))) void throw_nested(int depth) {
    try {
        throw std::out_of_range{"no such row"};
    } catch (...) {
        if (depth > 0) std::throw_with_nested(std::runtime_error{"the table is broken"});
    }
}
__attribute__((noinline, visibility("default"))) void fail_loudly(int depth) {
    std::fputs("buffered words\n", stdout);  // stdout is a file here, so they stay in a buffer.
    throw_nested(depth);
    std::fputs("never said\n", stdout);
}
static void fail_in_a_thread() {
    std::thread{[] { throw std::invalid_argument{"thrown in a thread"}; }}.join();
}

CONFORMANCE(X04, WhatIsNotCaughtIsToldWithItsStack, "E") {
    const TempDir directory;
    std::string name;
    {
        const StderrIn redirected{directory / "stderr"};
        Process process{fail_loudly, 1};
        name = process.name();
        process.start();
        process.join();
        EXPECT_EQ(process.exit_code(), 1);
    }
    const std::string text = read_file(directory / "stderr");
    EXPECT_NE(text.find(name + " (pid "), std::string::npos) << text;
    EXPECT_NE(text.find("the table is broken"), std::string::npos) << text;
    EXPECT_NE(text.find("caused by std::out_of_range: no such row"), std::string::npos) << text;
    EXPECT_NE(text.find("conformance::throw_nested(int)"), std::string::npos) << text;
    EXPECT_NE(text.find("conformance::fail_loudly(int)"), std::string::npos) << text;
    EXPECT_EQ(text.find("std::terminate"), std::string::npos) << "that is no news: " << text;
    EXPECT_EQ(text.find("never said"), std::string::npos) << text;
}

CONFORMANCE(X04, AnExceptionInAThreadEndsTheProcessToo, "E") {
    const TempDir directory;
    {
        const StderrIn redirected{directory / "stderr"};
        Process process{fail_in_a_thread};
        process.start();
        process.join();
        EXPECT_EQ(process.exit_code(), 1);
    }
    const std::string text = read_file(directory / "stderr");
    EXPECT_NE(text.find("std::invalid_argument: thrown in a thread"), std::string::npos) << text;
}

static void write_and_fail(int fd_of_stdout) {
    static_cast<void>(fd_of_stdout);
    std::cout << "streamed words\n";
    fail_loudly(1);
}

CONFORMANCE(X04, WhatWasPrintedBeforeIsFlushed, "E") {
    const TempDir directory;
    const int before = ::dup(STDOUT_FILENO);
    {
        const StderrIn redirected{directory / "stderr"};
        const int file =
            ::open((directory / "stdout").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        std::fflush(stdout);
        ::dup2(file, STDOUT_FILENO);
        ::close(file);
        Process process{write_and_fail, 1};
        ::dup2(before, STDOUT_FILENO);
        process.start();
        process.join();
    }
    ::close(before);
    const std::string text = read_file(directory / "stdout");
    EXPECT_NE(text.find("buffered words\n"), std::string::npos) << text;
    EXPECT_NE(text.find("streamed words\n"), std::string::npos) << text;
}

static void tell_family(const std::string& path) {
    const auto parent = forkmill::parent_process();
    write_file(path,
               parent ? parent->name + " " + std::to_string(parent->pid) + " " +
                            std::to_string(forkmill::active_children().size()) + " " +
                            std::to_string(forkmill::current_process().daemon)
                      : "no parent");
}

CONFORMANCE(X05, ActiveChildrenAreTheLiving, "E") {
    Process first{wait_for_ever};
    Process second{{.name = "second"}, wait_for_ever};
    EXPECT_TRUE(forkmill::active_children().empty());
    first.start();
    second.start();
    std::vector<Process> living = forkmill::active_children();
    ASSERT_EQ(living.size(), 2U);
    EXPECT_EQ(living[0].pid(), first.pid());
    EXPECT_EQ(living[1].name(), "second");
    living[0].kill();
    first.join();
    living = forkmill::active_children();
    ASSERT_EQ(living.size(), 1U);
    living[0].terminate();
    EXPECT_TRUE(
        forkmill::test::wait_until([] { return forkmill::active_children().empty(); }, 10s));
    EXPECT_EQ(second.exit_code(), -SIGTERM);
    EXPECT_FALSE(forkmill::test::process_alive(second.pid()));
}

CONFORMANCE(X05, AProcessKnowsItsFamily, "E") {
    const forkmill::ProcessInfo self = forkmill::current_process();
    EXPECT_EQ(self.name, "MainProcess");
    EXPECT_EQ(self.pid, ::getpid());
    EXPECT_FALSE(forkmill::parent_process());
    const TempDir directory;
    Process process{{.daemon = true}, tell_family, directory / "family"};
    EXPECT_TRUE(process.daemon());
    process.start();
    process.join();
    EXPECT_EQ(read_file(directory / "family"),
              "MainProcess " + std::to_string(::getpid()) + " 0 1");
    cpu_set_t set;
    ASSERT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
    EXPECT_GE(forkmill::cpu_count(), 1);
    EXPECT_LE(forkmill::cpu_count(), CPU_COUNT(&set));
}

CONFORMANCE(X06, AProgramsExitEndsDaemonsAndWaitsForTheOthers, "E") {
    const TempDir directory;
    forkmill::test::Program program{
        {forkmill::test::built_program("conformance_process_tree"), "exit", directory.path()}};
    const pid_t daemon = pid_in(directory / "daemon");
    const pid_t deaf = pid_in(directory / "deaf");
    const pid_t worker = pid_in(directory / "worker");
    EXPECT_GT(pid_in(directory / "program"), 0);
    EXPECT_TRUE(is_dead(daemon));
    // Longer than a daemon that is deaf to SIGTERM may take.
    EXPECT_FALSE(program.wait(1500ms)) << "its worker is not done";
    EXPECT_TRUE(forkmill::test::process_alive(worker));
    static_cast<void>(directory.write("go", ""));
    EXPECT_EQ(program.wait(forkmill::test::stretched(20s)), 0);
    EXPECT_EQ(read_file(directory / "done"), "done");
    EXPECT_TRUE(is_dead(deaf));
    expect_nothing_left();
}

/// What a socket of somebody else's class looks like.
struct Socket {
    int descriptor;
    int fd() const { return descriptor; }
};

CONFORMANCE(X07, ASentinelBecomesReadableAtDeath, "E") {
    Process process{wait_for_ever};
    process.start();
    pollfd polled{process.sentinel(), POLLIN, 0};
    EXPECT_EQ(::poll(&polled, 1, 0), 0);
    process.kill();
    EXPECT_EQ(::poll(&polled, 1, 20'000), 1);
    EXPECT_NE(polled.revents & POLLIN, 0);
    EXPECT_EQ(process.exit_code(), -SIGKILL);
}

CONFORMANCE(X07, WaitTellsWhichAreReady, "E") {
    const TempDir directory;
    Process first{wait_for_ever};
    Process second{wait_for_file, directory / "go"};
    first.start();
    second.start();
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    const Socket socket{pair[0]};
    EXPECT_TRUE(forkmill::wait({first, second, socket}, 0s).empty());
    EXPECT_TRUE(forkmill::wait({first.sentinel(), pair[0]}, 20ms).empty());
    ASSERT_EQ(::send(pair[1], "x", 1, 0), 1);
    EXPECT_EQ(forkmill::wait({first, second, socket}), std::vector<int>{pair[0]});
    static_cast<void>(directory.write("go", ""));
    EXPECT_EQ(forkmill::wait({first, second}, 20s), std::vector<int>{second.sentinel()});
    EXPECT_EQ(forkmill::wait({first, second, socket}),
              (std::vector<int>{second.sentinel(), pair[0]}));
    ::close(pair[0]);
    ::close(pair[1]);
    EXPECT_THROW(forkmill::wait({first.sentinel(), pair[1]}, 0s), forkmill::UsageError);
    const auto asked = std::chrono::steady_clock::now();
    EXPECT_THROW(forkmill::wait({first.sentinel(), -1}, 20s), forkmill::UsageError);
    EXPECT_LT(std::chrono::steady_clock::now() - asked, 10s) << "it is refused, not waited for";
    EXPECT_TRUE(forkmill::wait({}).empty());
    first.kill();
    first.join();
}

static int g_counter = 1;
static void change_counter(const std::string& gate, const std::string& path) {
    g_counter += 10;
    wait_for_file(gate);
    write_file(path, std::to_string(g_counter));
}

CONFORMANCE(X08, GlobalsAreEachProcessesOwn, "E") {
    const TempDir directory;
    g_counter = 2;
    Process process{change_counter, directory / "go", directory / "counter"};
    process.start();
    g_counter = 100;
    static_cast<void>(directory.write("go", ""));
    process.join();
    EXPECT_EQ(g_counter, 100);
    EXPECT_EQ(read_file(directory / "counter"), "12") << "2 when the fork server was forked";
    g_counter = 1;
}

CONFORMANCE(X01, KeepsTheDescriptorsThatItIsGiven, "E") {
    Process first{exit_with, 0};  // The fork server is there, so it does not know what follows.
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const int other = ::fcntl(ends[1], F_DUPFD_CLOEXEC, 0);
    // Crossed, so that each comes where the other was first.
    Process process{{.keep_fds = {other, ends[1]}}, write_number_to, ends[1], other};
    process.start();
    process.join();
    EXPECT_EQ(process.exit_code(), 0);
    char said[2] = {};
    EXPECT_EQ(::read(ends[0], said, 2), 2);
    EXPECT_EQ(std::string(said, 2), "12");
    const std::vector<int> many(5, ends[1]);
    EXPECT_THROW((Process{{.keep_fds = many}, exit_with, 0}), forkmill::UsageError);
    for (const int fd : {ends[0], ends[1], other}) ::close(fd);
    Process late{{.keep_fds = {ends[1]}}, exit_with, 0};
    EXPECT_THROW(late.start(), forkmill::UsageError);
    first.start();
    first.join();
    EXPECT_EQ(first.exit_code(), 0) << "and nobody else is hurt";
}

}  // namespace conformance
