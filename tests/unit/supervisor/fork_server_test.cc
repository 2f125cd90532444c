// SPDX-License-Identifier: Apache-2.0
// A real fork server with real workers.
#include "core/supervisor/fork_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace forkmill::supervisor {
namespace {

using namespace std::chrono_literals;
using test::wait_until;

/// Says Up and ends with its channel, or when the program's end of the socket closes.
int serve(const Birth& birth) {
    Channel channel{OwnedFd{birth.channel_fd}};
    Notice up;
    up.verb = Verb::Up;
    channel.send(up);
    while (!channel.closed()) {
        std::array<pollfd, 2> polled{pollfd{channel.fd(), POLLIN, 0},
                                     pollfd{birth.socket_fd, POLLIN, 0}};
        ::poll(polled.data(), polled.size(), -1);
        while (const std::optional<Packet> packet = channel.receive())
            if (packet->notice.verb == Verb::Drain) return 0;
        char byte = 0;
        if (polled[1].revents != 0 && ::recv(birth.socket_fd, &byte, 1, MSG_DONTWAIT) == 0)
            return 7;
    }
    return 8;
}

struct Ends {
    OwnedFd ours;
    OwnedFd theirs;
};
Ends socket_pair() {
    std::array<int, 2> fds{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    return {OwnedFd{fds[0]}, OwnedFd{fds[1]}};
}

class ForkServerTest : public testing::Test {
  protected:
    ForkServerTest() { test::adopt_orphans(); }

    void TearDown() override {
        server_.reset();
        EXPECT_TRUE(wait_until([] { return test::leftovers().empty(); }, 1s)) << "left behind";
    }

    void start(std::function<int(const Birth&)> worker = serve,
               std::vector<int> keep = {},
               std::function<int(const Birth&)> process = {}) {
        base::Result<ForkServer> server =
            ForkServer::start({std::move(worker), std::move(process), std::move(keep)});
        ASSERT_TRUE(server.ok()) << server.failure().text;
        server_.emplace(std::move(server).value());
    }

    /// Orders a worker and keeps our end of its socket.
    void spawn(std::uint32_t slot,
               std::uint32_t generation = 1,
               int board = -1,
               std::span<const int> extra = {}) {
        Ends ends = socket_pair();
        ASSERT_TRUE(server_->spawn({.pool = 3,
                                    .slot = slot,
                                    .generation = generation,
                                    .socket_fd = ends.theirs.get(),
                                    .scoreboard_fd = board,
                                    .extra_fds = extra}));
        sockets_[slot] = std::move(ends.ours);
    }

    /// The next report of this verb; others are dropped. A notice of verb Spawn when none came.
    Notice wait_for(Verb verb) {
        Notice found;
        found.verb = Verb::Spawn;
        const auto end = std::chrono::steady_clock::now() + test::stretched(10s);
        while (std::chrono::steady_clock::now() < end && !server_->dead()) {
            while (const std::optional<Notice> notice = server_->next())
                if (notice->verb == verb) return *notice;
            pollfd polled{server_->fd(), POLLIN, 0};
            ::poll(&polled, 1, 100);
        }
        ADD_FAILURE() << "no " << name_of(verb);
        return found;
    }

    std::optional<ForkServer> server_;
    std::map<std::uint32_t, OwnedFd> sockets_;
};

/// Orders a process of the program's; our end of its sentinel.
OwnedFd spawn_process(ForkServer& server, std::uint32_t slot) {
    Ends ends = socket_pair();
    SpawnOrder order;
    order.slot = slot;
    order.socket_fd = ends.theirs.get();
    order.process = true;
    EXPECT_TRUE(server.spawn(order));
    return std::move(ends.ours);
}

TEST_F(ForkServerTest, AProcessesSentinelEndsAfterItsDeathIsReported) {
    start(serve, {}, [program = ::getpid()](const Birth& birth) {
        return birth.socket_fd == -1 && birth.program == program ? 5 : 1;
    });
    const OwnedFd sentinel = spawn_process(*server_, 8);
    pollfd polled{sentinel.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&polled, 1, 10'000), 1);
    EXPECT_EQ(polled.revents & POLLIN, POLLIN);
    // Nobody has read anything so far: what the sentinel promises is there already.
    const std::optional<Notice> born = server_->next();
    const std::optional<Notice> died = server_->next();
    ASSERT_TRUE(born && died);
    EXPECT_EQ(born->verb, Verb::Born);
    EXPECT_EQ(died->verb, Verb::Died);
    EXPECT_EQ(died->cause, Cause::Exit);
    EXPECT_EQ(died->detail, 5);
}

TEST_F(ForkServerTest, ASignalIsForTheProcessAndItsStopsAreNotTold) {
    start(serve, {}, [](const Birth&) -> int {
        for (;;) ::pause();
    });
    const OwnedFd sentinel = spawn_process(*server_, 8);
    const Notice born = wait_for(Verb::Born);
    EXPECT_TRUE(server_->signal(0, 9, born.pid, SIGKILL)) << "another slot's: to nobody";
    EXPECT_TRUE(server_->signal(0, 8, born.pid, SIGSTOP));
    ASSERT_TRUE(wait_until([&] { return test::process_state(born.pid) == 'T'; }));
    EXPECT_TRUE(server_->signal(0, 8, born.pid, SIGTERM));
    EXPECT_TRUE(server_->signal(0, 8, born.pid, SIGCONT));
    pollfd polled{sentinel.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&polled, 1, 10'000), 1);
    const std::optional<Notice> died = server_->next();
    ASSERT_TRUE(died);
    EXPECT_EQ(died->verb, Verb::Died) << name_of(died->verb);
    EXPECT_EQ(died->cause, Cause::Signal);
    EXPECT_EQ(died->detail, SIGTERM);
}

TEST_F(ForkServerTest, BirthsAreReportedBornThenReady) {
    start();
    spawn(4, 9);
    const Notice born = wait_for(Verb::Born);
    EXPECT_EQ(born.pool, 3);
    EXPECT_EQ(born.slot, 4U);
    EXPECT_EQ(born.generation, 9U);
    EXPECT_TRUE(test::process_alive(born.pid));
    EXPECT_EQ(wait_for(Verb::Ready).pid, born.pid);
}

TEST_F(ForkServerTest, WorkersSeeTheProgramAsItWasAtTheSnapshot) {
    int value = 41;
    start([&value](const Birth&) { return value; });
    value = 42;
    spawn(0);
    const Notice death = wait_for(Verb::Died);
    EXPECT_EQ(death.cause, Cause::Exit);
    EXPECT_EQ(death.detail, 41);
}

TEST_F(ForkServerTest, AKillOrderBecomesTheCauseAndTellsTheRunningLeases) {
    base::Result<Scoreboard> board = Scoreboard::create(8);
    ASSERT_TRUE(board.ok());
    start([](const Birth& birth) {
        birth.cells->cells[1].lease = 99;
        return serve(birth);
    });
    spawn(5, 2, board.value().fd());
    const Notice born = wait_for(Verb::Ready);
    EXPECT_EQ(board.value().cells(5).pid, static_cast<std::uint32_t>(born.pid));
    EXPECT_EQ(board.value().cells(5).generation, 2U);
    ASSERT_TRUE(server_->kill(3, 5, born.pid, Cause::HardTimeout));
    const Notice death = wait_for(Verb::Died);
    EXPECT_EQ(death.pid, born.pid);
    EXPECT_EQ(death.cause, Cause::HardTimeout);
    ASSERT_EQ(death.lease_count, 1U);
    EXPECT_EQ(death.leases[0], 99U);
}

TEST_F(ForkServerTest, AnotherWorkersNumbersAreNotKilled) {
    start();
    spawn(0);
    const pid_t pid = wait_for(Verb::Ready).pid;
    server_->kill(3, 1, pid, Cause::Killed);         // Another slot.
    server_->kill(3, 0, ::getpid(), Cause::Killed);  // No worker.
    server_->tell(Verb::Drain, 3, 0, pid);
    const Notice death = wait_for(Verb::Died);
    EXPECT_EQ(death.cause, Cause::Drain);
    EXPECT_EQ(death.detail, 0);
}

TEST_F(ForkServerTest, ALeavingWorkerIsNotBlamed) {
    base::Result<Scoreboard> board = Scoreboard::create(2);
    ASSERT_TRUE(board.ok());
    start([](const Birth& birth) {
        birth.cells->leaving = 1;
        return 0;
    });
    spawn(0, 1, board.value().fd());
    EXPECT_EQ(wait_for(Verb::Died).cause, Cause::Recycle);
}

TEST_F(ForkServerTest, FailedAndRecycleArePassedOn) {
    start([](const Birth& birth) {
        Channel channel{OwnedFd{birth.channel_fd}};
        Notice notice;
        notice.verb = Verb::Failed;
        notice.set_text("initializer refuses");
        channel.send(notice);
        notice.verb = Verb::Recycle;
        channel.send(notice);
        return 1;
    });
    spawn(0);
    EXPECT_EQ(wait_for(Verb::Failed).text_view(), "initializer refuses");
    EXPECT_EQ(wait_for(Verb::Recycle).slot, 0U);
}

TEST_F(ForkServerTest, StopAndContinueAreSeen) {
    start();
    spawn(0);
    const pid_t pid = wait_for(Verb::Ready).pid;
    ::kill(pid, SIGSTOP);
    EXPECT_EQ(wait_for(Verb::Stopped).pid, pid);
    ::kill(pid, SIGCONT);
    EXPECT_EQ(wait_for(Verb::Continued).pid, pid);
}

TEST_F(ForkServerTest, AnExceptionInAWorkerEndsThatWorkerOnly) {
    start([](const Birth& birth) -> int {
        const OwnedFd quiet{::open("/dev/null", O_WRONLY)};
        ::dup2(quiet.get(), STDERR_FILENO);
        if (birth.slot == 0) throw std::runtime_error{"from user code"};
        return serve(birth);
    });
    spawn(0);
    const Notice death = wait_for(Verb::Died);
    EXPECT_EQ(death.cause, Cause::Signal);
    EXPECT_EQ(death.detail, SIGABRT);
    spawn(1);
    EXPECT_EQ(wait_for(Verb::Ready).slot, 1U);
}

TEST_F(ForkServerTest, ManyBirthsAndDeathsLeaveNoZombieAndFlatDescriptors) {
    const int births = test::full_or_twentieth(1000, 200);
    start([](const Birth&) { return 0; });
    spawn(0);
    wait_for(Verb::Died);
    const std::size_t before = test::open_files(server_->pid()).size();
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < births; ++i) {
        spawn(static_cast<std::uint32_t>(i % 7), static_cast<std::uint32_t>(i));
        const Notice death = wait_for(Verb::Died);
        ASSERT_EQ(death.cause, Cause::Exit);
        ASSERT_EQ(death.generation, static_cast<std::uint32_t>(i));
    }
    const std::chrono::duration<double, std::milli> each =
        (std::chrono::steady_clock::now() - began) / births;
    RecordProperty("ms_per_birth_and_death", std::to_string(each.count()));
    EXPECT_EQ(test::open_files(server_->pid()).size(), before);
    EXPECT_EQ(test::descendants_of(server_->pid()).size(), 0U);
}

TEST_F(ForkServerTest, ManyWorkersAtOnceDieAtOnceAndAreAllReported) {
    start();
    constexpr std::uint32_t kWorkers = 50;
    for (std::uint32_t slot = 0; slot < kWorkers; ++slot) spawn(slot);
    for (std::uint32_t i = 0; i < kWorkers; ++i) wait_for(Verb::Ready);
    ::kill(server_->pid(), SIGSTOP);
    for (const pid_t pid : test::descendants_of(server_->pid())) ::kill(pid, SIGKILL);
    ::kill(server_->pid(), SIGCONT);
    std::vector<bool> seen(kWorkers);
    for (std::uint32_t i = 0; i < kWorkers; ++i) seen[wait_for(Verb::Died).slot] = true;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), true), static_cast<std::ptrdiff_t>(kWorkers));
}

