// SPDX-License-Identifier: Apache-2.0
// A child of the test's is the caller; its daemon becomes the test's child by adoption.
#include "core/supervisor/daemonize.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <string>

#include "core/supervisor/exit_codes.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace forkmill::supervisor {
namespace {

using namespace std::chrono_literals;

std::string link_of(int fd) {
    std::error_code closed;
    return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), closed).string();
}

class DaemonizeTest : public testing::Test {
  protected:
    DaemonizeTest() {
        test::adopt_orphans();
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        held_.reset(ends[0]);
        hold_.reset(ends[1]);
    }

    void TearDown() override {
        hold_.reset();
        EXPECT_TRUE(test::wait_until([] { return test::leftovers().empty(); })) << "left behind";
    }

    /// Runs a caller whose stdout and stderr are the pipe `out_`; `body` is its daemon's life.
    void call(const std::function<int(ReadinessPipe&)>& body, base::Duration limit = 60s) {
        std::array<int, 2> ends{};
        ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        out_.reset(ends[0]);
        const OwnedFd write_end{ends[1]};
        caller_ = ::fork();
        ASSERT_GE(caller_, 0);
        if (caller_ != 0) return;
        hold_.reset();
        ::dup2(write_end.get(), STDOUT_FILENO);
        ::dup2(write_end.get(), STDERR_FILENO);
        ::close(ends[1]);
        base::Result<ReadinessPipe> pipe = daemonize({.name = "test", .limit = limit});
        ::_exit(pipe.ok() ? body(pipe.value()) : 99);
    }

