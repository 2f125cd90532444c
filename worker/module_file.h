// SPDX-License-Identifier: Apache-2.0
// What can be known of a task module before any of its code runs: where it is, who may write it,
// and for which Forkmill it was built.
//
// Invariants: (1) nothing here maps or runs the file; (2) every read is bounded, whatever the file
// says of itself. Threading: none.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"

namespace forkmill::worker {

/// The file of a module named in a config: a path (with a `/`), or a name that is looked up as
/// `<directory>/<name>.so` in order. Refuses `..`, links that leave the directory, and files or
/// directories that everybody may write.
base::Result<std::string> find_module_file(const std::string& name,
                                           const std::vector<std::string>& directories);

/// Reads the ELF note of FORKMILL_MODULE and compares it with this worker's.
base::Status check_module_file(const std::string& path);

/// The directory of the modules that come with Forkmill: `<prefix>/lib/forkmill/modules`, found
/// from where this program is.
std::string builtin_module_directory();

}  // namespace forkmill::worker
