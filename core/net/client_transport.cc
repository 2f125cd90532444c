// SPDX-License-Identifier: Apache-2.0
#include "core/net/client_transport.h"

#include <algorithm>
#include <utility>

#include "core/net/local_socket.h"
#include "core/net/zmq_dealer.h"

namespace forkmill::net {

base::Result<std::unique_ptr<Transport>> make_client_transport(
    const Endpoint& endpoint,
    const ClientTransportOptions& options) {
    if (endpoint.scheme == Scheme::Local)
        return base::Failure{"an embedded pool is not connected to: " + to_string(endpoint)};
    if (options.curve.has_value() && endpoint.scheme != Scheme::Tcp)
        return base::Failure{"keys are for tcp://; " + to_string(endpoint) +
                             " is guarded by its file's mode"};
    if (endpoint.scheme == Scheme::Unix) {
        LocalClientOptions local;
        if (options.reconnect_first.count() > 0) local.reconnect_first = options.reconnect_first;
        local.reconnect_max = std::max<base::Duration>(
            local.reconnect_first,
            std::min<base::Duration>(local.reconnect_max, options.reconnect_max));
        return std::unique_ptr<Transport>{std::make_unique<LocalClient>(endpoint.path, local)};
    }
    auto dealer = ZmqDealer::make(endpoint,
                                  {.reconnect_first = options.reconnect_first,
                                   .reconnect_max = options.reconnect_max,
                                   .curve = options.curve});
    if (!dealer.ok()) return dealer.failure();
    return std::unique_ptr<Transport>{std::move(dealer).value()};
}

base::Result<std::unique_ptr<Transport>> make_client_transport(const Endpoint& endpoint,
                                                               const KeyNames& keys) {
    ClientTransportOptions options;
    if (endpoint.scheme == Scheme::Tcp) {
        base::Result<std::optional<CurveClient>> curve = client_keys(keys);
        if (!curve.ok()) return curve.failure();
        options.curve = std::move(curve).value();
    }
    return make_client_transport(endpoint, options);
}

}  // namespace forkmill::net
