// SPDX-License-Identifier: Apache-2.0
// Lines::pick: three times "the one that received least", then the oldest head. Included by lines.h
// only.
//
// A child is looked into only when it would win, so the usual case (every worker runs everything)
// looks into a handful however many wait. Threading: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "broker/engine/lines.h"

namespace forkmill::engine {

/// Work a child may receive beyond its next competitor before it is looked at again.
inline constexpr std::int64_t kTurnWork = 1'000'000;

/// The lane of `line` whose head is oldest, and the head that comes after it.
template <class Can>
Lines::Pick Lines::oldest_lane(const Line& line, Can& can) const {
    Pick best;  // Its key and seq are those of the runner-up.
    std::int64_t first_key = kMost;
    std::uint64_t first_seq = UINT64_MAX;
    for (const std::uint32_t id : line.active.list) {
        const TaskNode& head = tasks_[lanes_[id].head];
        const bool first = head.key < first_key || (head.key == first_key && head.seq < first_seq);
        const bool second = head.key < best.key || (head.key == best.key && head.seq < best.seq);
        if ((!first && !second) || !can(lanes_[id])) continue;
        if (first) {
            best.key = first_key;
            best.seq = first_seq;
            first_key = head.key;
            first_seq = head.seq;
            best.lane = id;
        } else {
            best.key = head.key;
            best.seq = head.seq;
        }
    }
    return best;
}

/// Of `children`, the one that received least and in which look() finds a lane.
template <class Children, class Look>
Lines::Pick Lines::least_of(const std::vector<std::uint32_t>& ids,
                            const Children& children,
                            Look look) {
    Pick best;
    std::int64_t least = kMost;
    std::int64_t next = kMost;
    for (const std::uint32_t id : ids) {
        const auto& child = children[id];
        if (child.received >= next && best.lane != kNone) continue;
        const Pick found = look(child);
        if (found.lane == kNone) continue;
        if (best.lane == kNone || child.received < least) {
            next = least;
            least = child.received;
            best = found;
        } else {
            next = std::min(next, child.received);
        }
    }
    if (next != kMost)
        best.work = std::min(best.work, std::max<std::int64_t>(next - least, 0) + kTurnWork);
    return best;
}

template <class Can>
Lines::Pick Lines::pick(const std::vector<std::uint32_t>& queues, Can can) const {
    const auto in_line = [&](const Line& line) { return oldest_lane(line, can); };
    const auto in_seat = [&](const Seat& seat) {
        return least_of(seat.active.list, lines_, in_line);
    };
    return least_of(queues, queues_, [&](const Queue& queue) {
        return queue.ready == 0 ? Pick{} : least_of(queue.active.list, seats_, in_seat);
    });
}

}  // namespace forkmill::engine
