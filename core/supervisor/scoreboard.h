// SPDX-License-Identifier: Apache-2.0
// Scoreboard: one shared-memory cell per task thread of a worker slot, written by that worker only, read by its master after the reap and for status.
//
// Invariants: (1) single writer per cell, so plain relaxed atomics suffice: the kernel's reaping orders the last write before the master's read;
// (2) `lease` is non-zero exactly while user code may be running under it: written before the call, cleared after the result is queued (semantics.md 14b);
// (3) nothing in it is a lock. Layout is fixed: master and worker are the same build.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace forkmill::supervisor {

inline constexpr std::uint32_t kThreadCells = 16;  ///< Cells per slot; threads beyond share blame through `overflow`.

struct alignas(64) ThreadCell {
    std::atomic<std::uint64_t> lease{0};
    std::atomic<std::int64_t> started_ns{0};   ///< Monotonic; 0 when idle.
    std::atomic<std::int64_t> hard_limit_ns{0};  ///< Monotonic point at which the task may be killed; 0: none.
    std::atomic<std::uint64_t> tasks_done{0};
};

struct alignas(64) SlotCells {
    std::atomic<std::uint32_t> pid{0};
    std::atomic<std::uint32_t> generation{0};
    std::atomic<std::uint32_t> threads{0};
    std::atomic<std::uint32_t> leaving{0};      ///< The worker leaves on purpose: its end is expected.
    std::atomic<std::int64_t> io_tick_ns{0};    ///< Last turn of the non-task thread.
    std::array<ThreadCell, kThreadCells> cells{};
};

}  // namespace forkmill::supervisor
