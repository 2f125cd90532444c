// SPDX-License-Identifier: Apache-2.0
// WorkerProcess: a worker's life from its birth to its exit code, whoever gave birth to it: bind
// tasks, load modules, run the initializer, say Up, work.
//
// Invariants: (1) nothing of the user's runs twice, and no task before the initializer is through;
// (2) what cannot start says why (Failed) before it goes. Threading: the process's first thread,
// before any other; the process leaves by _exit afterwards.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/lock_words.h"
#include "core/base/result.h"
#include "core/net/transport.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/scoreboard.h"
#include "core/supervisor/worker_birth.h"
#include "forkmill/detail/seam.h"

namespace forkmill::worker {

/// What the user's program brings.
struct UserCode {
    std::vector<detail::TaskEntry> tasks;
    std::function<void()> initializer;  ///< Empty: none.
};

struct ProcessSetup {
    /// Called after the initializer: a worker that is not ready is not connected.
    std::function<base::Result<std::unique_ptr<net::Transport>>()> connect;
    bool adopted = false;  ///< The transport has one connection in its life.
    supervisor::Channel channel;
    supervisor::SlotCells* cells = nullptr;
    supervisor::WorkerBirth birth;  ///< Its descriptors are not looked at.
    UserCode code;
    std::span<base::LockWord> lock_words;  ///< Shared with the broker; empty where it is not ours.
    std::string title;  ///< Of the process; what runs long is added to it. Empty: not to be set.
};

/// Returns the exit code.
int run_worker(ProcessSetup setup);

/// A worker that a master execs: all from its environment.
int run_born_worker(supervisor::WorkerBirth birth, UserCode code);

/// The process that a master has workers of a pool forked from (birth_server.h).
int run_born_fork_server(supervisor::WorkerBirth birth, const UserCode& code);

}  // namespace forkmill::worker
