// SPDX-License-Identifier: Apache-2.0
// log_warning, log_info: what the SDK has to say to its user, through the handler of
// set_log_handler (default: warnings to stderr).
//
// Threading: any; the handler is called without a lock of the SDK held.
#pragma once

#include <string_view>

namespace forkmill {
inline namespace v0 {
namespace detail {

void log_warning(std::string_view text) noexcept;
void log_info(std::string_view text) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
