// SPDX-License-Identifier: Apache-2.0
// The service manager is played by a datagram socket of the test's.
#include "core/supervisor/service_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace forkmill::supervisor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ServiceManagerTest : public testing::Test {
  protected:
    ServiceManagerTest() { forget(); }
    ~ServiceManagerTest() override { forget(); }

    /// Binds the manager's socket; an '@' in front makes the name abstract.
    void listen(const std::string& address) {
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        std::memcpy(name.sun_path, address.data(), address.size());
        if (address[0] == '@') name.sun_path[0] = '\0';
        socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
        ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&name), size), 0);
        ::setenv("NOTIFY_SOCKET", address.c_str(), 1);
    }
    void listen() { listen(dir_ / "notify"); }

    std::vector<std::string> heard() {
        std::vector<std::string> messages;
        std::array<char, 4096> bytes{};
        for (;;) {
            const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
            if (size < 0) return messages;
            messages.emplace_back(bytes.data(), static_cast<std::size_t>(size));
        }
    }

    static void forget() {
        for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
            ::unsetenv(name);
    }

    test::TempDir dir_;
    OwnedFd socket_;
};

TEST_F(ServiceManagerTest, HearsTheLifeOfAServiceInOrder) {
    listen();
    ServiceManager manager;
    ASSERT_TRUE(manager.present());
    manager.ready("serving, 4 workers");
    manager.status("draining");
    manager.watchdog();
    manager.stopping();
    EXPECT_THAT(
        heard(),
        ElementsAre(
            "READY=1\nSTATUS=serving, 4 workers", "STATUS=draining", "WATCHDOG=1", "STOPPING=1"));
}

TEST_F(ServiceManagerTest, AnAbstractNameIsReached) {
    listen("@forkmill-test-" + std::to_string(::getpid()));
    ServiceManager{}.stopping();
    EXPECT_THAT(heard(), ElementsAre("STOPPING=1"));
}

TEST_F(ServiceManagerTest, AReloadCarriesTheMonotonicTime) {
    listen();
    ServiceManager manager;
    const auto microseconds = [] {
        return std::chrono::duration_cast<std::chrono::microseconds>(
                   base::monotonic_now().time_since_epoch())
            .count();
    };
    const auto before = microseconds();
    manager.reloading();
    const auto after = microseconds();
    const std::vector<std::string> messages = heard();
    ASSERT_EQ(messages.size(), 1U);
    const std::string opening = "RELOADING=1\nMONOTONIC_USEC=";
    ASSERT_TRUE(messages[0].starts_with(opening)) << messages[0];
    const auto said = std::stoll(messages[0].substr(opening.size()));
    EXPECT_GE(said, before);
    EXPECT_LE(said, after);
}

TEST_F(ServiceManagerTest, ItsVariablesAreTakenAndGivenBackForAnExecOnly) {
    listen();
    const std::string pid = std::to_string(::getpid());
    ::setenv("WATCHDOG_USEC", "30000000", 1);
    ::setenv("WATCHDOG_PID", pid.c_str(), 1);
    const ServiceManager manager;
    EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
    EXPECT_EQ(std::getenv("WATCHDOG_USEC"), nullptr);
    EXPECT_EQ(std::getenv("WATCHDOG_PID"), nullptr);
    EXPECT_THAT(manager.environment(),
                ElementsAre("NOTIFY_SOCKET=" + (dir_ / "notify").string(),
                            "WATCHDOG_USEC=30000000",
                            "WATCHDOG_PID=" + pid));
}

TEST_F(ServiceManagerTest, TheWatchdogIsFedTwiceInItsTime) {
    listen();
    ::setenv("WATCHDOG_USEC", "30000000", 1);
    EXPECT_EQ(ServiceManager{}.watchdog_interval(), std::chrono::seconds{15});
}

