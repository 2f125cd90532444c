// SPDX-License-Identifier: Apache-2.0
// Processes of a program (X01-X11): always embedded.
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

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

void nothing() {}
void write_number_to(int first, int second) {
    if (::write(first, "1", 1) != 1 || ::write(second, "2", 1) != 1) ::_exit(1);
}
int exit_with(int code) {
    std::exit(code);
}
void wait_for_ever() {
    for (;;) ::pause();
}
void wait_for_file(const std::string& path) {
    static_cast<void>(
        forkmill::test::wait_until([&] { return std::filesystem::exists(path); }, 60s));
}
void write_file(const std::string& path, const std::string& text) {
    const std::string draft = path + "." + std::to_string(::getpid());
    std::ofstream{draft} << text;
    std::filesystem::rename(draft, path);
}
std::string read_file(const std::string& path) {
    return forkmill::test::read_text(path);
}
pid_t pid_in(const std::string& path) {
    return forkmill::test::wait_until([&] { return std::filesystem::exists(path); }, 20s)
               ? std::stoi(read_file(path))
               : -1;
}
void expect_nothing_left() {
    EXPECT_TRUE(forkmill::test::wait_until([] { return forkmill::test::leftovers().empty(); }, 5s));
}
bool is_dead(pid_t pid) {
    return forkmill::test::wait_until([&] { return !forkmill::test::process_alive(pid); }, 5s);
}
std::string thread_name(pid_t pid) {
    std::string name = read_file("/proc/" + std::to_string(pid) + "/comm");
    if (!name.empty()) name.pop_back();
    return name;
}
pid_t fork_server_of_this_program() {
    for (const pid_t pid : forkmill::test::descendants_of(::getpid())) {
        // Not one that an earlier case left to be reaped.
        if (thread_name(pid) == "forkmill-forks" && forkmill::test::process_alive(pid)) return pid;
    }
    return -1;
}
long resident_pages(pid_t pid) {
    std::ifstream statm{"/proc/" + std::to_string(pid) + "/statm"};
    long size = 0;
    long resident = 0;
    statm >> size >> resident;
    return resident;
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
