// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/worker_birth.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "core/supervisor/child_env.h"
#include "core/supervisor/last_will.h"
#include "core/supervisor/worker_rules.h"

namespace forkmill::supervisor {

namespace {

constexpr std::chrono::seconds kOrphanGrace{2};

constexpr const char* kScoreboardVariable = "FORKMILL_BIRTH_SCOREBOARD";
constexpr const char* kHostKeyVariable = "FORKMILL_BIRTH_HOST_KEY";
constexpr const char* kHostVariable = "FORKMILL_BIRTH_HOST";
constexpr const char* kEndpointVariable = "FORKMILL_BIRTH_ENDPOINT";
constexpr const char* kServerKeyVariable = "FORKMILL_BIRTH_SERVER_KEY";
constexpr const char* kKeyFileVariable = "FORKMILL_BIRTH_KEY_FILE";
constexpr const char* kPoolVariable = "FORKMILL_BIRTH_POOL";
constexpr const char* kNumbersVariable = "FORKMILL_BIRTH_NUMBERS";
constexpr const char* kQueuesVariable = "FORKMILL_BIRTH_QUEUES";
constexpr const char* kModulesVariable = "FORKMILL_BIRTH_MODULES";
constexpr const char* kModulePathVariable = "FORKMILL_BIRTH_MODULE_PATH";
constexpr const char* kLogLevelVariable = "FORKMILL_BIRTH_LOG_LEVEL";

std::string join(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) {
        if (!text.empty()) text += '\n';
        text += part;
    }
    return text;
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        if (end != 0) parts.emplace_back(text.substr(0, end));
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
    }
    return parts;
}

std::string take(const char* name) {
    const char* value = std::getenv(name);
    std::string text = value == nullptr ? std::string{} : std::string{value};
    ::unsetenv(name);
    return text;
}

/// The decimal number at the front of `text`, which loses it and one separator; 0 when there is
/// none.
template <class T>
T next_number(std::string_view& text) {
    T number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty()) text.remove_prefix(1);
    return error == std::errc{} ? number : T{};
}

}  // namespace

void set_rules(WorkerBirth& birth, const WorkerRules& rules) {
    const auto milliseconds = [](base::Duration duration) {
        return static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
    };
    birth.queues = rules.queues;
    birth.modules = rules.modules;
    birth.threads = rules.threads;
    birth.max_tasks_per_child = rules.max_tasks_per_child;
    birth.drain_timeout_ms = milliseconds(rules.drain_timeout);
    birth.hung_timeout_ms = milliseconds(rules.hung_timeout);
    birth.slowlog_timeout_ms = milliseconds(rules.slowlog_timeout);
    birth.finish_orphaned = rules.finish_orphaned;
}

std::vector<std::string> to_environment(const WorkerBirth& birth) {
    std::vector<std::string> out;
    const auto set = [&](const char* name, const std::string& value) {
        out.push_back(std::string{name} + "=" + value);
    };
    set(kRoleVariable, birth.role);
    if (birth.channel_fd >= 0) set(kChannelVariable, std::to_string(birth.channel_fd));
    if (birth.scoreboard_fd >= 0)
        set(kScoreboardVariable,
            std::to_string(birth.scoreboard_fd) + " " + std::to_string(birth.scoreboard_slot));
    set(kHostKeyVariable, birth.host_key);
    set(kHostVariable, birth.host);
    set(kEndpointVariable, birth.endpoint);
    set(kServerKeyVariable, birth.server_key);
    set(kKeyFileVariable, birth.key_file);
    set(kPoolVariable, birth.pool);
    set(kNumbersVariable,
        std::to_string(birth.pool_index) + " " + std::to_string(birth.slot) + " " +
            std::to_string(birth.birth) + " " + std::to_string(birth.threads) + " " +
            std::to_string(birth.max_tasks_per_child) + " " +
            std::to_string(birth.drain_timeout_ms) + " " + std::to_string(birth.hung_timeout_ms) +
            " " + std::to_string(birth.slowlog_timeout_ms) + (birth.finish_orphaned ? " 1" : " 0"));
    set(kQueuesVariable, join(birth.queues));
    set(kModulesVariable, join(birth.modules));
    set(kModulePathVariable, join(birth.module_path));
    set(kLogLevelVariable, birth.log_level);
    return out;
}

void make_last_will(const WorkerBirth& birth) {
    take_group_along();
    // A moment more than the worker gives its tasks: it is to end by itself.
    if (birth.finish_orphaned)
        outlive_parent(std::chrono::milliseconds{birth.drain_timeout_ms} + kOrphanGrace);
}

std::optional<WorkerBirth> take_birth_from_environment() {
    if (std::getenv(kRoleVariable) == nullptr) return std::nullopt;
    WorkerBirth birth;
    birth.role = take(kRoleVariable);
    birth.channel_fd = take_fd(kChannelVariable).value_or(-1);
    const std::string scoreboard = take(kScoreboardVariable);
    std::string_view rest = scoreboard;
    if (!rest.empty()) {
        birth.scoreboard_fd = next_number<int>(rest);
        birth.scoreboard_slot = next_number<std::uint32_t>(rest);
    }
    birth.host_key = take(kHostKeyVariable);
    birth.host = take(kHostVariable);
    birth.endpoint = take(kEndpointVariable);
    birth.server_key = take(kServerKeyVariable);
    birth.key_file = take(kKeyFileVariable);
    birth.pool = take(kPoolVariable);
    const std::string numbers = take(kNumbersVariable);
    rest = numbers;
    birth.pool_index = next_number<std::uint16_t>(rest);
    birth.slot = next_number<std::uint32_t>(rest);
    birth.birth = next_number<std::uint32_t>(rest);
    birth.threads = next_number<std::uint32_t>(rest);
    birth.max_tasks_per_child = next_number<std::uint32_t>(rest);
    birth.drain_timeout_ms = next_number<std::uint64_t>(rest);
    birth.hung_timeout_ms = next_number<std::uint64_t>(rest);
    birth.slowlog_timeout_ms = next_number<std::uint64_t>(rest);
    birth.finish_orphaned = next_number<int>(rest) != 0;
    if (birth.role == "worker") make_last_will(birth);
    // It has taken effect; programs that tasks start need not have it.
    const char* tunables = std::getenv("GLIBC_TUNABLES");
    if (tunables != nullptr && std::string_view{kHugePages}.ends_with(tunables))
        ::unsetenv("GLIBC_TUNABLES");
    birth.queues = split(take(kQueuesVariable));
    birth.modules = split(take(kModulesVariable));
    birth.module_path = split(take(kModulePathVariable));
    birth.log_level = take(kLogLevelVariable);
    return birth;
}

}  // namespace forkmill::supervisor
