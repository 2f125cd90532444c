// SPDX-License-Identifier: Apache-2.0
// Case 60: a steady load while everything is killed, stopped and reloaded, for as long as is asked.
//
// FORKMILL_SOAK_SECONDS says how long: 60 unless it is set, half an hour with FORKMILL_FULL=1.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <random>
#include <string_view>
#include <thread>

#include "tests/supervision/figures.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using test::descendants_of;
using test::process_state;
using test::stretched;
using test::wait_until;
using Clock = std::chrono::steady_clock;

constexpr int kWorkers = 4;
/// The master gives a router up that dies ten times in this time.
constexpr auto kRouterWindow = 60s;
constexpr std::size_t kRouterKillsMax = 7;

bool is_sanitized() {
    return stretched(1ms) > 1ms;
}

std::chrono::seconds soak_time() {
    if (const char* asked = std::getenv("FORKMILL_SOAK_SECONDS"))
        return std::chrono::seconds{std::max(std::atoi(asked), 1)};
    const char* full = std::getenv("FORKMILL_FULL");
    if (is_sanitized()) return 15s;
    return full != nullptr && std::string_view{full} == "1" ? 1800s : 60s;
}

std::uint32_t soak_seed() {
    const char* asked = std::getenv("FORKMILL_SOAK_SEED");
    return asked != nullptr ? static_cast<std::uint32_t>(std::strtoul(asked, nullptr, 10))
                            : std::random_device{}();
}

/// Submits echoes of consecutive numbers at a steady pace and counts what becomes of each.
class Client {
  public:
    explicit Client(const std::string& endpoint) : pool_{endpoint}, thread_{[this] { run(); }} {}
    ~Client() { stop(); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void stop() {
        stop_ = true;
        if (thread_.joinable()) thread_.join();
    }
    int submitted() const { return submitted_; }
    int waiting() const { return submitted_ - answered_; }
    int failed() const { return failed_; }
    std::string first_error() {
        const std::lock_guard lock{mutex_};
        return first_error_;
    }
    /// Numbers that were not answered exactly once.
    std::vector<int> unlike_one() {
        const std::lock_guard lock{mutex_};
        std::vector<int> numbers;
        for (std::size_t i = 0; i < answers_.size(); ++i)
            if (answers_[i] != 1) numbers.push_back(static_cast<int>(i));
        return numbers;
    }

  private:
    static constexpr int kBatch = 16;
    static constexpr auto kPause = 16ms;
    static constexpr int kWaitingMax = 4000;

    void run() {
        Clock::time_point due = Clock::now();
        while (!stop_) {
            for (int i = 0; i < kBatch; ++i) submit();
            // What a pause of everything held up is made up for, a little at a time.
            due = std::max(due + kPause, Clock::now() - 1s);
            static_cast<void>(wait_until(
                [&] { return stop_ || (Clock::now() >= due && waiting() < kWaitingMax); }, 10min));
        }
    }
    void submit() {
        const int number = submitted_++;
        {
            const std::lock_guard lock{mutex_};
            answers_.push_back(0);
        }
        auto result = pool_.apply_async(echo, std::to_string(number));
        result.then([this, number](const std::string& got) { on_value(number, got); },
                    [this](const Error& error) { on_error(error); });
    }
    void on_value(int number, const std::string& got) {
        const std::lock_guard lock{mutex_};
        const bool is_right = got == std::to_string(number);
        answers_[static_cast<std::size_t>(number)] += is_right ? 1 : 100;
        ++answered_;
    }
    void on_error(const Error& error) {
        const std::lock_guard lock{mutex_};
        if (failed_++ == 0) first_error_ = error.what();
        ++answered_;
    }

    std::mutex mutex_;
    std::vector<int> answers_;  ///< By number.
    std::string first_error_;
    std::atomic<int> submitted_{0};
    std::atomic<int> answered_{0};
    std::atomic<int> failed_{0};
    std::atomic<bool> stop_{false};
    Pool pool_;
    std::thread thread_;
};

class Soak : public Supervised {
  protected:
    enum class Blow { KillWorker, StopWorker, Reload, KillRouter };

