// SPDX-License-Identifier: Apache-2.0
// `forkmill` against a running forkmilld with the demo module.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/raw_peer.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace {

using forkmill::test::built_program;
using forkmill::test::Program;
using forkmill::test::read_text;
using forkmill::test::stretched;
using forkmill::test::TempDir;
using forkmill::test::wait_until;
using Json = nlohmann::json;

constexpr std::chrono::seconds kLimit{20};

int free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int port = 0;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0)
        port = ntohs(address.sin_port);
    ::close(fd);
    return port;
}

struct Said {
    int code = -1;
    std::string text;  ///< stdout and stderr.
};

class Cli : public testing::Test {
  protected:
    void SetUp() override {
        const std::string path = std::string{FORKMILL_TEST_LIB_DIR} + "/forkmill/modules";
        const auto config =
            directory_.write("broker.yaml",
                             "state_dir: " + (directory_ / "state").string() + "\nlisten: [" +
                                 endpoint_ + "]\nmodule_path: [" + path +
                                 "]\npools:\n  default:\n    workers: 4\n    "
                                 "modules: [demo_module]\n");
        daemon_ = std::make_unique<Program>(
            std::vector<std::string>{built_program("forkmilld").string(), "-c", config.string()});
        const auto four_there = [&] {
            const Said said = run({"worker", "ls", "-o", "json"});
            const Json rows = Json::parse(said.text, nullptr, false);
            return said.code == 0 && rows.is_array() && rows.size() == 4;
        };
        ASSERT_TRUE(wait_until(four_there, kLimit));
    }

    void TearDown() override {
        daemon_->signal(SIGTERM);
        EXPECT_EQ(daemon_->wait(stretched(kLimit)), 0);
    }

    Said run(std::vector<std::string> arguments) {
        // The file is appended to, and each command is judged by its own words.
        const auto output = directory_ / "output";
        std::filesystem::remove(output);
        arguments.insert(arguments.begin(), built_program("forkmill").string());
        Program program{arguments,
                        {.environment = {"FORKMILL_ENDPOINT=" + endpoint_}, .output = output}};
        const std::optional<int> code = program.wait(stretched(kLimit));
        return {code.value_or(-1), read_text(output)};
    }

    TempDir directory_;
    int port_ = free_port();
    std::string endpoint_ = "tcp://127.0.0.1:" + std::to_string(port_);
    std::unique_ptr<Program> daemon_;
};

TEST_F(Cli, CallPrintsTheResultAndFailuresAreExitCodes) {
    const Said square = run({"call", "demo.square", "-7"});
    EXPECT_EQ(square.code, 0);
    EXPECT_EQ(square.text, "49\n");
    EXPECT_EQ(run({"call", "demo.echo", "\"héllo\""}).text, "\"héllo\"\n");

    const Said failed = run({"call", "demo.fail", "\"it broke\""});
    EXPECT_EQ(failed.code, 1);
    EXPECT_NE(failed.text.find("it broke"), std::string::npos) << failed.text;

    EXPECT_EQ(run({"call", "demo.square", "\"seven\""}).code, 64);
    EXPECT_EQ(run({"call", "demo.square"}).code, 64);
    EXPECT_EQ(run({"nonsense"}).code, 64);
    EXPECT_EQ(run({"call", "demo.nowhere"}).code, 1);
    // It ends with its caller, or the daemon would wait for it at the end of the test.
    EXPECT_EQ(run({"call", "--timeout", "0.1", "demo.sleep_ms", "600000"}).code, 124);
}

TEST_F(Cli, AnUnreachableBrokerIsSaidWithinTheConnectTimeout) {
    const std::string nowhere = "tcp://127.0.0.1:" + std::to_string(free_port());
    const Said said =
        run({"--endpoint", nowhere, "--connect-timeout", "0.2", "call", "demo.square", "7"});
    EXPECT_EQ(said.code, 69);
    EXPECT_NE(said.text.find(nowhere), std::string::npos) << said.text;
}

TEST_F(Cli, ListsWorkersAndQueues) {
    const Json workers = Json::parse(run({"worker", "ls", "-o", "json"}).text);
    ASSERT_EQ(workers.size(), 4U);
    for (const Json& worker : workers) EXPECT_GT(worker["pid"].get<int>(), 0);
    EXPECT_GE(Json::parse(run({"-o", "json", "queue", "ls"}).text).size(), 1U);
    EXPECT_NE(run({"status"}).text.find("submitted: "), std::string::npos);
}

