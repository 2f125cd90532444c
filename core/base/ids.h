// SPDX-License-Identifier: Apache-2.0
// Identifiers that travel: distinct types, not integers.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace forkmill::base {

/// Name of a task for ever: the stream its client made at random, and a dense number in it
/// (semantics.md 2).
struct TaskId {
    std::uint64_t stream = 0;
    std::uint64_t seq = 0;
    auto operator<=>(const TaskId&) const = default;
};

/// A session: 128 random bits chosen by the peer; survives reconnects, not the peer's process.
struct SessionKey {
    std::uint64_t hi = 0;
    std::uint64_t lo = 0;
    auto operator<=>(const SessionKey&) const = default;
};

/// 32 lower-case hex digits: the text form of both kinds of 128-bit names.
inline std::string hex128(std::uint64_t hi, std::uint64_t lo) {
    std::array<char, 33> text{};
    std::snprintf(text.data(),
                  text.size(),
                  "%016llx%016llx",
                  static_cast<unsigned long long>(hi),
                  static_cast<unsigned long long>(lo));
    return std::string{text.data(), 32};
}
inline std::string to_string(const TaskId& id) {
    return hex128(id.stream, id.seq);
}
inline std::string to_string(const SessionKey& key) {
    return hex128(key.hi, key.lo);
}

/// The inverse of to_string(TaskId); nothing else is accepted.
inline std::optional<TaskId> parse_task_id(std::string_view text) {
    if (text.size() != 32) return std::nullopt;
    std::array<std::uint64_t, 2> words{};
    for (std::size_t i = 0; i < 32; ++i) {
        const char c = text[i];
        std::uint64_t digit = 0;
        if (c >= '0' && c <= '9') {
            digit = static_cast<std::uint64_t>(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = static_cast<std::uint64_t>(c - 'a') + 10;
        } else {
            return std::nullopt;
        }
        words[i / 16] = words[i / 16] << 4 | digit;
    }
    return TaskId{words[0], words[1]};
}
/// The same for sessions.
inline std::optional<SessionKey> parse_session_key(std::string_view text) {
    const std::optional<TaskId> words = parse_task_id(text);
    if (!words) return std::nullopt;
    return SessionKey{words->stream, words->seq};
}

}  // namespace forkmill::base

template <>
struct std::hash<forkmill::base::SessionKey> {
    std::size_t operator()(const forkmill::base::SessionKey& key) const noexcept {
        return static_cast<std::size_t>(key.hi ^ key.lo * 0x9e3779b97f4a7c15ULL);
    }
};
template <>
struct std::hash<forkmill::base::TaskId> {
    std::size_t operator()(const forkmill::base::TaskId& id) const noexcept {
        return static_cast<std::size_t>(id.stream ^ id.seq * 0x9e3779b97f4a7c15ULL);
    }
};
