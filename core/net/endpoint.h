// SPDX-License-Identifier: Apache-2.0
// Endpoint: `local:N`, `ipc://path`, `unix://path` or `tcp://host:port`, read strictly.
//
// Pure: nothing is resolved or opened. Invariants: (1) a path is absolute or relative to the
// working directory, never abstract, and fits a socket's name; (2) to_string() of a parsed endpoint
// parses to the same. Threading: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace forkmill::net {

enum class Scheme : std::uint8_t {
    Local,  ///< An embedded pool.
    Ipc,    ///< ZeroMQ over a socket file.
    Unix,   ///< Local sockets (core/net/local_socket.h).
    Tcp,    ///< ZeroMQ over TCP.
};

inline constexpr std::size_t kSocketPathMax = 107;  ///< sun_path without its terminator.
inline constexpr std::uint32_t kLocalWorkersMax = 4096;

struct Endpoint {
    Scheme scheme = Scheme::Local;
    std::uint32_t workers = 0;  ///< Local: as asked for; 0 = one per CPU (`local:`).
    std::string path;           ///< Ipc, Unix.
    std::string host;           ///< Tcp: name or address, IPv6 without brackets, `*` for all.
    std::uint16_t port = 0;     ///< Tcp: 0 (or `*`) = any, for listeners only.
    bool operator==(const Endpoint&) const = default;
};

base::Result<Endpoint> parse_endpoint(std::string_view text);
std::string to_string(const Endpoint& endpoint);

/// Listens on every interface: `*`, 0.0.0.0, [::].
bool is_wildcard(const Endpoint& endpoint);
/// Only processes of this host can reach it: every scheme but Tcp, and Tcp on 127.0.0.0/8, ::1 or
/// `localhost`. Any other name counts as reachable from outside.
bool is_loopback(const Endpoint& endpoint);

}  // namespace forkmill::net
