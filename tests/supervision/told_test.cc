// SPDX-License-Identifier: Apache-2.0
// Case 57, and --daemon: what a service manager or a script is told of how the master is.
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/net/unique_fd.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::process_alive;
using test::stretched;
using test::wait_until;
using Clock = std::chrono::steady_clock;

/// Where a service manager listens.
class Sink {
  public:
    explicit Sink(std::string path) : path_(std::move(path)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
        socket_ = net::UniqueFd{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }

    ~Sink() { ::unlink(path_.c_str()); }
    Sink(const Sink&) = delete;
    Sink& operator=(const Sink&) = delete;

    /// Takes in what came since the last call.
    void listen() {
        std::array<char, 4096> bytes;
        for (;;) {
            const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
            if (size < 0) return;
            const std::string message{bytes.data(), static_cast<std::size_t>(size)};
            if (message == "WATCHDOG=1") {
                if (meals > 0) longest_gap = std::max(longest_gap, Clock::now() - fed_at);
                ++meals;
                fed_at = Clock::now();
            } else if (!message.starts_with("STATUS=")) {
                said.push_back(message);
            }
        }
    }
    bool wait_for(std::size_t messages) {
        return wait_until(
            [&] {
                listen();
                return said.size() >= messages;
            },
            kLimit);
    }

    std::vector<std::string> said;  ///< But for signs of life and what is only to be shown.
    int meals = 0;                  ///< Signs of life.
    Clock::time_point fed_at{};
    Clock::duration longest_gap{};

  private:
    std::string path_;
    net::UniqueFd socket_;
};

class Told : public Supervised {
  protected:
    /// Its workers wait at the gate before they are ready.
    Daemon& start_told(const std::vector<std::string>& environment, const Gate& gate) {
        const auto file = write_broker_config(wanted(gate, "0"));
        Daemon& broker = start("broker",
                               {test::built_program("forkmilld").string(), "-c", file.string()},
                               environment);
        EXPECT_TRUE(
            wait_until([&] { return times_in_log(broker, "worker born") == kWorkers; }, kLimit));
        return broker;
    }
    static BrokerWanted wanted(const Gate& gate, const std::string& round) {
        return {.workers = kWorkers,
                .pool = "    environment: {E2E_INITIALIZER: wait_at " + gate.name() +
                        ", ROUND: \"" + round + "\"}\n"};
    }
    static constexpr int kWorkers = 3;
};

#define TOLD(number, name) TEST_F(Told, supervision_##number##_##name)

TOLD(57, TheServiceManagerHearsOfEveryChangeInOrder) {
    const std::string path = (directory_ / "notify").string();
    Sink sink{path};
    Gate gate{gate_file()};
    Daemon& broker = start_told({"NOTIFY_SOCKET=" + path}, gate);
    pool_.emplace(ipc());
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "router serves"); }, kLimit));
    sink.listen();
    EXPECT_TRUE(sink.said.empty()) << "ready before the workers are: " << sink.said[0];
    gate.open();
    ASSERT_TRUE(sink.wait_for(1));
    EXPECT_EQ(sink.said[0], "READY=1\nSTATUS=3/3 ready");
    for (const pid_t worker : workers()) {
        const std::string environment =
            test::read_text("/proc/" + std::to_string(worker) + "/environ");
        EXPECT_EQ(environment.find("NOTIFY_SOCKET"), std::string::npos)
            << "a worker could speak in the master's name";
    }
    write_broker_config(wanted(gate, "1"));
    gate.shut();
    ASSERT_EQ(::kill(broker.program->pid(), SIGHUP), 0);
    ASSERT_TRUE(sink.wait_for(2));
    EXPECT_TRUE(sink.said[1].starts_with("RELOADING=1\nMONOTONIC_USEC=")) << sink.said[1];
    EXPECT_TRUE(wait_until([&] { return times_in_log(broker, "worker born") > kWorkers; }, kLimit));
    sink.listen();
    EXPECT_EQ(sink.said.size(), 2U) << "the reload is not over";
    gate.open();
    ASSERT_TRUE(sink.wait_for(3));
    EXPECT_TRUE(sink.said[2].starts_with("READY=1\n")) << sink.said[2];
    EXPECT_TRUE(in_log(broker, "reload done"));
    close_pool();
    stop(broker);
    ASSERT_TRUE(sink.wait_for(4));
    EXPECT_EQ(sink.said[3], "STOPPING=1");
    EXPECT_EQ(sink.said.size(), 4U);
    EXPECT_EQ(sink.meals, 0) << "nobody asked for signs of life";
}

