// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/timers.h"

#include "core/base/check.h"

namespace forkmill::engine {

void Timers::place(std::size_t at, const Entry& entry) {
    heap_[at] = entry;
    position_[entry.handle] = static_cast<std::uint32_t>(at);
}

void Timers::sift_up(std::size_t at, const Entry& entry) {
    while (at > 0) {
        const std::size_t parent = (at - 1) / 2;
        if (!entry.before(heap_[parent])) break;
        place(at, heap_[parent]);
        at = parent;
    }
    place(at, entry);
}

void Timers::sift_down(std::size_t at, const Entry& entry) {
    for (;;) {
        std::size_t child = 2 * at + 1;
        if (child >= heap_.size()) break;
        if (child + 1 < heap_.size() && heap_[child + 1].before(heap_[child])) ++child;
        if (!heap_[child].before(entry)) break;
        place(at, heap_[child]);
        at = child;
    }
    place(at, entry);
}

void Timers::arm(std::uint32_t& handle, base::Time at, Kind kind, std::uint32_t id) {
    if (handle != 0) remove(position_[handle]);
    if (handle == 0) {
        if (free_.empty()) {
            handle = static_cast<std::uint32_t>(position_.size());
            position_.push_back(0);
        } else {
            handle = free_.back();
            free_.pop_back();
        }
    }
    heap_.emplace_back();
    sift_up(heap_.size() - 1, Entry{at, ++order_, handle, id, kind});
}

void Timers::remove(std::size_t at) {
    FORKMILL_CHECK(at < heap_.size());
    const Entry last = heap_.back();
    heap_.pop_back();
    if (at == heap_.size()) return;
    if (at > 0 && last.before(heap_[(at - 1) / 2])) {
        sift_up(at, last);
    } else {
        sift_down(at, last);
    }
}

void Timers::disarm(std::uint32_t& handle) {
    if (handle == 0) return;
    remove(position_[handle]);
    free_.push_back(handle);
    handle = 0;
}

bool Timers::pop_due(base::Time now, Fired& fired) {
    if (heap_.empty() || heap_.front().at > now) return false;
    const Entry first = heap_.front();
    fired = Fired{first.kind, first.id};
    remove(0);
    free_.push_back(first.handle);
    return true;
}

}  // namespace forkmill::engine
