// SPDX-License-Identifier: Apache-2.0
// Router: the broker's routing process: one thread that turns transports, the master's channel and
// time into gateway calls, and nothing else.
//
// The master (main.cc) starts it with the listening sockets it owns; it ends when the master says
// Stop or is gone. Invariants: (1) it never blocks but in its poll loop; (2) at most kReadBatch
// messages are read before what they caused is sent, so that timers and slow peers keep their turn.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "broker/broker_config.h"
#include "core/net/endpoint.h"
#include "core/net/unique_fd.h"
#include "core/supervisor/child_env.h"

namespace forkmill::broker {

struct RouterListener {
    net::Endpoint endpoint;
    net::UniqueFd fd;
};

struct RouterStart {
    BrokerConfig config;
    std::uint64_t incarnation = 1;
    std::string host_key;
    std::vector<RouterListener> listeners;
    std::vector<std::string> pool_names;  ///< By the index that notices carry.
    supervisor::ChildEnv child;
};

/// Runs until told to stop; returns the exit code: 0, or 78 when it cannot serve what the config
/// asks for.
int run_router(RouterStart start);

}  // namespace forkmill::broker