TEST_F(ForkServerTest, GrandchildrenDieWithTheirWorkerEvenAfterACleanExit) {
    base::Result<Scoreboard> board = Scoreboard::create(1);
    ASSERT_TRUE(board.ok());
    start([](const Birth& birth) {
        const pid_t child = ::fork();
        if (child == 0)
            for (;;) ::pause();
        birth.cells->io_tick_ns = child;
        return 0;
    });
    spawn(0, 1, board.value().fd());
    wait_for(Verb::Died);
    const auto grandchild = static_cast<pid_t>(board.value().cells(0).io_tick_ns.load());
    ASSERT_GT(grandchild, 0);
    EXPECT_TRUE(wait_until([&] { return test::process_state(grandchild) == 0; }, 1s));
}

TEST_F(ForkServerTest, StopEndsItAndAllItsWorkersWithinASecond) {
    start([](const Birth& birth) {
        ::signal(SIGTERM, SIG_IGN);
        Channel channel{OwnedFd{birth.channel_fd}};
        Notice up;
        up.verb = Verb::Up;
        channel.send(up);
        for (;;) ::pause();
        return 0;
    });
    for (std::uint32_t slot = 0; slot < 5; ++slot) spawn(slot);
    for (std::uint32_t slot = 0; slot < 5; ++slot) wait_for(Verb::Ready);
    std::vector<pid_t> family = test::descendants_of(server_->pid());
    ASSERT_EQ(family.size(), 5U);
    family.push_back(server_->pid());
    const auto began = std::chrono::steady_clock::now();
    server_->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - began, test::stretched(1s));
    for (const pid_t pid : family) EXPECT_FALSE(test::process_alive(pid));
    EXPECT_EQ(test::process_state(family.back()), 0) << "a zombie of the program's";
}

