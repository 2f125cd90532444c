// SPDX-License-Identifier: Apache-2.0
// Cases 12, 27, 53: workers that cannot be born, and what they leave behind.
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "core/supervisor/pool_slots.h"
#include "tests/supervision/figures.h"
#include "tests/supervision/supervised.h"

namespace forkmill::e2e {
namespace {

using namespace std::chrono_literals;
using supervisor::PoolAction;
using supervisor::PoolSlots;
using supervisor::SlotState;
using test::process_alive;
using test::process_state;
using test::stretched;
using test::wait_until;

/// A pool whose workers die as soon as they start, on a clock that jumps from event to event.
class CrashLoop {
  public:
    explicit CrashLoop(std::uint32_t workers) : slots_(rules(workers)) {}

    void run(base::Duration duration) {
        const base::Time end = now_ + duration;
        while (now_ <= end) {
            turn();
            base::Time next = slots_.next_deadline(now_);
            if (!deaths_.empty()) next = std::min(next, deaths_.begin()->first);
            now_ = std::max(now_, next);
            while (!deaths_.empty() && deaths_.begin()->first <= now_) {
                const std::uint32_t slot = deaths_.begin()->second;
                deaths_.erase(deaths_.begin());
                slots_.on_died(slot, {.exit_code = 1}, now_, actions_);
            }
        }
    }

    std::vector<base::Time> births;
    std::size_t births_at_break = 0;     ///< Made when the breaker opened; 0: it did not.
    std::uint32_t starting_at_once = 0;  ///< The most of them after that.

  private:
    static supervisor::PoolRules rules(std::uint32_t workers) {
        supervisor::PoolRules rules;
        rules.workers = workers;
        rules.seed = 7;
        return rules;
    }
    void turn() {
        slots_.on_tick(now_, actions_);
        while (!actions_.empty()) {
            for (const PoolAction& action : std::exchange(actions_, {})) {
                if (action.kind == PoolAction::Kind::BreakerOpened) births_at_break = births.size();
                if (action.kind != PoolAction::Kind::Launch) continue;
                births.push_back(now_);
                slots_.on_launched(action.slot, static_cast<std::int32_t>(births.size()));
                deaths_.emplace(now_ + 2ms, action.slot);
            }
        }
        if (births_at_break > 0)
            starting_at_once = std::max(starting_at_once, slots_.count(SlotState::Starting));
    }

    PoolSlots slots_;
    PoolSlots::Actions actions_;
    std::multimap<base::Time, std::uint32_t> deaths_;
    base::Time now_{1000s};
};

SUPERVISION(12, ACrashLoopForksAtMostTwentyTimesAMinuteAndEverMoreSeldom) {
    CrashLoop loop{4};
    loop.run(10min);
    const std::vector<base::Time>& births = loop.births;
    for (std::size_t first = 0; first + 20 < births.size(); ++first)
        EXPECT_GT(births[first + 20] - births[first], 60s) << "21 births from birth " << first;
    ASSERT_EQ(loop.births_at_break, 4U) << "the breaker opens when all four have died";
    EXPECT_EQ(loop.starting_at_once, 1U) << "more than one probe";
    base::Duration middle = 100ms;
    for (std::size_t probe = 4; probe < births.size(); ++probe) {
        SCOPED_TRACE(probe);
        const base::Duration gap = births[probe] - births[probe - 1] - 2ms;
        EXPECT_GE(gap, middle * 4 / 5);
        EXPECT_LE(gap, std::min<base::Duration>(middle * 6 / 5, 30s));
        middle = std::min<base::Duration>(middle * 2, 30s);
    }
    EXPECT_EQ(middle, 30s) << "the delays do not grow to their limit";
    EXPECT_GT(births.size(), 4U + 9U + 15U) << "it must go on trying";
}

SUPERVISION(12, WorkersThatNeverStartCostTheMasterNothing) {
    Daemon& broker =
        start_broker({.workers = 4, .pool = "    environment: {E2E_INITIALIZER: throw}\n"});
    const pid_t master = broker.program->pid();
    ASSERT_TRUE(wait_until([&] { return in_log(broker, "one probe at a time"); }, kLimit));
    const auto begun = Clock::now();
    const std::chrono::milliseconds before = processor_time_of(master);
    ASSERT_TRUE(wait_until([&] { return Clock::now() >= begun + 5s; }, kLimit));
    const auto used = processor_time_of(master) - before;
    EXPECT_LT(used, stretched(100ms)) << "2 % of five seconds";
    // Four at once, then probes after 0.1, 0.2, 0.4, 0.8, 1.6, 3.2 s; each a fifth early at most.
    const int births = times_in_log(broker, "worker born");
    EXPECT_GE(births, 4 + 3);
    EXPECT_LE(births, 4 + 6);
    int living = 0;
    bool is_broken = false;
    std::ifstream log{broker.log};
    for (std::string line; std::getline(log, line);) {
        is_broken = is_broken || line.find("one probe at a time") != std::string::npos;
        if (line.find("forkmilld[") == std::string::npos) continue;  // The router tells it too.
        living += line.find("worker born") != std::string::npos ? 1 : 0;
        living -= line.find("worker died") != std::string::npos ? 1 : 0;
        EXPECT_LE(living, is_broken ? 1 : 4) << line;
    }
    std::printf(
        "births %d, processor time of the master %d ms\n", births, static_cast<int>(used.count()));
}

/// Ends a process that is nobody's any more, whatever becomes of its test.
class Escaped {
  public:
    explicit Escaped(pid_t pid) : pid_(pid) {}
    ~Escaped() { end(); }
    Escaped(const Escaped&) = delete;
    Escaped& operator=(const Escaped&) = delete;
    void end() {
        if (pid_ > 0) ::kill(std::exchange(pid_, 0), SIGKILL);
    }

