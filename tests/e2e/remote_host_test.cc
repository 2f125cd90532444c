// SPDX-License-Identifier: Apache-2.0
// Workers on another host: over an encrypted tcp connection, from a network of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "core/net/key_file.h"
#include "tests/e2e/network.h"
#include "tests/e2e/site.h"
#include "tests/e2e/tasks.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using namespace std::chrono_literals;
using forkmill::Pool;
using forkmill::PoolOptions;
using forkmill::test::built_program;
using forkmill::test::wait_until;

class RemoteHost : public Site {
  protected:
    void SetUp() override {
        if (!network_.apart())
            std::printf("no network namespace can be made here: over loopback instead\n");
        broker_key_ = make_key("broker");
        client_key_ = make_key("client");
        host_key_ = make_key("host");
        stranger_key_ = make_key("stranger");
        directory_.write("authorized_keys",
                         client_key_ + " a-client submit\n" + host_key_ + " a-host work\n");
        endpoint_ = "tcp://" + network_.our_address() + ":" + std::to_string(free_port());
        start_broker({.listen = endpoint_ + ", " + ipc(),
                      .workers = 0,
                      .yaml = "security:\n  curve:\n    key_file: " + file("broker") +
                              "\n    authorized_keys: " + file("authorized_keys") + "\n" +
                              "sessions: {ping_after: 200ms, gone_after: 1s}\n"});
    }

    std::string file(const std::string& name) const { return (directory_ / name).string(); }
    std::string make_key(const std::string& name) {
        std::string printed;
        EXPECT_EQ(run({built_program("forkmill").string(), "keygen", file(name)}, printed), 0)
            << printed;
        printed.resize(40);
        return printed;
    }
    std::string keys_of(const std::string& name) const {
        return "security:\n  curve:\n    server_key: \"" + broker_key_ +
               "\"\n    key_file: " + file(name) + "\n";
    }
    Daemon& start_remote(const std::string& key, int workers = 2) {
        return start_host(endpoint_, workers, keys_of(key), network_.over_there());
    }
    PoolOptions options(const std::string& key) const {
        PoolOptions options;
        options.endpoint = endpoint_;
        options.server_key = broker_key_;
        options.key_file = file(key);
        return options;
    }

    Network network_;
    std::string endpoint_;
    std::string broker_key_;
    std::string client_key_;
    std::string host_key_;
    std::string stranger_key_;
};

TEST_F(RemoteHost, RunsTheTasksOfAnEncryptedPool) {
    start_remote("host");
    Pool pool{options("client")};
    ASSERT_TRUE(wait_until([&] { return pool.workers().size() == 2; }, kLimit));
    EXPECT_EQ(pool.workers()[0].host, "host1");
    std::vector<std::size_t> sizes(500);
    std::iota(sizes.begin(), sizes.end(), 0);
    const std::vector<std::string> texts = pool.map(text, sizes);
    for (std::size_t i = 0; i < sizes.size(); ++i) ASSERT_EQ(texts[i].size(), i);
    EXPECT_EQ(pool.apply(echo, std::string(std::size_t{8} << 20, 'x')).size(),
              std::size_t{8} << 20);
}

TEST_F(RemoteHost, ABrokerThatIsNotThereIsSaid) {
    std::string said;
    forkmill::set_log_handler(
        [&](forkmill::Level, std::string_view line) { said += std::string{line} + "\n"; });
    {
        Pool pool{"tcp://" + network_.our_address() + ":" + std::to_string(free_port())};
        EXPECT_THROW(pool.apply_async(pid).get(1500ms), forkmill::Disconnected);
    }
    forkmill::set_log_handler(nullptr);
    EXPECT_NE(said.find("no broker answers at tcp://"), std::string::npos) << said;
}

TEST_F(RemoteHost, AKeyIsGoodForItsRoleOnly) {
    const Daemon& intruder = start_remote("client", 1);
    Pool guest{options("host")};
    auto refused = guest.apply_async(pid);
    EXPECT_THROW(refused.get(kLimit), forkmill::Error);
    Pool local{ipc()};
    EXPECT_TRUE(wait_until(
        [&] {
            std::string log;
            return run({"/bin/grep", "-c", "not listed for this role", intruder.log.string()},
                       log) == 0;
        },
        kLimit));
    EXPECT_TRUE(local.workers().empty()) << "a client's key brought a worker";
}

TEST_F(RemoteHost, NobodyElseIsLetIn) {
    start_remote("host", 1);
    PoolOptions without;
    without.endpoint = endpoint_;
    for (const PoolOptions& bad : {options("stranger"), without}) {
        Pool pool{bad};
        EXPECT_THROW(pool.apply_async(pid).get(2s), forkmill::Error);
    }
    std::string said;
    EXPECT_EQ(run({built_program("forkmill").string(),
                   "--endpoint",
                   endpoint_,
                   "--connect-timeout",
                   "1",
                   "status"},
                  said),
              69)
        << said;
    Pool pool{options("client")};
    EXPECT_GT(pool.apply(pid), 0) << "who is listed is served on";
}

class CutWire : public RemoteHost {
  protected:
    static constexpr int kTasks = 50;

    void SetUp() override {
        RemoteHost::SetUp();
        start_remote("host", 2);
        pool_.emplace(ipc());
        ASSERT_TRUE(wait_until([&] { return pool_->workers().size() == 2; }, kLimit));
        for (int i = 0; i < kTasks; ++i)
            results_.push_back(pool_->apply_async(pass, notes_, gate_.name(), i));
        ASSERT_TRUE(wait_until([&] { return numbers_in(notes_).size() == 2; }, kLimit));
        if (network_.apart()) network_.cut();
    }
    void mend() {
        if (network_.apart()) network_.mend();
    }
    void TearDown() override {
        results_.clear();
        pool_.reset();
        RemoteHost::TearDown();
    }
    void expect_results() {
        for (int i = 0; i < kTasks; ++i)
            EXPECT_EQ(results_[static_cast<std::size_t>(i)].get(kLimit), i);
    }
    /// How often each task ran.
    std::vector<int> runs() const {
        std::vector<int> count(kTasks);
        for (const int number : numbers_in(notes_)) ++count[static_cast<std::size_t>(number)];
        return count;
    }

    Gate gate_{directory_ / "gate"};
    std::string notes_ = file("notes");
    std::optional<Pool> pool_;
    std::vector<forkmill::AsyncResult<int>> results_;
};

TEST_F(CutWire, ForAMomentCostsNothing) {
    gate_.open();  // What ran ends without the broker.
    mend();
    expect_results();
    EXPECT_THAT(runs(), testing::Each(1));
}

TEST_F(CutWire, UntilTheHostCountsAsGoneRunsAgainWhatRan) {
    const auto gone = [&] {
        const auto workers = pool_->workers();
        return std::none_of(workers.begin(), workers.end(), [](const forkmill::WorkerInfo& worker) {
            return worker.state == "idle" || worker.state == "busy";
        });
    };
    // Over loopback there is no wire, and nobody goes.
    EXPECT_TRUE(!network_.apart() || wait_until(gone, kLimit));
    mend();
    gate_.open();
    expect_results();
    const std::vector<int> count = runs();
    EXPECT_THAT(count, testing::Each(testing::AllOf(testing::Ge(1), testing::Le(2))));
    EXPECT_LE(std::accumulate(count.begin(), count.end(), 0), kTasks + 2)
        << "more than the two that ran were run again";
}

}  // namespace
