// SPDX-License-Identifier: Apache-2.0
// Self: what this process is called and who made it.
//
// Invariant: a child of the fork server says what it became before any of the user's code runs in
// it. Threading: become() while the process has one thread; the rest any.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "forkmill/process.h"

namespace forkmill {
inline namespace v0 {
namespace local {

ProcessInfo current_info();
std::optional<ProcessInfo> parent_info();
/// "1:2" for the second Process that Process-1 makes.
std::string next_path();

/// In a child: it is this now, and what it was before, as process `program`, is its parent. `path`
/// is that of a Process, else empty.
void become(ProcessInfo info, std::string path, pid_t program);

}  // namespace local
}  // namespace v0
}  // namespace forkmill
