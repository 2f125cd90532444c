// SPDX-License-Identifier: Apache-2.0
// What a scalar in a config file, an environment variable or a flag may mean: one strict reading
// for all.
//
// Invariants: (1) nothing is guessed: decimal digits only, units always, no blanks around; (2)
// every refusal says what was expected; (3) format_x(parse_x(text)) means the same. Threading: pure
// functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"

namespace forkmill::base {

/// A decimal integer: optional minus, no leading zeros, no plus, no exponent.
Result<std::int64_t> parse_integer(std::string_view text);

/// `true` or `false`; yes, on and 1 are refused.
Result<bool> parse_boolean(std::string_view text);

/// A whole number with its unit: ms, s, m or h, as in "250ms".
Result<Duration> parse_duration(std::string_view text);

/// A whole number with its unit: B, KiB, MiB or GiB, as in "64MiB".
Result<std::uint64_t> parse_size(std::string_view text);

/// The largest unit that loses nothing: 90000ms is "90s".
std::string format_duration(Duration duration);
std::string format_size(std::uint64_t bytes);

/// True for a name a pool, queue or task may have in config: letters, digits, `_`, `-` and `.`,
/// a letter or digit first, at most 64 bytes.
bool is_config_name(std::string_view text);

/// `text` in single quotes for a message: control bytes escaped, at most 60 bytes of it.
std::string shown(std::string_view text);

/// The candidate a writer most likely meant, or an empty text when none is near.
std::string_view nearest(std::string_view text, std::span<const std::string> candidates);

}  // namespace forkmill::base
