// SPDX-License-Identifier: Apache-2.0
// ModuleLoader: takes task modules into a worker: looks at the file first, loads it, asks it for
// its tasks.
//
// Invariants: (1) no code of a module runs before its note was compared (module_file.h); (2) a
// module that exits, hangs for kLoadLimit or dies while it is loaded ends the worker with its path
// on stderr; (3) modules are never unloaded. Threading: the main thread of a worker, before any
// other thread exists.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "worker/registry.h"

namespace forkmill::worker {

inline constexpr std::chrono::milliseconds kLoadLimit{10'000};

/// Loads each module and binds its tasks. The first that cannot be used is the failure.
base::Status load_modules(const std::vector<std::string>& names,
                          std::vector<std::string> directories,
                          Registry& registry,
                          std::chrono::milliseconds limit = kLoadLimit);

}  // namespace forkmill::worker
