// SPDX-License-Identifier: Apache-2.0
// A worker host: the master of forkmill-worker (or of any program built on forkmill::Worker), with
// its uplink and its workers.
//
// Invariants: (1) the process that runs this forks and runs no task code; (2) its children are this
// program again (or `executable`), told apart by their environment (worker_birth.h). Threading: the
// process's only thread.
#pragma once

#include "worker/worker_config.h"

namespace forkmill::worker {

/// Runs the master until it is told to stop; returns the process's exit code.
/// `background`: as `--daemon` says.
int run_host(const LoadedWorkerConfig& loaded, bool background);

/// This is forkmill-worker, not a program of somebody's own.
bool is_stock_program();

/// `-s`: sends the master of `state_dir` a signal; returns the exit code.
int signal_host(const WorkerConfig& config, const std::string& verb);

}  // namespace forkmill::worker