TEST_F(ServiceManagerTest, AWatchdogThatIsNotOursIsNeverFed) {
    const std::string socket = dir_ / "notify";
    listen();
    for (const auto& [usec, pid] :
         std::vector<std::pair<const char*, const char*>>{{"30000000", "1"},
                                                          {"30000000", "x"},
                                                          {"0", nullptr},
                                                          {"-5", nullptr},
                                                          {"10s", nullptr},
                                                          {"18446744073709551615", nullptr},
                                                          {"99999999999999999999999", nullptr},
                                                          {"", nullptr}}) {
        ::setenv("NOTIFY_SOCKET", socket.c_str(), 1);
        ::setenv("WATCHDOG_USEC", usec, 1);
        if (pid != nullptr) ::setenv("WATCHDOG_PID", pid, 1);
        EXPECT_EQ(ServiceManager{}.watchdog_interval(), base::Duration::max()) << usec;
    }
}

TEST_F(ServiceManagerTest, WithoutASocketNothingIsSaidAndNothingHappens) {
    for (const char* address : {"", "@", "relative/path", "vsock:2:1234"}) {
        ::setenv("NOTIFY_SOCKET", address, 1);
        ::setenv("WATCHDOG_USEC", "30000000", 1);
        ServiceManager manager;
        EXPECT_FALSE(manager.present()) << address;
        manager.ready("up");
        manager.watchdog();
        EXPECT_EQ(manager.watchdog_interval(), base::Duration::max()) << address;
        EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
    }
    const ServiceManager unmanaged;
    EXPECT_FALSE(unmanaged.present());
    EXPECT_THAT(unmanaged.environment(), IsEmpty());
}

TEST_F(ServiceManagerTest, ANameThatIsTooLongIsNotCut) {
    listen();
    ::setenv("NOTIFY_SOCKET", ("/" + std::string(sizeof(sockaddr_un), 'x')).c_str(), 1);
    EXPECT_FALSE(ServiceManager{}.present());
}

TEST_F(ServiceManagerTest, AManagerThatIsGoneHindersNobody) {
    listen();
    ServiceManager manager;
    socket_.reset();
    std::filesystem::remove(dir_ / "notify");
    manager.ready("up");
    manager.watchdog();
    listen();
    manager.stopping();
    EXPECT_THAT(heard(), ElementsAre("STOPPING=1"));
}

TEST_F(ServiceManagerTest, AStatusIsOneLineOfBoundedLength) {
    listen();
    ServiceManager manager;
    manager.status("4 workers\nREADY=1\ttab\x7f");
    // The cut would fall within the last "é", whose second byte is one too many.
    manager.status(std::string(ServiceManager::kStatusMax - 1, 'a') + "é");
    EXPECT_THAT(heard(),
                ElementsAre("STATUS=4 workers READY=1 tab ",
                            "STATUS=" + std::string(ServiceManager::kStatusMax - 1, 'a')));
}

TEST_F(ServiceManagerTest, AChangeOfStateOutlivesAFullQueue) {
    listen();
    ServiceManager manager;
    for (int i = 0; i < 5000; ++i) manager.status("chatter");
    manager.ready("up");
    manager.status("later");
    for (const std::string& message : heard()) ASSERT_EQ(message, "STATUS=chatter");
    manager.watchdog();
    EXPECT_THAT(heard(), ElementsAre("WATCHDOG=1", "READY=1\nSTATUS=up"));
}

TEST_F(ServiceManagerTest, WhatWaitsForAFullQueueIsBounded) {
    listen();
    ServiceManager manager;
    for (int i = 0; i < 5000; ++i) manager.status("chatter");
    manager.stopping();
    for (std::size_t i = 0; i < ServiceManager::kUnsentMax; ++i) manager.ready(std::to_string(i));
    heard();
    manager.watchdog();
    // A socket may take fewer at once than wait.
    std::vector<std::string> late;
    for (std::size_t round = 0; round < ServiceManager::kUnsentMax; ++round) {
        for (const std::string& message : heard())
            if (message != "WATCHDOG=1") late.push_back(message);
        manager.watchdog();
    }
    ASSERT_EQ(late.size(), ServiceManager::kUnsentMax);
    EXPECT_EQ(late.front(), "READY=1\nSTATUS=0");
    EXPECT_EQ(late.back(), "READY=1\nSTATUS=15");
}

}  // namespace
}  // namespace forkmill::supervisor
