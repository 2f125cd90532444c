// SPDX-License-Identifier: Apache-2.0
// Scoreboard: one shared-memory cell per task thread of a worker slot, written by that worker only,
// read by its master after the reap and for status.
//
// Invariants: (1) single writer per cell, so plain relaxed atomics suffice: the kernel's reaping
// orders the last write before the master's read; (2) `lease` is non-zero exactly while user code
// may be running under it: written before the call, cleared after the result is queued
// (semantics.md 14b); (3) nothing in it is a lock. Layout is fixed: master and worker are the same
// build. Threading: cells as said; a Scoreboard object has one owner.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "core/base/result.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

inline constexpr std::uint32_t kThreadCells =
    16;  ///< Cells per slot; threads beyond share blame through `overflow`.

struct alignas(64) ThreadCell {
    std::atomic<std::uint64_t> lease{0};
    std::atomic<std::int64_t> started_ns{0};  ///< Monotonic; 0 when idle.
    std::atomic<std::int64_t> hard_limit_ns{
        0};  ///< Monotonic point at which the task may be killed; 0: none.
    std::atomic<std::uint64_t> tasks_done{0};
};

struct alignas(64) SlotCells {
    std::atomic<std::uint32_t> pid{0};
    std::atomic<std::uint32_t> generation{0};
    std::atomic<std::uint32_t> threads{0};
    std::atomic<std::uint32_t> leaving{0};  ///< The worker leaves on purpose: its end is expected.
    std::atomic<std::int64_t> io_tick_ns{0};  ///< Last turn of the non-task thread.
    std::array<ThreadCell, kThreadCells> cells{};
};

/// The cells of all slots of one pool: a memfd that master and workers map.
class Scoreboard {
  public:
    Scoreboard() = default;
    Scoreboard(Scoreboard&& other) noexcept;
    Scoreboard& operator=(Scoreboard&& other) noexcept;
    ~Scoreboard();

    static base::Result<Scoreboard> create(std::uint32_t slots);
    /// Maps what another process created; takes the descriptor over. A failure for what is no
    /// scoreboard.
    static base::Result<Scoreboard> attach(OwnedFd fd);

    std::uint32_t slots() const { return slots_; }
    int fd() const { return fd_.get(); }

    /// REQUIRES: slot < slots()
    SlotCells& cells(std::uint32_t slot) const;
    /// For a new process in the slot: all zero but pid and generation.
    void reset(std::uint32_t slot, std::uint32_t pid, std::uint32_t generation) const;
    /// The leases under which user code was running; exact once the worker is reaped.
    std::vector<std::uint64_t> running_leases(std::uint32_t slot) const;
    /// Tasks that all threads of the slot's process finished.
    std::uint64_t tasks_done(std::uint32_t slot) const;

  private:
    OwnedFd fd_;
    SlotCells* cells_ = nullptr;
    std::uint32_t slots_ = 0;
};

}  // namespace forkmill::supervisor
