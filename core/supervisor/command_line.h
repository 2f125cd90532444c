// SPDX-License-Identifier: Apache-2.0
// The words this process was started with, as a copy of it is started.
#pragma once

#include <string>
#include <vector>

namespace forkmill::supervisor {

/// As the program was started, not as a function of it was called: a main() that took words off
/// before it called us takes them off again in the copy. Empty: /proc cannot be read.
std::vector<std::string> own_command_line();

}  // namespace forkmill::supervisor