    void strike(Blow blow) {
        while (!router_kills_.empty() && Clock::now() - router_kills_.front() > kRouterWindow)
            router_kills_.pop_front();
        if (blow == Blow::KillRouter && router_kills_.size() >= kRouterKillsMax)
            blow = Blow::KillWorker;
        switch (blow) {
            case Blow::KillWorker:
                worker_kills += ::kill(some_worker(), SIGKILL) == 0 ? 1 : 0;
                return;
            case Blow::StopWorker:
                return pause(some_worker());
            case Blow::Reload:
                write_broker_config(wanted(++reloads));
                EXPECT_EQ(::kill(broker_->program->pid(), SIGHUP), 0);
                return;
            case Blow::KillRouter:
                router_kills_.push_back(Clock::now());
                if (const pid_t router = router_of(*broker_); router > 0)
                    router_kills += ::kill(router, SIGKILL) == 0 ? 1 : 0;
                return;
        }
    }
    static BrokerWanted wanted(int round) {
        return {.workers = kWorkers,
                .pool = "    environment: {ROUND: \"" + std::to_string(round) + "\"}\n"};
    }
    /// Nothing is being replaced.
    bool is_whole() const {
        const std::vector<WorkerInfo> shown = pool_->workers();
        const bool serve = std::all_of(shown.begin(), shown.end(), [](const WorkerInfo& worker) {
            return worker.state == "idle" || worker.state == "busy";
        });
        return serve && shown.size() == kWorkers && router_of(*broker_) != 0 &&
               children().size() == kWorkers + 1;
    }
    std::string shown_text() const {
        std::string text = std::to_string(children().size()) + " children;";
        for (const WorkerInfo& worker : pool_->workers())
            text += " " + std::to_string(worker.slot) + "/" + std::to_string(worker.pid) + " " +
                    worker.state;
        return text + "\n";
    }
    std::vector<pid_t> children() const { return descendants_of(broker_->program->pid()); }

    Daemon* broker_ = nullptr;
    std::mt19937 random_{};
    int worker_kills = 0;
    int router_kills = 0;
    int stops = 0;
    int reloads = 0;

  private:
    pid_t some_worker() {
        std::vector<pid_t> found = children();
        std::erase(found, router_of(*broker_));
        if (found.empty()) return INT_MAX;  // Nobody has this number.
        return found[random_() % found.size()];
    }
    void pause(pid_t worker) {
        if (::kill(worker, SIGSTOP) != 0) return;
        ++stops;
        const auto until = Clock::now() + 500ms;
        EXPECT_TRUE(wait_until([&] { return Clock::now() >= until; }, kLimit));
        if (process_state(worker) == 'T') ::kill(worker, SIGCONT);
    }

    std::deque<Clock::time_point> router_kills_;
};

TEST_F(Soak, supervision_60_WhateverIsKilledEveryTaskHasItsResultOnce) {
    const std::uint32_t seed = soak_seed();
    random_.seed(seed);
    std::printf("FORKMILL_SOAK_SEED=%u, %d s\n", seed, static_cast<int>(soak_time().count()));
    broker_ = &start_pool(wanted(0));
    const pid_t master = broker_->program->pid();
    Client client{ipc()};
    // Whatever happens for the first time may take memory that stays.
    for (const Blow blow : {Blow::KillWorker, Blow::StopWorker, Blow::Reload, Blow::KillRouter}) {
        strike(blow);
        ASSERT_TRUE(wait_until([&] { return is_whole(); }, kLimit));
    }
    const std::size_t files_before = test::open_files(master).size();
    const std::uint64_t resident_before = resident_bytes_of(master);

    const int submitted_before = client.submitted();
    const auto begun = Clock::now();
    const auto end = begun + soak_time();
    for (auto next = begun + 1s; next < end; next += 2s) {
        ASSERT_TRUE(wait_until([&] { return Clock::now() >= next; }, kLimit));
        ASSERT_TRUE(broker_->program->running()) << test::read_text(broker_->log);
        strike(static_cast<Blow>(random_() % 4));
    }
    client.stop();
    const std::chrono::duration<double> took = Clock::now() - begun;
    const double rate = (client.submitted() - submitted_before) / took.count();
    EXPECT_TRUE(wait_until([&] { return client.waiting() == 0; }, kLimit))
        << client.waiting() << " tasks have no result";

    ASSERT_TRUE(wait_until([&] { return is_whole(); }, kLimit))
        << shown_text() << test::read_text(broker_->log);
    for (const pid_t child : children()) EXPECT_NE(process_state(child), 'Z');
    EXPECT_TRUE(wait_until([&] { return test::open_files(master).size() <= files_before; }, 5s));
    const std::size_t files_after = test::open_files(master).size();
    const std::uint64_t resident_after = resident_bytes_of(master);
    std::printf(
        "tasks %d (%.0f/s), workers killed %d, stopped %d, routers killed %d, reloads %d of %d\n"
        "master: resident KiB %llu, then %llu; open files %zu, then %zu\n",
        client.submitted(),
        rate,
        worker_kills,
        stops,
        router_kills,
        times_in_log(*broker_, "reload done"),
        reloads,
        static_cast<unsigned long long>(resident_before >> 10U),
        static_cast<unsigned long long>(resident_after >> 10U),
        files_before,
        files_after);
    EXPECT_EQ(client.failed(), 0) << client.first_error();
    EXPECT_EQ(client.unlike_one(), std::vector<int>{});
    EXPECT_GE(rate, is_sanitized() ? 125 : 500);
    EXPECT_EQ(times_in_log(*broker_, "reload failed"), 0);
    // A sanitizer keeps what is freed for a while.
    const std::uint64_t tolerance = is_sanitized() ? 64U << 20U : 2U << 20U;
    EXPECT_LE(resident_after, resident_before + tolerance);
}

}  // namespace
}  // namespace forkmill::e2e
