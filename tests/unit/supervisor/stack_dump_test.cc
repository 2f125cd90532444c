// SPDX-License-Identifier: Apache-2.0
// Real crashes, of forks of this program, and what they leave on stderr.
#include "core/supervisor/stack_dump.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "core/supervisor/fd.h"
#include "core/supervisor/last_words.h"
#include "tests/support/process.h"
#include "tests/support/wait_until.h"

// Exported, so that stacks name them. They end in something after their call, so that no compiler
// makes the call a jump and leaves them out.
#define SEEN __attribute__((noinline, visibility("default")))

extern "C" {
volatile int forkmill_test_depth = 0;

SEEN int forkmill_test_null_write(volatile int* nowhere) {
    *nowhere = 1;
    return forkmill_test_depth;
}
SEEN int forkmill_test_abort() {
    if (forkmill_test_depth == 0) std::abort();
    return forkmill_test_depth;
}
// A frame of a page, and no loop for a compiler to make of it.
SEEN int forkmill_test_overflow(int depth) {
    std::array<volatile char, 4096> page;
    page[static_cast<std::size_t>(depth) % page.size()] = 1;
    const int below = forkmill_test_depth < 0 ? 0 : forkmill_test_overflow(depth + 1);
    return below + page[0];
}
SEEN int forkmill_test_jump(int (*target)()) {
    const int result = target();
    return result + forkmill_test_depth;
}
SEEN int forkmill_test_rest(int fd) {
    char byte = 0;
    const ssize_t size = ::read(fd, &byte, 1);
    return static_cast<int>(size) + forkmill_test_depth;
}
}

namespace forkmill::supervisor {

/// With a mangled name of its own.
SEEN int test_in_namespace(volatile int* nowhere) {
    return forkmill_test_null_write(nowhere) + forkmill_test_depth;
}

namespace {

using namespace std::chrono_literals;
using test::wait_until;

/// Pieces of a path for the parent to write to and the child to read from, or the other way.
struct Pipe {
    OwnedFd read_end;
    OwnedFd write_end;

    Pipe() {
        std::array<int, 2> fds{};
        EXPECT_EQ(::pipe2(fds.data(), O_CLOEXEC), 0);
        read_end.reset(fds[0]);
        write_end.reset(fds[1]);
        ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
    }
};

/// A fork of this program that may crash, and its stderr.
class Crasher {
  public:
    explicit Crasher(const std::function<void()>& body) {
        pid_ = ::fork();
        EXPECT_GE(pid_, 0);
        if (pid_ != 0) {
            err_.write_end.reset();
            return;
        }
        ::dup2(err_.write_end.get(), STDERR_FILENO);
        const rlimit none{0, 0};
        ::setrlimit(RLIMIT_CORE, &none);
        install_crash_dump();
        body();
        ::_exit(0);
    }
    ~Crasher() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Crasher(const Crasher&) = delete;
    Crasher& operator=(const Crasher&) = delete;

    pid_t pid() const { return pid_; }
    /// What it has written so far.
    const std::string& text() {
        std::array<char, 4096> bytes;
        ssize_t size = 0;
        while ((size = ::read(err_.read_end.get(), bytes.data(), bytes.size())) > 0)
            text_.append(bytes.data(), static_cast<std::size_t>(size));
        return text_;
    }
    bool says(const std::string& what) {
        return wait_until([&] { return text().find(what) != std::string::npos; });
    }
    /// The signal that it died of; 0 when it exited, −1 when it lives on.
    int end() {
        int status = 0;
        pid_t ended = 0;
        EXPECT_TRUE(wait_until([&] {
            static_cast<void>(text());
            return (ended = ::waitpid(pid_, &status, WNOHANG)) != 0;
        })) << text_;
        if (ended != pid_) return -1;
        pid_ = 0;
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }

