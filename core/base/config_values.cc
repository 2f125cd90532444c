// SPDX-License-Identifier: Apache-2.0
#include "core/base/config_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <vector>

namespace forkmill::base {
namespace {

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// Largest first, as format_x wants them.
constexpr std::array<Unit, 4> kDurations{
    {{"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000}, {"ms", 1'000'000}}};
constexpr std::array<Unit, 4> kSizes{
    {{"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"B", 1}}};

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_letters(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return lower(x) == lower(y);
    });
}

/// The unit that a slip of the pen stands for: "sec" for s, "MB" for MiB.
std::string_view meant_unit(std::string_view written, std::span<const Unit> units) {
    for (const Unit& unit : units) {
        if (same_letters(written, unit.name)) return unit.name;
    }
    struct Slip {
        std::string_view written;
        std::string_view unit;
    };
    constexpr std::array<Slip, 13> kSlips{{{"sec", "s"},
                                           {"secs", "s"},
                                           {"seconds", "s"},
                                           {"msec", "ms"},
                                           {"min", "m"},
                                           {"minutes", "m"},
                                           {"hours", "h"},
                                           {"KB", "KiB"},
                                           {"K", "KiB"},
                                           {"MB", "MiB"},
                                           {"M", "MiB"},
                                           {"GB", "GiB"},
                                           {"G", "GiB"}}};
    for (const Slip& slip : kSlips) {
        const bool ours = std::any_of(
            units.begin(), units.end(), [&](const Unit& unit) { return unit.name == slip.unit; });
        if (ours && same_letters(written, slip.written)) return slip.unit;
    }
    return {};
}

Failure refuse(std::string_view text, std::string_view expected) {
    return Failure{shown(text) + "; expected " + std::string{expected}};
}

Result<std::uint64_t> parse_with_unit(std::string_view text,
                                      std::span<const Unit> units,
                                      std::string_view expected,
                                      std::uint64_t limit) {
    const auto end_of_digits = std::find_if_not(text.begin(), text.end(), is_digit);
    const auto digits = static_cast<std::size_t>(end_of_digits - text.begin());
    const std::string_view number = text.substr(0, digits);
    const std::string_view unit = text.substr(digits);
    if (number.empty() || (number.size() > 1 && number.front() == '0')) {
        return refuse(text, expected);
    }
    const auto known =
        std::find_if(units.begin(), units.end(), [&](const Unit& one) { return one.name == unit; });
    if (known == units.end()) {
        Failure failure = refuse(text, expected);
        const std::string_view meant = meant_unit(unit, units);
        if (!meant.empty()) {
            failure.text += "; did you mean " + std::string{number} + std::string{meant};
        }
        return failure;
    }
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error != std::errc{} || value > limit / known->factor) {
        return refuse(text, "a smaller value");
    }
    return value * known->factor;
}

std::string format_with_unit(std::uint64_t value, std::span<const Unit> units) {
    if (value != 0) {
        for (const Unit& unit : units) {
            if (value % unit.factor == 0) {
                return std::to_string(value / unit.factor) + std::string{unit.name};
            }
        }
    }
    const Unit& smallest = units.back();
    return std::to_string(value / smallest.factor) + std::string{smallest.name};
}

/// Edit distance, with a swap of neighbours as one edit, because that is how keys are mistyped.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
            d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[a.size()][b.size()];
}

}  // namespace

Result<std::int64_t> parse_integer(std::string_view text) {
    constexpr std::string_view kExpected = "a decimal integer";
    std::string_view digits = text;
    if (!digits.empty() && digits.front() == '-') digits.remove_prefix(1);
    const bool plain = !digits.empty() && std::all_of(digits.begin(), digits.end(), is_digit) &&
                       (digits.size() == 1 || digits.front() != '0') && text != "-0";
    if (!plain) return refuse(text, kExpected);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return refuse(text, "an integer of at most 63 bits");
    return value;
}

Result<bool> parse_boolean(std::string_view text) {
    if (text == "true") return true;
    if (text == "false") return false;
    return refuse(text, "true or false");
}

Result<Duration> parse_duration(std::string_view text) {
    constexpr auto kLimit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    Result<std::uint64_t> nanos = parse_with_unit(
        text, kDurations, "a whole number with a unit (ms, s, m, h), as in 30s", kLimit);
    if (!nanos) return nanos.failure();
    return Duration{static_cast<std::int64_t>(nanos.value())};
}

Result<std::uint64_t> parse_size(std::string_view text) {
    return parse_with_unit(text,
                           kSizes,
                           "a whole number with a unit (B, KiB, MiB, GiB), as in 64MiB",
                           std::numeric_limits<std::uint64_t>::max());
}

std::string format_duration(Duration duration) {
    return format_with_unit(static_cast<std::uint64_t>(duration.count()), kDurations);
}

std::string format_size(std::uint64_t bytes) {
    return format_with_unit(bytes, kSizes);
}

bool is_config_name(std::string_view text) {
    if (text.empty() || text.size() > 64) return false;
    if (!is_digit(text.front()) && !is_letter(text.front())) return false;
    return std::all_of(text.begin(), text.end(), [](char c) {
        return is_digit(c) || is_letter(c) || c == '_' || c == '-' || c == '.';
    });
}

std::string shown(std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out = "'";
    for (const char c : text.substr(0, 60)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            out += "\\x";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        } else {
            out += c;
        }
    }
    return out + (text.size() > 60 ? "…'" : "'");
}

std::string_view nearest(std::string_view text, std::span<const std::string> candidates) {
    // A key longer than any of ours is no slip of one, and must not cost a large table.
    if (text.size() > 64) return {};
    std::string_view best;
    std::size_t best_distance = std::max<std::size_t>(1, text.size() / 3) + 1;
    for (const std::string& candidate : candidates) {
        const std::size_t d = distance(text, candidate);
        if (d < best_distance) {
            best = candidate;
            best_distance = d;
        }
    }
    return best;
}

}  // namespace forkmill::base
