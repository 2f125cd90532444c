// SPDX-License-Identifier: Apache-2.0
#include "core/net/poll_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <utility>

#include "core/base/check.h"

namespace forkmill::net {

namespace {

/// epoll_wait to the nanosecond where the kernel can (5.11), else to the next millisecond.
int wait_for_events(int epoll, std::array<epoll_event, 64>& events, const timespec* limit) {
    static const bool precise = [] {
        timespec zero{};
        epoll_event none{};
        // A refusal of the arguments proves that the call exists.
        return ::epoll_pwait2(-1, &none, 1, &zero, nullptr) < 0 && errno != ENOSYS;
    }();
    const int room = static_cast<int>(events.size());
    if (precise) return ::epoll_pwait2(epoll, events.data(), room, limit, nullptr);
    if (limit == nullptr) return ::epoll_wait(epoll, events.data(), room, -1);
    const std::int64_t millis =
        std::int64_t{limit->tv_sec} * 1000 + (limit->tv_nsec + 999'999) / 1'000'000;
    return ::epoll_wait(
        epoll, events.data(), room, static_cast<int>(std::min<std::int64_t>(millis, 3'600'000)));
}

}  // namespace

struct PollLoop::Entry {
    int fd = -1;
    Transport* transport = nullptr;
    Wakeup* wakeup = nullptr;
    Callback callback;
    bool ready = false;
    bool removed = false;
};

PollLoop::PollLoop(base::Duration spin) : epoll_(::epoll_create1(EPOLL_CLOEXEC)), spin_(spin) {
    FORKMILL_CHECK(epoll_);
}

PollLoop::~PollLoop() = default;

PollLoop::Entry* PollLoop::enlist(int fd, Transport* transport, Wakeup* wakeup, Callback ready) {
    auto entry = std::make_unique<Entry>();
    entry->fd = fd;
    entry->transport = transport;
    entry->wakeup = wakeup;
    entry->callback = std::move(ready);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = entry.get();
    FORKMILL_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
    entries_.push_back(std::move(entry));
    return entries_.back().get();
}

void PollLoop::add(int fd, Callback ready) {
    enlist(fd, nullptr, nullptr, std::move(ready));
}
void PollLoop::add(Transport& transport, Callback ready) {
    enlist(transport.fd(), &transport, nullptr, std::move(ready));
}
void PollLoop::add(Wakeup& wakeup, Callback ready) {
    enlist(wakeup.fd(), nullptr, &wakeup, std::move(ready));
}

void PollLoop::remove(int fd) {
    remove_if([fd](const Entry& entry) { return entry.fd == fd; });
}
void PollLoop::remove(Transport& transport) {
    remove_if([&transport](const Entry& entry) { return entry.transport == &transport; });
}
void PollLoop::remove(Wakeup& wakeup) {
    remove_if([&wakeup](const Entry& entry) { return entry.wakeup == &wakeup; });
}

void PollLoop::remove_if(const std::function<bool(const Entry&)>& which) {
    for (const auto& entry : entries_) {
        if (entry->removed || !which(*entry)) continue;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry->fd, nullptr);
        entry->removed = true;
    }
    // A callback may remove its own entry, which must live until it returns.
    if (!dispatching_) std::erase_if(entries_, [](const auto& entry) { return entry->removed; });
}

/// What no fd tells.
bool PollLoop::ask_all() {
    bool any = false;
    for (const auto& entry : entries_) {
        if (entry->transport != nullptr && entry->transport->pending()) entry->ready = true;
        any = any || entry->ready;
    }
    return any;
}

/// What the fds and the wakeups tell; waits up to `wait` (negative: for ever) for it.
bool PollLoop::look(base::Duration wait) {
    bool any = false;
    for (const auto& entry : entries_) {
        if (entry->wakeup != nullptr && entry->wakeup->notified()) {
            entry->ready = true;
            any = true;
        }
    }
    std::array<epoll_event, 64> events;
    timespec limit{};
    if (wait > base::Duration::zero() && !any) {
        limit.tv_sec = wait.count() / 1'000'000'000;
        limit.tv_nsec = wait.count() % 1'000'000'000;
    }
    const bool forever = wait < base::Duration::zero() && !any;
    const int count = wait_for_events(epoll_.get(), events, forever ? nullptr : &limit);
    FORKMILL_CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; ++i)
        static_cast<Entry*>(events[static_cast<std::size_t>(i)].data.ptr)->ready = true;
    return any || count > 0;
}

bool PollLoop::sleep(base::Time until) {
    bool notified = false;
    for (const auto& entry : entries_) {
        if (entry->wakeup == nullptr || entry->wakeup->prepare_sleep()) continue;
        entry->ready = true;
        notified = true;
    }
    bool any = notified;
    if (!notified) {
        const base::Duration wait =
            until == base::kNever ? base::Duration{-1} : until - base::monotonic_now();
        any = look(until == base::kNever ? wait : std::max(wait, base::Duration::zero()));
    }
    for (const auto& entry : entries_) {
        if (entry->wakeup == nullptr) continue;
        entry->wakeup->awake();
        if (entry->wakeup->notified()) entry->ready = any = true;
    }
    return any;
}

base::Time PollLoop::earliest(base::Time wake_at) const {
    for (const auto& entry : entries_) {
        if (entry->transport != nullptr) wake_at = std::min(wake_at, entry->transport->wake_at());
    }
    return wake_at;
}

bool PollLoop::mark_due(base::Time now) {
    bool any = false;
    for (const auto& entry : entries_) {
        if (entry->transport == nullptr || entry->transport->wake_at() > now) continue;
        entry->ready = any = true;
    }
    return any;
}

void PollLoop::dispatch() {
    FORKMILL_CHECK(!dispatching_);
    dispatching_ = true;
    const std::size_t count = entries_.size();  // What a callback adds has its turn next time.
    for (std::size_t i = 0; i < count; ++i) {
        Entry& entry = *entries_[i];
        if (!entry.ready || entry.removed) continue;
        entry.ready = false;
        if (entry.wakeup != nullptr) entry.wakeup->clear();
        entry.callback();
    }
    dispatching_ = false;
    std::erase_if(entries_, [](const auto& entry) { return entry->removed; });
}

bool PollLoop::run_once(base::Time wake_at) {
    // After ask_all() no transport is touched until the sleep, so what it said stays true.
    bool any = ask_all();
    any = look(base::Duration::zero()) || any;
    if (!any) {
        const base::Time until = earliest(wake_at);
        const base::Time now = base::monotonic_now();
        if (until > now) {
            const base::Duration spin = std::min(spin_, until - now);
            any = (spin > base::Duration::zero() &&
                   base::spin_until([this] { return look(base::Duration::zero()); }, spin)) ||
                  sleep(until);
        }
    }
    any = mark_due(base::monotonic_now()) || any;
    if (any) dispatch();
    return any;
}

}  // namespace forkmill::net
