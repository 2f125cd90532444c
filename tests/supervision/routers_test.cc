// SPDX-License-Identifier: Apache-2.0
// Cases 6, 43, 44: routers that are killed, misled or flooded.
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <numeric>

#include "core/net/listen.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/child_env.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using net::UniqueFd;
using test::stretched;
using test::wait_until;

SUPERVISION(06, AKilledRouterLosesNoTaskAndRestartsNoWorker) {
    constexpr int kWorkers = 4;
    const int threads = test::full_or_twentieth(1000) / kWorkers;
    const int held = kWorkers * threads;
    const int count = 2 * held;
    Daemon& broker = start_pool({.workers = kWorkers, .threads = threads});
    const std::vector<pid_t> before = workers();
    std::vector<std::atomic<int>> told(static_cast<std::size_t>(count));
    std::atomic<int> failed{0};
    Gate gate{gate_file()};
    const auto submit = [&](int number) {
        auto result = number < held ? pool().apply_async(pass, notes(), gate.name(), number)
                                    : pool().apply_async(mark, notes(), number);
        result.then([&](int got) { ++told.at(static_cast<std::size_t>(got)); },
                    [&](const Error&) { ++failed; });
    };
    for (int number = 0; number < held; ++number) submit(number);
    noted(static_cast<std::size_t>(held));
    for (int number = held; number < count; ++number) submit(number);
    const pid_t router = router_of(broker);
    ASSERT_EQ(::kill(router, SIGKILL), 0);
    ASSERT_TRUE(wait_until(
        [&] {
            const pid_t now = router_of(broker);
            return now != 0 && now != router;
        },
        kLimit));
    gate.open();
    pool().close();
    pool().join(kLimit);
    EXPECT_EQ(failed, 0);
    EXPECT_TRUE(std::all_of(told.begin(), told.end(), [](int times) { return times == 1; }))
        << "a result is missing, or came twice";
    std::vector<int> runs = numbers_in(notes());
    std::sort(runs.begin(), runs.end());
    std::vector<int> wanted(static_cast<std::size_t>(count));
    std::iota(wanted.begin(), wanted.end(), 0);
    EXPECT_EQ(runs, wanted) << "a task ran twice, or never";
    pool_.emplace(ipc());
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit))
        << "workers were restarted";
    EXPECT_FALSE(in_log(broker, "worker died"));
}

SUPERVISION(06, AQuestionThatARouterDidNotAnswerIsAnsweredByTheNext) {
    Daemon& broker = start_pool({.workers = 2});
    const std::vector<pid_t> before = workers();
    const pid_t router = router_of(broker);
    ASSERT_EQ(::kill(router, SIGSTOP), 0);
    auto asked = std::async(std::launch::async, [this] { return workers().size(); });
    EXPECT_EQ(asked.wait_for(50ms), std::future_status::timeout) << "nobody could answer";
    const auto killed = Clock::now();
    ASSERT_EQ(::kill(router, SIGKILL), 0);
    EXPECT_NO_THROW(asked.get());
    EXPECT_LT(Clock::now() - killed, stretched(2s));
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit));
}

SUPERVISION(06, ARouterIsReplacedAlsoAfterTheProgramsFileWas) {
    // As a package's upgrade does it: the running program's file is no more.
    const auto program = directory_ / "forkmilld";
    std::filesystem::copy_file(test::built_program("forkmilld"), program);
    const auto file = write_broker_config({.workers = 2});
    Daemon& broker = start("broker", {program.string(), "-c", file.string()});
    pool_.emplace(ipc());
    ASSERT_TRUE(wait_until([&] { return workers().size() == 2; }, kLimit));
    const std::vector<pid_t> before = workers();
    std::filesystem::remove(program);
    const pid_t router = router_of(broker);
    ASSERT_EQ(::kill(router, SIGKILL), 0);
    EXPECT_TRUE(wait_until([&] { return times_in_log(broker, "router serves") == 2; }, kLimit));
    EXPECT_TRUE(broker.program->running()) << test::read_text(broker.log);
    EXPECT_EQ(pool().apply(echo, std::string{"still"}), "still");
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit));
}

