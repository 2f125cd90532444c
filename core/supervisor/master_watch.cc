// SPDX-License-Identifier: Apache-2.0
// What a master looks at while its children live: signs of life, hard limits and memory. It reads
// shared memory and /proc only, so it works whatever state the relay is in.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "core/base/log.h"
#include "core/supervisor/master_impl.h"
#include "core/supervisor/sizing.h"

namespace forkmill::supervisor {

using base::LogLevel;

namespace {

constexpr base::Duration kLook = std::chrono::milliseconds{500};
constexpr base::Duration kWatchEvery = std::chrono::seconds{1};
/// A worker ends such a task itself; the master steps in when that did not happen.
constexpr base::Duration kHardGrace = std::chrono::seconds{1};
/// A relay says Tick every 2 s.
constexpr base::Duration kRelayHung = std::chrono::seconds{10};

base::Time time_of(std::int64_t monotonic_ns) {
    return base::Time{std::chrono::nanoseconds{monotonic_ns}};
}

/// Resident bytes; 0: it is gone.
std::uint64_t resident(pid_t pid) {
    std::ifstream statm{"/proc/" + std::to_string(pid) + "/statm"};
    std::uint64_t size = 0;
    std::uint64_t pages = 0;
    statm >> size >> pages;
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

bool past_hard_limit(const SlotCells& cells, base::Time now) {
    return std::any_of(cells.cells.begin(), cells.cells.end(), [&](const ThreadCell& cell) {
        const std::int64_t limit = cell.hard_limit_ns.load(std::memory_order_relaxed);
        return cell.lease.load(std::memory_order_relaxed) != 0 && limit != 0 &&
               now >= time_of(limit) + kHardGrace;
    });
}

}  // namespace

void Master::Impl::watch_children(base::Time now) {
    if (now < watch_at_) return;
    watch_at_ = now + kWatchEvery;
    for (std::uint16_t pool = 0; pool < pool_count(); ++pool) {
        const WatchRules& rules = pools_[pool].spec.watch;
        watch_at_ = std::min(watch_at_, now + std::max(rules.hung / 4, base::Duration{1}));
        if (pools_[pool].spec.sizing.varies()) watch_at_ = std::min(watch_at_, now + kLook);
        for (std::optional<Child>& child : pools_[pool].children)
            if (child) watch_worker(*child, rules, now);
        act(pool, now);
        fit_to_load(pool, now);
    }
    tell_escapes(now);
    const bool serves = relay_slot_.state() == SlotState::Ready;
    if (serves && now - relay_tick_ >= kRelayHung) {
        base::log_line(LogLevel::Error, "relay stands still", {{"relay", spec_.relay.name}});
        act_on_relay(relay_slot_.step(SlotEvent::Hang, now, spec_.relay.timeouts));
    }
}

/// Grows and shrinks a pool whose size varies; only idle workers are let go.
void Master::Impl::fit_to_load(std::uint16_t index, base::Time now) {
    Pool& pool = pools_[index];
    if (phase_ != Phase::Running || !pool.sizing || !pool.sizing->rule().varies() ||
        pool.slots.closed() || pool.slots.rolling() || pool.drained)
        return;
    Pressure seen;
    seen.workers = pool.slots.workers();
    seen.queued = pool.queued;
    seen.threads = pool.spec.threads;
    std::optional<std::uint32_t> idle;
    for (std::uint32_t slot = 0; slot < pool.slots.capacity(); ++slot) {
        if (pool.slots.state(slot) != SlotState::Ready) continue;
        ++seen.ready;
        const bool busy = !pool.board.running_leases(slot).empty();
        seen.busy += busy ? 1 : 0;
        if (!busy) idle = slot;
    }
    const std::uint32_t wanted = pool.sizing->decide(seen, now);
    if (wanted == seen.workers || (wanted < seen.workers && !idle)) return;
    if (wanted < seen.workers)
        pool.slots.let_go(*idle, now, actions_);
    else if (!pool.slots.resize(wanted, now, actions_))
        return;
    base::log_line(LogLevel::Info,
                   "pool follows its load",
                   {{"pool", pool.spec.name},
                    {"workers", wanted},
                    {"busy", seen.busy},
                    {"queued", seen.queued}});
    act(index, now);
}

/// They are left alone: whoever leaves its worker's session on purpose may be a daemon.
void Master::Impl::tell_escapes(base::Time now) {
    const auto is_own = [&](pid_t pid) { return is_own_child(pid); };
    for (const Escaped& escaped : escapes_.due(is_own, now))
        base::log_line(
            LogLevel::Warning,
            "process escaped its worker",
            {{"pid", escaped.pid}, {"name", escaped.name}, {"so_far", escapes_.count()}});
}

void Master::Impl::watch_worker(Child& child, const WatchRules& rules, base::Time now) {
    PoolSlots& slots = pools_[child.pool].slots;
    const SlotState state = slots.state(child.slot);
    if (state != SlotState::Ready && state != SlotState::Draining) return;
    const SlotCells& cells = pools_[child.pool].board.cells(child.slot);
    const auto end = [&](Cause cause, std::string_view why) {
        base::log_line(LogLevel::Warning,
                       "worker is ended",
                       {{"worker", title(child)}, {"pid", child.process.pid}, {"why", why}});
        slots.hang(child.slot, cause, now, actions_);
    };
    const std::int64_t tick = cells.io_tick_ns.load(std::memory_order_relaxed);
    if (tick != 0 && now - std::max(time_of(tick), child.stood_until) >= rules.hung)
        return end(Cause::Hung, "its I/O thread stands still");
    if (past_hard_limit(cells, now))
        return end(Cause::HardTimeout, "its task runs past its timeout");
    if (rules.memory_max == 0 && rules.memory_kill == 0) return;
    const std::uint64_t bytes = resident(child.process.pid);
    if (rules.memory_kill != 0 && bytes >= rules.memory_kill) {
        base::log_line(LogLevel::Warning,
                       "worker is killed",
                       {{"worker", title(child)},
                        {"pid", child.process.pid},
                        {"why", "more memory than kill_memory_per_child"},
                        {"bytes", bytes}});
        slots.kill(child.slot, Cause::Oom, now, actions_);
    } else if (rules.memory_max != 0 && bytes >= rules.memory_max) {
        slots.on_ageing(child.slot, now, actions_);
    }
}

}  // namespace forkmill::supervisor