  private:
    pid_t pid_;
};

bool is_child_of(pid_t parent, pid_t child) {
    const std::string status = test::read_text("/proc/" + std::to_string(child) + "/status");
    return status.find("\nPPid:\t" + std::to_string(parent) + "\n") != std::string::npos;
}

SUPERVISION(27, AProcessThatEscapesDisturbsNobodyAndIsReapedByTheMaster) {
    Daemon& broker = start_pool({.workers = 2, .yaml = "cgroup: off\n"});
    const std::vector<pid_t> before = workers();
    Gate gate{gate_file()};
    auto result = pool().apply_async(escape.with({.at_most_once = true}), notes(), gate.name());
    const pid_t pid = noted(1)[0];
    Escaped escaped{pid};
    pid_t victim = 0;
    for (const pid_t worker : before)
        if (state_of(worker) == "busy") victim = worker;
    ASSERT_GT(victim, 0);
    EXPECT_TRUE(is_child_of(broker.program->pid(), pid)) << "orphans are the master's";
    // It still holds its worker's connection and pipes, which must delay no news of the death.
    const auto killed = Clock::now();
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_THROW(result.get(kLimit), WorkerLost);
    EXPECT_LT(Clock::now() - killed, stretched(500ms));
    EXPECT_TRUE(wait_until([&] { return process_state(victim) == 0; }, kLimit));
    EXPECT_TRUE(wait_until([&] { return replaced({victim}, 2); }, kLimit));
    EXPECT_EQ(pool().map(text, std::vector<std::size_t>(100, 5)).size(), 100U);
    EXPECT_TRUE(process_alive(pid)) << "without a control group nothing reaches it";
    escaped.end();
    EXPECT_TRUE(wait_until([&] { return process_state(pid) == 0; }, 1s)) << "a zombie is left";
    EXPECT_EQ(workers().size(), 2U);
}

/// Limits the open files of a running process, and gives it back what it had.
class FewDescriptors {
  public:
    FewDescriptors(pid_t pid, rlim_t count) : pid_(pid) {
        rlimit fewer{};
        EXPECT_EQ(::prlimit(pid_, RLIMIT_NOFILE, nullptr, &before_), 0);
        fewer.rlim_cur = count;
        fewer.rlim_max = before_.rlim_max;
        EXPECT_EQ(::prlimit(pid_, RLIMIT_NOFILE, &fewer, nullptr), 0);
    }
    ~FewDescriptors() { lift(); }
    FewDescriptors(const FewDescriptors&) = delete;
    FewDescriptors& operator=(const FewDescriptors&) = delete;
    void lift() const { ::prlimit(pid_, RLIMIT_NOFILE, &before_, nullptr); }

  private:
    pid_t pid_;
    rlimit before_{};
};

SUPERVISION(53, AMasterWithoutDescriptorsKeepsWhatItHasAndTriesAgain) {
    Daemon& broker = start_pool({.workers = 4});
    const std::vector<pid_t> before = workers();
    const pid_t router = router_of(broker);
    // All descriptors below this number are in use, whoever dies.
    const FewDescriptors few{broker.program->pid(), 6};
    const std::size_t open = test::open_files(broker.program->pid()).size();
    const auto begun = Clock::now();
    ASSERT_EQ(::kill(before[0], SIGKILL), 0);
    ASSERT_EQ(::kill(before[1], SIGKILL), 0);
    EXPECT_TRUE(
        wait_until([&] { return times_in_log(broker, "worker not started") >= 4; }, kLimit));
    EXPECT_GE(Clock::now() - begun, 500ms) << "the timer does not wait";
    EXPECT_TRUE(in_log(broker, "Too many open files"));
    EXPECT_EQ(workers(), (std::vector<pid_t>{before[2], before[3]})) << "the others were touched";
    EXPECT_EQ(router_of(broker), router);
    EXPECT_EQ(pool().map(text, std::vector<std::size_t>(100, 5)).size(), 100U);
    few.lift();
    EXPECT_TRUE(wait_until([&] { return replaced({before[0], before[1]}, 4); }, kLimit));
    EXPECT_TRUE(
        wait_until([&] { return test::open_files(broker.program->pid()).size() == open; }, 1s))
        << "failed births leave descriptors open";
    for (const pid_t victim : {before[0], before[1]}) EXPECT_EQ(process_state(victim), 0);
}

}  // namespace
}  // namespace forkmill::e2e