  private:
    Pipe err_;
    pid_t pid_ = 0;
    std::string text_;
};

/// The line of `text` that opens with `mark`.
[[maybe_unused]] std::string line_with(const std::string& text, const std::string& mark) {
    const std::size_t at = text.find(mark);
    return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

[[maybe_unused]] std::size_t count_of(const std::string& text, const std::string& what) {
    std::size_t count = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
        ++count;
    return count;
}

pid_t own_tid() {
    return static_cast<pid_t>(::syscall(SYS_gettid));
}

// Sanitizers report these signals in their own way, and a worker leaves that to them.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

TEST(StackDump, AWriteToNullNamesSignalAddressAndFunctions) {
    Crasher crasher{[] { test_in_namespace(nullptr); }};
    const pid_t pid = crasher.pid();
    EXPECT_EQ(crasher.end(), SIGSEGV);
    const std::string& text = crasher.text();
    EXPECT_TRUE(text.starts_with("forkmill: crashed by SIGSEGV at address 0x0 in thread " +
                                 std::to_string(pid) + "\n  #0 forkmill_test_null_write+0x"))
        << text;
    EXPECT_NE(line_with(text, "  #0 ").find(" (unit_supervisor+0x"), std::string::npos) << text;
    EXPECT_TRUE(line_with(text, "  #1 ")
                    .starts_with("  #1 _ZN8forkmill10supervisor17test_in_namespaceEPVi+0x"))
        << text;
    EXPECT_TRUE(text.ends_with("\n"));
}

TEST(StackDump, AnOverflowOfTheMainThreadsStackIsReported) {
    Crasher crasher{[] { forkmill_test_overflow(0); }};
    EXPECT_EQ(crasher.end(), SIGSEGV);
    const std::string& text = crasher.text();
    EXPECT_TRUE(line_with(text, "  #0 ").starts_with("  #0 forkmill_test_overflow+")) << text;
    EXPECT_EQ(count_of(text, "\n  #"), static_cast<std::size_t>(kFramesMax)) << text;
}

TEST(StackDump, AnOverflowOfATaskThreadsStackIsReported) {
    Crasher crasher{[] {
        std::thread{[] {
            const CrashStack stack;
            forkmill_test_overflow(0);
        }}.join();
    }};
    EXPECT_EQ(crasher.end(), SIGSEGV);
    EXPECT_TRUE(line_with(crasher.text(), "  #0 ").starts_with("  #0 forkmill_test_overflow+"))
        << crasher.text();
}

TEST(StackDump, AJumpToNowhereNamesWhoJumped) {
    Crasher crasher{[] { forkmill_test_jump(nullptr); }};
    EXPECT_EQ(crasher.end(), SIGSEGV);
    EXPECT_EQ(line_with(crasher.text(), "  #0 "), "  #0 0x0") << crasher.text();
    EXPECT_TRUE(line_with(crasher.text(), "  #1 ").starts_with("  #1 forkmill_test_jump+"))
        << crasher.text();
}

TEST(StackDump, ASignalThatWasSentStillKills) {
    for (const int signo : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) {
        Crasher crasher{[signo] { std::raise(signo); }};
        EXPECT_EQ(crasher.end(), signo);
        const std::string head = std::string{"forkmill: crashed by SIG"} + ::sigabbrev_np(signo);
        EXPECT_TRUE(crasher.text().starts_with(head + " in thread ")) << crasher.text();
    }
}

TEST(StackDump, OfTwoThreadsThatCrashOneReports) {
    for (int i = 0; i < 20; ++i) {
        Crasher crasher{[] {
            std::atomic<int> ready{0};
            const auto crash = [&] {
                const CrashStack stack;
                for (++ready; ready < 2;) std::this_thread::yield();
                forkmill_test_null_write(nullptr);
            };
            std::thread first{crash};
            crash();
            first.join();
        }};
        EXPECT_EQ(crasher.end(), SIGSEGV);
        EXPECT_EQ(count_of(crasher.text(), "crashed by"), 1U) << crasher.text();
        EXPECT_NE(crasher.text().find("forkmill_test_null_write"), std::string::npos);
    }
}

TEST(StackDump, AForkThatATaskMadeDiesSilently) {
    Crasher crasher{[] {
        const pid_t child = ::fork();
        if (child == 0) forkmill_test_null_write(nullptr);
        int status = 0;
        ::waitpid(child, &status, 0);
        ::raise(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV ? SIGUSR1 : SIGUSR2);
    }};
    EXPECT_EQ(crasher.end(), SIGUSR1) << "the fork dies of its own signal";
    EXPECT_EQ(crasher.text(), "");
}

TEST(StackDump, WhoHandlesASignalAlreadyKeepsIt) {
    Crasher crasher{[] {
        const pid_t child = ::fork();
        if (child == 0) {
            ::signal(SIGSEGV, [](int) { ::_exit(3); });
            install_crash_dump();
            forkmill_test_null_write(nullptr);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        ::raise(WIFEXITED(status) && WEXITSTATUS(status) == 3 ? SIGUSR1 : SIGUSR2);
    }};
    EXPECT_EQ(crasher.end(), SIGUSR1);
    EXPECT_EQ(crasher.text(), "");
}

#endif

TEST(StackDump, AnAbortNamesItsCaller) {
    Crasher crasher{[] { forkmill_test_abort(); }};
    EXPECT_EQ(crasher.end(), SIGABRT);
    const std::string& text = crasher.text();
    EXPECT_TRUE(text.starts_with("forkmill: crashed by SIGABRT in thread ")) << text;
    EXPECT_NE(text.find(" forkmill_test_abort+0x"), std::string::npos) << text;
    EXPECT_EQ(text.find(kThreadHead), std::string::npos) << "the others did nothing wrong";
}

// ThreadSanitizer keeps a signal back until the read of the thread that it was sent to returns.
#ifndef __SANITIZE_THREAD__

TEST(StackDump, AnAbortFromOutsideHasEveryThreadSayWhereItIs) {
    Pipe never;
    ::fcntl(never.read_end.get(), F_SETFL, 0);
    Crasher crasher{[&] {
        const auto rest = [&](const char* name) {
            ::pthread_setname_np(::pthread_self(), name);
            forkmill_test_rest(never.read_end.get());
        };
        std::thread other{[&] {
            const std::string ready = "other " + std::to_string(own_tid()) + "\n";
            if (::write(STDERR_FILENO, ready.data(), ready.size()) > 0) rest("bystander");
        }};
        std::thread task{[&] {
            const CrashStack stack;
            const std::string ready = "task " + std::to_string(own_tid()) + "\n";
            if (::write(STDERR_FILENO, ready.data(), ready.size()) > 0) rest("task");
        }};
        rest("main");
    }};
    ASSERT_TRUE(crasher.says("other ") && crasher.says("task ")) << crasher.text();
    const pid_t pid = crasher.pid();
    const auto rests = [&] {
        const std::string whole = line_with(crasher.text(), "task ");
        const std::string tid = whole.substr(5);
        const pid_t other = std::stoi(line_with(crasher.text(), "other ").substr(6));
        return test::process_state(std::stoi(tid)) == 'S' && test::process_state(other) == 'S' &&
               test::process_state(pid) == 'S';
    };
    ASSERT_TRUE(wait_until(rests));
    ::kill(pid, SIGABRT);
    EXPECT_EQ(crasher.end(), SIGABRT);
    const std::string& text = crasher.text();
    const std::size_t head = text.find("forkmill: crashed by SIGABRT sent by process " +
                                       std::to_string(::getpid()) + " in thread ");
    const std::size_t other = text.find(" (bystander)\n");
    const std::size_t task = text.find(" (task)\n");
    const std::size_t main = text.find(" (main)\n");
    ASSERT_NE(head, std::string::npos) << text;
    ASSERT_NE(other, std::string::npos) << text;
    ASSERT_NE(task, std::string::npos) << text;
    ASSERT_NE(main, std::string::npos) << text;
    EXPECT_EQ(count_of(text, " forkmill_test_rest+0x"), 3U) << text;
    EXPECT_LT(head, task) << "what tasks did is the report's own\n" << text;
    EXPECT_LT(other, head) << text;
    EXPECT_NE(last_words(text).find("(task)\n"), std::string::npos);
    EXPECT_EQ(last_words(text).find("(bystander)"), std::string::npos);
}

TEST(StackDump, ASlowThreadIsSeenAndGoesOn) {
    Pipe gate;
    ::fcntl(gate.read_end.get(), F_SETFL, 0);
    std::atomic<pid_t> tid{0};
    // A fork again, so that what is written to stderr can be read here.
    Crasher crasher{[&] {
        std::string result;
        std::thread slow{[&] {
            const CrashStack stack;
            tid = own_tid();
            result = std::to_string(forkmill_test_rest(gate.read_end.get()));
        }};
        if (!wait_until([&] { return tid != 0 && test::process_state(tid) == 'S'; })) ::_exit(1);
        const std::string thread = " in thread " + std::to_string(tid);
        for (const std::string head : {"first", "second"})
            if (!dump_thread(tid, "forkmill: " + head + thread, 5s)) ::_exit(2);
        if (::write(gate.write_end.get(), "x", 1) != 1) ::_exit(3);
        slow.join();
        result = "result " + result + "\n";
        if (::write(STDERR_FILENO, result.data(), result.size()) < 0) ::_exit(4);
        // Both gone: the thread, and one that never was.
        if (dump_thread(tid, "third", 0s)) ::_exit(5);
    }};
    EXPECT_EQ(crasher.end(), 0);
    const std::string& text = crasher.text();
    EXPECT_TRUE(text.starts_with("forkmill: first in thread ")) << text;
    EXPECT_EQ(count_of(text, "\n  #0 "), 2U) << text;
    EXPECT_EQ(count_of(text, " forkmill_test_rest+0x"), 2U) << text;
    EXPECT_TRUE(text.ends_with("result 1\n")) << "its read went on where it was\n" << text;
}

#endif

TEST(StackDump, AThreadThatBlocksItsSignalsDoesNotHoldTheAbortUp) {
    Crasher crasher{[] {
        std::thread deaf{[] {
            sigset_t all;
            ::sigfillset(&all);
            ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
            if (::write(STDERR_FILENO, "deaf\n", 5) == 5) ::pause();
        }};
        ::pause();
    }};
    ASSERT_TRUE(crasher.says("deaf")) << crasher.text();
    const auto before = std::chrono::steady_clock::now();
    ::kill(crasher.pid(), SIGABRT);
    EXPECT_EQ(crasher.end(), SIGABRT);
    EXPECT_LT(std::chrono::steady_clock::now() - before, test::stretched(kReportLimit));
    EXPECT_NE(crasher.text().find("crashed by SIGABRT"), std::string::npos);
}

TEST(StackDump, WithoutAHandlerNobodyIsAsked) {
    EXPECT_FALSE(dump_thread(own_tid(), "the signal would kill this test", 0s));
}

}  // namespace
}  // namespace forkmill::supervisor