/// A forkmilld in the role of a router, which this test gives its sockets as a master does.
class GivenSockets : public Supervised {
  protected:
    Daemon& start_router(const std::string& endpoint, bool is_blocking) {
        auto channel = supervisor::Channel::pair();
        channels_.push_back(std::move(channel.value()[0]));
        const auto inherited = [this](int fd) {
            kept_.emplace_back(::dup(fd));  // A duplicate stays open over exec.
            return std::to_string(kept_.back().get());
        };
        auto listener = net::listen_socket(net::parse_endpoint(endpoint).value());
        EXPECT_TRUE(listener.ok());
        const int fd = listener.value().fd.get();
        if (is_blocking) ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        const UniqueFd config{::open(write_broker_config({.workers = 0}).c_str(), O_RDONLY)};
        std::vector<std::string> environment = supervisor::to_environment(
            {.channel_fd = std::stoi(inherited(channel.value()[1].fd()))});
        environment.push_back("FORKMILL_ROUTER_CONFIG_FD=" + inherited(config.get()));
        environment.push_back("FORKMILL_ROUTER_INCARNATION=1");
        environment.push_back("FORKMILL_ROUTER_HOST_KEY=here:1");
        environment.push_back("FORKMILL_ROUTER_LISTEN=" + inherited(fd) + "=" +
                              net::to_string(listener.value().endpoint) + "\n");
        Daemon& router = start("router" + std::to_string(daemons_.size()),
                               {test::built_program("forkmilld").string(), "--router"},
                               environment);
        kept_.clear();
        listeners_.push_back(std::move(listener).value());
        return router;
    }
    void let_go() {
        channels_.clear();
        for (const net::Listener& listener : listeners_) net::remove_socket_file(listener);
    }

  private:
    std::vector<supervisor::Channel> channels_;
    std::vector<net::Listener> listeners_;
    std::vector<UniqueFd> kept_;
};

TEST_F(GivenSockets, supervision_43_ARouterRefusesASocketThatBlocks) {
    const std::string folder = directory_.path().string();
    for (const std::string& endpoint : {"tcp://127.0.0.1:" + std::to_string(free_port()),
                                        "ipc://" + folder + "/one.sock",
                                        "unix://" + folder + "/two.sock"}) {
        SCOPED_TRACE(endpoint);
        Daemon& misled = start_router(endpoint, true);
        misled.expected_code = 78;
        EXPECT_EQ(misled.program->wait(stretched(kLimit)), 78);
        EXPECT_TRUE(in_log(misled, "is blocking")) << test::read_text(misled.log);
        EXPECT_FALSE(in_log(misled, "router serves"));
        let_go();
    }
}

TEST_F(GivenSockets, supervision_43_ARouterTakesASocketThatDoesNotBlock) {
    Daemon& router = start_router("tcp://127.0.0.1:" + std::to_string(free_port()), false);
    router.expected_code = 1;  // As it ends when its master is gone.
    EXPECT_TRUE(wait_until([&] { return in_log(router, "router serves"); }, kLimit))
        << test::read_text(router.log);
    let_go();
    EXPECT_EQ(router.program->wait(stretched(kLimit)), 1);
}

UniqueFd connect_to(int port) {
    UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
}

SUPERVISION(44, ABrokerWhoseDescriptorsCannotSufficeDoesNotStart) {
    const auto file = write_broker_config(
        {.listen = "tcp://127.0.0.1:" + std::to_string(free_port()), .workers = 1});
    std::string said;
    EXPECT_EQ(run({"/bin/sh",
                   "-c",
                   "ulimit -n 256; exec \"$0\" -c \"$1\"",
                   test::built_program("forkmilld").string(),
                   file.string()},
                  said),
              78)
        << said;
    EXPECT_NE(said.find("the limit of open files (256) is below the"), std::string::npos) << said;
    EXPECT_NE(said.find("LimitNOFILE="), std::string::npos) << "the cure";
}

