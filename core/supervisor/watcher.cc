// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/watcher.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

namespace forkmill::supervisor {

namespace {

constexpr std::uint64_t kLow20 = 0xfffff;

epoll_event event_of(const Watched& name, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = std::uint64_t{static_cast<std::uint8_t>(name.kind)} << 56 |
                     std::uint64_t{name.pool} << 40 | (name.slot & kLow20) << 20 |
                     (name.generation & kLow20);
    return event;
}

Watched name_of(const epoll_event& event) {
    const std::uint64_t data = event.data.u64;
    return {static_cast<Watched::Kind>(data >> 56),
            static_cast<std::uint16_t>(data >> 40 & 0xffff),
            static_cast<std::uint32_t>(data >> 20 & kLow20),
            static_cast<std::uint32_t>(data & kLow20),
            (event.events & EPOLLOUT) != 0};
}

int milliseconds_until(base::Time until, base::Time now) {
    if (until == base::kNever) return -1;
    if (until <= now) return 0;
    constexpr std::int64_t kHour = 3'600'000;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    return static_cast<int>(std::min<std::int64_t>(left, kHour));
}

}  // namespace

base::Result<Watcher> Watcher::open() {
    OwnedFd fd{::epoll_create1(EPOLL_CLOEXEC)};
    if (!fd) return base::system_failure("cannot open epoll");
    return Watcher{std::move(fd)};
}

base::Status Watcher::watch(int fd, const Watched& name) const {
    epoll_event event = event_of(name, EPOLLIN);
    if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
        return base::system_failure("cannot watch a descriptor");
    return base::Done{};
}

void Watcher::want_writable(int fd, const Watched& name, bool wanted) const {
    epoll_event event = event_of(name, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
    ::epoll_ctl(fd_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Watcher::forget(int fd) const {
    if (fd >= 0) ::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Watcher::wait(base::Time until, base::Time now, std::vector<Watched>& out) const {
    std::array<epoll_event, 256> events;
    const int count = ::epoll_wait(
        fd_.get(), events.data(), static_cast<int>(events.size()), milliseconds_until(until, now));
    out.clear();
    for (int i = 0; i < count; ++i) out.push_back(name_of(events[static_cast<std::size_t>(i)]));
}

}  // namespace forkmill::supervisor
