// SPDX-License-Identifier: Apache-2.0
// signal_master: `-s VERB`, for those who have a config file and a shell but no process id.
//
// The pid is believed only while somebody holds the lock on master.pid, so a stranger that got a
// recycled pid is never signalled. Threading: any.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace forkmill::supervisor {

/// Signal number of an operator verb (stop, quit, reopen, reload, upgrade); 0: there is no such
/// verb.
int signal_of(std::string_view verb);

/// Blocks the operator's signals from now on, for a process that is about to become a master: what
/// comes before Master::run() waits for it there.
void hold_master_signals();

/// Sends it to the living master whose state directory that is.
base::Status signal_master(const std::string& state_dir, int signal_number);

}  // namespace forkmill::supervisor