SUPERVISION(44, AThousandConnectionsThatSayNothingHarmNobody) {
    const int port = free_port();
    const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(port);
    Daemon& broker = start_pool({.listen = endpoint, .workers = 2});
    const pid_t router = router_of(broker);
    std::vector<UniqueFd> crowd;
    for (int i = 0; i < 1000; ++i) crowd.push_back(connect_to(port));
    ASSERT_TRUE(wait_until([&] { return test::open_files(router).size() > 1000; }, kLimit))
        << "the router did not take them";
    EXPECT_EQ(pool().apply(echo, std::string{"amid"}), "amid");
    Pool late{endpoint};
    EXPECT_EQ(late.apply(echo, std::string{"late"}), "late");
    crowd.clear();
    EXPECT_TRUE(wait_until([&] { return test::open_files(router).size() < 200; }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"after"}), "after");
    EXPECT_EQ(router_of(broker), router) << "it was replaced";
}

SUPERVISION(44, ARouterThatRunsOutOfDescriptorsRecoversWhenTheyAreFreed) {
    const int port = free_port();
    Daemon& broker =
        start_pool({.listen = "tcp://127.0.0.1:" + std::to_string(port), .workers = 2});
    const pid_t router = router_of(broker);
    const rlimit few{256, 256};
    ASSERT_EQ(::prlimit(router, RLIMIT_NOFILE, &few, nullptr), 0);
    std::vector<UniqueFd> crowd;
    for (int i = 0; i < 1000; ++i) crowd.push_back(connect_to(port));
    ASSERT_TRUE(wait_until([&] { return test::open_files(router).size() > 250; }, kLimit));
    EXPECT_EQ(pool().apply(echo, std::string{"amid"}), "amid") << "who is in is served";
    crowd.clear();
    Pool late{"tcp://127.0.0.1:" + std::to_string(port)};
    EXPECT_EQ(late.apply_async(echo, std::string{"late"}).get(kLimit), "late");
    EXPECT_EQ(router_of(broker), router) << "it died of it";
}

/// False: nobody takes connections fast enough just now.
bool connect_to(const std::string& path, std::vector<UniqueFd>& crowd) {
    UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        return false;
    crowd.push_back(std::move(fd));
    return true;
}

SUPERVISION(44, ARouterThatRunsOutOfDescriptorsOnIpcLosesNothing) {
    Daemon& broker = start_pool({.workers = 2});
    const std::vector<pid_t> before = workers();
    const pid_t router = router_of(broker);
    Gate gate{gate_file()};
    auto running = pool().apply_async(pass, notes(), gate.name(), 7);
    noted(1);
    const rlimit few{256, 256};
    ASSERT_EQ(::prlimit(router, RLIMIT_NOFILE, &few, nullptr), 0);
    std::vector<UniqueFd> crowd;
    const std::string path = (directory_ / "broker.sock").string();
    // It survives that, or libzmq ends it; then the next one has a limit that suffices.
    EXPECT_TRUE(
        wait_until([&] { return !connect_to(path, crowd) || crowd.size() == 1000; }, kLimit));
    EXPECT_GT(crowd.size(), 250U);
    EXPECT_TRUE(wait_until(
        [&] { return router_of(broker) != router || test::open_files(router).size() > 250; },
        kLimit));
    crowd.clear();
    Pool late{ipc()};
    EXPECT_EQ(late.apply_async(echo, std::string{"late"}).get(kLimit), "late");
    gate.open();
    EXPECT_EQ(running.get(kLimit), 7);
    EXPECT_EQ(numbers_in(notes()).size(), 1U) << "it ran twice";
    EXPECT_TRUE(wait_until([&] { return workers() == before; }, kLimit));
    EXPECT_LE(times_in_log(broker, "relay died"), 1);
    std::printf("the router %s\n", router_of(broker) == router ? "survived" : "was replaced");
}

}  // namespace
}  // namespace forkmill::e2e
