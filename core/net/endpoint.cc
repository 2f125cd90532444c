// SPDX-License-Identifier: Apache-2.0
#include "core/net/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace forkmill::net {

namespace {

using base::Failure;
using base::Result;

bool is_printable(char c) {
    return c > ' ' && c < '\x7f';
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

Result<Endpoint> parse_local(std::string_view rest) {
    Endpoint endpoint;
    if (rest.empty()) return endpoint;
    const auto workers = parse_number<std::uint32_t>(rest);
    if (!workers || *workers == 0 || *workers > kLocalWorkersMax)
        return Failure{"expected local:N with N from 1 to " + std::to_string(kLocalWorkersMax)};
    endpoint.workers = *workers;
    return endpoint;
}

Result<Endpoint> parse_path(Scheme scheme, std::string_view path) {
    if (path.empty()) return Failure{"expected a socket's path after ://"};
    if (path.front() == '@')
        return Failure{"abstract sockets have no permissions; expected a path to a file"};
    if (path.size() > kSocketPathMax)
        return Failure{"the path has " + std::to_string(path.size()) +
                       " bytes; a socket's name holds at most " + std::to_string(kSocketPathMax)};
    if (path.find('\0') != std::string_view::npos) return Failure{"the path contains a zero byte"};
    if (path.back() == '/') return Failure{"expected a path to a file, not to a directory"};
    Endpoint endpoint;
    endpoint.scheme = scheme;
    endpoint.path = path;
    return endpoint;
}

/// The host without its brackets, which only (and all) IPv6 addresses carry.
Result<std::string> parse_host(std::string_view host) {
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        std::string inner{host.substr(1, host.size() - 2)};
        in6_addr address{};
        if (::inet_pton(AF_INET6, inner.c_str(), &address) != 1)
            return Failure{"'" + inner + "' is no IPv6 address"};
        return inner;
    }
    if (host.empty()) return Failure{"expected a host before the port"};
    if (host.size() > 253) return Failure{"the host name is longer than 253 bytes"};
    if (host == "*") return std::string{host};
    if (host.find(':') != std::string_view::npos)
        return Failure{"an IPv6 address is written in brackets: tcp://[::1]:7700"};
    const bool sane = std::all_of(host.begin(), host.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '-' || c == '_';
    });
    if (!sane) return Failure{"'" + std::string{host} + "' is no host name"};
    return std::string{host};
}

Result<Endpoint> parse_tcp(std::string_view rest) {
    const std::size_t colon = rest.rfind(':');
    if (colon == std::string_view::npos || rest.ends_with(']'))
        return Failure{"expected tcp://host:port"};
    Endpoint endpoint;
    endpoint.scheme = Scheme::Tcp;
    Result<std::string> host = parse_host(rest.substr(0, colon));
    if (!host.ok()) return host.failure();
    endpoint.host = std::move(host).value();
    const std::string_view port = rest.substr(colon + 1);
    if (port == "*") return endpoint;
    const auto number = parse_number<std::uint16_t>(port);
    if (!number)
        return Failure{"'" + std::string{port} + "' is no port; expected 1 to 65535, or * for any"};
    endpoint.port = *number;
    return endpoint;
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
    constexpr std::string_view kExpected =
        "expected local:N, ipc://path, unix://path or tcp://host:port";
    if (text.starts_with("local:")) return parse_local(text.substr(6));
    if (text.starts_with("ipc://")) return parse_path(Scheme::Ipc, text.substr(6));
    if (text.starts_with("unix://")) return parse_path(Scheme::Unix, text.substr(7));
    if (text.starts_with("tcp://")) return parse_tcp(text.substr(6));
    if (!std::all_of(text.begin(), text.end(), is_printable) || text.size() > 300)
        return Failure{std::string{kExpected}};
    return Failure{std::string{kExpected} + ", got '" + std::string{text} + "'"};
}

std::string to_string(const Endpoint& endpoint) {
    switch (endpoint.scheme) {
        case Scheme::Local:
            return "local:" +
                   (endpoint.workers == 0 ? std::string{} : std::to_string(endpoint.workers));
        case Scheme::Ipc:
            return "ipc://" + endpoint.path;
        case Scheme::Unix:
            return "unix://" + endpoint.path;
        case Scheme::Tcp:
            break;
    }
    const bool v6 = endpoint.host.find(':') != std::string::npos;
    return "tcp://" + (v6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" +
           (endpoint.port == 0 ? std::string{"*"} : std::to_string(endpoint.port));
}

bool is_wildcard(const Endpoint& endpoint) {
    if (endpoint.scheme != Scheme::Tcp) return false;
    if (endpoint.host == "*") return true;
    // inet_aton also knows the short spellings of 0.0.0.0 that a resolver would accept.
    in_addr v4{};
    if (::inet_aton(endpoint.host.c_str(), &v4) != 0) return v4.s_addr == INADDR_ANY;
    in6_addr v6{};
    return ::inet_pton(AF_INET6, endpoint.host.c_str(), &v6) == 1 && (IN6_IS_ADDR_UNSPECIFIED(&v6));
}

bool is_loopback(const Endpoint& endpoint) {
    if (endpoint.scheme != Scheme::Tcp) return true;
    if (endpoint.host == "localhost") return true;
    in_addr v4{};
    if (::inet_pton(AF_INET, endpoint.host.c_str(), &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    in6_addr v6{};
    return ::inet_pton(AF_INET6, endpoint.host.c_str(), &v6) == 1 && (IN6_IS_ADDR_LOOPBACK(&v6));
}

}  // namespace forkmill::net
