// SPDX-License-Identifier: Apache-2.0
// bench_sharing [POOL]: what operations on shared objects cost, a JSON line per metric;
// bench/sharing/peer.py prints the same of Python's multiprocessing.
//
// One other process everywhere, which runs the other half of a metric as a task; medians of five.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <mutex>
#include <string>
#include <vector>

#include "forkmill/forkmill.h"
#include "forkmill/shared.h"

namespace {

using Clock = std::chrono::steady_clock;
using forkmill::Queue;

inline constexpr forkmill::Task<"bench.put", int(Queue<int>, int)> put_many;
inline constexpr forkmill::Task<"bench.answer", int(Queue<int>, Queue<int>, int)> answer;
inline constexpr forkmill::Task<"bench.send",
                                int(forkmill::Connection<std::string>, std::size_t, int)>
    send_blocks;

int do_put(Queue<int> queue, int count) {
    std::vector<forkmill::Operation<void>> under_way;
    for (int i = 0; i < count; ++i) {
        under_way.push_back(queue.put_async(i));
        if (under_way.size() < 512) continue;
        for (auto& put : under_way) put.get();
        under_way.clear();
    }
    for (auto& put : under_way) put.get();
    return count;
}

int do_answer(Queue<int> in, Queue<int> out, int count) {
    for (int i = 0; i < count; ++i) out.put(in.get());
    return count;
}

int do_send(forkmill::Connection<std::string> end, std::size_t bytes, int count) {
    const std::string block(bytes, 'x');
    for (int i = 0; i < count; ++i) end.send(block);
    return count;
}

void report(const char* metric, const char* unit, const std::function<double()>& once) {
    std::vector<double> values;
    for (int i = 0; i < 5; ++i) values.push_back(once());
    std::sort(values.begin(), values.end());
    std::printf("{\"metric\":\"%s\",\"unit\":\"%s\",\"value\":%.3g}\n", metric, unit, values[2]);
    std::fflush(stdout);
}

double since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Microseconds for each of `count` runs.
double each(int count, const std::function<void()>& run) {
    const auto start = Clock::now();
    for (int i = 0; i < count; ++i) run();
    return since(start) / count * 1e6;
}

void run(forkmill::Pool& pool) {
    report("queue_items", "1/s", [&] {
        constexpr int kItems = 100'000;
        Queue<int> queue{pool, {.maxsize = 2000}};
        auto producer = pool.apply_async(put_many, queue, kItems);
        const auto start = Clock::now();
        std::vector<forkmill::Operation<int>> gets;
        for (int left = kItems; left > 0;) {
            for (; gets.size() < 512 && left > 0; --left) gets.push_back(queue.get_async());
            for (auto& get : gets) get.get();
            gets.clear();
        }
        return kItems / since(start);
    });
    report("queue_round_trip", "us", [&] {
        constexpr int kTrips = 2'000;
        Queue<int> there{pool};
        Queue<int> back{pool};
        auto other = pool.apply_async(answer, there, back, kTrips);
        return each(kTrips, [&] {
            there.put(1);
            back.get();
        });
    });
    report("pipe_1mib", "MiB/s", [&] {
        constexpr int kBlocks = 64;
        auto ends = forkmill::pipe<std::string>(pool, {.duplex = false, .maxsize = 8});
        auto other = pool.apply_async(send_blocks, ends.second, 1UL << 20, kBlocks);
        ends.first.recv();
        return 1e6 / each(kBlocks - 1, [&] { ends.first.recv(); });
    });
    forkmill::Lock lock{pool};
    report("lock_unlock", "us", [&] {
        return each(5'000, [&] { const std::scoped_lock guard{lock}; });
    });
    forkmill::Value<int> value{pool};
    report("counter_add", "us", [&] { return each(5'000, [&] { value.fetch_add(1); }); });
    forkmill::Dict<std::string, int> dict{pool};
    report("dict_set", "us", [&] { return each(5'000, [&] { dict.set("key", 1); }); });
    report("dict_get", "us", [&] { return each(5'000, [&] { dict.at("key"); }); });
}

}  // namespace

int main(int argc, char** argv) {
    forkmill::Worker worker;
    worker.tasks.bind(put_many, do_put).bind(answer, do_answer).bind(send_blocks, do_send);
    if (argc > 1 && std::string{argv[1]} == "worker") return worker.run(argc - 1, argv + 1);
    try {
        forkmill::PoolOptions options;
        options.endpoint = argc > 1 ? argv[1] : "local:1";
        if (options.endpoint.starts_with("local:")) options.tasks = worker.tasks;
        forkmill::Pool pool{options};
        run(pool);
    } catch (const std::exception& error) {
        std::cerr << "bench_sharing: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
