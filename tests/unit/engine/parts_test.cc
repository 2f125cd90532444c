// SPDX-License-Identifier: Apache-2.0
// The engine's parts by themselves: arena, window, timers, task table, templates.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "broker/engine/arena.h"
#include "broker/engine/task_table.h"
#include "broker/engine/templates.h"
#include "broker/engine/timers.h"
#include "broker/engine/window.h"

namespace forkmill::engine {

TEST(Arena, KeepsWhatWasStoredAndGivesEmptyPagesBack) {
    Arena arena;
    std::mt19937_64 rng{1};
    std::vector<std::pair<std::byte*, std::string>> blocks;
    for (int i = 0; i < 20'000; ++i) {
        if (blocks.empty() || rng() % 3 != 0) {
            const std::string text(1 + rng() % Arena::kLargest,
                                   static_cast<char>('a' + rng() % 26));
            blocks.emplace_back(arena.store(base::bytes_of(text)), text);
        } else {
            const std::size_t at = rng() % blocks.size();
            ASSERT_EQ(
                std::string(reinterpret_cast<char*>(blocks[at].first), blocks[at].second.size()),
                blocks[at].second);
            arena.free(blocks[at].first, blocks[at].second.size());
            blocks[at] = blocks.back();
            blocks.pop_back();
        }
    }
    const std::uint64_t most = arena.pages();
    for (const auto& [data, text] : blocks) arena.free(data, text.size());
    EXPECT_EQ(arena.bytes_used(), 0U);
    EXPECT_LE(arena.pages(), 32U) << "one spare page per class";
    EXPECT_GT(most, 32U);
}

TEST(Arena, WastesAtMostAFifthAbove256Bytes) {
    for (std::size_t size = 1; size <= Arena::kLargest; ++size) {
        ASSERT_GE(Arena::cost_of(size), size);
        if (size <= 256) {
            ASSERT_LT(Arena::cost_of(size), size + 16);
        } else {
            ASSERT_LE(Arena::cost_of(size), size + size / 4) << size;
        }
    }
    EXPECT_EQ(Arena::cost_of(0), 0U);
}

TEST(TaskTable, ANodeIsSmall) {
    EXPECT_LE(sizeof(TaskNode), 80U);
}

TEST(TaskTable, GivesEmptyPagesBackAndNeverRepeatsALease) {
    TaskTable table{0};
    std::map<Lease, int> seen;
    for (int round = 0; round < 5; ++round) {
        std::vector<Slot> slots;
        for (int i = 0; i < 5000; ++i) {
            const Slot slot = table.allocate();
            table[slot].state = State::Ready;
            ++table[slot].generation;
            ASSERT_EQ(++seen[lease_of(slot, table[slot])], 1);
            slots.push_back(slot);
        }
        EXPECT_EQ(table.size(), 5000U);
        EXPECT_EQ(table.pages(), 10U);
        for (const Slot slot : slots) table.free(slot);
        EXPECT_EQ(table.pages(), 1U);
        EXPECT_EQ(table.find(slots[0]), nullptr);
        EXPECT_EQ(table.find(slots[4999]), nullptr);
    }
    EXPECT_EQ(table.find(UINT32_MAX), nullptr);
}

TEST(Window, FollowsASlidingRangeWithoutGrowing) {
    Window window;
    for (std::uint64_t seq = 1; seq <= 1'000'000; ++seq) {
        window.put(seq, static_cast<std::uint32_t>(seq % 1000));
        if (seq > 100) {
            ASSERT_EQ(window.find(seq - 100), (seq - 100) % 1000);
            window.settle(seq - 100);
        }
    }
    EXPECT_LE(window.bytes(), 4096U);
    EXPECT_EQ(window.floor(), 999'901U);
    EXPECT_EQ(window.find(1), Window::kSettled);
    EXPECT_EQ(window.find(2'000'000), Window::kAbsent);
}

TEST(Window, AGapHoldsTheFloor) {
    Window window;
    window.put(1, 10);
    window.put(3, 30);
    window.settle(1);
    window.settle(3);
    EXPECT_EQ(window.floor(), 2U) << "2 may still come";
    EXPECT_EQ(window.find(2), Window::kAbsent);
    window.put(2, 20);
    window.settle(2);
    EXPECT_EQ(window.floor(), 4U);
}

TEST(Window, AnUnknownStartKeepsLowerNumbersPossible) {
    Window window;
    window.put(50, 1);
    window.settle(50);
    EXPECT_TRUE(window.fits(40));
    window.put(40, 2);
    EXPECT_EQ(window.find(40), 2U);
    EXPECT_EQ(window.find(45), Window::kAbsent);
    EXPECT_EQ(window.find(50), Window::kSettled);
}

TEST(Window, SpansAtMostAMillion) {
    Window window;
    window.put(10, 1);
    EXPECT_TRUE(window.fits(10 + wire::kWindowMax - 1));
    EXPECT_FALSE(window.fits(10 + wire::kWindowMax));
    EXPECT_FALSE(window.fits(UINT64_MAX));
}

TEST(Timers, FireInOrderWhateverIsDisarmedOnTheWay) {
    Timers timers;
    std::mt19937_64 rng{2};
    std::vector<std::uint32_t> handles(2000, 0);
    std::multimap<std::int64_t, std::uint32_t> expected;
    std::vector<std::int64_t> at(2000);
    for (int i = 0; i < 10'000; ++i) {
        const std::size_t id = rng() % handles.size();
        if (handles[id] != 0 && rng() % 4 == 0) {
            timers.disarm(handles[id]);
            EXPECT_EQ(handles[id], 0U);
            continue;
        }
        at[id] = static_cast<std::int64_t>(rng() % 1'000'000);
        timers.arm(handles[id],
                   base::Time{base::Duration{at[id]}},
                   Timers::Kind::Task,
                   static_cast<std::uint32_t>(id));
    }
    for (std::uint32_t id = 0; id < handles.size(); ++id)
        if (handles[id] != 0) expected.emplace(at[id], id);
    ASSERT_EQ(timers.size(), expected.size());
    Timers::Fired fired;
    std::int64_t last = 0;
    while (timers.size() > 0) {
        const base::Time next = timers.next();
        ASSERT_FALSE(timers.pop_due(next - base::Duration{1}, fired));
        ASSERT_TRUE(timers.pop_due(next, fired));
        ASSERT_EQ(at[fired.id], next.time_since_epoch().count());
        ASSERT_GE(at[fired.id], last);
        last = at[fired.id];
    }
    EXPECT_EQ(timers.next(), base::kNever);
}

TEST(Templates, EqualDefinitionsAreOne) {
    Templates templates;
    wire::TemplateDef def;
    def.name = "x";
    def.id = 3;
    const std::uint32_t first = templates.intern(def);
    def.id = 9;
    EXPECT_EQ(templates.intern(def), first);
    def.priority = 1;
    EXPECT_NE(templates.intern(def), first);
    def.name = "@build+0x10";
    EXPECT_EQ(templates[templates.intern(def)].offer, "@build");
}

TEST(Templates, ANumberIsNeverGivenToAnotherDefinition) {
    Templates templates;
    wire::TemplateDef def;
    for (std::uint32_t i = 0; i < Templates::kTemplatesLive; ++i) {
        def.name = "t" + std::to_string(i);
        ASSERT_EQ(templates.intern(def), i);
    }
    templates[5].lanes = 1;
    def.name = "one more";
    EXPECT_EQ(templates.intern(def), Templates::kTemplatesLive);
    EXPECT_TRUE(templates.known(5)) << "in use";
    EXPECT_FALSE(templates.known(6)) << "unused ones went";
    EXPECT_EQ(templates.live(), 2U);
}

TEST(Templates, SlowerRunsCountDouble) {
    Templates templates;
    wire::TemplateDef def;
    def.name = "x";
    const std::uint32_t id = templates.intern(def);
    templates.measured(id, 0);
    EXPECT_EQ(templates[id].estimate_ns, 0) << "nothing measured";
    templates.measured(id, 800);
    EXPECT_EQ(templates[id].estimate_ns, 800);
    templates.measured(id, 1600);
    EXPECT_EQ(templates[id].estimate_ns, 1000);
    templates.measured(id, 200);
    EXPECT_EQ(templates[id].estimate_ns, 900);
}

}  // namespace forkmill::engine
