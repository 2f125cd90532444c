// SPDX-License-Identifier: Apache-2.0
// LastWords: what of a dead worker's stderr goes into its death record.
//
// Invariant: what the worker wrote is a stranger's text: any bytes give a text, in bounded time and
// memory. Threading: any.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/supervisor/channel.h"

namespace forkmill::supervisor {

inline constexpr std::size_t kShownNameMax = 100;  ///< Longer demangled names lose their middle.

/// `text` with every word that is a mangled C++ name (_Z…) demangled; all else as it was.
std::string demangle_stack(std::string_view text);

/// At most `most` bytes: the crash report that `tail` ends with (stack_dump.h), from its head on,
/// behind what was written just before it (an assertion's text, an exception's); without a report
/// the last bytes.
std::string last_words(std::string_view tail, std::size_t most = kStderrTail);

}  // namespace forkmill::supervisor
