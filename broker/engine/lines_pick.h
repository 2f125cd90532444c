// SPDX-License-Identifier: Apache-2.0
// Lines::pick: three times "the one that received least", then the oldest head. Included by lines.h
// only.
//
// A child is looked into only when it would win, so the usual case (every worker runs everything)
// looks into a handful however many wait. Threading: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace forkmill::engine {

/// Work a child may receive beyond its next competitor before it is looked at again.
inline constexpr std::int64_t kTurnWork = 1'000'000;

template <class Can>
Lines::Pick Lines::pick(const std::vector<std::uint32_t>& queues, Can can) const {
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    const auto best_lane = [&](const Line& line) {
        Pick best;
        best.key = kMost;
        best.seq = UINT64_MAX;
        std::int64_t first_key = kMost;
        std::uint64_t first_seq = UINT64_MAX;
        for (const std::uint32_t id : line.active.list) {
            const TaskNode& head = tasks_[lanes_[id].head];
            const bool first =
                head.key < first_key || (head.key == first_key && head.seq < first_seq);
            const bool second =
                head.key < best.key || (head.key == best.key && head.seq < best.seq);
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
    };
    // Work until `other` is due as well, in the units of the level (weight 1).
    const auto turn = [](std::int64_t mine, std::int64_t other) {
        return other == kMost ? kMost : std::max<std::int64_t>(other - mine, 0) + kTurnWork;
    };
    const auto best_line = [&](const Seat& seat) {
        Pick best;
        std::int64_t least = kMost, next = kMost;
        for (const std::uint32_t id : seat.active.list) {
            const Line& line = lines_[id];
            if (line.received >= next && best.lane != kNone) continue;
            const Pick found = best_lane(line);
            if (found.lane == kNone) continue;
            if (best.lane == kNone || line.received < least) {
                next = least;
                least = line.received;
                best = found;
            } else {
                next = std::min(next, line.received);
            }
        }
        best.work = turn(least, next);
        return best;
    };
    const auto best_seat = [&](const Queue& queue) {
        Pick best;
        std::int64_t least = kMost, next = kMost;
        for (const std::uint32_t id : queue.active.list) {
            const Seat& seat = seats_[id];
            if (seat.received >= next && best.lane != kNone) continue;
            const Pick found = best_line(seat);
            if (found.lane == kNone) continue;
            if (best.lane == kNone || seat.received < least) {
                next = least;
                least = seat.received;
                best = found;
            } else {
                next = std::min(next, seat.received);
            }
        }
        best.work = std::min(best.work, turn(least, next));
        return best;
    };
    Pick best;
    std::int64_t least = kMost, next = kMost;
    for (const std::uint32_t id : queues) {
        const Queue& queue = queues_[id];
        if (queue.ready == 0 || (queue.received >= next && best.lane != kNone)) continue;
        const Pick found = best_seat(queue);
        if (found.lane == kNone) continue;
        if (best.lane == kNone || queue.received < least) {
            next = least;
            least = queue.received;
            best = found;
        } else {
            next = std::min(next, queue.received);
        }
    }
    best.work = std::min(best.work, turn(least, next));
    return best;
}

}  // namespace forkmill::engine
