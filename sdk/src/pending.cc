// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/pending.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "core/base/check.h"
#include "core/base/spin.h"
#include "forkmill/errors.h"
#include "sdk/src/pending_futex.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

void Slot::put(base::ByteView bytes) {
    if (bytes.size() > kInlineBytes) {
        put(base::Blob::copy(bytes));
        return;
    }
    clear();
    if (!bytes.empty()) std::memcpy(storage.data(), bytes.data(), bytes.size());
    size = static_cast<std::uint32_t>(bytes.size());
}

void Slot::put(base::Blob owner) {
    clear();
    size = static_cast<std::uint32_t>(owner.size());
    ::new (storage.data()) base::Blob(std::move(owner));
    form |= kBlob;
}

void Slot::clear() {
    if ((form & kBlob) != 0) {
        blob().~Blob();
        form = static_cast<std::uint8_t>(form & ~kBlob);
    }
    size = 0;
}

PendingTable::PendingTable(JobQueue& jobs, std::function<void()> wake, PendingBounds bounds)
    : jobs_(jobs), wake_(std::move(wake)), bounds_(bounds) {}

PendingTable::~PendingTable() {
    for (std::uint32_t slot = 0; slot < slots_; ++slot) {
        if (at(slot).refs.load(std::memory_order_acquire) != 0) reclaim(at(slot));
    }
    for (std::atomic<Slot*>& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
}

void PendingTable::grow_locked() {
    const std::uint32_t chunk = slots_ / kChunk;
    Slot* fresh = new Slot[kChunk];
    for (std::uint32_t i = 0; i < kChunk; ++i)
        fresh[i].index = i + 1 < kChunk ? slots_ + i + 1 : kNoSlot;
    chunks_[chunk].store(fresh, std::memory_order_release);
    free_ = slots_;
    slots_ += kChunk;
}

std::uint32_t PendingTable::claim_locked() {
    if (free_ == kNoSlot) {
        if (slots_ + kChunk > std::min(bounds_.slots, kChunk * kChunksMax)) return kNoSlot;
        grow_locked();
    }
    const std::uint32_t slot = free_;
    Slot& claimed = at(slot);
    free_ = claimed.index;
    ++claimed_;
    claimed.index = kNoSlot;
    claimed.state.store(0, std::memory_order_relaxed);
    claimed.refs.store(2, std::memory_order_relaxed);
    return slot;
}

void PendingTable::reclaim(Slot& slot) {
    slot.clear();
    if ((slot.form & (kGroup | kExtras)) != kGroup) delete static_cast<Aux*>(slot.link);
    slot.link = nullptr;
    slot.form = 0;
}

void PendingTable::free_locked(std::uint32_t slot) {
    Slot& freed = at(slot);
    freed.generation.fetch_add(1, std::memory_order_relaxed);
    freed.refs.store(0, std::memory_order_relaxed);
    freed.index = free_;
    free_ = slot;
    --claimed_;
}

void PendingTable::release(std::uint32_t slot) {
    if (at(slot).refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    reclaim(at(slot));
    const std::lock_guard lock{mutex_};
    free_locked(slot);
}

Slot& PendingTable::of(Ticket ticket) const {
    if (ticket.slot < kChunk * kChunksMax &&
        chunks_[ticket.slot / kChunk].load(std::memory_order_acquire) != nullptr) {
        Slot& slot = at(ticket.slot);
        if (slot.generation.load(std::memory_order_relaxed) == ticket.generation) return slot;
    }
    throw UsageError{"this result was dropped or moved from"};
}

bool PendingTable::has_room_locked(std::uint64_t tasks, std::uint64_t share) const {
    const std::uint64_t handed = next_seq_ - 1;
    const std::uint64_t waiting = handed - popped_.load(std::memory_order_seq_cst);
    const std::uint64_t bytes = handed_bytes_ - popped_bytes_.load(std::memory_order_relaxed);
    const std::uint64_t open = next_seq_ - floor_.load(std::memory_order_seq_cst);
    // A batch larger than a bound still gets through once nothing waits before it.
    const bool queue = waiting == 0 || (waiting + tasks <= bounds_.handover_tasks / share &&
                                        bytes <= bounds_.handover_bytes / share);
    return queue && (open + tasks <= bounds_.window || open == 0);
}

bool PendingTable::wait_room(std::unique_lock<std::mutex>& lock,
                             std::uint64_t tasks,
                             bool may_block) {
    if (closed_) return false;
    if (has_room_locked(tasks, 1)) return true;
    // A callback thread must not wait for what it alone may free; it may overshoot the queue, never
    // the window.
    if (!may_block && next_seq_ - floor_.load(std::memory_order_relaxed) + tasks <= bounds_.window)
        return true;
    blocked_.fetch_add(1, std::memory_order_seq_cst);
    room_.wait(lock, [&] { return closed_ || has_room_locked(tasks, 1); });
    blocked_.fetch_sub(1, std::memory_order_relaxed);
    return !closed_;
}

void PendingTable::fill(Slot& slot, const NewTask& task) {
    slot.template_id = task.template_id;
    slot.outcome = 0;
    slot.form = 0;
    slot.put(task.arguments);
    slot.link = task.aux;
    if (task.aux != nullptr) {
        slot.form |= kExtras;
        task.aux->group = task.group;
    }
    if (task.group == nullptr) return;
    slot.form |= kGroup;
    slot.index = task.index;
    if (task.aux == nullptr) slot.link = task.group;
}

PendingTable::Taken PendingTable::submit(const NewTask& task, bool may_block, Ticket& ticket) {
    base::Blob large;
    const bool inline_body = task.arguments.size() <= kInlineBytes;
    if (!inline_body) large = base::Blob::copy(task.arguments);

    std::unique_lock lock{mutex_};
    if (!wait_room(lock, 1, may_block)) return Taken::Closed;
    const std::uint32_t number = claim_locked();
    if (number == kNoSlot) return Taken::Full;
    Slot& slot = at(number);
    if (inline_body) {
        fill(slot, task);
    } else {
        fill(slot, NewTask{task.template_id, {}, task.aux, task.group, task.index});
        slot.put(std::move(large));
    }
    slot.seq = next_seq_++;
    handed_bytes_ += slot.size;
    ticket = Ticket{number, slot.generation.load(std::memory_order_relaxed)};
    const bool wake = handed_.empty() && cancels_.empty();
    handed_.push_back(number);
    lock.unlock();
    has_work_.store(true, std::memory_order_release);
    if (wake) wake_();
    return Taken::Ok;
}

void PendingTable::claim(std::size_t wanted, std::vector<std::uint32_t>& slots) {
    const std::lock_guard lock{mutex_};
    while (slots.size() < wanted) {
        const std::uint32_t slot = claim_locked();
        if (slot == kNoSlot) return;
        slots.push_back(slot);
    }
}

PendingTable::Taken PendingTable::hand_over(const std::vector<std::uint32_t>& slots,
                                            std::uint64_t bytes,
                                            bool may_block) {
    if (slots.empty()) return Taken::Ok;
    std::unique_lock lock{mutex_};
    if (!wait_room(lock, slots.size(), may_block)) return Taken::Closed;
    for (const std::uint32_t slot : slots) at(slot).seq = next_seq_++;
    handed_bytes_ += bytes;
    const bool wake = handed_.empty() && cancels_.empty();
    handed_.insert(handed_.end(), slots.begin(), slots.end());
    lock.unlock();
    has_work_.store(true, std::memory_order_release);
    if (wake) wake_();
    return Taken::Ok;
}

void PendingTable::give_back(const std::vector<std::uint32_t>& slots) {
    for (const std::uint32_t slot : slots) {
        if ((at(slot).form & kExtras) != 0) {
            for (const Dependency& dependency : static_cast<Aux*>(at(slot).link)->dependencies)
                release(dependency.ticket.slot);
        }
        reclaim(at(slot));
    }
    const std::lock_guard lock{mutex_};
    for (const std::uint32_t slot : slots) free_locked(slot);
}

void PendingTable::close() {
    {
        const std::lock_guard lock{mutex_};
        closed_ = true;
    }
    room_.notify_all();
}

bool PendingTable::wait(Slot& slot, base::Time until, bool spin) {
    if (settled(slot)) return true;
    if (spin && base::spin_before(until, [&] { return settled(slot); })) return true;
    for (;;) {
        std::uint32_t word = slot.state.load(std::memory_order_acquire);
        if ((word & kSettled) != 0) return true;
        if ((word & kWaiters) == 0) {
            if (!slot.state.compare_exchange_weak(word, word | kWaiters, std::memory_order_acq_rel))
                continue;
            word |= kWaiters;
        }
        if (futex_wait(slot.state, word, until) != FutexResult::Changed) return settled(slot);
    }
}

void PendingTable::cancel(std::uint32_t slot, bool kill) {
    std::vector<std::uint32_t> one{slot};
    cancel(one, kill);
}

void PendingTable::cancel(const std::vector<std::uint32_t>& slots, bool kill) {
    std::unique_lock lock{mutex_};
    const bool wake = handed_.empty() && cancels_.empty();
    for (const std::uint32_t slot : slots) {
        if (settled(at(slot))) continue;
        retain(slot);
        cancels_.emplace_back(slot, kill);
    }
    lock.unlock();
    has_work_.store(true, std::memory_order_release);
    if (wake) wake_();
}

Aux& PendingTable::aux_locked(Slot& slot) {
    if (slot.link == nullptr) slot.link = new Aux{};
    return *static_cast<Aux*>(slot.link);
}

void PendingTable::then(std::uint32_t number, std::unique_ptr<Completion> completion) {
    Slot& slot = at(number);
    retain(number);
    std::vector<Job> due;
    {
        const std::lock_guard lock{aux_mutex_};
        Aux& aux = aux_locked(slot);
        aux.completions.push_back(std::move(completion));
        if ((slot.state.fetch_or(kNotify, std::memory_order_acq_rel) & kSettled) != 0) {
            // Whoever settled it has come or will come too late to see this one.
            due.push_back(Job{number, std::move(aux.completions.back()), {}, false});
            aux.completions.pop_back();
        }
    }
    if (!due.empty()) jobs_.post(due);
}

void PendingTable::on_progress(std::uint32_t number,
                               std::function<void(double, std::string_view)> handler) {
    Slot& slot = at(number);
    const std::lock_guard lock{aux_mutex_};
    aux_locked(slot).progress = std::move(handler);
    slot.state.fetch_or(kNotify, std::memory_order_acq_rel);
}

void PendingTable::run(Job& job) {
    struct Done {
        PendingTable& table;
        Job& job;
        ~Done() {
            if (job.slot == kNoSlot) return;
            if (job.counts) {
                table.consumed_records_.fetch_add(1, std::memory_order_relaxed);
                table.consumed_bytes_.fetch_add(table.at(job.slot).size, std::memory_order_relaxed);
            }
            job.completion.reset();
            table.release(job.slot);
        }
    } done{*this, job};
    if (job.completion) {
        job.completion->run(view(at(job.slot)));
    } else if (job.call) {
        job.call();
    }
}

std::uint64_t PendingTable::unsettled() const {
    const std::lock_guard lock{mutex_};
    return next_seq_ - 1 - settled_count_.load(std::memory_order_acquire);
}

std::size_t PendingTable::claimed_slots() const {
    const std::lock_guard lock{mutex_};
    return claimed_;
}

bool PendingTable::wait_idle(base::Time until) {
    idle_waiters_.fetch_add(1, std::memory_order_seq_cst);
    std::unique_lock lock{idle_mutex_};
    bool idle = unsettled() == 0;
    while (!idle && base::monotonic_now() < until) {
        const base::Duration left =
            std::min<base::Duration>(until - base::monotonic_now(), std::chrono::milliseconds{500});
        idle_.wait_for(lock, left);
        idle = unsettled() == 0;
    }
    idle_waiters_.fetch_sub(1, std::memory_order_relaxed);
    return idle;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
