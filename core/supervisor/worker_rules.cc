// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/worker_rules.h"

#include <unistd.h>

#include <algorithm>

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

std::optional<Account> read_account(base::ConfigSection s) {
    const std::string user = s.text("user", {.max_bytes = 255});
    const std::string group = s.text("group", {.max_bytes = 255});
    if (user.empty() && group.empty()) return std::nullopt;
    AccountFound found = find_account(user, group);
    if (!found.user_known)
        s.problem("user", "no user '" + user + "' on this host; expected a name of its users");
    else if (!found.account)
        s.problem("group", "no group '" + group + "' on this host; expected a name of its groups");
    else if (::geteuid() != 0)
        s.problem(user.empty() ? "group" : "user",
                  "only root may run workers as another user or group; expected none here");
    return std::move(found.account);
}

/// 0 is "as the master has it", and is not set.
void add_limit(base::ConfigSection s,
               const char* key,
               Resource resource,
               std::uint64_t value,
               std::uint64_t least,
               Privileges& privileges) {
    if (value == 0) return;
    rlimit now{};
    ::getrlimit(resource, &now);
    const bool bound = ::geteuid() != 0;  // Root may raise its own.
    if (value < least)
        return s.problem(key,
                         "no worker starts with so little; expected at least " +
                             std::to_string(least) + ", or 0 for what the master has");
    if (bound && value > now.rlim_max)
        return s.problem(key,
                         "is above this process's hard limit, " + std::to_string(now.rlim_max) +
                             "; expected at most that, or a master that runs as root");
    ResourceLimit limit{resource, value, value};
    // Of processor time the soft limit is told by a signal of its own, SIGXCPU, a second before.
    if (resource == RLIMIT_CPU) limit.hard = bound ? std::min(now.rlim_max, value + 1) : value + 1;
    privileges.limits.push_back(limit);
}

void read_limits(base::ConfigSection s, Privileges& privileges) {
    constexpr std::uint64_t kLeastFiles = 64;
    constexpr std::uint64_t kLeastAddresses = 64ULL << 20;
    const auto count = [&](const char* key, Resource resource, std::uint64_t least) {
        const auto value = s.integer<std::uint32_t>(key, {.min = 0, .max = 1'000'000'000});
        add_limit(s, key, resource, value, least, privileges);
    };
    const auto bytes = [&](const char* key, Resource resource, std::uint64_t least) {
        add_limit(s, key, resource, s.size(key, {.max = 1ULL << 60}), least, privileges);
    };
    count("open_files", RLIMIT_NOFILE, kLeastFiles);
    bytes("core", RLIMIT_CORE, 1);
    count("cpu_seconds", RLIMIT_CPU, 1);
    bytes("address_space", RLIMIT_AS, kLeastAddresses);
    count("processes", RLIMIT_NPROC, 1);
}

void read_code(base::ConfigSection s, WorkerRules& rules) {
    rules.queues = s.texts("queues", {.fallback = {"default"}, .min_items = 1, .max_items = 64});
    rules.modules = s.texts("modules");
    rules.executable = s.text("executable");
    rules.arguments = s.texts("arguments");
    rules.environment = s.text_map("environment");
    if (!rules.executable.empty() && !rules.modules.empty())
        s.problem("modules",
                  "modules are loaded by the stock worker, and executable (" +
                      s.origin("executable") +
                      ") names another; expected one of `modules` and `executable`");
    if (!rules.executable.empty() && ::access(rules.executable.c_str(), X_OK) != 0)
        s.problem("executable",
                  "cannot run '" + rules.executable + "'; expected an executable file");
    for (const auto& [name, value] : rules.environment)
        if (name.starts_with("FORKMILL_"))
            s.problem("environment", name + " is for Forkmill's own use; expected another name");
}

}  // namespace

WorkerRules read_worker_rules(base::ConfigSection s,
                              std::uint32_t workers_fallback,
                              bool may_vary) {
    constexpr std::uint64_t kLeastMemory = 1ULL << 20;  // Less than that no process has.
    WorkerRules rules;
    read_size(s, workers_fallback, may_vary, rules);
    read_code(s, rules);
    rules.fork_server = s.choice<bool>("start", {{"exec", false}, {"forkserver", true}}, false);
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
    rules.privileges.account = read_account(s);
    read_limits(s.section("limits"), rules.privileges);
    rules.finish_orphaned =
        s.choice<bool>("orphan_policy", {{"kill", false}, {"finish", true}}, false);
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
