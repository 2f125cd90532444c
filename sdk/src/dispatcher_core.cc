// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/dispatcher_core.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>

#include "sdk/src/callback_queue.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

DispatcherCore::DispatcherCore() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
}

DispatcherCore::~DispatcherCore() {
    ::close(fd_);
}

void DispatcherCore::announce(CallbackQueue& queue, std::size_t count) {
    const std::lock_guard lock{mutex_};
    const bool first = due_.empty();
    due_.insert(due_.end(), count, &queue);
    const std::uint64_t one = 1;
    if (first && ::write(fd_, &one, sizeof one) < 0)
        return;  // It can only fail when it is readable already.
}

void DispatcherCore::remove(CallbackQueue& queue) {
    {
        const std::lock_guard lock{mutex_};
        due_.erase(std::remove(due_.begin(), due_.end(), &queue), due_.end());
        if (due_.empty()) quiet_locked();
    }
    if (!queue.on_this_thread()) const std::lock_guard wait{serving_};
}

void DispatcherCore::quiet_locked() {
    std::uint64_t count = 0;
    if (::read(fd_, &count, sizeof count) < 0) return;  // It was silent already.
}

CallbackQueue* DispatcherCore::take() {
    const std::lock_guard lock{mutex_};
    if (due_.empty()) return nullptr;
    CallbackQueue* queue = due_.front();
    due_.pop_front();
    if (due_.empty()) quiet_locked();
    return queue;
}

std::size_t DispatcherCore::dispatch() {
    std::size_t left = 0;
    {
        const std::lock_guard lock{mutex_};
        left = due_.size();
    }
    std::size_t ran = 0;
    for (; left > 0; --left) {
        const std::lock_guard serving{serving_};
        CallbackQueue* queue = take();
        if (queue == nullptr) break;
        if (queue->run_one()) ++ran;
    }
    return ran;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
