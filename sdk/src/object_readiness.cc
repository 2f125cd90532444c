// SPDX-License-Identifier: Apache-2.0
// Whether a get would end at once, as a descriptor: readable while the stash has something or the
// broker said that there is something; where neither is known, the broker is being asked.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "forkmill/errors.h"
#include "sdk/src/client.h"
#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

Readiness::Readiness() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!fd_) throw Busy{std::string{"no descriptor for a connection: "} + std::strerror(errno)};
}

void Readiness::show(bool readable) {
    if (std::exchange(shown_, readable) == readable) return;
    std::uint64_t count = 1;
    // An eventfd that is written once and read once refuses neither.
    if (readable)
        static_cast<void>(!::write(fd_.get(), &count, sizeof count));
    else
        static_cast<void>(!::read(fd_.get(), &count, sizeof count));
}

bool Shared::show_readiness() {
    if (!readiness) return false;
    const bool readable = !stash.empty() || readiness->peeked;
    readiness->show(readable);
    return !readable && !std::exchange(readiness->peeking, true);
}

/// A get of `object` has ended, or a look at who `ask` names.
void ObjectPort::tell_readiness_locked(const AskPtr& ask, const SharedPtr& object, Due& due) {
    const SharedPtr looked = ask->peeks.lock();
    const SharedPtr& queue = looked ? looked : object;
    if (!queue) return;
    due.kept.push_back(queue);
    const std::lock_guard lock{queue->mutex};
    if (!queue->readiness) return;
    if (looked) {
        queue->readiness->peeking = false;
        queue->readiness->peeked = true;
    } else if (ask->code == wire::Code::None || ask->code == wire::Code::QueueEmpty) {
        queue->readiness->peeked = false;  // That was the last, or another has got it.
    }
    if (queue->show_readiness()) peek_locked(queue);
}

/// REQUIRES: its readiness says that it is being asked.
void ObjectPort::peek_locked(const SharedPtr& queue) {
    auto ask = std::make_shared<Ask>();
    ask->peeks = queue;  // Not its owner: an end that nobody has any more is closed.
    ask->op.verb = wire::ObjectVerb::Peek;
    ask->op.object = queue->identity.id;
    push_locked(std::move(ask));
}

void ObjectPort::peek(const SharedPtr& queue) noexcept {
    {
        const std::lock_guard lock{mutex_};
        if (end_code_ == wire::Code::None && queue->identity.epoch == epoch()) {
            peek_locked(queue);
        } else {
            // recv() will say what has ended.
            const std::lock_guard inner{queue->mutex};
            queue->readiness->peeking = false;
            queue->readiness->peeked = true;
            queue->readiness->show(true);
        }
    }
    wake();
}

int readable_fd(const SharedPtr& queue) {
    queue->client->check_fork();
    bool unknown = false;
    {
        const std::lock_guard lock{queue->mutex};
        if (!queue->readiness) queue->readiness = std::make_unique<Readiness>();
        unknown = queue->show_readiness();
    }
    if (unknown) queue->client->objects().peek(queue);
    const std::lock_guard lock{queue->mutex};
    return queue->readiness->fd();
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
