// SPDX-License-Identifier: Apache-2.0
// Who a process of this host is: its host's name, and numbers that nobody else has.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/ids.h"

namespace forkmill::worker {

std::string host_name();
/// From the system's randomness; never 0.
std::uint64_t random_number();
base::SessionKey random_session();

}  // namespace forkmill::worker
