// SPDX-License-Identifier: Apache-2.0
// Watches of the port: what the broker tells of changes, handed to callbacks.
#include <utility>

#include "forkmill/errors.h"
#include "sdk/src/client.h"
#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

using wire::Code;
using wire::ObjectVerb;

void ObjectPort::start_watch(const std::shared_ptr<WatchState>& watch, const AskPtr& ask) {
    {
        const std::lock_guard lock{mutex_};
        if (end_code_ != Code::None) throw_code(end_code_, end_text_, wire::Ran::No);
        watch->number = next_op_;
        watches_.emplace(next_op_, watch);
        push_locked(ask);
    }
    wake();
}

void ObjectPort::end_watch(WatchState& watch) noexcept {
    watch.over.store(true, std::memory_order_release);
    std::shared_ptr<WatchState> gone;
    {
        const std::lock_guard lock{mutex_};
        const auto known = watches_.find(watch.number);
        if (known == watches_.end()) return;
        gone = std::move(known->second);
        watches_.erase(known);
        wire::ObjectOp op;
        op.verb = ObjectVerb::Unwatch;
        op.object = watch.object->identity.id;
        op.token = watch.number;
        tell_locked(std::move(op));
    }
    wake();
}

/// `adopted`: handles that the event brought; what the callback does not take of them is closed.
void ObjectPort::tell_change(const std::shared_ptr<WatchState>& watch,
                             Change change,
                             base::Blob body,
                             std::vector<std::uint64_t> adopted,
                             Due& due) {
    auto brought = std::make_shared<Ask>();
    brought->client = watch->client;
    brought->adopted = std::move(adopted);
    brought->epoch = epoch();
    Job job;
    job.call = [watch, change, brought, body = std::move(body)]() mutable {
        if (watch->over.load(std::memory_order_acquire)) return;
        change.body = body.view();
        change.brought = brought.get();
        watch->handler(change);
    };
    due.jobs.push_back(std::move(job));
}

void ObjectPort::on_event(const wire::ObjectEvent& event) {
    std::shared_ptr<WatchState> watch;
    const bool gone = event.change == wire::ObjectChange::Gone;
    {
        const std::lock_guard lock{mutex_};
        const auto known = watches_.find(event.watch);
        if (known != watches_.end()) watch = known->second;
        if (watch && gone) watches_.erase(known);
    }
    base::Blob body;
    std::vector<std::uint64_t> adopted;
    if (!event.items.empty()) {
        body = whole_of(event.items.front().body.body);
        adopted = event.items.front().refs;
    }
    // It was on its way when the watch ended.
    if (!watch) return give_back(adopted);
    Change change;
    change.gone = gone;
    change.erased = event.change == wire::ObjectChange::Erased;
    change.whole = event.change == wire::ObjectChange::Changed;
    Due due;
    tell_change(watch, change, std::move(body), std::move(adopted), due);
    publish(due);
}

void ObjectPort::end_watches_locked(Due& due) {
    Change change;
    change.gone = true;
    for (const auto& [number, watch] : watches_) tell_change(watch, change, {}, {}, due);
    watches_.clear();
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