TEST_F(ForkServerTest, ItsDeathIsSeenAndTakesItsWorkersAlong) {
    start();
    spawn(0);
    const pid_t worker = wait_for(Verb::Ready).pid;
    ::kill(server_->pid(), SIGKILL);
    EXPECT_TRUE(wait_until(
        [&] {
            while (server_->next()) {
            }
            return server_->dead();
        },
        1s));
    EXPECT_FALSE(server_->spawn({.socket_fd = STDERR_FILENO, .extra_fds = {}}));
    EXPECT_TRUE(wait_until([&] { return !test::process_alive(worker); }, 1s));
}

TEST_F(ForkServerTest, GrandchildrenDieWhenTheForkServerIsKilled) {
    base::Result<Scoreboard> board = Scoreboard::create(1);
    ASSERT_TRUE(board.ok());
    start([](const Birth& birth) {
        const pid_t child = ::fork();
        if (child == 0)
            for (;;) ::pause();
        birth.cells->io_tick_ns = child;
        return serve(birth);
    });
    spawn(0, 1, board.value().fd());
    wait_for(Verb::Ready);
    const auto grandchild = static_cast<pid_t>(board.value().cells(0).io_tick_ns.load());
    ASSERT_TRUE(test::process_alive(grandchild));
    ::kill(server_->pid(), SIGKILL);
    EXPECT_TRUE(wait_until([&] { return !test::process_alive(grandchild); }, 1s));
}

