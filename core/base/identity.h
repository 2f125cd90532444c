// SPDX-License-Identifier: Apache-2.0
// Who a process is towards others: its host's name, and numbers that nobody else has.
//
// Threading: any.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/ids.h"

namespace forkmill::base {

/// As the kernel tells it; "localhost" when it tells none.
const std::string& host_name();
/// From the kernel's randomness; never 0.
std::uint64_t random_number();
SessionKey random_session();

}  // namespace forkmill::base
