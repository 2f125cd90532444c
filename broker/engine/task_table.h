// SPDX-License-Identifier: Apache-2.0
// TaskTable: the slab of task nodes and the pool of their sides.
//
// Invariants: (1) a slot is stable for the life of its task; (2) the generation of a slot never
// falls, not even when its page goes back and comes again, so a lease is never re-used; (3) an
// empty page goes back, one excepted. Threading: none.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "broker/engine/task.h"

namespace forkmill::engine {

class TaskTable {
  public:
    /// Generations start above `first_generation`, which differs between incarnations.
    explicit TaskTable(std::uint32_t first_generation) : first_generation_(first_generation) {}

    /// A blank node in state Free, which the caller is to change at once.
    Slot allocate();
    void free(Slot slot);

    TaskNode& operator[](Slot slot) { return pages_[slot >> kPageBits].nodes[slot & kPageMask]; }
    const TaskNode& operator[](Slot slot) const {
        return pages_[slot >> kPageBits].nodes[slot & kPageMask];
    }
    /// The node under `slot` if there is one: for slots that peers name.
    TaskNode* find(Slot slot);
    const TaskNode* find(Slot slot) const { return const_cast<TaskTable*>(this)->find(slot); }

    Side& side_of(TaskNode& node);  ///< Makes one if there is none.
    Side* find_side(const TaskNode& node) {
        return node.side == kNone ? nullptr : &sides_[node.side];
    }
    const Side* find_side(const TaskNode& node) const {
        return node.side == kNone ? nullptr : &sides_[node.side];
    }

    std::uint64_t size() const { return live_; }
    std::uint64_t sides() const { return sides_.size() - free_sides_.size(); }
    std::uint64_t bytes() const { return live_ * sizeof(TaskNode) + sides() * sizeof(Side); }
    std::uint64_t pages() const { return pages_held_; }

    template <class Visit>
    void for_each(Visit visit) const {
        for (std::size_t p = 0; p < pages_.size(); ++p) {
            if (!pages_[p].nodes) continue;
            for (std::uint32_t i = 0; i < kPageNodes; ++i) {
                const TaskNode& node = pages_[p].nodes[i];
                if (node.state != State::Free) visit(static_cast<Slot>(p << kPageBits | i), node);
            }
        }
    }

  private:
    static constexpr std::uint32_t kPageBits = 9;
    static constexpr std::uint32_t kPageNodes = 1U << kPageBits;
    static constexpr std::uint32_t kPageMask = kPageNodes - 1;

    struct Page {
        std::unique_ptr<TaskNode[]> nodes;
        std::uint32_t free_head = kNone;  ///< Index in the page; given-back nodes, linked by next.
        std::uint32_t fresh = 0;          ///< First node that was never out.
        std::uint32_t live = 0;
        std::uint32_t next = kNone;  ///< Pages with room, most recently freed first.
        std::uint32_t prev = kNone;
        std::uint32_t generation = 0;  ///< Highest generation its nodes had before it went back.
        bool linked = false;
    };

    std::uint32_t add_page();
    void link(std::uint32_t page);
    void unlink(std::uint32_t page);
    void give_back(std::uint32_t page);

    std::uint32_t first_generation_;
    std::vector<Page> pages_;
    std::vector<std::uint32_t> absent_;  ///< Indexes of pages that went back.
    std::uint32_t room_ = kNone;         ///< First page with room.
    std::uint32_t empty_ = kNone;        ///< The one empty page that is kept.
    std::uint64_t live_ = 0;
    std::uint64_t pages_held_ = 0;
    std::deque<Side> sides_;
    std::vector<std::uint32_t> free_sides_;
};

}  // namespace forkmill::engine
