// SPDX-License-Identifier: Apache-2.0
#include "core/net/zmq_socket.h"

#include <endian.h>
#include <zmq.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/check.h"
#include "core/wire/limits.h"

namespace forkmill::net {

namespace {

/// Below it a copy costs less than sharing libzmq's block.
constexpr std::size_t kCopyBelow = 1024;
/// libzmq's own routing ids: a zero byte, then a counter.
constexpr std::size_t kIdSize = 5;

base::Blob to_blob(zmq::message_t& frame) {
    if (frame.size() < kCopyBelow)
        return base::Blob::copy({static_cast<const std::byte*>(frame.data()), frame.size()});
    auto* data = static_cast<std::byte*>(frame.data());
    const std::size_t size = frame.size();
    // Frames of this size never lie inside the handle, so moving it leaves the bytes in place.
    return base::Blob::adopt(std::move(frame), data, size);
}

zmq::message_t to_frame(const base::Blob& blob) {
    if (blob.size() < kCopyBelow) return zmq::message_t{blob.data(), blob.size()};
    auto* keep = new base::Blob{blob};
    // libzmq does not write to what it sends; its interface is older than const.
    return zmq::message_t{const_cast<std::byte*>(blob.data()),
                          blob.size(),
                          [](void*, void* hint) { delete static_cast<base::Blob*>(hint); },
                          keep};
}

std::array<std::byte, kIdSize> id_bytes(std::uint32_t id) {
    std::array<std::byte, kIdSize> bytes{};
    const std::uint32_t big = htobe32(id);
    std::memcpy(bytes.data() + 1, &big, sizeof big);
    return bytes;
}

/// -1: nothing there. Else whether more frames of the message follow.
int receive_frame(void* socket, zmq::message_t& frame) {
    while (::zmq_msg_recv(frame.handle(), socket, ZMQ_DONTWAIT) < 0) {
        if (errno != EINTR) return -1;
    }
    return frame.more() ? 1 : 0;
}

/// False with errno set. libzmq looks at what its I/O thread did only now and then, so a refusal is
/// believed only after it was made to look.
bool send_frame(void* socket, zmq::message_t frame, int flags) {
    for (int tries = 0; tries < 2; ++tries) {
        while (true) {
            if (::zmq_msg_send(frame.handle(), socket, flags | ZMQ_DONTWAIT) >= 0) return true;
            if (errno != EINTR) break;
        }
        if (errno != EAGAIN || tries == 1) return false;
        int events = 0;
        std::size_t size = sizeof events;
        ::zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size);
        errno = EAGAIN;
    }
    return false;
}

}  // namespace

ZmqSocket::ZmqSocket(std::shared_ptr<Context> context, int type)
    : context_(std::move(context)), raw_(::zmq_socket(context_->raw(), type)) {}

ZmqSocket::ZmqSocket(ZmqSocket&& other) noexcept
    : context_(std::move(other.context_)), raw_(std::exchange(other.raw_, nullptr)) {}

