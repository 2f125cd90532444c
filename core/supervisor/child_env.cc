// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/child_env.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "core/supervisor/worker_birth.h"

namespace forkmill::supervisor {

namespace {

constexpr const char* kScoreboardVariable = "FORKMILL_SCOREBOARD_FD";
constexpr const char* kPoolVariable = "FORKMILL_POOL";
constexpr const char* kSlotVariable = "FORKMILL_SLOT";
constexpr const char* kGenerationVariable = "FORKMILL_GENERATION";

/// The variable as a number; the default when it is absent or something else.
template <class T>
T take(const char* name, T fallback) {
    const char* value = std::getenv(name);
    if (value == nullptr) return fallback;
    const std::string_view text{value};
    T number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    ::unsetenv(name);
    return whole ? number : fallback;
}

}  // namespace

std::vector<std::string> to_environment(const ChildEnv& env) {
    std::vector<std::string> out;
    const auto set = [&](const char* name, auto value) {
        out.push_back(std::string{name} + "=" + std::to_string(value));
    };
    set(kChannelVariable, env.channel_fd);
    if (env.scoreboard_fd >= 0) set(kScoreboardVariable, env.scoreboard_fd);
    set(kPoolVariable, env.pool);
    set(kSlotVariable, env.slot);
    set(kGenerationVariable, env.generation);
    return out;
}

std::optional<ChildEnv> take_child_env() {
    ChildEnv env;
    env.channel_fd = take(kChannelVariable, env.channel_fd);
    env.scoreboard_fd = take(kScoreboardVariable, env.scoreboard_fd);
    env.pool = take(kPoolVariable, env.pool);
    env.slot = take(kSlotVariable, env.slot);
    env.generation = take(kGenerationVariable, env.generation);
    if (env.channel_fd < 0) return std::nullopt;
    return env;
}

std::optional<int> take_fd(const char* name) {
    const int fd = take(name, -1);
    return fd < 0 ? std::nullopt : std::optional{fd};
}

}  // namespace forkmill::supervisor
