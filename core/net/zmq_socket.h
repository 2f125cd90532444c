// SPDX-License-Identifier: Apache-2.0
// ZmqSocket: one libzmq socket and its options; Monitor: what libzmq tells about its connections.
//
// Private to core/net. Invariants: (1) every call is DONTWAIT; (2) a socket of a forked parent is
// never touched; (3) what is received is bounded by wire/limits.h, whatever the peer sends.
// Threading: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/net/transport.h"
#include "core/net/zmq_context.h"

namespace forkmill::net {

class ZmqSocket {
  public:
    ZmqSocket() = default;
    ZmqSocket(std::shared_ptr<Context> context, int type);
    ZmqSocket(ZmqSocket&& other) noexcept;
    ZmqSocket& operator=(ZmqSocket&& other) noexcept;
    ~ZmqSocket() { close(); }

    bool open() const { return raw_ != nullptr; }
    void close();
    void* raw() const { return raw_; }
    /// Why the constructor made nothing.
    static base::Failure last_failure(std::string_view what);

    void set(int option, int value);
    void set(int option, std::int64_t value);
    void set(int option, std::string_view text);
    /// ZMQ_EVENTS; also makes libzmq take note of what its I/O thread did.
    bool readable() const;
    int fd() const;
    std::string last_endpoint() const;

    enum class Got : std::uint8_t { Message, Nothing, TooMuch };
    struct Source {
        std::uint32_t routing_id = 0;  ///< ROUTER only.
        int fd = -1;
        std::string user;  ///< The ZAP user id; filled on request.
    };
    /// One message. ROUTER: `with_id`, and `source` is filled. TooMuch: it broke the limits and is
    /// gone; `reason` says how.
    Got receive(base::Message& out, bool with_id, Source& source, std::string& reason);
    /// `to`: the routing id for a ROUTER.
    Sent send(const base::Message& message, std::optional<std::uint32_t> to);

  private:
    std::shared_ptr<Context> context_;
    void* raw_ = nullptr;
};

/// Options that every data socket of ours has, whichever its role.
void set_common_options(ZmqSocket& socket, int high_water);

class Monitor {
  public:
    struct Event {
        std::uint16_t kind = 0;   ///< ZMQ_EVENT_…
        std::uint32_t value = 0;  ///< An fd, an errno or a status, as the kind says.
    };

    Monitor() = default;
    /// Watches `socket` for `events`.
    static base::Result<Monitor> watch(const std::shared_ptr<Context>& context,
                                       ZmqSocket& socket,
                                       int events);
    bool next(Event& out);
    bool readable() const { return pair_.readable(); }
    int fd() const { return pair_.fd(); }

  private:
    ZmqSocket pair_;
};

}  // namespace forkmill::net
