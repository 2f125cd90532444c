// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/task_table.h"

#include <algorithm>

#include "core/base/check.h"

namespace forkmill::engine {

std::uint32_t TaskTable::add_page() {
    std::uint32_t index = kNone;
    if (absent_.empty()) {
        index = static_cast<std::uint32_t>(pages_.size());
        pages_.emplace_back();
        pages_[index].generation = first_generation_;
    } else {
        index = absent_.back();
        absent_.pop_back();
    }
    Page& page = pages_[index];
    page.nodes = std::make_unique<TaskNode[]>(kPageNodes);
    for (std::uint32_t i = 0; i < kPageNodes; ++i) page.nodes[i].generation = page.generation;
    page.free_head = kNone;
    page.fresh = 0;
    page.live = 0;
    ++pages_held_;
    link(index);
    return index;
}

void TaskTable::link(std::uint32_t index) {
    Page& page = pages_[index];
    page.prev = kNone;
    page.next = room_;
    if (room_ != kNone) pages_[room_].prev = index;
    room_ = index;
    page.linked = true;
}

void TaskTable::unlink(std::uint32_t index) {
    Page& page = pages_[index];
    (page.prev != kNone ? pages_[page.prev].next : room_) = page.next;
    if (page.next != kNone) pages_[page.next].prev = page.prev;
    page.linked = false;
}

Slot TaskTable::allocate() {
    const std::uint32_t index = room_ != kNone ? room_ : add_page();
    Page& page = pages_[index];
    std::uint32_t at = page.free_head;
    if (at != kNone) {
        page.free_head = page.nodes[at].next;
    } else {
        at = page.fresh++;
    }
    if (empty_ == index) empty_ = kNone;
    ++page.live;
    ++live_;
    if (page.free_head == kNone && page.fresh == kPageNodes) unlink(index);
    TaskNode& node = page.nodes[at];
    const std::uint32_t generation = node.generation;
    node = TaskNode{};
    node.generation = generation;
    return index << kPageBits | at;
}

void TaskTable::free(Slot slot) {
    const std::uint32_t index = slot >> kPageBits;
    Page& page = pages_[index];
    TaskNode& node = page.nodes[slot & kPageMask];
    FORKMILL_CHECK(page.live > 0);
    if (node.side != kNone) {
        sides_[node.side] = Side{};
        free_sides_.push_back(node.side);
        node.side = kNone;
    }
    node.state = State::Free;
    node.next = page.free_head;
    page.free_head = slot & kPageMask;
    --page.live;
    --live_;
    if (!page.linked) link(index);
    if (page.live == 0) give_back(index);
}

void TaskTable::give_back(std::uint32_t index) {
    if (empty_ == kNone) {
        empty_ = index;
        return;
    }
    Page& page = pages_[index];
    for (std::uint32_t i = 0; i < kPageNodes; ++i)
        page.generation = std::max(page.generation, page.nodes[i].generation);
    unlink(index);
    page.nodes.reset();
    absent_.push_back(index);
    --pages_held_;
}

TaskNode* TaskTable::find(Slot slot) {
    const std::uint32_t index = slot >> kPageBits;
    if (index >= pages_.size() || !pages_[index].nodes) return nullptr;
    TaskNode& node = pages_[index].nodes[slot & kPageMask];
    return node.state == State::Free ? nullptr : &node;
}

Side& TaskTable::side_of(TaskNode& node) {
    if (node.side == kNone) {
        if (free_sides_.empty()) {
            node.side = static_cast<std::uint32_t>(sides_.size());
            sides_.emplace_back();
        } else {
            node.side = free_sides_.back();
            free_sides_.pop_back();
        }
    }
    return sides_[node.side];
}

}  // namespace forkmill::engine
