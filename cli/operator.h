// SPDX-License-Identifier: Apache-2.0
// The operator's verbs: they ask the master on its control socket, not the broker.
//
// Invariants: as in verbs.h; (3) a reload's or an upgrade's verb ends when that has ended, and
// fails when a part of it was taken back. Threading: main thread.
#pragma once

#include <iosfwd>

#include "cli/verbs.h"

namespace forkmill::cli {

/// --state-dir if it was given, else FORKMILL_STATE_DIR, else the sample config's.
std::string state_dir_or_default(const std::string& given);

/// `command.name` is a verb of the signal table: stop, quit, reload, reopen, upgrade.
void order(const Command& command, std::ostream& out);
void master_status(const Command& command, std::ostream& out);
void list_pools(const Command& command, std::ostream& out);
/// `command.name`: the pool; `command.count`: its workers from now on.
void set_pool(const Command& command, std::ostream& out);
void list_crashes(const Command& command, std::ostream& out);

}  // namespace forkmill::cli
