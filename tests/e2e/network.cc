// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/network.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/e2e/site.h"
#include "tests/support/process.h"

namespace forkmill::e2e {

namespace {

constexpr const char* kIp = "/sbin/ip";

}  // namespace

Network::Network() {
    // Names of links have at most 15 characters.
    const int pid = static_cast<int>(::getpid());
    name_ = "fm" + std::to_string(pid);
    prefix_ = "10." + std::to_string(200 + pid % 50) + "." + std::to_string(pid / 50 % 250) + ".";
    if (::geteuid() != 0 || ::access(kIp, X_OK) != 0) return;
    const std::string ours = name_ + "a";
    const std::string theirs = name_ + "b";
    apart_ = ip({"netns", "add", name_}) &&
             ip({"link", "add", ours, "type", "veth", "peer", "name", theirs}) &&
             ip({"link", "set", theirs, "netns", name_}) &&
             ip({"addr", "add", prefix_ + "1/24", "dev", ours}) &&
             ip({"link", "set", ours, "up"}) &&
             ip({"-n", name_, "addr", "add", prefix_ + "2/24", "dev", theirs}) &&
             ip({"-n", name_, "link", "set", theirs, "up"}) &&
             ip({"-n", name_, "link", "set", "lo", "up"});
}

Network::~Network() {
    // The wire goes with its end in the namespace; each goes with what was made of it.
    if (::geteuid() != 0 || ::access(kIp, X_OK) != 0) return;
    static_cast<void>(ip({"link", "del", name_ + "a"}));
    static_cast<void>(ip({"netns", "del", name_}));
}

std::vector<std::string> Network::over_there() const {
    if (!apart_) return {};
    return {kIp, "netns", "exec", name_};
}

bool Network::ip(const std::vector<std::string>& words) const {
    std::vector<std::string> argv{kIp};
    argv.insert(argv.end(), words.begin(), words.end());
    test::Program program{argv, {.output = "/dev/null"}};
    return program.wait(kLimit) == 0;
}

void Network::wire(const std::string& state) {
    ASSERT_TRUE(ip({"link", "set", name_ + "a", state}));
}

}  // namespace forkmill::e2e
