// SPDX-License-Identifier: Apache-2.0
// The SDK's log hook: a library does not choose where its host program's log goes.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "forkmill/detail/export.h"

namespace forkmill {
inline namespace v0 {

enum class Level : std::uint8_t { error, warning, info, debug };

/// Called for each thing the SDK has to say, from any thread, one at a time. Empty: the default,
/// warnings and errors to stderr.
FORKMILL_API void set_log_handler(std::function<void(Level, std::string_view)> handler);

}  // namespace v0
}  // namespace forkmill
