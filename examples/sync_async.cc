// SPDX-License-Identifier: Apache-2.0
// E4, apply against apply_async: the same ten tasks one after another and all at once, with who ran
// them and how long it took.
//
//   sync_async [POOL]
//   sync_async worker …
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "forkmill/forkmill.h"

/// Sleeps 50 ms and tells which process did.
inline constexpr forkmill::Task<"nap.pid", int()> nap;

static int do_nap() {
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
    return ::getpid();
}

int main(int argc, char** argv) {
    forkmill::Worker worker;
    worker.tasks.bind(nap, do_nap);
    if (argc > 1 && std::string_view{argv[1]} == "worker") return worker.run(argc - 1, argv + 1);
    try {
        forkmill::PoolOptions options;
        options.endpoint = argc > 1 ? argv[1] : "local:5";
        if (options.endpoint.starts_with("local:")) options.tasks = worker.tasks;
        forkmill::Pool pool{options};
        const auto timed = [](const char* name, auto&& run) {
            const auto start = std::chrono::steady_clock::now();
            const std::set<int> pids = run();
            const double seconds =
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            std::printf("%-12s %.3f s in %zu processes\n", name, seconds, pids.size());
        };
        std::printf("this program is process %d\n", ::getpid());
        timed("apply", [&] {
            std::set<int> pids;
            for (int i = 0; i < 10; ++i) pids.insert(pool.apply(nap));
            return pids;
        });
        timed("apply_async", [&] {
            std::vector<forkmill::AsyncResult<int>> results;
            for (int i = 0; i < 10; ++i) results.push_back(pool.apply_async(nap));
            std::set<int> pids;
            for (auto& result : results) pids.insert(std::move(result).get());
            return pids;
        });
    } catch (const std::exception& error) {
        std::cerr << "sync_async: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
