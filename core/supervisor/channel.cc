// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace forkmill::supervisor {

std::string_view name_of(Cause cause) {
    switch (cause) {
        case Cause::Unknown:
            return "unknown";
        case Cause::Exit:
            return "exit";
        case Cause::Signal:
            return "signal";
        case Cause::Oom:
            return "oom";
        case Cause::HardTimeout:
            return "hard-timeout";
        case Cause::StartTimeout:
            return "start-timeout";
        case Cause::Recycle:
            return "recycle";
        case Cause::Drain:
            return "drain";
        case Cause::Killed:
            return "killed";
        case Cause::HostLost:
            return "host-lost";
        case Cause::Hung:
            return "hung";
    }
    return "unknown";
}

std::string_view name_of(Verb verb) {
    switch (verb) {
        case Verb::Born:
            return "born";
        case Verb::Ready:
            return "ready";
        case Verb::Died:
            return "died";
        case Verb::Stopped:
            return "stopped";
        case Verb::Continued:
            return "continued";
        case Verb::Roster:
            return "roster";
        case Verb::Drain:
            return "drain";
        case Verb::Stop:
            return "stop";
        case Verb::Reopen:
            return "reopen";
        case Verb::Up:
            return "up";
        case Verb::Kill:
            return "kill";
        case Verb::Emptied:
            return "emptied";
        case Verb::Ageing:
            return "ageing";
        case Verb::Recycle:
            return "recycle";
        case Verb::Failed:
            return "failed";
        case Verb::Pressure:
            return "pressure";
        case Verb::Threaded:
            return "threaded";
        case Verb::Signal:
            return "signal";
        case Verb::Knock:
            return "knock";
        case Verb::Tick:
            return "tick";
        case Verb::Spawn:
            return "spawn";
    }
    return "unknown";
}

namespace {

struct ControlBuffer {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kFdsInPacket)> bytes{};
};

void attach_fds(msghdr& header, ControlBuffer& buffer, std::span<const int> fds) {
    if (fds.empty()) return;
    header.msg_control = buffer.bytes.data();
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(control), fds.data(), fds.size_bytes());
}

std::vector<OwnedFd> detach_fds(msghdr& header) {
    std::vector<OwnedFd> fds;
    for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
         control = CMSG_NXTHDR(&header, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
            fds.emplace_back(fd);
        }
    }
    return fds;
}

/// Sizes a reader may trust (invariant 4).
void cut_to_bounds(Notice& notice) {
    notice.lease_count = std::min<std::uint32_t>(notice.lease_count, kLeasesInNotice);
    notice.text_size = std::min<std::uint16_t>(notice.text_size, kStderrTail);
}

/// Its text is sent as far as it goes: most notices have none, and a socket holds few of the long.
std::size_t packet_size(const Notice& notice) {
    return kNoticeHead + std::min<std::size_t>(notice.text_size, kStderrTail);
}

}  // namespace

Channel::Channel(OwnedFd fd) : fd_(std::move(fd)) {
    const int flags = ::fcntl(fd_.get(), F_GETFL);
    closed_ = flags < 0 || ::fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK) < 0 ||
              ::fcntl(fd_.get(), F_SETFD, FD_CLOEXEC) < 0;
}

base::Result<std::array<Channel, 2>> Channel::pair() {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) != 0)
        return base::system_failure("cannot make a channel");
    return std::array{Channel{OwnedFd{fds[0]}}, Channel{OwnedFd{fds[1]}}};
}

Channel::Sent Channel::send(const Notice& notice, std::span<const int> fds) {
    FORKMILL_CHECK(fds.size() <= kFdsInPacket);
    if (closed_ || !fd_) return Sent::Closed;
    Notice copy = notice;
    iovec body{&copy, packet_size(copy)};
    ControlBuffer control;
    msghdr header{};
    header.msg_iov = &body;
    header.msg_iovlen = 1;
    attach_fds(header, control, fds);
    while (::sendmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno == EINTR) continue;
        // Descriptors in flight are bounded too (ETOOMANYREFS): that is "full", and ends.
        if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS)
            return Sent::Full;
        return Sent::Closed;  // Not closed_ yet: what the peer sent before its end is still here.
    }
    return Sent::Whole;
}

bool Channel::post(const Notice& notice, std::span<const int> fds) {
    if (backlog_.empty()) {
        const Sent sent = send(notice, fds);
        if (sent != Sent::Full) return sent == Sent::Whole;
    }
    closed_ = closed_ || backlog_.size() >= kBacklogMax;
    if (closed_) return false;
    Packet packet{notice, {}};
    for (const int fd : fds) {
        packet.fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
        if (!packet.fds.back()) return false;
    }
    backlog_.push_back(std::move(packet));
    return true;
}

bool Channel::flush() {
    while (!backlog_.empty()) {
        const Packet& packet = backlog_.front();
        std::vector<int> fds;
        for (const OwnedFd& fd : packet.fds) fds.push_back(fd.get());
        const Sent sent = send(packet.notice, fds);
        if (sent == Sent::Full) return true;
        if (sent == Sent::Closed) {
            backlog_.clear();
            return false;
        }
        backlog_.pop_front();
    }
    return !closed_;
}

std::optional<Packet> Channel::receive() {
    if (closed_ || !fd_) return std::nullopt;
    Packet packet;
    iovec body{&packet.notice, sizeof packet.notice};
    ControlBuffer control;
    msghdr header{};
    header.msg_iov = &body;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
    ssize_t size = 0;
    do {
        size = ::recvmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size < 0 && errno == EAGAIN) return std::nullopt;
    if (size > 0) packet.fds = detach_fds(header);
    // EOF, an error, or a packet that no process of this build sends.
    if (size < static_cast<ssize_t>(kNoticeHead) ||
        size != static_cast<ssize_t>(packet_size(packet.notice)) ||
        (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        closed_ = true;
        return std::nullopt;
    }
    cut_to_bounds(packet.notice);
    return packet;
}

}  // namespace forkmill::supervisor
