// SPDX-License-Identifier: Apache-2.0
// What each verb of `forkmill` does: from the parsed command line to the text on stdout.
//
// Invariants: (1) a verb writes to `out` only what it was asked for, errors leave as Failure; (2)
// one command is one session. Threading: main thread.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "core/base/time.h"

namespace forkmill::cli {

enum class Output { Table, Json, Quiet };

struct Command {
    std::string endpoint;
    Output output = Output::Table;
    base::Duration connect_timeout = std::chrono::seconds{5};
    base::Duration timeout = base::Duration::max();  ///< Of waits for a task.
    std::string name;                                ///< Of the task to run, or how those begin
                                                     ///< that are listed.
    std::vector<std::string> arguments;              ///< JSON texts.
    std::string id;                                  ///< Of the task or object that is meant.
    bool kill = false;
    std::string state_dir;    ///< Of the master that is asked.
    std::uint32_t count = 0;  ///< Workers of a pool.
    std::string file;         ///< Of the key to make.
};

/// --endpoint if it was given, else FORKMILL_ENDPOINT, else the sample config's.
std::string endpoint_or_default(const std::string& given);

void call(const Command& command, std::ostream& out);
void submit(const Command& command, std::ostream& out);
/// Waits for the end of a task; Failure 1 when it failed, 124 at the timeout.
void wait(const Command& command, std::ostream& out);
/// As wait, and prints the result.
void result(const Command& command, std::ostream& out);
void cancel(const Command& command, std::ostream& out);
void status(const Command& command, std::ostream& out);
void list_workers(const Command& command, std::ostream& out);
void list_queues(const Command& command, std::ostream& out);
void list_objects(const Command& command, std::ostream& out);
void show_object(const Command& command, std::ostream& out);
/// Ends a shared object, whoever uses it. As an admin.
void remove_object(const Command& command, std::ostream& out);
void list_locks(const Command& command, std::ostream& out);
/// Takes a lock from its owner. As an admin.
void break_lock(const Command& command, std::ostream& out);
/// Makes a key file and its .pub, and prints the public key. Asks no broker.
void keygen(const Command& command, std::ostream& out);

}  // namespace forkmill::cli
