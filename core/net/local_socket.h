// SPDX-License-Identifier: Apache-2.0
// LocalServer, LocalClient: Transport over AF_UNIX stream sockets, for peers of the same host.
//
// Framing: u32 frame count, then one u32 length per frame, then the frames' bytes; little-endian.
// Invariants: (1) no thread, and nothing blocks: each connection has a bounded write queue; (2) the
// limits of wire/limits.h are checked before anything is allocated; (3) a batch of messages costs
// one read and one write; (4) an end of stream is Disconnected at once, after all that came before
// it; after Rejected or disconnect() nothing more is told of that connection. (5) Bytes of a small
// frame share the read buffer: whoever keeps them long copies them. Threading: one thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/net/transport.h"
#include "core/net/unique_fd.h"
#include "core/wire/limits.h"

namespace forkmill::net {

struct LocalLimits {
    std::size_t read_buffer = 256 * 1024;
    /// Per connection: beyond either, send() says Full. Credits keep a good peer far below.
    std::size_t queued_messages = 2 * (wire::kUnackedFramesMax + wire::kUncreditedMax);
    std::size_t queued_bytes = 4 * wire::kUnackedBytesMax;
};

struct LocalServerOptions {
    LocalLimits limits;
    std::size_t connections_max = 8192;  ///< Further ones are closed as soon as they are accepted.
    bool any_user = false;               ///< Else only this process's user and root may connect.
};

class LocalServer final : public Transport {
  public:
    explicit LocalServer(LocalServerOptions options = {});
    ~LocalServer() override;

    /// Accepts on a listening socket (core/net/listen.h) too, which it owns from now on.
    base::Status listen(UniqueFd listening);
    /// Accepts no more; connections stay.
    void stop_listening();
    /// Takes over a connected socket, e.g. a worker's end of a pair. Its Connected is told like any
    /// other. REQUIRES: fd is a connected stream socket.
    ConnId adopt(UniqueFd connected);

    int fd() const override;
    bool pending() override;
    bool receive(Incoming& out) override;
    Sent send(ConnId conn, const base::Message& message) override;
    void flush() override;
    void disconnect(ConnId conn) override;
    std::string_view principal(ConnId conn) const override;
    base::Time wake_at() const override;
    bool unsent() const override;

    std::size_t connections() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

struct LocalClientOptions {
    LocalLimits limits;
    base::Duration reconnect_first = std::chrono::milliseconds{10};
    base::Duration reconnect_max = std::chrono::seconds{1};
};

class LocalClient final : public Transport {
  public:
    /// Connects to a socket file, again and again. A disconnect() closes and connects anew.
    explicit LocalClient(std::string path, LocalClientOptions options = {});
    /// Takes over a connected socket; when it ends there is no other.
    explicit LocalClient(UniqueFd connected, LocalClientOptions options = {});
    ~LocalClient() override;

    int fd() const override;
    bool pending() override;
    bool receive(Incoming& out) override;
    Sent send(ConnId conn, const base::Message& message) override;
    void flush() override;
    void disconnect(ConnId conn) override;
    std::string_view principal(ConnId conn) const override;
    base::Time wake_at() const override;
    bool unsent() const override;

    /// Why the last attempt to connect failed; empty while connected.
    std::string last_error() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace forkmill::net
