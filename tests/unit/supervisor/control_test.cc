// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "tests/support/temp_dir.h"

namespace forkmill::supervisor {
namespace {

TEST(AskMaster, ItsLimitHoldsWhereTheMasterAcceptsNobody) {
    const test::TempDir directory;
    const std::string path = control_path(directory.path());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ASSERT_LT(path.size(), sizeof address.sun_path);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    const auto* name = reinterpret_cast<const sockaddr*>(&address);
    const OwnedFd listener{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    ASSERT_EQ(::bind(listener.get(), name, sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 0), 0);
    std::vector<OwnedFd> backlog;
    for (int refused = 0; refused == 0;) {
        ASSERT_LT(backlog.size(), 100U);
        backlog.emplace_back(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (::connect(backlog.back().get(), name, sizeof address) != 0) refused = errno;
    }
    const base::Result<MasterAnswer> answer =
        ask_master(directory.path(), "status", std::chrono::milliseconds{50});
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.failure().error_number, ETIMEDOUT);
    EXPECT_EQ(answer.failure().text, "the master does not answer");
}

}  // namespace
}  // namespace forkmill::supervisor
