// SPDX-License-Identifier: Apache-2.0
// ZmqRouter: server Transport over one ZeroMQ ROUTER, bound to ipc:// and tcp:// endpoints.
//
// Invariants: (1) routing ids are libzmq's own, new per connection; a ConnId contains one; (2)
// every send is MANDATORY and DONTWAIT: Full and Gone are told, nothing is dropped in silence; (3)
// a connection's Connected comes with its first message, its Disconnected after its last, once its
// socket is proven closed; (4) a peer that breaks the framing is Rejected, cut and forgotten.
// Threading: one thread (plus libzmq's I/O thread inside).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/net/curve.h"
#include "core/net/endpoint.h"
#include "core/net/transport.h"
#include "core/net/unique_fd.h"
#include "core/wire/limits.h"

namespace forkmill::net {

struct RouterOptions {
    /// Further connections are cut as soon as they are accepted.
    std::size_t connections_max = 8192;
    /// Messages per peer and direction; covers all credits, so that it is never reached.
    int high_water = static_cast<int>(2 * (wire::kUnackedFramesMax + wire::kUncreditedMax));
    /// Encrypts every endpoint of this router. Fails unless a Zap (core/net/zap.h) runs: without
    /// one libzmq lets every key in.
    std::optional<CurveServer> curve = std::nullopt;
};

struct RouterCounters {
    std::uint64_t accepted = 0;
    std::uint64_t over_limit = 0;         ///< Cut because of connections_max.
    std::uint64_t handshakes_failed = 0;  ///< Wrong protocol or mechanism, silence.
    std::uint64_t keys_refused = 0;
    std::uint64_t rejected = 0;  ///< Cut because of their framing.
};

class ZmqRouter final : public Transport {
  public:
    /// Checks that the process may open `connections_max` descriptors.
    static base::Result<std::unique_ptr<ZmqRouter>> make(const RouterOptions& options = {});
    ~ZmqRouter() override;

    /// Binds by itself. An ipc path must be guarded by a lock of the caller's (core/net/listen.h):
    /// libzmq steals a living one. Returns the endpoint as bound.
    base::Result<Endpoint> bind(const Endpoint& endpoint);
    /// Serves a socket that already listens on `endpoint` (non-blocking; core/net/listen.h). The
    /// caller keeps its own duplicate if the socket is to outlive this router.
    base::Status adopt(const Endpoint& endpoint, UniqueFd listening);

    int fd() const override;
    bool pending() override;
    bool receive(Incoming& out) override;
    Sent send(ConnId conn, const base::Message& message) override;
    void flush() override {}
    void disconnect(ConnId conn) override;
    /// The name of the peer's CURVE key; empty without CURVE.
    std::string_view principal(ConnId conn) const override;
    base::Time wake_at() const override;
    bool unsent() const override { return false; }

    /// Cuts every connection of that key: it was revoked. The disconnects are told as usual.
    void disconnect_principal(std::string_view name);
    /// How long the destructor may take to write out what was sent (default 0; a drain wants more).
    void set_linger(std::chrono::milliseconds linger);
    std::size_t connections() const;
    const RouterCounters& counters() const;

  private:
    struct Impl;
    explicit ZmqRouter(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace forkmill::net