ZmqSocket& ZmqSocket::operator=(ZmqSocket&& other) noexcept {
    if (this != &other) {
        close();
        context_ = std::move(other.context_);
        raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
}

void ZmqSocket::close() {
    if (raw_ != nullptr && context_->ours()) ::zmq_close(raw_);
    raw_ = nullptr;
    context_.reset();
}

base::Failure ZmqSocket::last_failure(std::string_view what) {
    const int error = ::zmq_errno();
    return base::Failure{std::string{what} + ": " + ::zmq_strerror(error), error};
}

void ZmqSocket::set(int option, int value) {
    FORKMILL_CHECK(::zmq_setsockopt(raw_, option, &value, sizeof value) == 0);
}
void ZmqSocket::set(int option, std::int64_t value) {
    FORKMILL_CHECK(::zmq_setsockopt(raw_, option, &value, sizeof value) == 0);
}
void ZmqSocket::set(int option, std::string_view text) {
    // Z85 keys must end in a zero byte, so all texts are given with one that does not count.
    const std::string copy{text};
    FORKMILL_CHECK(::zmq_setsockopt(raw_, option, copy.c_str(), copy.size()) == 0);
}

bool ZmqSocket::readable() const {
    int events = 0;
    std::size_t size = sizeof events;
    return ::zmq_getsockopt(raw_, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

int ZmqSocket::fd() const {
    int fd = -1;
    std::size_t size = sizeof fd;
    FORKMILL_CHECK(::zmq_getsockopt(raw_, ZMQ_FD, &fd, &size) == 0);
    return fd;
}

std::string ZmqSocket::last_endpoint() const {
    std::array<char, 512> text{};
    std::size_t size = text.size();
    if (::zmq_getsockopt(raw_, ZMQ_LAST_ENDPOINT, text.data(), &size) != 0) return {};
    return text.data();
}

ZmqSocket::Got ZmqSocket::receive(base::Message& out,
                                  bool with_id,
                                  Source& source,
                                  std::string& reason) {
    zmq::message_t frame;
    int more = receive_frame(raw_, frame);
    if (more < 0) return Got::Nothing;
    if (with_id) {
        std::uint32_t big = 0;
        if (frame.size() == kIdSize)
            std::memcpy(&big, static_cast<const std::byte*>(frame.data()) + 1, sizeof big);
        source.routing_id = be32toh(big);
        if (more == 1) more = receive_frame(raw_, frame);
    }
    // The identity frame carries no properties in 4.3.4; the first body frame does.
    source.fd = ::zmq_msg_get(frame.handle(), ZMQ_SRCFD);
    const char* user = ::zmq_msg_gets(frame.handle(), "User-Id");
    source.user = user == nullptr ? "" : user;
    out.payloads.clear();
    std::size_t frames = 1;
    std::size_t bytes = frame.size();
    out.control = to_blob(frame);
    // libzmq hands over whole messages, so every further frame is there already; one that is too
    // long is read to its end, or its tail would pass for the next message.
    while (more == 1) {
        more = receive_frame(raw_, frame);
        if (more < 0) break;
        bytes += frame.size();
        if (++frames <= wire::kMessageFramesMax && bytes <= wire::kMessageBytesMax)
            out.payloads.push_back(to_blob(frame));
    }
    if (frames <= wire::kMessageFramesMax && bytes <= wire::kMessageBytesMax) return Got::Message;
    out = base::Message{};
    reason = "a message of " + std::to_string(frames) + " frames and " + std::to_string(bytes) +
             " bytes; expected at most " + std::to_string(wire::kMessageFramesMax) + " and " +
             std::to_string(wire::kMessageBytesMax);
    return Got::TooMuch;
}

Sent ZmqSocket::send(const base::Message& message, std::optional<std::uint32_t> to) {
    // The first frame decides: libzmq takes the rest of the message without asking again.
    if (to.has_value()) {
        const auto id = id_bytes(*to);
        if (!send_frame(raw_, zmq::message_t{id.data(), id.size()}, ZMQ_SNDMORE))
            return errno == EAGAIN ? Sent::Full : Sent::Gone;
    }
    const int first = message.payloads.empty() ? 0 : ZMQ_SNDMORE;
    if (!send_frame(raw_, to_frame(message.control), first))
        return errno == EAGAIN ? Sent::Full : Sent::Gone;
    for (std::size_t i = 0; i < message.payloads.size(); ++i) {
        const int flags = i + 1 < message.payloads.size() ? ZMQ_SNDMORE : 0;
        if (!send_frame(raw_, to_frame(message.payloads[i]), flags)) return Sent::Gone;
    }
    return Sent::Ok;
}

void set_common_options(ZmqSocket& socket, int high_water) {
    socket.set(ZMQ_SNDHWM, high_water);
    socket.set(ZMQ_RCVHWM, high_water);
    socket.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(wire::kFrameMax));
    socket.set(ZMQ_IPV6, 1);
    socket.set(ZMQ_TCP_KEEPALIVE, 1);
    socket.set(ZMQ_TCP_KEEPALIVE_IDLE, 30);
    socket.set(ZMQ_TCP_KEEPALIVE_INTVL, 10);
    socket.set(ZMQ_TCP_KEEPALIVE_CNT, 3);
}

base::Result<Monitor> Monitor::watch(const std::shared_ptr<Context>& context,
                                     ZmqSocket& socket,
                                     int events) {
    static std::atomic<std::uint64_t> last{0};
    const std::string endpoint =
        "inproc://forkmill.monitor." + std::to_string(last.fetch_add(1) + 1);
    if (::zmq_socket_monitor(socket.raw(), endpoint.c_str(), events) != 0)
        return ZmqSocket::last_failure("cannot watch a socket");
    Monitor monitor;
    monitor.pair_ = ZmqSocket{context, ZMQ_PAIR};
    if (!monitor.pair_.open()) return ZmqSocket::last_failure("cannot make a monitor");
    monitor.pair_.set(ZMQ_LINGER, 0);
    // A full monitor would block libzmq's I/O thread, and with it every connection.
    monitor.pair_.set(ZMQ_RCVHWM, 0);
    if (::zmq_connect(monitor.pair_.raw(), endpoint.c_str()) != 0)
        return ZmqSocket::last_failure("cannot watch a socket");
    return monitor;
}

bool Monitor::next(Event& out) {
    zmq::message_t frame;
    int more = receive_frame(pair_.raw(), frame);
    if (more < 0) return false;
    out = Event{};
    if (frame.size() == sizeof out.kind + sizeof out.value) {
        std::memcpy(&out.kind, frame.data(), sizeof out.kind);
        std::memcpy(&out.value,
                    static_cast<const std::byte*>(frame.data()) + sizeof out.kind,
                    sizeof out.value);
    }
    while (more == 1) more = receive_frame(pair_.raw(), frame);
    return true;
}

}  // namespace forkmill::net
