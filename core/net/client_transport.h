// SPDX-License-Identifier: Apache-2.0
// The client's transport for an endpoint, whichever it is.
//
// Threading: the transport belongs to the thread that uses it first.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "core/base/result.h"
#include "core/net/curve.h"
#include "core/net/endpoint.h"
#include "core/net/key_file.h"
#include "core/net/transport.h"

namespace forkmill::net {

struct ClientTransportOptions {
    std::chrono::milliseconds reconnect_first{0};  ///< 0: what suits the endpoint.
    std::chrono::milliseconds reconnect_max{5000};
    std::optional<CurveClient> curve = std::nullopt;  ///< Tcp only.
};

/// ipc, tcp: a ZmqDealer; unix: a LocalClient. Fails on `local:`, which is no place to connect to,
/// on a tcp port 0 or wildcard host, and on malformed keys. Does not wait for the connection.
base::Result<std::unique_ptr<Transport>> make_client_transport(
    const Endpoint& endpoint,
    const ClientTransportOptions& options = {});

/// The same with keys by their names, which count for tcp only. Fails on keys that cannot be read.
base::Result<std::unique_ptr<Transport>> make_client_transport(const Endpoint& endpoint,
                                                               const KeyNames& keys);

}  // namespace forkmill::net