/// A program that has a named lock, which another owner in it waits for, and a persistent queue.
forkmill::e2e::RawPeer sharing_program(int port) {
    namespace wire = forkmill::wire;
    forkmill::e2e::RawPeer peer{port};
    EXPECT_TRUE(peer.greet());
    wire::Hello hello;
    hello.session = {1, 2};
    hello.stream = 3;
    hello.generation = 1;
    hello.host = "elsewhere";
    hello.pid = 7;
    peer.say(wire::encode({wire::Kind::Hello}, hello));
    const auto welcome = peer.hear_as<wire::Welcome>(wire::Kind::Welcome);
    EXPECT_TRUE(welcome.has_value());
    const std::uint64_t first = welcome->incarnation << 40 | 1;  // Ids are dense: docs/protocol.md.
    wire::ObjectWriter writer;
    wire::ObjectOp open;
    open.verb = wire::ObjectVerb::Open;
    open.flags = wire::kOpCreate;
    open.name = "the lock";
    open.shaped = true;
    open.shape.kind = wire::ObjectKind::Lock;
    writer.add(open);
    open.name = "jobs";
    open.flags |= wire::kOpPersistent;
    open.shape.kind = wire::ObjectKind::Queue;
    open.shape.capacity = 10;
    writer.add(open);
    wire::ObjectOp acquire;
    acquire.verb = wire::ObjectVerb::Acquire;
    acquire.object = first;
    writer.add(acquire);
    acquire.owner = 1;
    writer.add(acquire);
    peer.say(writer.finish({wire::Kind::Object, 1}));
    return peer;
}

TEST_F(Cli, SharedObjectsAreListedShownAndRemoved) {
    const auto peer = sharing_program(port_);
    const auto listed = [&](const char* prefix) {
        const Json rows = Json::parse(run({"-o", "json", "object", "ls", prefix}).text);
        return rows.size();
    };
    ASSERT_TRUE(wait_until([&] { return listed("the") == 1 && listed("jobs") == 1; }, kLimit));
    const Json lock = Json::parse(run({"-o", "json", "object", "info", "the lock"}).text);
    EXPECT_EQ(lock["kind"], "lock");
    EXPECT_EQ(lock["holder"], "elsewhere:7");
    EXPECT_EQ(run({"object", "rm", std::to_string(lock["id"].get<std::uint64_t>())}).code, 0);
    EXPECT_EQ(run({"object", "rm", "the lock"}).code, 1);
    EXPECT_EQ(run({"object", "rm", "jobs"}).code, 0);
    EXPECT_NE(run({"status"}).text.find("objects: 0"), std::string::npos);
}

TEST_F(Cli, LocksAreListedWithTheirOwnersAndBrokenByNameOrId) {
    const auto peer = sharing_program(port_);
    const auto locks = [&] { return Json::parse(run({"-o", "json", "lock", "ls"}).text); };
    ASSERT_TRUE(wait_until([&] { return locks().size() == 1; }, kLimit)) << "the queue is no lock";
    const Json held = locks()[0];
    EXPECT_EQ(held["name"], "the lock");
    EXPECT_EQ(held["holder"], "elsewhere:7");
    EXPECT_GT(held["token"].get<std::uint64_t>(), 0U);
    EXPECT_EQ(held["waiting"], 1);
    EXPECT_EQ(Json::parse(run({"-o", "json", "lock", "ls", "an"}).text).size(), 0U);

    EXPECT_EQ(run({"lock", "break", "jobs"}).code, 1) << "a queue";
    EXPECT_EQ(run({"lock", "break", "nowhere"}).code, 1);
    EXPECT_EQ(run({"lock", "break", "the lock"}).code, 0);
    const Json next = locks()[0];
    EXPECT_EQ(next["waiting"], 0);
    EXPECT_GT(next["token"].get<std::uint64_t>(), held["token"].get<std::uint64_t>());
    EXPECT_EQ(run({"lock", "break", std::to_string(next["id"].get<std::uint64_t>())}).code, 0);
    const Json free = locks()[0];
    EXPECT_EQ(free["holder"], "");
    EXPECT_EQ(free["token"], 0);
}

TEST_F(Cli, ASubmittedTaskIsReachedByItsId) {
    std::string id = run({"submit", "demo.square", "12"}).text;
    ASSERT_EQ(id.size(), 33U) << id;
    id.pop_back();
    const Said result = run({"result", id});
    EXPECT_EQ(result.code, 0);
    EXPECT_EQ(result.text, "144\n");
    EXPECT_EQ(run({"result", "no-id"}).code, 64);
    EXPECT_EQ(run({"result", std::string(32, 'a')}).code, 1);
}

TEST_F(Cli, ASubmittedTaskIsCancelledByItsId) {
    const auto submitted = [&] {
        std::string id = run({"submit", "demo.sleep_ms", "20000"}).text;
        EXPECT_EQ(id.size(), 33U) << id;
        id.pop_back();
        return id;
    };
    const std::string asked = submitted();
    EXPECT_EQ(run({"cancel", asked}).code, 0);
    EXPECT_LE(run({"wait", asked, "--timeout", "10"}).code, 1) << "it ended, one way or the other";
    const std::string killed = submitted();
    EXPECT_EQ(run({"cancel", "--kill", killed}).code, 0);
    EXPECT_EQ(run({"wait", killed, "--timeout", "10"}).code, 1) << "cancelled";
    EXPECT_EQ(run({"cancel", killed}).code, 1) << "it has ended already";
    EXPECT_EQ(run({"cancel", std::string(32, 'a')}).code, 1) << "nobody knows it";
}

TEST_F(Cli, WaitEndsAtItsTimeout) {
    std::string id = run({"submit", "demo.sleep_ms", "2000"}).text;
    ASSERT_EQ(id.size(), 33U) << id;
    id.pop_back();
    EXPECT_EQ(run({"wait", id, "--timeout", "0.05"}).code, 124);
    EXPECT_EQ(run({"wait", id}).code, 0);
}

}  // namespace
