// SPDX-License-Identifier: Apache-2.0
// Status: answers to QUERY as JSON with a stable, versioned shape ("api": "v1"); never on a task's
// path.
#pragma once

#include "broker/gateway.h"

namespace forkmill::broker {

struct StatusContext {
    std::string version;
    std::string durability = "memory";
    std::uint64_t incarnation = 1;
    base::Time started{};
};

/// `query.what`: status, workers, queues, sessions, objects and locks (argument: how their names
/// begin), object (its name or id), task (its id), function (its name). Anything else: NotFound.
wire::Reply answer_query(const wire::Query& query,
                         const Gateway& gateway,
                         const engine::Engine& engine,
                         const StatusContext& context,
                         base::Time now);

}  // namespace forkmill::broker
