// SPDX-License-Identifier: Apache-2.0
// The call of a task's code: arguments in, its context around it, its exception packed.
//
// Invariants: (1) nothing a task throws leaves the call; (2) the thread's context and scope are set
// exactly while the task's code runs. Threading: the made RunJob is called by every task thread.
#pragma once

#include <exception>
#include <string>

#include "worker/executor.h"

namespace forkmill::worker {

/// `nested` is the client behind context().pool().
RunJob make_task_runner(std::string host, detail::ClientPtr nested);

/// Type and text of what was thrown, for a log line or a reason.
std::string describe_exception(const std::exception_ptr& thrown);

}  // namespace forkmill::worker
