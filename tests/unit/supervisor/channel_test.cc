// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <string>

#include "core/supervisor/child_env.h"
#include "core/supervisor/forked_context.h"
#include "core/supervisor/scoreboard.h"
#include "tests/support/process.h"

namespace forkmill::supervisor {
namespace {

Notice numbered(std::uint32_t number) {
    Notice notice;
    notice.verb = Verb::Born;
    notice.slot = number;
    return notice;
}

std::array<Channel, 2> channel() {
    return std::move(Channel::pair()).value();
}

TEST(Channel, NoticesArriveWholeAndInOrder) {
    auto [a, b] = channel();
    Notice sent = numbered(7);
    sent.cause = Cause::Oom;
    sent.leases[0] = 1ULL << 63;
    sent.lease_count = 1;
    sent.set_text("last words");
    EXPECT_EQ(a.send(sent), Channel::Sent::Whole);
    EXPECT_EQ(a.send(numbered(8)), Channel::Sent::Whole);
    const std::optional<Packet> first = b.receive();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->notice.cause, Cause::Oom);
    EXPECT_EQ(first->notice.leases[0], 1ULL << 63);
    EXPECT_EQ(first->notice.text_view(), "last words");
    EXPECT_EQ(b.receive()->notice.slot, 8U);
    EXPECT_FALSE(b.receive());
    EXPECT_FALSE(b.closed());
}

TEST(Channel, TheTailOfALongTextIsKept) {
    Notice notice;
    notice.set_text(std::string(2 * kStderrTail, 'x') + "the end");
    EXPECT_EQ(notice.text_view().size(), kStderrTail);
    EXPECT_TRUE(notice.text_view().ends_with("xthe end"));
}

TEST(Channel, EndOfTheOtherEndIsSeenAfterWhatItSaid) {
    auto [a, b] = channel();
    a.send(numbered(1));
    a = Channel{};
    EXPECT_EQ(b.send(numbered(2)), Channel::Sent::Closed);
    EXPECT_FALSE(b.closed()) << "there is still something to hear";
    EXPECT_TRUE(b.receive());
    EXPECT_FALSE(b.receive());
    EXPECT_TRUE(b.closed());
    EXPECT_FALSE(b.post(numbered(3)));
}

TEST(Channel, WhatDoesNotFitWaitsAndKeepsItsOrder) {
    auto [a, b] = channel();
    std::uint32_t sent = 0;
    while (!a.has_backlog()) ASSERT_TRUE(a.post(numbered(sent++)));
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(a.post(numbered(sent++)));
    // There is room now, but not for one that would overtake.
    std::uint32_t expected = 0;
    for (; expected < 20; ++expected) ASSERT_EQ(b.receive()->notice.slot, expected);
    ASSERT_TRUE(a.post(numbered(sent++)));
    for (; expected < sent; ++expected) {
        std::optional<Packet> packet = b.receive();
        if (!packet) {
            ASSERT_TRUE(a.flush());
            packet = b.receive();
        }
        ASSERT_TRUE(packet) << expected;
        ASSERT_EQ(packet->notice.slot, expected);
    }
    EXPECT_FALSE(a.has_backlog());
}

TEST(Channel, TheBacklogHasABound) {
    auto [a, b] = channel();
    std::size_t taken = 0;
    while (a.post(numbered(0))) ASSERT_LT(++taken, 2 * kBacklogMax);
    EXPECT_GE(taken, kBacklogMax);
    EXPECT_TRUE(a.closed());
}

TEST(Channel, DescriptorsTravelEvenThroughTheBacklog) {
    auto [a, b] = channel();
    const std::array file{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
    while (!a.has_backlog()) ASSERT_TRUE(a.post(numbered(0)));
    ASSERT_TRUE(a.post(numbered(42), file));
    ::close(file[0]);
    for (;;) {
        std::optional<Packet> packet = b.receive();
        if (!packet) {
            ASSERT_TRUE(a.has_backlog());
            ASSERT_TRUE(a.flush());
            continue;
        }
        if (packet->notice.slot != 42) continue;
        ASSERT_EQ(packet->fds.size(), 1U);
        EXPECT_EQ(::write(packet->fds[0].get(), "x", 1), 1);
        EXPECT_EQ(::fcntl(packet->fds[0].get(), F_GETFD), FD_CLOEXEC);
        break;
    }
}

TEST(Channel, DescriptorsOfAPacketNobodyTookAreClosed) {
    auto [a, b] = channel();
    const std::size_t before = test::open_files(::getpid()).size();
    const std::array file{STDERR_FILENO};
    a.send(numbered(0), file);
    { const std::optional<Packet> packet = b.receive(); }
    EXPECT_EQ(test::open_files(::getpid()).size(), before);
}

TEST(Channel, WhatIsNoNoticeClosesTheChannel) {
    constexpr std::size_t kWhole = kNoticeHead + kStderrTail;
    for (const std::size_t size : {std::size_t{1}, kNoticeHead - 1, kWhole - 1, kWhole + 1}) {
        std::array<int, 2> fds{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds.data()), 0);
        const OwnedFd stranger{fds[0]};
        Channel channel{OwnedFd{fds[1]}};
        const std::string bytes(size, '\x7f');
        ASSERT_EQ(::send(stranger.get(), bytes.data(), bytes.size(), 0),
                  static_cast<ssize_t>(size));
        EXPECT_FALSE(channel.receive());
        EXPECT_TRUE(channel.closed());
    }
}

TEST(Channel, CountsOfAHostileNoticeAreCut) {
    std::array<int, 2> fds{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds.data()), 0);
    const OwnedFd stranger{fds[0]};
    Channel channel{OwnedFd{fds[1]}};
    const std::string bytes(kNoticeHead + kStderrTail, '\xff');
    ASSERT_EQ(::send(stranger.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    const std::optional<Packet> packet = channel.receive();
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->notice.lease_count, kLeasesInNotice);
    EXPECT_EQ(packet->notice.text_view().size(), kStderrTail);
    EXPECT_EQ(name_of(packet->notice.cause), "unknown");
    EXPECT_EQ(name_of(packet->notice.verb), "unknown");
}

TEST(ChildEnv, SurvivesTheEnvironmentAndLeavesNoTraceInIt) {
    EXPECT_FALSE(take_child_env());
    const ChildEnv sent{7, 8, 2, 3, 4};
    for (const std::string& text : to_environment(sent)) {
        const std::size_t at = text.find('=');
        ::setenv(text.substr(0, at).c_str(), text.c_str() + at + 1, 1);
    }
    const std::optional<ChildEnv> got = take_child_env();
    ASSERT_TRUE(got);
    EXPECT_EQ(got->channel_fd, 7);
    EXPECT_EQ(got->scoreboard_fd, 8);
    EXPECT_EQ(got->pool, 2);
    EXPECT_EQ(got->slot, 3U);
    EXPECT_EQ(got->generation, 4U);
    EXPECT_FALSE(take_child_env());
}

TEST(ChildEnv, ADescriptorThatAVariableNamesIsTakenOnce) {
    for (const char* text : {"7", "-1", "7x", ""}) {
        ::setenv("A_TEST_FD", text, 1);
        EXPECT_EQ(take_fd("A_TEST_FD"), text == std::string{"7"} ? std::optional{7} : std::nullopt);
        EXPECT_EQ(::getenv("A_TEST_FD"), nullptr) << text;
    }
    EXPECT_FALSE(take_fd("A_TEST_FD"));
}

TEST(ChildEnv, NonsenseInTheEnvironmentIsNoChannel) {
    ::setenv("FORKMILL_CHANNEL_FD", "7x", 1);
    EXPECT_FALSE(take_child_env());
}

TEST(Scoreboard, CellsAreSharedBetweenItsMappings) {
    base::Result<Scoreboard> board = Scoreboard::create(3);
    ASSERT_TRUE(board.ok());
    base::Result<Scoreboard> other = Scoreboard::attach(OwnedFd{::dup(board.value().fd())});
    ASSERT_TRUE(other.ok());
    EXPECT_EQ(other.value().slots(), 3U);
    other.value().reset(2, 123, 9);
    other.value().cells(2).cells[3].lease = 55;
    other.value().cells(2).cells[0].tasks_done = 2;
    other.value().cells(2).cells[3].tasks_done = 5;
    EXPECT_EQ(board.value().cells(2).pid, 123U);
    EXPECT_EQ(board.value().running_leases(2), std::vector<std::uint64_t>{55});
    EXPECT_EQ(board.value().tasks_done(2), 7U);
    EXPECT_TRUE(board.value().running_leases(1).empty());
    board.value().reset(2, 124, 10);
    EXPECT_TRUE(other.value().running_leases(2).empty());
    EXPECT_EQ(other.value().tasks_done(2), 0U);
}

TEST(Scoreboard, WhatIsNoScoreboardIsRefused) {
    EXPECT_FALSE(Scoreboard::attach(OwnedFd{}).ok());
    EXPECT_FALSE(Scoreboard::attach(OwnedFd{::open("/dev/null", O_RDWR)}).ok());
    // A file of the right size that somebody could cut while we read it.
    OwnedFd shrinking{::open("/tmp", O_TMPFILE | O_RDWR, 0600)};
    ASSERT_EQ(::ftruncate(shrinking.get(), sizeof(SlotCells)), 0);
    EXPECT_FALSE(Scoreboard::attach(std::move(shrinking)).ok());
}

TEST(Scoreboard, NobodyCanShrinkIt) {
    base::Result<Scoreboard> board = Scoreboard::create(3);
    ASSERT_TRUE(board.ok());
    EXPECT_NE(::ftruncate(board.value().fd(), 0), 0);
}

TEST(ForkedContext, AForkKnowsThatItIsOne) {
    const ForkedContext before;
    EXPECT_FALSE(before.is_forked_child());
    const pid_t child = ::fork();
    if (child == 0) {
        const ForkedContext fresh;
        ::_exit(before.is_forked_child() && !fresh.is_forked_child() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(before.is_forked_child()) << "nothing changes for the parent";
}

TEST(PerProcess, AForkStartsAnewWhateverWasLocked) {
    struct Guarded {
        std::mutex mutex;
        int value = 1;
    };
    static PerProcess<Guarded> one;
    const std::lock_guard lock{one.get().mutex};
    one.get().value = 2;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(one.get().mutex.try_lock() && one.get().value == 1 ? 0 : 1);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(one.get().value, 2);
}

}  // namespace
}  // namespace forkmill::supervisor
