// SPDX-License-Identifier: Apache-2.0
// ModuleStore: where task modules are found, and their private copies in the state directory.
//
// A shared library that is rewritten while it is mapped ends the process that runs it by SIGBUS, so
// workers load copies named by content, which nobody rewrites. Invariants: (1) a copy that stands
// under its name is whole; (2) all workers of one version of a pool load the same bytes, whatever
// happens to the original. Threading: any.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"

namespace forkmill::supervisor {

/// The real path of a module. A name with a slash is a path; else NAME.so is looked for in
/// `directories`, in order, and must not be a link that leaves them. Refused: `..` in the name, and
/// files or directories that everybody may write.
base::Result<std::string> find_module_file(const std::string& name,
                                           const std::vector<std::string>& directories);
/// Where the modules of this installation (or build tree) are.
std::string builtin_module_directory();

/// The path of the copy, made if it is not there. A module that looks for its own libraries beside
/// itself ($ORIGIN) stays where it is.
base::Result<std::string> keep_module(const std::string& path, const std::string& directory);
/// The same for names, in order; the builtin directory is looked in last.
base::Result<std::vector<std::string>> keep_modules(const std::vector<std::string>& names,
                                                    std::vector<std::string> directories,
                                                    const std::string& directory);
/// Removes copies that are not `used`. REQUIRES: no worker of this state directory lives.
void sweep_modules(const std::string& directory, const std::vector<std::string>& used);

/// Changes when the file is replaced or written: for programs, which a running process keeps from
/// being rewritten.
std::string identity_of_file(const std::string& path);

}  // namespace forkmill::supervisor
