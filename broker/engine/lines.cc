// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/lines.h"

#include <algorithm>

#include "core/base/check.h"

namespace forkmill::engine {

namespace {

template <class T>
std::uint32_t take_index(std::vector<T>& all, std::vector<std::uint32_t>& free) {
    if (free.empty()) {
        all.emplace_back();
        return static_cast<std::uint32_t>(all.size() - 1);
    }
    const std::uint32_t index = free.back();
    free.pop_back();
    all[index] = T{};
    return index;
}

// Whoever comes (back) starts level with those that are being served: idling saves nothing up.
template <class Parent, class Child>
void enter(Parent& parent, Child& child, std::uint32_t id) {
    child.received = std::max(child.received, parent.clock);
    parent.active.insert(id, child.at);
}

template <class Parent, class Children>
void leave(Parent& parent, Children& children, std::uint32_t id) {
    auto& list = parent.active.list;
    const std::uint32_t at = children[id].at;
    list[at] = list.back();
    children[list[at]].at = at;
    list.pop_back();
    children[id].at = kNone;
}

bool goes_before(const TaskNode& a, const TaskNode& b) {
    return a.key != b.key ? a.key < b.key : a.seq < b.seq;
}

}  // namespace

Lines::Lines(const Config& config, TaskTable& tasks) : tasks_(tasks) {
    for (const QueueConfig& each : config.queues) {
        if (queues_.size() >= kQueuesMax || queue_of_.count(each.name) != 0) continue;
        queue_of_.emplace(each.name, static_cast<std::uint32_t>(queues_.size()));
        queues_.emplace_back();
        queues_.back().config = each;
        queues_.back().config.weight = std::max(each.weight, 1U);
    }
}

std::uint32_t Lines::queue_named(std::string_view name) const {
    const auto found = queue_of_.find(std::string{name});
    return found == queue_of_.end() ? kNone : found->second;
}

bool Lines::admits_priority(std::uint32_t stream,
                            std::uint32_t queue,
                            std::int32_t priority) const {
    const auto found = line_of_.find(pair_of(stream, queue));
    if (found == line_of_.end()) return true;
    const auto& known = lines_[found->second].priorities;
    return known.size() < kPrioritiesMax ||
           std::find(known.begin(), known.end(), priority) != known.end();
}

std::uint32_t Lines::open_lane(std::uint32_t stream,
                               std::uint32_t principal,
                               std::uint32_t queue,
                               std::uint32_t template_id,
                               std::int32_t priority) {
    auto [seat_at, new_seat] = seat_of_.try_emplace(pair_of(principal, queue), kNone);
    if (new_seat) {
        seat_at->second = take_index(seats_, free_seats_);
        seats_[seat_at->second].principal = principal;
        seats_[seat_at->second].queue = queue;
    }
    auto [line_at, new_line] = line_of_.try_emplace(pair_of(stream, queue), kNone);
    if (new_line) {
        line_at->second = take_index(lines_, free_lines_);
        lines_[line_at->second].stream = stream;
        lines_[line_at->second].seat = seat_at->second;
        ++seats_[seat_at->second].lines;
    }
    Line& line = lines_[line_at->second];
    ++line.lanes;
    if (std::find(line.priorities.begin(), line.priorities.end(), priority) ==
        line.priorities.end())
        line.priorities.push_back(priority);
    const std::uint32_t id = take_index(lanes_, free_lanes_);
    Lane& lane = lanes_[id];
    lane.stream = stream;
    lane.template_id = template_id;
    lane.line = line_at->second;
    lane.queue = queue;
    lane.priority = priority;
    return id;
}

void Lines::close_lane(std::uint32_t id) {
    Lane& lane = lanes_[id];
    FORKMILL_CHECK(lane.refs == 0 && lane.ready == 0);
    const std::uint32_t line_id = lane.line;
    lane = Lane{};
    free_lanes_.push_back(id);
    Line& line = lines_[line_id];
    if (--line.lanes > 0) return;
    const std::uint32_t seat_id = line.seat;
    Seat& seat = seats_[seat_id];
    line_of_.erase(pair_of(line.stream, seat.queue));
    line = Line{};
    free_lines_.push_back(line_id);
    if (--seat.lines > 0) return;
    seat_of_.erase(pair_of(seat.principal, seat.queue));
    seat = Seat{};
    free_seats_.push_back(seat_id);
}

void Lines::activate_line(std::uint32_t id) {
    Line& line = lines_[id];
    Seat& seat = seats_[line.seat];
    Queue& queue = queues_[seat.queue];
    if (seat.active.list.empty()) {
        if (queue.ready == 0) {
            // A queue that had nothing to do starts level with the one that waits longest.
            std::int64_t least = INT64_MAX;
            for (const Queue& each : queues_)
                if (each.ready > 0) least = std::min(least, each.received);
            if (least != INT64_MAX) queue.received = std::max(queue.received, least);
        }
        enter(queue, seat, line.seat);
    }
    enter(seat, line, id);
    queue.ready += line.ready;
    ready_ += line.ready;
}

void Lines::deactivate_line(std::uint32_t id) {
    Line& line = lines_[id];
    Seat& seat = seats_[line.seat];
    Queue& queue = queues_[seat.queue];
    queue.ready -= line.ready;
    ready_ -= line.ready;
    leave(seat, lines_, id);
    if (seat.active.list.empty()) leave(queue, seats_, line.seat);
}

void Lines::lane_filled(std::uint32_t id) {
    Lane& lane = lanes_[id];
    Line& line = lines_[lane.line];
    line.active.insert(id, lane.at);
    if (line.at == kNone && !line.paused) activate_line(lane.line);
}

void Lines::lane_emptied(std::uint32_t id) {
    Lane& lane = lanes_[id];
    Line& line = lines_[lane.line];
    leave(line, lanes_, id);
    if (line.active.list.empty() && line.at != kNone) deactivate_line(lane.line);
}

void Lines::count(Lane& lane, std::int32_t change) {
    const auto step = static_cast<std::uint32_t>(change);  // Wraps for −1, as unsigned sums do.
    Line& line = lines_[lane.line];
    lane.ready += step;
    line.ready += step;
    if (line.at == kNone) return;
    queues_[lane.queue].ready += step;
    ready_ += static_cast<std::uint64_t>(std::int64_t{change});
}

void Lines::push_back(std::uint32_t id, Slot slot) {
    Lane& lane = lanes_[id];
    TaskNode& node = tasks_[slot];
    node.next = kNone;
    node.prev = lane.tail;
    (lane.tail != kNone ? tasks_[lane.tail].next : lane.head) = slot;
    lane.tail = slot;
    if (lane.at == kNone) lane_filled(id);
    count(lane, 1);
}

void Lines::put_back(std::uint32_t id, Slot slot) {
    Lane& lane = lanes_[id];
    TaskNode& node = tasks_[slot];
    // Tasks come back in the order they were given, so the last one that came is near the right
    // place.
    std::uint32_t before = lane.returned;
    if (before != kNone && goes_before(node, tasks_[before])) before = kNone;
    std::uint32_t after = before != kNone ? tasks_[before].next : lane.head;
    while (after != kNone && goes_before(tasks_[after], node)) {
        before = after;
        after = tasks_[after].next;
    }
    node.prev = before;
    node.next = after;
    (before != kNone ? tasks_[before].next : lane.head) = slot;
    (after != kNone ? tasks_[after].prev : lane.tail) = slot;
    lane.returned = slot;
    if (lane.at == kNone) lane_filled(id);
    count(lane, 1);
}

void Lines::remove(std::uint32_t id, Slot slot) {
    Lane& lane = lanes_[id];
    TaskNode& node = tasks_[slot];
    (node.prev != kNone ? tasks_[node.prev].next : lane.head) = node.next;
    (node.next != kNone ? tasks_[node.next].prev : lane.tail) = node.prev;
    if (lane.returned == slot) lane.returned = node.prev;
    node.next = node.prev = kNone;
    count(lane, -1);
    if (lane.ready == 0) lane_emptied(id);
}

void Lines::pause(std::uint32_t stream, bool paused) {
    for (std::uint32_t queue = 0; queue < queues_.size(); ++queue) {
        const auto found = line_of_.find(pair_of(stream, queue));
        if (found == line_of_.end()) continue;
        Line& line = lines_[found->second];
        if (line.paused == paused) continue;
        line.paused = paused;
        if (paused && line.at != kNone) deactivate_line(found->second);
        if (!paused && !line.active.list.empty()) activate_line(found->second);
    }
}

void Lines::charge(std::uint32_t id, std::int64_t work) {
    Lane& lane = lanes_[id];
    Line& line = lines_[lane.line];
    Seat& seat = seats_[line.seat];
    Queue& queue = queues_[lane.queue];
    seat.clock = std::max(seat.clock, line.received);
    queue.clock = std::max(queue.clock, seat.received);
    line.received += work;
    seat.received += work;
    queue.received += work / queue.config.weight + 1;
}

std::string Lines::check() const {
    std::uint64_t ready = 0;
    for (std::uint32_t id = 0; id < lanes_.size(); ++id) {
        const Lane& lane = lanes_[id];
        if (lane.stream == kNone) continue;
        std::uint32_t length = 0;
        std::uint32_t last = kNone;
        for (Slot slot = lane.head; slot != kNone; slot = tasks_[slot].next) {
            const TaskNode& node = tasks_[slot];
            if (node.state != State::Ready) return "a lane holds a task that is not ready";
            if (node.lane != id) return "a task stands in another lane than its own";
            if (node.prev != last) return "a lane's links do not match";
            if (++length > lane.ready) return "a lane is longer than its count";
            last = slot;
        }
        if (length != lane.ready || last != lane.tail) return "a lane's count is wrong";
        if ((lane.at != kNone) != (lane.ready > 0))
            return "an active lane is empty, or the reverse";
        const Line& line = lines_[lane.line];
        if (lane.at != kNone && line.active.list[lane.at] != id) return "a lane's place is wrong";
        if (line.at != kNone) ready += lane.ready;
        const bool active = !line.active.list.empty() && !line.paused;
        if ((line.at != kNone) != active) return "a line is active without reason";
        const Seat& seat = seats_[line.seat];
        if (line.at != kNone && seat.active.list[line.at] != lane.line)
            return "a line's place is wrong";
        if ((seat.at != kNone) == seat.active.list.empty())
            return "a seat is active without reason";
    }
    if (ready != ready_) return "the number of ready tasks is wrong";
    std::uint64_t sum = 0;
    for (const Queue& queue : queues_) sum += queue.ready;
    return sum == ready_ ? std::string{} : "the queues' ready tasks do not sum up";
}

}  // namespace forkmill::engine