TEST_F(ForkServerTest, KillOfTheProgramLeavesNothingWithinASecondEvenIfAForkOfItLives) {
    const test::TempDir dir;
    const std::string ready = dir / "ready";
    const pid_t program = ::fork();
    ASSERT_GE(program, 0);
    if (program == 0) {
        start();
        if (!server_) ::_exit(1);
        for (std::uint32_t slot = 0; slot < 4; ++slot) spawn(slot);
        for (std::uint32_t slot = 0; slot < 4; ++slot) wait_for(Verb::Ready);
        const pid_t fork_of_program = ::fork();  // Holds the program's end of the channel open.
        if (fork_of_program == 0)
            for (;;) ::pause();
        dir.write("ready", std::to_string(fork_of_program));
        for (;;) ::pause();
    }
    ASSERT_TRUE(wait_until([&] { return !test::read_text(ready).empty(); }));
    const pid_t fork_of_program = std::stoi(test::read_text(ready));
    std::vector<pid_t> family = test::descendants_of(program);
    std::erase(family, fork_of_program);
    ASSERT_EQ(family.size(), 5U);
    ::kill(program, SIGKILL);
    EXPECT_TRUE(wait_until(
        [&] { return std::none_of(family.begin(), family.end(), test::process_alive); }, 1s));
    ::kill(fork_of_program, SIGKILL);
    ::waitpid(program, nullptr, 0);
}

TEST_F(ForkServerTest, StartBesideThreadsIsRefusedWithTheirNumber) {
    std::mutex mutex;
    std::condition_variable wake;
    bool over = false;
    const auto wait = [&] {
        std::unique_lock lock{mutex};
        wake.wait(lock, [&] { return over; });
    };
    std::thread first{wait};
    std::thread second{wait};
    const base::Result<ForkServer> server = ForkServer::start({serve, {}, {}});
    {
        const std::lock_guard lock{mutex};
        over = true;
    }
    wake.notify_all();
    first.join();
    second.join();
    ASSERT_FALSE(server.ok());
    EXPECT_NE(server.failure().text.find("3 threads"), std::string::npos) << server.failure().text;
    EXPECT_TRUE(wait_until([] { return count_own_threads() == 1; }))
        << "joined threads leave /proc late";
    start();
}

TEST_F(ForkServerTest, OtherChildrenOfTheProgramAreLeftAlone) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(5);
    start();
    server_->stop();
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child) << "the program reaps its own";
    EXPECT_EQ(WEXITSTATUS(status), 5);
}

