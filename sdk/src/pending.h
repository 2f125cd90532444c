// SPDX-License-Identifier: Apache-2.0
// PendingTable: every task a client has submitted and somebody still holds, one slab slot each; the
// meeting place of user threads and the I/O side.
//
// Invariants: (1) a slot is claimed until its last reference is gone: one of the table while the
// task is unsettled, one per handle, per queued callback and per task that depends on it; (2)
// arguments stay in the slot until the outcome, then the result takes their place; (3) kSettled is
// set once, after outcome and body are written; (4) seqs are dense in the order of hand-over; (5)
// unsettled seqs span at most Bounds::window, tasks not yet taken at most Bounds::handover_*:
// submit blocks there. Threading: all public functions are thread-safe; PendingIo (pending_io.h) is
// the I/O thread's view.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/time.h"
#include "core/wire/limits.h"
#include "core/wire/messages.h"
#include "forkmill/detail/seam.h"
#include "sdk/src/pending_slot.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// A callback that is due.
struct Job {
    std::uint32_t slot = kNoSlot;  ///< Holds a reference when set.
    std::unique_ptr<Completion> completion;
    std::function<void()> call;  ///< Instead of a completion.
    bool counts = false;         ///< Its end frees result credit.
};
class JobQueue {
  public:
    virtual ~JobQueue() = default;
    /// Takes the jobs in order; `batch` is empty afterwards.
    virtual void post(std::vector<Job>& batch) = 0;
};

struct PendingBounds {
    std::uint64_t window = wire::kWindowMax;
    std::uint64_t handover_tasks = 64 * 1024;
    std::uint64_t handover_bytes = 64ULL << 20;
    std::uint32_t slots = 16U << 20;  ///< Held handles, settled ones included.
};

class PendingTable {
  public:
    enum class Taken : std::uint8_t { Ok, Closed, Full };
    struct NewTask {
        std::uint16_t template_id = 0;
        Bytes arguments;
        Aux* aux = nullptr;  ///< Owned by the slot once Ok.
        GroupState* group = nullptr;
        std::uint32_t index = 0;
    };

    /// `wake` is called without a lock when the first thing since the I/O side's last look is
    /// handed over.
    PendingTable(JobQueue& jobs, std::function<void()> wake, PendingBounds bounds = {});
    ~PendingTable();
    PendingTable(const PendingTable&) = delete;
    PendingTable& operator=(const PendingTable&) = delete;

    /// Claims a slot with a reference for the caller and hands the task over. Blocks at a bound if
    /// it may.
    Taken submit(const NewTask& task, bool may_block, Ticket& ticket);
    /// The same for items of one group under one lock: `slots` holds the claimed slots in order,
    /// filled by claim(). Seqs are given here.
    Taken hand_over(const std::vector<std::uint32_t>& slots, std::uint64_t bytes, bool may_block);
    /// Claims up to `wanted` slots (at least one unless the table is full) for hand_over().
    void claim(std::size_t wanted, std::vector<std::uint32_t>& slots);
    static void fill(Slot& slot, const NewTask& task);
    void give_back(const std::vector<std::uint32_t>& slots);
    /// No submit succeeds any more; blocked ones return Closed.
    void close();

    Slot& at(std::uint32_t slot) const {
        return chunks_[slot / kChunk].load(std::memory_order_acquire)[slot % kChunk];
    }
    /// The slot of a live ticket; throws UsageError for one that was dropped.
    Slot& of(Ticket ticket) const;
    static bool settled(const Slot& slot) {
        return (slot.state.load(std::memory_order_acquire) & kSettled) != 0;
    }
    /// Spins at most ~50 µs, then sleeps until settled, `until`, or a wake without reason (see
    /// wake_waiters). Returns settled().
    static bool wait(Slot& slot, base::Time until, bool spin);
    static SettledView view(Slot& slot) { return SettledView{slot.outcome, slot.body()}; }
    void retain(std::uint32_t slot) const { at(slot).refs.fetch_add(1, std::memory_order_relaxed); }
    void release(std::uint32_t slot);

    void cancel(std::uint32_t slot, bool kill);  ///< The caller holds a reference.
    void cancel(const std::vector<std::uint32_t>& slots, bool kill);
    void then(std::uint32_t slot, std::unique_ptr<Completion> completion);
    void on_progress(std::uint32_t slot, std::function<void(double, std::string_view)> handler);
    /// Runs a job's callback and lets go of what it held; what the callback throws comes out.
    void run(Job& job);

    /// Tasks handed over and not settled.
    std::uint64_t unsettled() const;
    std::size_t claimed_slots() const;
    /// Sleeps until nothing is unsettled or `until`; true when nothing is.
    bool wait_idle(base::Time until);

  private:
    friend class PendingIo;
    static constexpr std::uint32_t kChunk = 4096;
    static constexpr std::uint32_t kChunksMax = 4096;

    std::uint32_t claim_locked();
    void grow_locked();
    bool has_room_locked(std::uint64_t tasks, std::uint64_t share) const;
    bool wait_room(std::unique_lock<std::mutex>& lock, std::uint64_t tasks, bool may_block);
    void free_locked(std::uint32_t slot);
    static void reclaim(Slot& slot);
    Aux& aux_locked(Slot& slot);

    JobQueue& jobs_;
    std::function<void()> wake_;
    const PendingBounds bounds_;
    std::array<std::atomic<Slot*>, kChunksMax> chunks_{};

    alignas(64) mutable std::mutex mutex_;  // Guards all up to the next comment.
    std::condition_variable room_;
    std::uint32_t free_ = kNoSlot;
    std::uint32_t slots_ = 0;
    std::size_t claimed_ = 0;
    std::uint64_t next_seq_ = 1;
    std::uint64_t handed_bytes_ = 0;
    std::vector<std::uint32_t> handed_;
    std::vector<std::pair<std::uint32_t, bool>> cancels_;  ///< Each holds a reference.
    bool closed_ = false;

    std::mutex aux_mutex_;  // Guards completions and progress of every Aux.

    alignas(64) std::atomic<bool> has_work_{
        false};  // Written by submitters, read by a spinning I/O thread.
    std::atomic<std::uint32_t> blocked_{0};
    alignas(64) std::atomic<std::uint64_t> popped_{0};  // Written by the I/O side.
    std::atomic<std::uint64_t> popped_bytes_{0};
    std::atomic<std::uint64_t> floor_{1};
    std::atomic<std::uint64_t> settled_count_{0};
    alignas(64) std::atomic<std::uint64_t> consumed_records_{
        0};  // Written by whoever runs callbacks.
    std::atomic<std::uint64_t> consumed_bytes_{0};
    std::mutex idle_mutex_;
    std::condition_variable idle_;
    std::atomic<std::uint32_t> idle_waiters_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
