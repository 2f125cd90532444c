// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/raw_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "tests/support/wait_until.h"

namespace forkmill::e2e {

namespace {

constexpr std::chrono::milliseconds kPatience{5000};
constexpr std::size_t kGreeting = 64;

// RFC 23/ZMTP: the flags of a frame.
constexpr unsigned kMore = 1;
constexpr unsigned kLong = 2;
constexpr unsigned kCommand = 4;

std::string big_endian(std::uint64_t value, int bytes) {
    std::string text;
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        text += static_cast<char>(value >> shift & 0xff);
    return text;
}

std::uint64_t number_in(std::string_view text) {
    std::uint64_t value = 0;
    for (const char c : text) value = value << 8 | static_cast<unsigned char>(c);
    return value;
}

}  // namespace

RawPeer::RawPeer(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return;
    ::close(std::exchange(fd_, -1));
}

RawPeer::~RawPeer() {
    if (fd_ >= 0) ::close(fd_);
}

RawPeer::RawPeer(RawPeer&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), input_(std::move(other.input_)), heard_(other.heard_) {}

bool RawPeer::say_bytes(std::string_view bytes) const {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

bool RawPeer::say_frame(std::string_view bytes, bool more) const {
    const bool is_long = bytes.size() > 255;
    const unsigned flags = (more ? kMore : 0) | (is_long ? kLong : 0);
    std::string frame(1, static_cast<char>(flags));
    frame += big_endian(bytes.size(), is_long ? 8 : 1);
    frame += bytes;
    return say_bytes(frame);
}

bool RawPeer::say(const base::Message& message) const {
    bool sent = say_frame(base::text_of(message.control.view()), !message.payloads.empty());
    for (std::size_t i = 0; i < message.payloads.size(); ++i)
        sent = sent && say_frame(base::text_of(message.payloads[i].view()),
                                 i + 1 < message.payloads.size());
    return sent;
}

bool RawPeer::greet() {
    std::string greeting("\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL", 16);
    greeting.resize(kGreeting, '\0');
    std::string ready = "\x05READY\x0bSocket-Type";
    ready += big_endian(6, 4) + "DEALER";
    std::string command(1, static_cast<char>(kCommand));
    command += big_endian(ready.size(), 1) + ready;
    if (!say_bytes(greeting + command) || !fill(kGreeting, kPatience)) return false;
    take(kGreeting);
    return true;  // Its READY is a command, which hear() passes over.
}

std::optional<std::string> RawPeer::hear() {
    bool first = true;
    std::string message;
    for (;;) {
        if (!fill(2, kPatience)) return std::nullopt;
        const auto flags = static_cast<unsigned char>(input_[0]);
        const std::size_t head = (flags & kLong) != 0 ? 9 : 2;
        if (!fill(head, kPatience)) return std::nullopt;
        const std::size_t size = number_in(std::string_view{input_}.substr(1, head - 1));
        if (!fill(head + size, kPatience)) return std::nullopt;
        take(head);
        std::string body = take(size);
        if ((flags & kCommand) != 0) continue;
        if (std::exchange(first, false)) message = std::move(body);
        if ((flags & kMore) == 0) return message;
    }
}

bool RawPeer::hung_up(std::chrono::milliseconds limit) {
    while (fill(input_.size() + 1, limit)) {
    }
    std::array<char, 1> byte{};
    return ::recv(fd_, byte.data(), 1, MSG_DONTWAIT | MSG_PEEK) == 0 || errno == ECONNRESET;
}

/// Until that many bytes are there. False: they do not come.
bool RawPeer::fill(std::size_t bytes, std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + test::stretched(limit);
    while (input_.size() < bytes) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            end - std::chrono::steady_clock::now());
        pollfd readable{fd_, POLLIN, 0};
        if (left.count() <= 0 || ::poll(&readable, 1, static_cast<int>(left.count())) <= 0)
            return false;
        std::array<char, 65536> chunk{};
        const ssize_t got = ::recv(fd_, chunk.data(), chunk.size(), 0);
        if (got <= 0) return false;
        input_.append(chunk.data(), static_cast<std::size_t>(got));
    }
    return true;
}

std::string RawPeer::take(std::size_t bytes) {
    std::string text = input_.substr(0, bytes);
    input_.erase(0, bytes);
    return text;
}

}  // namespace forkmill::e2e
