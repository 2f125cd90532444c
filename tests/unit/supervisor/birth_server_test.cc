// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/birth_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

#include "core/supervisor/reaper.h"
#include "core/supervisor/spawn.h"

namespace forkmill::supervisor {
namespace {

Notice next_notice(Channel& channel) {
    constexpr int kLimitMs = 20'000;
    for (;;) {
        if (auto packet = channel.receive()) return packet->notice;
        pollfd wanted{channel.fd(), POLLIN, 0};
        if (channel.closed() || ::poll(&wanted, 1, kLimitMs) == 0) return {};
    }
}

int exit_code(pid_t pid) {
    int status = 0;
    return ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// A server whose newborn write their slot into a pipe and leave with 40 + slot.
class BirthServer : public testing::Test {
  protected:
    void SetUp() override { become_subreaper(); }
    void TearDown() override {
        master_.post({.verb = Verb::Stop});
        EXPECT_EQ(exit_code(server_.pid), 0);
        ::close(lived_[0]);
    }
    void start(bool threaded) {
        auto pair = Channel::pair();
        Channel theirs = std::move(pair.value()[1]);
        master_ = std::move(pair.value()[0]);
        ASSERT_EQ(::pipe(lived_.data()), 0);
        auto server = fork_child({theirs.fd(), lived_[1]}, [&] {
            if (threaded) std::thread{[] { ::pause(); }}.detach();
            const int lived = lived_[1];
            // Pipes are replaced in the newborn; it opens this one anew.
            const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/";
            serve_births(theirs, [&](const NewBorn& born) {
                const int own = ::open((path + std::to_string(lived)).c_str(), O_WRONLY);
                const char slot = static_cast<char>('0' + born.slot);
                return ::write(own, &slot, 1) == 1 ? 40 + static_cast<int>(born.slot) : 1;
            });
            ::_exit(0);
            return 0;
        });
        ASSERT_TRUE(server.ok());
        server_ = std::move(server).value();
        ::close(lived_[1]);
    }
    /// Our end of the birth's channel.
    Channel order(std::uint32_t slot) {
        auto pair = Channel::pair();
        const std::array<int, 2> fds{pair.value()[1].fd(), STDERR_FILENO};
        master_.post({.verb = Verb::Spawn, .slot = slot, .generation = 7}, fds);
        return std::move(pair.value()[0]);
    }

    Channel master_;
    Spawned server_;
    std::array<int, 2> lived_{};
};

TEST_F(BirthServer, ANewbornIsOurChildAndLivesOnceItIsAnswered) {
    start(false);
    Channel channel = order(3);
    const Notice born = next_notice(channel);
    EXPECT_EQ(born.verb, Verb::Born);
    EXPECT_EQ(born.slot, 3U);
    EXPECT_EQ(born.generation, 7U);
    EXPECT_EQ(::getpgid(born.pid), born.pid);
    ASSERT_TRUE(adopt(born.pid).ok());
    channel.post({.verb = Verb::Born});
    EXPECT_EQ(exit_code(born.pid), 43);
    char slot = 0;
    EXPECT_EQ(::read(lived_[0], &slot, 1), 1);
    EXPECT_EQ(slot, '3');
}

TEST_F(BirthServer, ANewbornWithoutAnAnswerRunsNothing) {
    start(false);
    Channel channel = order(1);
    const Notice born = next_notice(channel);
    ASSERT_EQ(born.verb, Verb::Born);
    channel = {};
    EXPECT_EQ(exit_code(born.pid), 0);
    pollfd written{lived_[0], POLLIN, 0};
    EXPECT_EQ(::poll(&written, 1, 0), 0);
}

TEST_F(BirthServer, OneWithThreadsForksNobody) {
    start(true);
    Channel channel = order(1);
    const Notice answer = next_notice(master_);
    EXPECT_EQ(answer.verb, Verb::Threaded);
    EXPECT_EQ(answer.detail, 2);
    EXPECT_EQ(answer.slot, 1U);
    next_notice(channel);
    EXPECT_TRUE(channel.closed());
}

TEST(Adopt, TakesOwnChildrenOnly) {
    EXPECT_FALSE(adopt(1).ok());
    EXPECT_FALSE(adopt(-1).ok());
    EXPECT_FALSE(adopt(::getpid()).ok());
}

}  // namespace
}  // namespace forkmill::supervisor
