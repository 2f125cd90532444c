// SPDX-License-Identifier: Apache-2.0
// tools/bench: Forkmill beside the raw ZeroMQ relay, in interleaved rounds of one run; a JSON line
// per metric and size, medians.
//
// Two workers everywhere, 32-byte arguments, 8-byte results; 10,000 tasks in flight for rates, one
// for latency, eight for the 1 MiB echo. relay_ratio is ours ÷ relay; for latencies smaller is
// better.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/side_by_side/relay.h"
#include "bench/support/daemon.h"
#include "forkmill/forkmill.h"

namespace {

using Clock = std::chrono::steady_clock;
using Argument = std::array<std::uint8_t, 32>;
using Block = std::vector<std::uint8_t>;

inline constexpr forkmill::Task<"bench.noop", std::int64_t(Argument)> noop;
inline constexpr forkmill::Task<"bench.echo", Block(Block)> echo;
inline constexpr forkmill::Task<"bench.hold", int(std::string)> hold;

constexpr int kWorkers = 2;
constexpr std::size_t kInFlight = 10'000;

double since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

forkmill::Tasks make_tasks() {
    forkmill::Tasks tasks;
    tasks.bind(noop, [](Argument argument) { return static_cast<std::int64_t>(argument[0]); });
    tasks.bind(echo, [](Block block) { return block; });
    tasks.bind(hold, [](std::string gate) {
        while (::access(gate.c_str(), F_OK) != 0) ::usleep(10'000);
        return 0;
    });
    return tasks;
}

forkmill::PoolOptions options_for(const std::string& size, const bench::Daemon* daemon) {
    forkmill::PoolOptions options;
    if (size == "embedded") {
        options.workers = kWorkers;
        options.tasks = make_tasks();
    } else {
        options.endpoint = daemon->endpoint();
    }
    return options;
}

double tasks_per_second(forkmill::Pool& pool, long count) {
    std::deque<forkmill::AsyncResult<std::int64_t>> flying;
    Argument argument{};
    const auto start = Clock::now();
    for (long i = 0; i < count; ++i) {
        argument[0] = static_cast<std::uint8_t>(i);
        flying.push_back(pool.apply_async(noop, argument));
        if (flying.size() < kInFlight) continue;
        if (std::move(flying.front()).get() !=
            static_cast<std::uint8_t>(i - static_cast<long>(kInFlight) + 1))
            std::abort();
        flying.pop_front();
    }
    for (auto& result : flying) std::move(result).get();
    return static_cast<double>(count) / since(start);
}

std::pair<double, double> apply_latency(forkmill::Pool& pool, long count) {
    std::vector<double> trips;
    for (long i = 0; i < count; ++i) {
        const auto start = Clock::now();
        pool.apply(noop, Argument{});
        trips.push_back(since(start) * 1e6);
    }
    std::sort(trips.begin(), trips.end());
    return {trips[trips.size() / 2], trips[trips.size() * 99 / 100]};
}

double echo_rate(forkmill::Pool& pool, long count) {
    const Block block(1 << 20, 7);
    std::deque<forkmill::AsyncResult<Block>> flying;
    const auto start = Clock::now();
    for (long i = 0; i < count; ++i) {
        flying.push_back(pool.apply_async(echo, block));
        if (flying.size() < 8) continue;
        if (std::move(flying.front()).get().size() != block.size()) std::abort();
        flying.pop_front();
    }
    for (auto& result : flying) std::move(result).get();
    return static_cast<double>(count) * static_cast<double>(block.size()) / since(start) / 1e6;
}

double resident_bytes(pid_t pid) {
    std::ifstream statm{"/proc/" + std::to_string(pid) + "/statm"};
    double total = 0;
    double resident = 0;
    statm >> total >> resident;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double bytes_per_queued_task(forkmill::Pool& pool, pid_t process, std::size_t count) {
    const std::string gate = (std::filesystem::temp_directory_path() /
                              ("forkmill-bench-gate-" + std::to_string(::getpid())))
                                 .string();
    std::vector<forkmill::AsyncResult<int>> held;
    for (int i = 0; i < kWorkers; ++i) held.push_back(pool.apply_async(hold, gate));
    ::usleep(300'000);
    const double before = resident_bytes(process);
    std::vector<forkmill::AsyncResult<std::int64_t>> queued;
    queued.reserve(count);
    const double handles = static_cast<double>(queued.capacity() * sizeof(queued[0]));
    for (std::size_t i = 0; i < count; ++i) queued.push_back(pool.apply_async(noop, Argument{}));
    ::usleep(1'000'000);
    const double after = resident_bytes(process);
    std::ofstream{gate} << "open";
    for (auto& result : queued) std::move(result).get();
    for (auto& result : held) std::move(result).get();
    std::filesystem::remove(gate);
    return (after - before - (process == ::getpid() ? handles : 0)) / static_cast<double>(count);
}

void print(const char* metric,
           const std::string& size,
           double value,
           const char* unit,
           double relay) {
    if (relay > 0) {
        std::printf(
            "{\"metric\":\"%s\",\"size\":\"%s\",\"value\":%.1f,\"unit\":\"%s\",\"relay_ratio\":%."
            "2f}\n",
            metric,
            size.c_str(),
            value,
            unit,
            value / relay);
    } else {
        std::printf(
            "{\"metric\":\"%s\",\"size\":\"%s\",\"value\":%.1f,\"unit\":\"%s\",\"relay_ratio\":"
            "null}\n",
            metric,
            size.c_str(),
            value,
            unit);
    }
    std::fflush(stdout);
}

struct Samples {
    std::vector<double> rate, p50, p99, echo_mb, queued;
};

void measure(const std::string& size, bool quick, Samples& samples) {
    const std::unique_ptr<bench::Daemon> daemon =
        size == "embedded" ? nullptr : std::make_unique<bench::Daemon>(size, kWorkers);
    forkmill::Pool pool{options_for(size, daemon.get())};
    tasks_per_second(
        pool, 30'000);  // Warm: pages, arenas, branch predictors, the broker's measured run times.
    samples.rate.push_back(tasks_per_second(pool, quick ? 300'000 : 1'000'000));
    const auto [p50, p99] = apply_latency(pool, quick ? 2'000 : 10'000);
    samples.p50.push_back(p50);
    samples.p99.push_back(p99);
    samples.echo_mb.push_back(echo_rate(pool, quick ? 300 : 1'500));
    samples.queued.push_back(
        bytes_per_queued_task(pool, daemon ? daemon->router() : ::getpid(), 90'000));
}

}  // namespace

int main(int argc, char** argv) {
    if (bench::is_worker()) {
        forkmill::Worker worker;
        worker.tasks = make_tasks();
        return worker.run(argc, argv);
    }
    const bool quick = argc > 1 && std::string_view{argv[1]} == "--quick";
    std::map<std::string, Samples> samples;
    std::map<std::string, std::vector<double>> relay;
    for (int round = 0; round < (quick ? 1 : 5); ++round) {
        for (const char* transport : {"ipc", "tcp"}) {
            const std::string name = transport;
            relay[name + ".rate"].push_back(
                bench::run_relay(transport, kWorkers, quick ? 200'000 : 300'000, 1000, 32)
                    .per_second);
            const auto single =
                bench::run_relay(transport, kWorkers, quick ? 2'000 : 10'000, 1, 32);
            relay[name + ".p50"].push_back(single.p50_us);
            relay[name + ".p99"].push_back(single.p99_us);
            relay[name + ".echo"].push_back(
                bench::run_relay(transport, kWorkers, quick ? 300 : 1'500, 8, 1 << 20)
                    .mb_per_second);
        }
        for (const char* size : {"embedded", "ipc", "tcp"}) measure(size, quick, samples[size]);
    }
    for (const char* size : {"embedded", "ipc", "tcp"}) {
        const std::string transport = std::string_view{size} == "tcp" ? "tcp" : "ipc";
        Samples& s = samples[size];
        print("tasks_per_s", size, median(s.rate), "1/s", median(relay[transport + ".rate"]));
        print("apply_p50_us", size, median(s.p50), "us", median(relay[transport + ".p50"]));
        print("apply_p99_us", size, median(s.p99), "us", median(relay[transport + ".p99"]));
        print("echo_mb_per_s", size, median(s.echo_mb), "MB/s", median(relay[transport + ".echo"]));
        print("bytes_per_queued_task", size, median(s.queued), "B", 0);
    }
    return 0;
}
