// SPDX-License-Identifier: Apache-2.0
// Lines: the ready tasks in the order of semantics.md 18.
//
// Queues by weight → principals → their sessions → lanes. A lane is the FIFO of one (stream,
// template): all its tasks have one priority, one function and one set of options, so whether a
// worker may take from it is asked once for all of them, and a function nobody runs holds up no
// other. Among the lanes of a session the head with the smallest (key, seq) goes first. On the
// three levels above, the child that has received the least work per weight goes next: deficit
// round robin, kept as a clock of work received, in which whoever had nothing to do cannot save up.
// Invariants: (1) a ready task stands in exactly one lane; (2) a lane is active in its line exactly
// while it is not empty, a line in its seat while it has an active lane and is not paused, a seat
// in its queue while it has an active line; (3) ready() counts the tasks of active lines.
// Threading: none.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/engine/config.h"
#include "broker/engine/task_table.h"

namespace forkmill::engine {

inline constexpr std::int64_t kPriorityStep = 1'000'000'000;  ///< One priority is worth 1 s of age.
inline constexpr std::size_t kPrioritiesMax = 64;             ///< Distinct ones per line.

/// A set of indexes with O(1) insert and erase; members keep their place in `at`.
struct Active {
    std::vector<std::uint32_t> list;
    void insert(std::uint32_t id, std::uint32_t& at) {
        at = static_cast<std::uint32_t>(list.size());
        list.push_back(id);
    }
};

struct Lane {
    std::uint32_t stream = kNone;
    std::uint32_t template_id = 0;
    std::uint32_t line = kNone;
    std::uint32_t queue = kNone;
    std::int32_t priority = 0;
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
    std::uint32_t ready = 0;
    std::uint32_t at = kNone;  ///< In its line's active list.
    std::uint32_t returned =
        kNone;               ///< Last task put back at the head; the next one belongs near it.
    std::uint32_t refs = 0;  ///< Nodes, plus one for the session's registration.
    std::uint64_t offers_seen = 0;  ///< Version of its queue's offers that `verdict` was judged by.
    wire::Code verdict{};
};

struct Line {
    std::uint32_t stream = kNone;
    std::uint32_t seat = kNone;
    std::uint32_t lanes = 0;
    std::uint32_t ready = 0;
    std::int64_t received = 0;
    std::uint32_t at = kNone;
    bool paused = false;
    Active active;
    std::vector<std::int32_t> priorities;
};

struct Seat {
    std::uint32_t principal = kNone;
    std::uint32_t queue = kNone;
    std::uint32_t lines = 0;
    std::int64_t received = 0;
    std::int64_t clock = 0;
    std::uint32_t at = kNone;
    Active active;
};

struct Queue {
    QueueConfig config;
    std::int64_t received = 0;
    std::int64_t clock = 0;
    Active active;
    std::uint32_t ready = 0;  ///< In active lines.
    std::uint64_t tasks = 0;  ///< Unsettled.
    std::uint64_t counts[kStates] = {};
    std::vector<std::uint32_t> workers;  ///< Sessions that serve it.
    std::uint64_t offers_version = 1;
    std::vector<Slot> suspects;      ///< Ready, to be delivered alone.
    std::uint32_t reserved = kNone;  ///< Worker being emptied for the first suspect.
};

class Lines {
  public:
    static constexpr std::size_t kQueuesMax = 1024;
    static constexpr std::int64_t kMost = INT64_MAX;
    struct Pick {
        std::uint32_t lane = kNone;
        std::int64_t key = kMost;  ///< The lane may give tasks up to (key, seq) …
        std::uint64_t seq = UINT64_MAX;
        std::int64_t work = kMost;  ///< … and up to this much work before others are due.
    };

    Lines(const Config& config, TaskTable& tasks);

    std::uint32_t queue_named(std::string_view name) const;
    std::uint32_t open_lane(std::uint32_t stream,
                            std::uint32_t principal,
                            std::uint32_t queue,
                            std::uint32_t template_id,
                            std::int32_t priority);
    /// REQUIRES: no references are left.
    void close_lane(std::uint32_t lane);
    /// False: the line would have more than kPrioritiesMax distinct priorities.
    bool admits_priority(std::uint32_t stream, std::uint32_t queue, std::int32_t priority) const;

    void push_back(std::uint32_t lane, Slot slot);
    /// Back to the head of the line, in the order of (key, seq) among others put back.
    void put_back(std::uint32_t lane, Slot slot);
    void remove(std::uint32_t lane, Slot slot);
    /// The lines of a stream give nothing while paused; nothing is lost.
    void pause(std::uint32_t stream, bool paused);

    /// The lane that is due next among `queues` for a worker that may take from lanes with
    /// can(lane).
    template <class Can>
    Pick pick(const std::vector<std::uint32_t>& queues, Can can) const;
    /// Accounts `work` nanoseconds given from `lane`.
    void charge(std::uint32_t lane, std::int64_t work);

    std::uint64_t ready() const { return ready_; }
    Lane& lane(std::uint32_t id) { return lanes_[id]; }
    const Lane& lane(std::uint32_t id) const { return lanes_[id]; }
    std::vector<Queue>& queues() { return queues_; }
    const std::vector<Queue>& queues() const { return queues_; }
    /// Visits every open lane.
    template <class Visit>
    void for_each_lane(Visit visit) const {
        for (std::uint32_t i = 0; i < lanes_.size(); ++i)
            if (lanes_[i].stream != kNone) visit(i, lanes_[i]);
    }
    std::string check() const;

  private:
    static std::uint64_t pair_of(std::uint32_t a, std::uint32_t b) {
        return std::uint64_t{a} << 32 | b;
    }
    template <class Can>
    Pick oldest_lane(const Line& line, Can& can) const;
    template <class Children, class Look>
    static Pick least_of(const std::vector<std::uint32_t>& ids,
                         const Children& children,
                         Look look);
    void lane_filled(std::uint32_t lane);
    void lane_emptied(std::uint32_t lane);
    void activate_line(std::uint32_t line);
    void deactivate_line(std::uint32_t line);
    void count(Lane& lane, std::int32_t change);

    TaskTable& tasks_;
    std::vector<Lane> lanes_;
    std::vector<Line> lines_;
    std::vector<Seat> seats_;
    std::vector<Queue> queues_;
    std::vector<std::uint32_t> free_lanes_, free_lines_, free_seats_;
    std::unordered_map<std::uint64_t, std::uint32_t> line_of_, seat_of_;
    std::unordered_map<std::string, std::uint32_t> queue_of_;
    std::uint64_t ready_ = 0;
};

}  // namespace forkmill::engine

#include "broker/engine/lines_pick.h"
