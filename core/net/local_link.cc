// SPDX-License-Identifier: Apache-2.0
#include "core/net/local_link.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/check.h"

namespace forkmill::net {

namespace {

constexpr int kSocketBuffer = 1024 * 1024;
/// Queued bytes that are worth a write before the turn ends.
constexpr std::size_t kWriteAhead = 256 * 1024;

}  // namespace

void tune_local_socket(int fd) {
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    // Best effort: the kernel clips it to wmem_max.
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
}

std::size_t ReadBuffer::prepare() {
    // When every message cut from it is gone, the same cache-warm bytes are used again.
    if (data_ != nullptr && block_.unique()) {
        used_ = 0;
    } else if (data_ == nullptr || size_ - used_ < size_ / 8) {
        block_ = base::Blob::allocate(size_);
        data_ = block_.mutable_data();
        used_ = 0;
    }
    return used_;
}

LocalLink::LocalLink(UniqueFd fd,
                     ConnId id,
                     int epoll,
                     const LocalLimits& limits,
                     std::string principal)
    : fd_(std::move(fd)),
      id_(id),
      epoll_(epoll),
      principal_(std::move(principal)),
      queue_(limits.queued_messages, limits.queued_bytes) {
    tune_local_socket(fd_.get());
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = id_;
    FORKMILL_CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_.get(), &event) == 0);
}

LocalLink::Got LocalLink::read(ReadBuffer& buffer) {
    const std::span<std::byte> missing = reader_.missing();
    begin_ = end_ = buffer.prepare();
    std::array<iovec, 2> places{iovec{missing.data(), missing.size()},
                                iovec{buffer.data() + begin_, buffer.limit() - begin_}};
    const bool direct = !missing.empty();
    ssize_t got = 0;
    do {
        got = direct ? ::readv(fd_.get(), places.data(), 2)
                     : ::recv(fd_.get(), places[1].iov_base, places[1].iov_len, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Got::Nothing;
    if (got < 0) error_ = errno;
    if (got <= 0) return Got::End;
    const auto count = static_cast<std::size_t>(got);
    const std::size_t placed = std::min(count, missing.size());
    reader_.filled(placed);
    end_ = begin_ + (count - placed);
    buffer.taken(end_);
    return Got::Bytes;
}

Sent LocalLink::send(const base::Message& message, SmallBytes& small) {
    if (deaf_) return Sent::Gone;
    if (!fits_framing(message)) return Sent::Full;
    if (!queue_.push(message, small)) {
        write();
        if (deaf_) return Sent::Gone;
        if (!queue_.push(message, small)) return Sent::Full;
    }
    if (queue_.bytes() >= kWriteAhead && !watching_) write();
    return Sent::Ok;
}

void LocalLink::write() {
    if (deaf_) return;
    switch (queue_.write(fd_.get())) {
        case SendQueue::Wrote::All:
            watch_writable(false);
            break;
        case SendQueue::Wrote::Blocked:
            watch_writable(true);
            break;
        case SendQueue::Wrote::Broken:
            // What the peer said before it went is still to be read; read() finds the end.
            error_ = errno;
            deaf_ = true;
            watch_writable(false);
            break;
    }
}

void LocalLink::watch_writable(bool on) {
    if (watching_ == on) return;
    watching_ = on;
    epoll_event event{};
    event.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.u64 = id_;
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd_.get(), &event);
}

std::string LocalLink::reason() const {
    if (!reader_.reason().empty()) return reader_.reason();
    if (reader_.inside()) return "the connection ended inside a message";
    return error_ == 0 ? "the peer closed the connection" : std::strerror(error_);
}

}  // namespace forkmill::net
