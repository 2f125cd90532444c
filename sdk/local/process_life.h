// SPDX-License-Identifier: Apache-2.0
// The life of a forkmill::Process, in the child that the fork server made for it.
//
// Invariants: (1) the user's function runs on the child's only thread, but for those of sessions
// that it was given handles of; (2) the child leaves with
// its own children ended as at any program's exit (Children), by the function's return, by an
// exception that nobody caught or by exit(); (3) what is thrown and not caught is told with the
// stack of where it was thrown. Threading: the child's only thread.
#pragma once

#include "core/base/result.h"
#include "core/supervisor/fd.h"
#include "core/supervisor/fork_server.h"
#include "forkmill/process.h"
#include "sdk/local/inheritance.h"

namespace forkmill {
inline namespace v0 {
namespace local {

/// What the child is told, as a memfd.
base::Result<supervisor::OwnedFd> write_process(const detail::ProcessPlan& plan,
                                                const Bequest& bequest);

/// ForkServer::Options::process; its result is the exit code.
int run_process(const supervisor::Birth& birth);

}  // namespace local
}  // namespace v0
}  // namespace forkmill
