// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/worker_rules.h"

namespace forkmill::supervisor {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::int64_t kWorkersMax = 1024;

void read_size(base::ConfigSection s, std::uint32_t fallback, bool may_vary, WorkerRules& rules) {
    if (!may_vary || !s.is_mapping("workers")) {
        rules.workers = s.integer<std::uint32_t>(
            "workers", {.min = 1, .max = kWorkersMax, .fallback = fallback});
        rules.sizing = {.min = rules.workers, .max = rules.workers};
        return;
    }
    base::ConfigSection size = s.section("workers");
    SizingRule& sizing = rules.sizing;
    sizing.min = size.integer<std::uint32_t>("min", {.min = 0, .max = kWorkersMax, .fallback = 1});
    sizing.max = size.integer<std::uint32_t>(
        "max", {.min = 1, .max = kWorkersMax, .fallback = fallback, .required = true});
    sizing.spare = size.integer<std::uint32_t>("spare", {.min = 0, .max = kWorkersMax});
    sizing.idle_timeout = size.duration(
        "idle_timeout", {.min = milliseconds{100}, .max = hours{24}, .fallback = seconds{30}});
    if (sizing.max < sizing.min)
        size.problem("max",
                     "max (" + size.origin("max") + ") is below min (" + size.origin("min") +
                         "); expected at least as many");
    rules.workers = sizing.min;
}

}  // namespace

WorkerRules read_worker_rules(base::ConfigSection s,
                              std::uint32_t workers_fallback,
                              bool may_vary) {
    constexpr std::uint64_t kLeastMemory = 1ULL << 20;  // Less than that no process has.
    WorkerRules rules;
    read_size(s, workers_fallback, may_vary, rules);
    rules.threads = s.integer<std::uint32_t>("threads", {.min = 1, .max = 256, .fallback = 1});
    rules.max_tasks_per_child =
        s.integer<std::uint32_t>("max_tasks_per_child", {.min = 0, .max = 1'000'000'000});
    rules.max_memory_per_child = s.size("max_memory_per_child", {});
    rules.kill_memory_per_child = s.size("kill_memory_per_child", {});
    rules.start_timeout = s.duration(
        "start_timeout", {.min = milliseconds{100}, .max = hours{24}, .fallback = seconds{30}});
    rules.drain_timeout =
        s.duration("drain_timeout", {.max = hours{24 * 30}, .fallback = seconds{60}});
    rules.stop_timeout = s.duration(
        "stop_timeout", {.min = milliseconds{100}, .max = hours{24}, .fallback = seconds{10}});
    rules.hung_timeout = s.duration(
        "hung_timeout", {.min = milliseconds{200}, .max = hours{24}, .fallback = seconds{10}});
    rules.slowlog_timeout = s.duration("slowlog_timeout", {.max = hours{24 * 30}});
    const auto too_little = [&](const char* key, std::uint64_t bytes) {
        if (bytes != 0 && bytes < kLeastMemory)
            s.problem(key, "no process is so small; expected at least 1MiB, or 0 for no limit");
    };
    too_little("max_memory_per_child", rules.max_memory_per_child);
    too_little("kill_memory_per_child", rules.kill_memory_per_child);
    if (rules.kill_memory_per_child != 0 &&
        rules.kill_memory_per_child < rules.max_memory_per_child)
        s.problem("kill_memory_per_child",
                  "kill_memory_per_child (" + s.origin("kill_memory_per_child") +
                      ") is below max_memory_per_child (" + s.origin("max_memory_per_child") +
                      "); expected at least as much");
    return rules;
}

}  // namespace forkmill::supervisor
