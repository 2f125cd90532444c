// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/network.h"

#include <algorithm>
#include <utility>

namespace sim {

using std::chrono::microseconds;
using std::chrono::seconds;

std::uint64_t Network::connect(End client, End server) {
    const std::uint64_t conn = next_++;
    wires_.emplace(conn, Wire{std::move(client), std::move(server), {}});
    if (faults.cut_mean > Duration::zero()) {
        clock_.after(random_.between(Duration::zero(), 2 * faults.cut_mean), [this, conn] {
            if (faults.cut_mean == Duration::zero() || !alive(conn)) return;
            ++cuts;
            cut(conn, true, true);
        });
    }
    return conn;
}

void Network::send(std::uint64_t conn, bool from_client, const Message& message) {
    const auto found = wires_.find(conn);
    if (found == wires_.end()) return;
    if (random_.chance(faults.drop)) {
        ++lost;
        clock_.after(random_.between(microseconds{100}, seconds{2}), [this, conn] {
            if (alive(conn)) cut(conn, true, true);
        });
        return;
    }
    Time& last = found->second.last[from_client ? 0 : 1];
    Time when = clock_.now() + random_.between(microseconds{5}, faults.delay_max);
    if (random_.chance(faults.reorder)) {
        ++swapped;
    } else {
        when = std::max(when, last);
        last = when;
    }
    deliver(conn, from_client, when, message);
    if (random_.chance(faults.duplicate)) {
        ++doubled;
        deliver(
            conn, from_client, when + random_.between(microseconds{0}, faults.delay_max), message);
    }
}

void Network::deliver(std::uint64_t conn, bool from_client, Time when, Message message) {
    clock_.at(when, [this, conn, from_client, message = std::move(message)]() mutable {
        const auto found = wires_.find(conn);
        if (found == wires_.end()) return;
        // Copied: what arrives may end the connection and with it the handler.
        const auto handler =
            from_client ? found->second.server.on_message : found->second.client.on_message;
        handler(conn, std::move(message));
    });
}

void Network::cut(std::uint64_t conn, bool tell_client, bool tell_server) {
    const auto found = wires_.find(conn);
    if (found == wires_.end()) return;
    const Wire wire = std::move(found->second);
    wires_.erase(found);
    const auto tell = [&](const End& end) {
        clock_.after(random_.between(microseconds{10}, microseconds{500}),
                     [conn, told = end.on_disconnected] { told(conn); });
    };
    if (tell_client) tell(wire.client);
    if (tell_server) tell(wire.server);
}

}  // namespace sim