    int exit_code() {
        int status = 0;
        ::waitpid(caller_, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

    /// All that comes until nobody holds the caller's stdout and stderr any more.
    std::string output() {
        std::string text;
        std::array<char, 1024> bytes{};
        ::fcntl(out_.get(), F_SETFL, O_NONBLOCK);
        const auto ended = [&] {
            ssize_t size = 0;
            while ((size = ::read(out_.get(), bytes.data(), bytes.size())) > 0)
                text.append(bytes.data(), static_cast<std::size_t>(size));
            return size == 0;
        };
        EXPECT_TRUE(test::wait_until(ended)) << "somebody holds the caller's output";
        return text;
    }

    /// In the daemon: until the test is over, or lets it go.
    void live() const {
        char byte = 0;
        while (::read(held_.get(), &byte, 1) < 0) {
        }
    }

    test::TempDir dir_;
    OwnedFd held_;
    OwnedFd hold_;
    OwnedFd out_;
    pid_t caller_ = -1;
};

TEST_F(DaemonizeTest, TheCallerEndsWithZeroOnceTheDaemonIsReadyAndTheDaemonLives) {
    call([&](ReadinessPipe& pipe) {
        pipe.ready();
        live();
        return 0;
    });
    EXPECT_EQ(exit_code(), 0);
    // The end of the output is also the proof that the daemon holds neither pipe.
    EXPECT_EQ(output(), "");
    EXPECT_EQ(test::leftovers().size(), 1U);
}

TEST_F(DaemonizeTest, TheCallerWaitsUntilTheDaemonIsReady) {
    call([&](ReadinessPipe& pipe) {
        live();
        pipe.ready();
        return 0;
    });
    // Two processes that are blocked: the caller in its wait, the daemon in live().
    const auto both_wait = [&] {
        const std::vector<pid_t> alive = test::leftovers();
        return alive.size() == 2 && test::process_state(alive[0]) == 'S' &&
               test::process_state(alive[1]) == 'S';
    };
    ASSERT_TRUE(test::wait_until(both_wait));
    EXPECT_EQ(::waitpid(caller_, nullptr, WNOHANG), 0);
    hold_.reset();
    EXPECT_EQ(exit_code(), 0);
}

TEST_F(DaemonizeTest, TheDaemonIsOnItsOwn) {
    const std::string facts = dir_ / "facts";
    const std::string directory = std::filesystem::current_path();
    call([&](ReadinessPipe& pipe) {
        std::ofstream{facts} << ::getpid() << " " << ::getsid(0) << " " << ::getpgrp() << " "
                             << ::open("/dev/tty", O_RDWR | O_CLOEXEC) << " " << link_of(0) << " "
                             << link_of(1) << " " << std::filesystem::current_path().string();
        pipe.ready();
        return 0;
    });
    EXPECT_EQ(exit_code(), 0);
    std::istringstream seen{test::read_text(facts)};
    pid_t pid = 0;
    pid_t session = 0;
    pid_t group = 0;
    int terminal = 0;
    std::string in;
    std::string out;
    std::string where;
    seen >> pid >> session >> group >> terminal >> in >> out >> where;
    EXPECT_NE(session, ::getsid(0));
    EXPECT_NE(session, pid) << "a session's leader could get a terminal again";
    EXPECT_NE(group, ::getpgrp());
    EXPECT_EQ(terminal, -1);
    EXPECT_EQ(in, "/dev/null");
    EXPECT_EQ(out, "/dev/null");
    EXPECT_EQ(where, directory) << "relative names in a config would mean something else";
}

TEST_F(DaemonizeTest, AFailureIsSeenAndItsExitCodePassedOn) {
    call([](ReadinessPipe& pipe) {
        std::fprintf(stderr, "broker.yaml:3:1: unknown key\n");
        pipe.failed(kExitConfig);
        return 0;
    });
    EXPECT_EQ(exit_code(), kExitConfig);
    EXPECT_EQ(output(), "broker.yaml:3:1: unknown key\n");
}

TEST_F(DaemonizeTest, AFailureIsNeverTakenForASuccess) {
    call([](ReadinessPipe& pipe) {
        pipe.failed(0);
        return 0;
    });
    EXPECT_EQ(exit_code(), kExitSoftware);
}

TEST_F(DaemonizeTest, ADaemonThatDiesWithoutAWordIsReported) {
    call([](ReadinessPipe&) {
        ::raise(SIGKILL);
        return 0;
    });
    EXPECT_EQ(exit_code(), kExitSoftware);
    EXPECT_NE(output().find("test: the daemon died while it started"), std::string::npos);
}

TEST_F(DaemonizeTest, TheCallerDoesNotWaitForEver) {
    call(
        [&](ReadinessPipe& pipe) {
            live();
            pipe.ready();
            return 0;
        },
        30ms);
    EXPECT_EQ(exit_code(), kExitTempFail);
    hold_.reset();
    EXPECT_NE(output().find("not ready after 0.03 s"), std::string::npos);
}

TEST_F(DaemonizeTest, AnInterruptedCallerDoesNotEndTheDaemon) {
    const std::string proof = dir_ / "proof";
    call([&](ReadinessPipe& pipe) {
        live();
        pipe.ready();  // Nobody reads it: a write that raises SIGPIPE.
        std::ofstream{proof} << "alive" << (pipe.is_awaited() ? "" : ", silent");
        return 0;
    });
    ASSERT_TRUE(test::wait_until([] { return test::leftovers().size() == 2; }));
    ::kill(caller_, SIGINT);
    EXPECT_EQ(exit_code(), 128 + SIGINT);
    hold_.reset();
    EXPECT_TRUE(test::wait_until([&] { return test::read_text(proof) == "alive, silent"; }));
}

TEST_F(DaemonizeTest, OutputThatGoesToFilesIsKept) {
    const std::string file = dir_ / "log";
    const std::string links = dir_ / "links";
    call([&](ReadinessPipe& pipe) {
        const OwnedFd log{::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
        ::dup2(log.get(), STDERR_FILENO);
        pipe.ready();
        std::fprintf(stderr, "line after ready\n");
        std::ofstream{links} << link_of(1) << " " << link_of(2);
        return 0;
    });
    EXPECT_EQ(exit_code(), 0);
    EXPECT_TRUE(test::wait_until([&] { return test::read_text(links) == "/dev/null " + file; }))
        << test::read_text(links);
    EXPECT_EQ(test::read_text(file), "line after ready\n");
}

TEST_F(DaemonizeTest, ACallerWithoutStandardFilesIsServedToo) {
    const std::string links = dir_ / "links";
    const pid_t caller = ::fork();
    if (caller == 0) {
        for (int fd = 0; fd <= 2; ++fd) ::close(fd);
        base::Result<ReadinessPipe> pipe = daemonize({.name = "test", .limit = 60s});
        if (pipe.ok()) std::ofstream{links} << link_of(0) << link_of(1) << link_of(2);
        pipe.value().failed(7);
        ::_exit(0);
    }
    caller_ = caller;
    EXPECT_EQ(exit_code(), 7);
    EXPECT_EQ(test::read_text(links), "/dev/null/dev/null/dev/null");
}

TEST(ReadinessPipe, WithoutAListenerSaysNothing) {
    const std::string before = link_of(STDERR_FILENO);
    ReadinessPipe nobody;
    nobody.ready();
    nobody.failed(3);
    EXPECT_FALSE(nobody.is_awaited());
    EXPECT_EQ(link_of(STDERR_FILENO), before) << "without --daemon, stderr is nobody else's";
}

}  // namespace
}  // namespace forkmill::supervisor
