// SPDX-License-Identifier: Apache-2.0
// What the engine itself costs per task: submit → lease → settle of 32-byte arguments and 8-byte
// results in batches of 256 with a window of tasks in flight, and the memory of a queued task.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <array>
#include <cstdint>
#include <vector>

#include "broker/engine/engine.h"
#include "broker/engine/status.h"

namespace {

using namespace forkmill;

constexpr std::array<std::byte, 32> kArguments{};
constexpr std::array<std::byte, 8> kValue{};

struct Bench {
    engine::Engine engine;
    engine::Effects effects;
    base::Time now{std::chrono::seconds{1000}};
    engine::SessionIx client = 0;
    std::vector<engine::SessionIx> workers;
    std::vector<std::vector<engine::Lease>> held;
    std::uint64_t next_seq = 1;
    std::uint64_t settled = 0;

    static engine::Config config() {
        engine::Config settings;
        settings.tasks_per_session_max = 1'000'000;
        return settings;
    }

    explicit Bench(std::size_t count) : engine(config(), 1, base::Time{}, 1) {
        engine::SessionInfo info;
        info.stream = 7;
        info.principal = "local";
        engine.open_session(info, now, effects, client);
        info.role = wire::Role::Worker;
        info.queues = {"default"};
        info.offers = {{"noop", "u64"}};
        for (std::size_t i = 0; i < count; ++i) {
            info.slot = static_cast<std::uint32_t>(i);
            info.stream = 100 + i;
            engine.open_session(info, now, effects, workers.emplace_back());
        }
        held.resize(workers.back() + 1);
        wire::TemplateDef def;
        def.name = "noop";
        def.signature = "u64";
        def.queue = "default";
        engine.define_template(client, def);
    }

    void submit(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            engine.submit(client,
                          0,
                          next_seq++,
                          base::Body::of(base::ByteView{kArguments}),
                          nullptr,
                          false,
                          now,
                          0,
                          effects);
    }

    /// The gateway's part: reads what a TASKS record needs, remembers the lease.
    void route() {
        for (const engine::Effect& effect : effects.list) {
            if (effect.kind == engine::Effect::Kind::Assign) {
                benchmark::DoNotOptimize(engine.leased(effect.lease));
                held[effect.session].push_back(effect.lease);
            } else if (effect.kind == engine::Effect::Kind::Outcome) {
                ++settled;
            }
        }
        effects.clear();
        engine.collect();
    }

    void settle(std::size_t count) {
        for (const engine::SessionIx worker : workers) {
            std::vector<engine::Lease>& mine = held[worker];
            const std::size_t n = std::min(count, mine.size());
            for (std::size_t i = 0; i < n; ++i)
                engine.settle(worker,
                              mine[i],
                              wire::Outcome::Succeeded,
                              wire::Code::None,
                              false,
                              base::Body::of(base::ByteView{kValue}),
                              std::chrono::microseconds{1},
                              now,
                              effects);
            mine.erase(mine.begin(), mine.begin() + static_cast<std::ptrdiff_t>(n));
        }
    }
};

/// Arguments: tasks in flight, workers.
void roundtrip(benchmark::State& state) {
    const auto window = static_cast<std::uint64_t>(state.range(0));
    Bench bench(static_cast<std::size_t>(state.range(1)));
    for (auto _ : state) {
        bench.now += std::chrono::microseconds{20};
        while (bench.next_seq - 1 - bench.settled + 256 <= window) bench.submit(256);
        bench.engine.schedule(bench.now, bench.effects);
        bench.route();
        bench.settle(256);
        bench.route();
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(bench.settled));
}
BENCHMARK(roundtrip)->Args({10'000, 1})->Args({10'000, 2})->Args({10'000, 8})->Args({1000, 2});

void bytes_per_queued_task(benchmark::State& state) {
    double bytes = 0;
    for (auto _ : state) {
        Bench bench(1);
        bench.submit(1000);
        bench.effects = {};
        const auto in_use = [] {
            const auto info = mallinfo2();
            return static_cast<double>(info.uordblks + info.hblkhd);
        };
        const double before = in_use();
        constexpr std::size_t kTasks = 500'000;
        for (std::size_t i = 0; i < kTasks; i += 1000) {
            bench.submit(1000);
            bench.effects.clear();
        }
        bench.effects = {};
        bytes = (in_use() - before) / kTasks;
    }
    state.counters["bytes"] = bytes;
}
BENCHMARK(bytes_per_queued_task)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
