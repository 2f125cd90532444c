// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/heir_watch.h"

#include <sys/epoll.h>

#include <array>
#include <utility>

namespace forkmill {
inline namespace v0 {
namespace detail {

wire::ObjectOp burial_of(const base::SessionKey& heir) {
    wire::ObjectOp op;
    op.verb = wire::ObjectVerb::Bury;
    op.name = base::to_string(heir);
    return op;
}

base::Status HeirWatch::add(const base::SessionKey& heir, Sentinel sentinel) {
    const std::lock_guard lock{mutex_};
    if (!epoll_) epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    const int fd = sentinel->get();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (!epoll_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
        return base::system_failure("a process cannot be watched");
    watched_[fd] = {heir, std::move(sentinel)};
    return base::Done{};
}

void HeirWatch::join(net::PollLoop& loop) {
    if (joined_) return;
    const std::lock_guard lock{mutex_};
    if (!epoll_) return;
    joined_ = true;
    loop.add(epoll_.get(), [this] { hear(); });
}

void HeirWatch::leave(net::PollLoop& loop) {
    const std::lock_guard lock{mutex_};
    if (joined_) loop.remove(epoll_.get());
    watched_.clear();
}

void HeirWatch::hear() {
    std::array<epoll_event, 16> events{};
    const std::lock_guard lock{mutex_};
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
        const auto ended = watched_.find(events[static_cast<std::size_t>(i)].data.fd);
        if (ended == watched_.end()) continue;
        port_.tell(burial_of(ended->second.heir));
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, ended->first, nullptr);
        watched_.erase(ended);
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