TEST_F(ForkServerTest, DescriptorsThatCouldPinSomebodyAreNotKept) {
    const test::TempDir dir;
    Ends pinned = socket_pair();
    const OwnedFd file{::open(dir.write("data", "x").c_str(), O_RDONLY)};
    const int pinned_fd = pinned.theirs.get();
    const int file_fd = file.get();
    start([pinned_fd, file_fd](const Birth& birth) {
        char byte = 0;
        if (::read(file_fd, &byte, 1) != 1 || byte != 'x') return 1;
        // Not closed, so that the number is nobody else's: /dev/null.
        if (::read(pinned_fd, &byte, 1) != 0) return 2;
        return birth.socket_fd == pinned_fd ? 3 : 0;
    });
    pinned.theirs.reset();
    char byte = 0;
    EXPECT_TRUE(wait_until([&] { return ::recv(pinned.ours.get(), &byte, 1, MSG_DONTWAIT) == 0; }))
        << "the fork server holds the other end";
    spawn(0);
    const Notice death = wait_for(Verb::Died);
    EXPECT_EQ(death.cause, Cause::Exit);
    EXPECT_EQ(death.detail, 0);
}

TEST_F(ForkServerTest, AWorkerHoldsNoOtherWorkersSocket) {
    start();
    spawn(0);
    wait_for(Verb::Ready);
    spawn(1);
    const pid_t second = wait_for(Verb::Ready).pid;
    // Would the second hold the first one's end, the first one's death would stay unseen.
    sockets_.erase(0);
    EXPECT_EQ(wait_for(Verb::Died).detail, 7);
    EXPECT_TRUE(test::process_alive(second));
    sockets_.erase(1);
    EXPECT_EQ(wait_for(Verb::Died).pid, second);
}

TEST_F(ForkServerTest, ExtraDescriptorsTravelInOrder) {
    const test::TempDir dir;
    const OwnedFd a{::open(dir.write("a", "a").c_str(), O_RDONLY)};
    const OwnedFd b{::open(dir.write("b", "b").c_str(), O_RDONLY)};
    start([](const Birth& birth) {
        std::array<char, 2> bytes{};
        if (birth.extra_fds.size() != 2 || birth.cells != nullptr) return 1;
        for (std::size_t i = 0; i < 2; ++i)
            if (::read(birth.extra_fds[i], &bytes[i], 1) != 1) return 2;
        return bytes[0] == 'a' && bytes[1] == 'b' ? 0 : 3;
    });
    const std::array extra{a.get(), b.get()};
    spawn(0, 1, -1, extra);
    EXPECT_EQ(wait_for(Verb::Died).detail, 0);
}

TEST_F(ForkServerTest, WorkersAndForkServerStayOutOfTheTerminalsSignals) {
    start([](const Birth& birth) {
        struct sigaction action {};
        ::sigaction(SIGINT, nullptr, &action);
        if (action.sa_handler != SIG_IGN || ::getpgrp() != ::getpid()) return 1;
        ::sigaction(SIGTERM, nullptr, &action);
        return action.sa_handler == SIG_DFL ? serve(birth) : 2;
    });
    spawn(0);
    const pid_t worker = wait_for(Verb::Ready).pid;
    EXPECT_NE(::getpgid(server_->pid()), ::getpgrp());
    for (const int signo : {SIGINT, SIGTERM, SIGHUP}) ::kill(server_->pid(), signo);
    server_->tell(Verb::Drain, 3, 0, worker);
    EXPECT_EQ(wait_for(Verb::Died).cause, Cause::Drain) << "the fork server serves on";
}

TEST_F(ForkServerTest, BufferedOutputIsWrittenOnce) {
    const test::TempDir dir;
    std::FILE* file = std::fopen((dir / "out").c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fputs("once\n", file);
    start([](const Birth&) { return 0; });
    spawn(0);
    wait_for(Verb::Died);
    server_->stop();
    std::fclose(file);
    EXPECT_EQ(test::read_text(dir / "out"), "once\n");
}

TEST_F(ForkServerTest, AForkOfTheProgramThatEndsDoesNotStopIt) {
    start();
    spawn(0);
    wait_for(Verb::Ready);
    const pid_t child = ::fork();
    if (child == 0) {
        server_.reset();  // As its destructor would at exit.
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    spawn(1);
    EXPECT_EQ(wait_for(Verb::Ready).slot, 1U);
}

}  // namespace
}  // namespace forkmill::supervisor
