// SPDX-License-Identifier: Apache-2.0
// ZmqDealer: client Transport over one ZeroMQ DEALER to one ipc:// or tcp:// endpoint.
//
// Invariants: (1) nothing queues while there is no connection (IMMEDIATE), the session layer
// resends instead; (2) each connection has a ConnId of its own: Connected, its messages,
// Disconnected, in this order; (3) a refused handshake is told as Rejected with conn 0 and a
// reason, once per run of equal refusals, and tried again after growing pauses. Threading: one
// thread (plus libzmq's I/O thread).
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "core/base/result.h"
#include "core/net/curve.h"
#include "core/net/endpoint.h"
#include "core/net/transport.h"
#include "core/wire/limits.h"

namespace forkmill::net {

struct DealerOptions {
    /// Each try waits this long and up to as much again; 0 chooses: 10 ms for ipc, 100 ms for tcp.
    std::chrono::milliseconds reconnect_first{0};
    std::chrono::milliseconds reconnect_max{5000};
    std::chrono::milliseconds connect_timeout{3000};
    std::chrono::milliseconds handshake_timeout{5000};
    /// How long the destructor may take to write out what was sent.
    std::chrono::milliseconds linger{1000};
    int high_water = static_cast<int>(2 * (wire::kUnackedFramesMax + wire::kUncreditedMax));
    std::optional<CurveClient> curve = std::nullopt;
};

class ZmqDealer final : public Transport {
  public:
    static base::Result<std::unique_ptr<ZmqDealer>> make(const Endpoint& endpoint,
                                                         const DealerOptions& options = {});
    ~ZmqDealer() override;

    int fd() const override;
    bool pending() override;
    bool receive(Incoming& out) override;
    Sent send(ConnId conn, const base::Message& message) override;
    void flush() override {}
    /// Drops the connection (half-open, said to be dead) and connects anew.
    void disconnect(ConnId conn) override;
    base::Time wake_at() const override;
    bool unsent() const override { return false; }

    void set_linger(std::chrono::milliseconds linger);
    /// Why there is no connection, as far as known ("key rejected"); empty while connected.
    const std::string& last_error() const;

  private:
    struct Impl;
    explicit ZmqDealer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace forkmill::net