TOLD(57, TheWatchdogIsFedUntilTheRouterStandsStill) {
    const std::string path = (directory_ / "notify").string();
    Sink sink{path};
    Gate gate{gate_file()};
    gate.open();
    Daemon& broker = start_told({"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=400000"}, gate);
    ASSERT_TRUE(sink.wait_for(1)) << test::read_text(broker.log);
    const auto fed = [&](int meals) {
        return wait_until(
            [&] {
                sink.listen();
                return sink.meals >= meals;
            },
            kLimit);
    };
    // The manager wants a sign every 400 ms; three seconds see every state between two ticks.
    const auto begun = Clock::now();
    while (Clock::now() < begun + 3s) ASSERT_TRUE(fed(sink.meals + 1));
    EXPECT_LT(sink.longest_gap, stretched(1s)) << "it would have been killed";
    EXPECT_GE(sink.meals, 8);

    const pid_t router = router_of(broker);
    ASSERT_EQ(::kill(router, SIGSTOP), 0);
    const auto stopped = Clock::now();
    EXPECT_TRUE(wait_until(
        [&] {
            sink.listen();
            return Clock::now() > sink.fed_at + 2500ms;
        },
        kLimit))
        << "it is fed although nobody is served";
    EXPECT_GT(sink.fed_at - stopped, 2s) << "one late tick is no standstill";
    const int meals = sink.meals;
    ASSERT_EQ(::kill(router, SIGCONT), 0);
    EXPECT_TRUE(fed(meals + 5)) << "it serves again";
    EXPECT_EQ(router_of(broker), router);
}

class InBackground : public Supervised {
  protected:
    /// The command, which ends while its daemon lives on.
    Daemon& start_in_background(const BrokerWanted& wanted) {
        const auto file = write_broker_config(wanted);
        return start("command",
                     {test::built_program("forkmilld").string(), "--daemon", "-c", file.string()});
    }
};

TEST_F(InBackground, TheCommandEndsWhenAllIsUpAndTheDaemonLivesOn) {
    Gate gate{gate_file()};
    Daemon& command = start_in_background(
        {.workers = 2,
         .pool = "    environment: {E2E_INITIALIZER: wait_at " + gate.name() + "}\n"});
    ASSERT_TRUE(wait_until([&] { return times_in_log(command, "worker born") == 2; }, kLimit));
    EXPECT_FALSE(command.program->wait(100ms).has_value()) << "it does not wait for the workers";
    gate.open();
    EXPECT_EQ(command.program->wait(stretched(kLimit)), 0) << test::read_text(command.log);
    const std::vector<int> told = numbers_in(directory_ / "state" / "master.pid");
    ASSERT_EQ(told.size(), 1U);
    const pid_t master = told[0];
    EXPECT_TRUE(process_alive(master));
    EXPECT_NE(::getsid(master), ::getsid(0)) << "it would end with its terminal";
    EXPECT_NE(::getsid(master), master) << "it could get a terminal again";
    pool_.emplace(ipc());
    EXPECT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"up"}), "up");
    close_pool();
    ASSERT_EQ(::kill(master, SIGTERM), 0);
    // Orphans are this program's, so it hears how the daemon ends.
    int status = -1;
    EXPECT_TRUE(wait_until([&] { return ::waitpid(master, &status, WNOHANG) == master; }, kLimit));
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(InBackground, TheCommandEndsWithTheDaemonsCodeWhenItCannotStart) {
    Daemon& command =
        start_in_background({.workers = 2, .pool = "    environment: {E2E_INITIALIZER: exit78}\n"});
    command.expected_code = 78;
    EXPECT_EQ(command.program->wait(stretched(kLimit)), 78);
    EXPECT_TRUE(in_log(command, "no model file: the config is wrong"));
    EXPECT_TRUE(wait_until([] { return test::leftovers().empty(); }, kLimit));
}

}  // namespace
}  // namespace forkmill::e2e
