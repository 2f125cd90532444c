// SPDX-License-Identifier: Apache-2.0
// Daemon: what forkmilld does with a good config: state directory, listening sockets, then the
// master that forks router and workers.
//
// The router's share (config, sockets, incarnation) travels by inherited descriptors and
// environment; router_start_from_environment() is its other end.
#pragma once

#include <optional>
#include <string>

#include "broker/broker_config.h"
#include "broker/router.h"

namespace forkmill::broker {

struct DaemonWanted {
    std::string file;         ///< The config's name, as ps shows it.
    bool background = false;  ///< `--daemon`
};

/// Runs the master until it is told to stop; returns the process's exit code (sysexits: 75 somebody
/// else serves here, 78 unusable state_dir).
int run_daemon(const LoadedConfig& loaded, const DaemonWanted& wanted);

/// Set in the router process that run_daemon's master started; a failure says what it was not
/// given.
base::Result<RouterStart> router_start_from_environment(const supervisor::ChildEnv& child);
bool is_router_process();

/// `-s`: sends the master of `state_dir` a signal; returns the exit code.
int signal_daemon(const BrokerConfig& config, const std::string& verb);

}  // namespace forkmill::broker
