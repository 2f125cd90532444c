// SPDX-License-Identifier: Apache-2.0
#include "core/net/listen.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <thread>

#include "tests/support/temp_dir.h"

namespace forkmill::net {
namespace {

Endpoint endpoint_of(const std::string& text) {
    auto parsed = parse_endpoint(text);
    EXPECT_TRUE(parsed.ok()) << text;
    return parsed.value();
}

mode_t mode_of(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
}

TEST(Listen, MakesAPrivateNonBlockingSocketWhateverTheUmask) {
    test::TempDir dir;
    const std::string path = (dir / "run/broker.sock").string();
    const mode_t before = ::umask(0);
    auto made = listen_socket(endpoint_of("ipc://" + path));
    ::umask(before);
    ASSERT_TRUE(made.ok()) << made.failure().text;
    EXPECT_TRUE(check_listening_fd(made.value().fd.get()).ok());
    EXPECT_NE(::fcntl(made.value().fd.get(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_EQ(mode_of(path), 0600U);
    EXPECT_EQ(mode_of((dir / "run").string()), 0700U);
    remove_socket_file(made.value());
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(Listen, RefusesAPathThatIsServed) {
    test::TempDir dir;
    const Endpoint endpoint = endpoint_of("unix://" + (dir / "s").string());
    auto first = listen_socket(endpoint);
    ASSERT_TRUE(first.ok());
    auto second = listen_socket(endpoint);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.failure().error_number, EADDRINUSE);
    // Even one that holds no lock, as a foreign program would.
    first.value().lock.reset();
    second = listen_socket(endpoint);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.failure().error_number, EADDRINUSE);
}

TEST(Listen, TakesOverWhatADeadProcessLeft) {
    test::TempDir dir;
    const Endpoint endpoint = endpoint_of("unix://" + (dir / "s").string());
    {
        auto dead = listen_socket(endpoint);
        ASSERT_TRUE(dead.ok());
    }
    ASSERT_EQ(::access(endpoint.path.c_str(), F_OK), 0);
    auto next = listen_socket(endpoint);
    EXPECT_TRUE(next.ok()) << next.failure().text;
}

TEST(Listen, WaitsForOneThatIsAboutToEnd) {
    test::TempDir dir;
    for (const std::string& text :
         {"unix://" + (dir / "s").string(), std::string{"tcp://127.0.0.1:*"}}) {
        SCOPED_TRACE(text);
        auto old = listen_socket(endpoint_of(text));
        ASSERT_TRUE(old.ok());
        const Endpoint endpoint = old.value().endpoint;
        old.value().lock = {};
        std::thread dying{[&] {
            // Ends when somebody asks whether it lives.
            pollfd asked{old.value().fd.get(), POLLIN, 0};
            ::poll(&asked, 1, 20'000);
            old.value().fd = {};
        }};
        EXPECT_TRUE(listen_socket(endpoint, 16, std::chrono::seconds{20}).ok());
        dying.join();
    }
}

TEST(Listen, NeverRemovesAFileThatIsNoSocket) {
    test::TempDir dir;
    const std::string path = dir.write("precious", "data").string();
    EXPECT_FALSE(listen_socket(endpoint_of("unix://" + path)).ok());
    EXPECT_EQ(test::read_text(path), "data");
}

TEST(Listen, RefusesADirectoryThatAnybodyMayWrite) {
    test::TempDir dir;
    const std::string open = (dir / "open").string();
    ASSERT_EQ(::mkdir(open.c_str(), 0700), 0);
    ASSERT_EQ(::chmod(open.c_str(), 0777), 0);
    EXPECT_FALSE(listen_socket(endpoint_of("unix://" + open + "/s")).ok());
}

TEST(Listen, TellsThePortItGot) {
    auto made = listen_socket(endpoint_of("tcp://127.0.0.1:*"));
    ASSERT_TRUE(made.ok()) << made.failure().text;
    EXPECT_NE(made.value().endpoint.port, 0);
    auto second = listen_socket(made.value().endpoint);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.failure().error_number, EADDRINUSE);
}

TEST(Listen, AnEmbeddedPoolDoesNotListen) {
    EXPECT_FALSE(listen_socket(endpoint_of("local:2")).ok());
}

TEST(Listen, AnAdopterInsistsOnAListeningNonBlockingSocket) {
    EXPECT_FALSE(check_listening_fd(-1).ok());
    EXPECT_FALSE(check_listening_fd(STDIN_FILENO).ok());
    auto pair = local_socket_pair();
    ASSERT_TRUE(pair.ok());
    EXPECT_FALSE(check_listening_fd(pair.value().first.get()).ok());
    auto made = listen_socket(endpoint_of("tcp://127.0.0.1:*"));
    ASSERT_TRUE(made.ok());
    const int fd = made.value().fd.get();
    ASSERT_EQ(::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
    EXPECT_FALSE(check_listening_fd(fd).ok());
}

TEST(Listen, SaysWhenThereAreTooFewDescriptors) {
    EXPECT_TRUE(reserve_fds(64).ok());
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
    const auto status = reserve_fds(limit.rlim_max + 1);
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.failure().text.find("LimitNOFILE"), std::string::npos);
}

}  // namespace
}  // namespace forkmill::net
