// SPDX-License-Identifier: Apache-2.0
// What can be known of a task module before any of its code runs: for which Forkmill it was built.
//
// Invariants: (1) nothing here maps or runs the file; (2) every read is bounded, whatever the file
// says of itself. Threading: none.
#pragma once

#include <string>

#include "core/base/result.h"

namespace forkmill::worker {

/// Reads the ELF note of FORKMILL_MODULE and compares it with this worker's.
base::Status check_module_file(const std::string& path);

}  // namespace forkmill::worker
