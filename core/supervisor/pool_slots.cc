// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/pool_slots.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"

namespace forkmill::supervisor {

using Kind = PoolAction::Kind;

PoolSlots::PoolSlots(const PoolRules& rules)
    : timeouts_(rules.timeouts),
      workers_(rules.workers),
      broken_after_(rules.broken_after),
      policy_(rules.respawn,
              rules.capacity != 0 ? rules.capacity : slots_for(rules.workers),
              rules.seed),
      slots_(rules.capacity != 0 ? rules.capacity : slots_for(rules.workers)) {
    FORKMILL_CHECK(workers_ < slots_.size());
}

void PoolSlots::step(std::uint32_t slot,
                     SlotEvent event,
                     base::Time now,
                     Actions& out,
                     std::optional<base::Duration> limit) {
    FORKMILL_CHECK(slot < slots_.size());
    Entry& entry = slots_[slot];
    const SlotState before = entry.life.state();
    const SlotAct act = entry.life.step(event, now, timeouts_, limit);
    const auto add = [&](Kind kind, base::Duration duration = {}) {
        out.push_back({kind, slot, entry.generation, duration});
    };
    switch (act) {
        case SlotAct::None:
            break;
        case SlotAct::TellDrain:
            add(Kind::TellDrain, limit.value_or(timeouts_.drain));
            break;
        case SlotAct::SendTerm:
            add(Kind::Term);
            break;
        case SlotAct::SendAbort:
            if (event == SlotEvent::Deadline) entry.doom = Cause::StartTimeout;
            add(Kind::Abort);
            break;
        case SlotAct::SendKill:
            if (before == SlotState::Suspended && entry.doom == Cause::Unknown)
                entry.doom = Cause::Killed;
            add(Kind::Kill);
            break;
        case SlotAct::Alarm:
            entry.leaving = true;
            add(Kind::Alarm);
            break;
    }
}

void PoolSlots::on_tick(base::Time now, Actions& out) {
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot)
        if (slots_[slot].life.is_due(now)) step(slot, SlotEvent::Deadline, now, out);
    shrink(now, out);
    fill(now, out);
    relieve(now, out);
    check_rolled(out);
}

void PoolSlots::on_launched(std::uint32_t slot, std::int32_t pid) {
    slots_[slot].pid = pid;
}

void PoolSlots::on_launch_failed(std::uint32_t slot, base::Time now, Actions& out) {
    // The system has no room for a process: not the worker's fault, and no use to hurry.
    on_died(slot, Ending{.exit_code = kExitTempFail}, now, out);
}

void PoolSlots::on_waiting(std::uint32_t slot, base::Time now) {
    SlotTimeouts unlimited = timeouts_;
    unlimited.start = base::Duration::max();
    Slot& life = slots_[slot].life;
    if (life.state() == SlotState::Starting) life.adopt(SlotState::Starting, now, unlimited);
}

void PoolSlots::on_asked(std::uint32_t slot, base::Time now) {
    Slot& life = slots_[slot].life;
    if (life.state() == SlotState::Starting) life.adopt(SlotState::Starting, now, timeouts_);
}

void PoolSlots::on_births_failed(const std::vector<std::uint32_t>& slots,
                                 const Ending& ending,
                                 base::Time now,
                                 Actions& out) {
    if (slots.empty()) return;
    on_died(slots.front(), ending, now, out);
    const Slot first = slots_[slots.front()].life;
    for (const std::uint32_t slot : slots) {
        Entry& entry = slots_[slot];
        if (slot == slots.front() || !entry.life.has_process()) continue;
        step(slot, SlotEvent::Died, now, out);
        entry.pid = 0;
        entry.doom = Cause::Unknown;
        const bool held_place = !std::exchange(entry.leaving, false);
        if (first.state() == SlotState::Failed && held_place)
            step(slot, SlotEvent::Forbid, now, out);
        else if (first.state() == SlotState::Backoff && held_place)
            step(slot, SlotEvent::Wait, now, out, first.deadline() - now);
        else
            step(slot, SlotEvent::Retire, now, out);
    }
    check_broken(out);
}

void PoolSlots::on_up(std::uint32_t slot, base::Time now, Actions& out) {
    Entry& entry = slots_[slot];
    if (!entry.life.has_process() || entry.was_ready) return;
    step(slot, SlotEvent::Up, now, out);
    entry.was_ready = true;
    ever_ready_ = true;
    failed_births_ = 0;
    if (!is_old(entry)) {
        proven_ = true;
        failed_rolls_ = 0;
    }
    policy_.on_ready(slot, now);
    if (std::exchange(broken_, false)) out.push_back({Kind::Mended});
    const bool was_open = policy_.breaker() != RespawnPolicy::Breaker::Closed;
    if (count(SlotState::Ready) >= workers_) policy_.on_full();
    if (was_open && policy_.breaker() == RespawnPolicy::Breaker::Closed)
        out.push_back({Kind::BreakerClosed});
    relieve(now, out);
    if (rolling_) on_tick(now, out);
}

void PoolSlots::on_ageing(std::uint32_t slot, base::Time now, Actions& out) {
    Entry& entry = slots_[slot];
    if (entry.life.state() != SlotState::Ready || entry.leaving || closed_) return;
    entry.leaving = true;
    fill(now, out);
}

void PoolSlots::on_emptied(std::uint32_t slot, base::Time now, Actions& out) {
    if (!slots_[slot].leaving) return;
    slots_[slot].emptied = true;
    fill(now, out);
}

/// Replacements are ready: as many of those who wait for one may go.
void PoolSlots::relieve(base::Time now, Actions& out) {
    if (closed_) return;
    std::uint32_t ready = count(SlotState::Ready);
    for (std::uint32_t slot = 0; slot < slots_.size() && ready > workers_; ++slot) {
        Entry& entry = slots_[slot];
        if (!entry.leaving || entry.life.state() != SlotState::Ready) continue;
        entry.doom = is_old(entry) ? Cause::Drain : Cause::Recycle;
        step(slot, SlotEvent::Drain, now, out);
        --ready;
    }
}

bool PoolSlots::reload(const PoolRules& rules, bool changed, base::Time now, Actions& out) {
    FORKMILL_CHECK(!rolling_ && !closed_);
    if (rules.workers >= slots_.size() ||
        rules.workers + std::max(1U, rules.workers / 10) > slots_.size())
        return false;
    timeouts_ = rules.timeouts;
    workers_ = rules.workers;
    if (changed) {
        ++version_;
        failed_rolls_ = failed_births_ = 0;
        rolling_ = workers_ > 0 && old_serve();
        proven_ = !rolling_;  // Nobody serves whom a failure could hurt, and nobody to go back to.
        if (!rolling_) out.push_back({Kind::Rolled});
        policy_.forgive();
        for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
            Entry& entry = slots_[slot];
            step(slot, SlotEvent::Retire, now, out);
            if (!entry.life.has_process()) continue;
            // What drains since two versions has had its time.
            if (entry.version + 2 < version_) step(slot, SlotEvent::Stop, now, out);
            if (entry.life.state() == SlotState::Starting) drain(slot, now, out);
            entry.leaving = true;
        }
    }
    on_tick(now, out);
    return true;
}

/// It takes tasks, or will when it goes on.
bool PoolSlots::serves(const Entry& entry) const {
    return entry.life.state() == SlotState::Ready || entry.life.state() == SlotState::Suspended;
}

bool PoolSlots::old_serve() const {
    return std::any_of(slots_.begin(), slots_.end(), [&](const Entry& entry) {
        return is_old(entry) && serves(entry);
    });
}

void PoolSlots::check_rolled(Actions& out) {
    if (!rolling_ || !proven_ || old_serve()) return;
    rolling_ = false;
    out.push_back({Kind::Rolled});
}

void PoolSlots::note_failed_birth(std::uint32_t slot,
                                  const Ending& ending,
                                  base::Time now,
                                  Actions& out) {
    if (!rolling_ || is_old(slots_[slot])) return;
    const bool fatal = ending.exit_code == kExitConfig || ending.exit_code == kExitNoPermission;
    if (++failed_rolls_ >= kRollFailures || fatal) roll_back(now, out);
}

/// The former version is the current one again, and those of the new one go.
void PoolSlots::roll_back(base::Time now, Actions& out) {
    const std::uint32_t failed = version_++;
    rolling_ = false;
    proven_ = true;
    policy_.forgive();
    out.push_back({Kind::RolledBack});
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
        Entry& entry = slots_[slot];
        if (entry.version == failed) {
            step(slot, SlotEvent::Retire, now, out);
            if (entry.life.has_process()) drain(slot, now, out);
        } else if (serves(entry)) {
            entry.version = version_;
            entry.leaving = false;
        }
    }
}

void PoolSlots::on_leaving(std::uint32_t slot, base::Time now, Actions& out) {
    Entry& entry = slots_[slot];
    if (!entry.life.has_process()) return;
    step(slot, SlotEvent::Leave, now, out);
    entry.leaving = true;
    if (entry.doom == Cause::Unknown) entry.doom = Cause::Recycle;
}

void PoolSlots::on_paused(std::uint32_t slot, base::Time now) {
    slots_[slot].life.step(SlotEvent::Paused, now, timeouts_);
}

void PoolSlots::on_resumed(std::uint32_t slot, base::Time now) {
    slots_[slot].life.step(SlotEvent::Resumed, now, timeouts_);
}

void PoolSlots::on_died(std::uint32_t slot, Ending ending, base::Time now, Actions& out) {
    Entry& entry = slots_[slot];
    step(slot, SlotEvent::Died, now, out);
    if (entry.life.state() != SlotState::Reaped) return;
    ending.wanted = entry.doom != Cause::Unknown && entry.doom != Cause::StartTimeout;
    ending.was_ready = entry.was_ready;
    ending.uptime = now - entry.born;
    ending.current = !is_old(entry);
    const bool failed_birth = !entry.was_ready && !ending.wanted;
    if (failed_birth) ++failed_births_;
    settle(slot, ending, now, out);
    if (failed_birth) note_failed_birth(slot, ending, now, out);
    check_broken(out);
}

void PoolSlots::settle(std::uint32_t slot, const Ending& ending, base::Time now, Actions& out) {
    Entry& entry = slots_[slot];
    entry.pid = 0;
    entry.doom = Cause::Unknown;
    const bool held_place = !entry.leaving;
    entry.leaving = false;
    const auto before = policy_.breaker();
    const Verdict verdict = closed_ ? Verdict{} : policy_.on_death(slot, ending, workers_, now);
    if (before != RespawnPolicy::Breaker::Open && policy_.breaker() == RespawnPolicy::Breaker::Open)
        out.push_back({Kind::BreakerOpened, slot});
    // The place of a leaving worker is its replacement's already.
    if (!held_place || verdict.kind == Verdict::Kind::Now) {
        step(slot, SlotEvent::Retire, now, out);
    } else if (verdict.kind == Verdict::Kind::After) {
        step(slot, SlotEvent::Wait, now, out, verdict.delay);
        out.push_back({Kind::Waiting, slot, entry.generation, verdict.delay});
    } else {
        step(slot, SlotEvent::Forbid, now, out);
        out.push_back({Kind::Gone, slot, entry.generation});
    }
}

void PoolSlots::check_broken(Actions& out) {
    if (broken_ || closed_) return;
    for (const Entry& entry : slots_)
        if (entry.life.has_process() && entry.was_ready) return;
    const std::uint32_t failed = count(SlotState::Failed);
    if (failed_births_ < broken_after_ && (failed == 0 || failed < workers_)) return;
    broken_ = true;
    out.push_back({Kind::Broken});
}

void PoolSlots::continue_from(const PoolSlots& former) {
    for (std::uint32_t slot = 0; slot < std::min(capacity(), former.capacity()); ++slot)
        slots_[slot].generation = former.slots_[slot].generation;
}

SavedChild PoolSlots::save(std::uint32_t slot) const {
    const Entry& entry = slots_[slot];
    SavedChild saved;
    saved.slot = slot;
    saved.generation = entry.generation;
    saved.state = entry.life.state();
    saved.was_ready = entry.was_ready;
    saved.leaving = entry.leaving;
    saved.emptied = entry.emptied;
    saved.current = !is_old(entry);
    saved.doom = entry.doom;
    return saved;
}

void PoolSlots::adopt(const SavedChild& saved, base::Time now) {
    Entry& entry = slots_[saved.slot];
    entry.generation = saved.generation;
    if (saved.pid <= 0) return;
    entry.pid = saved.pid;
    entry.born = base::Time{std::chrono::nanoseconds{saved.born_ns}};
    entry.was_ready = saved.was_ready;
    entry.leaving = saved.leaving;
    entry.emptied = saved.emptied;
    entry.doom = saved.doom;
    entry.version = saved.current ? version_ : 0;
    entry.life.adopt(saved.state, now, timeouts_);
    ever_ready_ = ever_ready_ || saved.was_ready;
}

void PoolSlots::kill(std::uint32_t slot, Cause cause, base::Time now, Actions& out) {
    Entry& entry = slots_[slot];
    if (!entry.life.has_process()) return;
    entry.doom = cause;
    step(slot, SlotEvent::Kill, now, out);
}

void PoolSlots::hang(std::uint32_t slot, Cause cause, base::Time now, Actions& out) {
    Entry& entry = slots_[slot];
    const SlotState state = entry.life.state();
    if (state != SlotState::Ready && state != SlotState::Draining) return;
    entry.doom = cause;
    step(slot, SlotEvent::Hang, now, out);
}

void PoolSlots::drain(std::uint32_t slot, base::Time now, Actions& out) {
    Entry& entry = slots_[slot];
    if (!entry.life.has_process()) return;
    entry.leaving = true;
    entry.doom = Cause::Drain;
    step(slot, SlotEvent::Drain, now, out);
}

bool PoolSlots::resize(std::uint32_t workers, base::Time now, Actions& out) {
    if (workers < 1 || workers >= slots_.size() ||
        workers + std::max(1U, workers / 10) > slots_.size())
        return false;
    workers_ = workers;
    on_tick(now, out);
    return true;
}

void PoolSlots::empty_out(base::Time now, Actions& out) {
    if (closed_ || rolling_) return;
    workers_ = 0;
    on_tick(now, out);
}

void PoolSlots::let_go(std::uint32_t slot, base::Time now, Actions& out) {
    FORKMILL_CHECK(workers_ > 0);
    --workers_;
    drain(slot, now, out);
}

void PoolSlots::close(base::Duration limit, base::Time now, Actions& out) {
    closed_ = true;
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
        Entry& entry = slots_[slot];
        if (!entry.life.has_process()) {
            step(slot, SlotEvent::Retire, now, out);
            continue;
        }
        if (entry.doom == Cause::Unknown) entry.doom = Cause::Drain;
        // One that starts holds no task: it is told to end, and has the time for that only.
        const bool starts = entry.life.state() == SlotState::Starting;
        step(slot,
             SlotEvent::Drain,
             now,
             out,
             starts ? std::nullopt : std::optional<base::Duration>{limit});
    }
}

void PoolSlots::kill_all(base::Time now, Actions& out) {
    closed_ = true;
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
        step(slot, SlotEvent::Retire, now, out);
        if (slots_[slot].doom == Cause::Unknown) slots_[slot].doom = Cause::Drain;
        step(slot, SlotEvent::Kill, now, out);
    }
}

/// Starts workers for the places that nobody holds.
void PoolSlots::fill(base::Time now, Actions& out) {
    if (closed_) return;
    std::uint32_t held = places_held();
    std::uint32_t living = processes();
    std::uint32_t starting = count(SlotState::Starting);
    for (std::uint32_t slot = 0; slot < slots_.size() && held < workers_; ++slot) {
        if (slots_[slot].life.state() != SlotState::Empty) continue;
        if (living >= processes_max()) return;
        // The first of a new version shows whether it can start, while the others go on serving.
        if (!proven_ && starting > 0 && old_serve()) return;
        if (!policy_.may_launch(starting, workers_, now)) return;
        policy_.on_launch();
        Entry& entry = slots_[slot];
        entry.life.step(SlotEvent::Launched, now, timeouts_);
        ++entry.generation;
        entry.born = now;
        entry.was_ready = false;
        entry.emptied = false;
        entry.version = version_;
        out.push_back({Kind::Launch, slot, entry.generation});
        ++held;
        ++living;
        ++starting;
    }
}

/// Ends what is too many: first who waits or starts, then the youngest places.
void PoolSlots::shrink(base::Time now, Actions& out) {
    std::uint32_t held = places_held();
    const auto release = [&](auto is_wanted) {
        for (std::uint32_t slot = capacity(); slot-- > 0 && held > workers_;) {
            if (!holds_place(slots_[slot]) || !is_wanted(slots_[slot].life.state())) continue;
            if (slots_[slot].life.has_process())
                drain(slot, now, out);
            else
                step(slot, SlotEvent::Retire, now, out);
            --held;
        }
    };
    if (closed_ || held <= workers_) return;
    release(
        [](SlotState state) { return state == SlotState::Failed || state == SlotState::Backoff; });
    release([](SlotState state) { return state == SlotState::Starting; });
    release([](SlotState state) { return state == SlotState::Ready; });
}

bool PoolSlots::holds_place(const Entry& entry) const {
    return entry.life.state() != SlotState::Empty && !entry.leaving;
}

std::uint32_t PoolSlots::places_held() const {
    return static_cast<std::uint32_t>(std::count_if(
        slots_.begin(), slots_.end(), [&](const Entry& entry) { return holds_place(entry); }));
}

std::uint32_t PoolSlots::processes() const {
    return static_cast<std::uint32_t>(
        std::count_if(slots_.begin(), slots_.end(), [&](const Entry& e) {
            // Those of a former version that are on their way out hold up nobody, as with nginx.
            if (is_old(e) && !serves(e)) return false;
            return e.life.has_process() && !e.emptied && e.life.state() != SlotState::Unkillable;
        }));
}

std::uint32_t PoolSlots::processes_max() const {
    return workers_ + std::max(1U, workers_ / 10);
}

std::uint32_t PoolSlots::count(SlotState state) const {
    return static_cast<std::uint32_t>(std::count_if(
        slots_.begin(), slots_.end(), [&](const Entry& e) { return e.life.state() == state; }));
}

bool PoolSlots::empty() const {
    return std::none_of(slots_.begin(), slots_.end(), [](const Entry& entry) {
        return entry.life.has_process() && entry.life.state() != SlotState::Unkillable;
    });
}

base::Time PoolSlots::next_deadline(base::Time now) const {
    base::Time next = base::kNever;
    for (const Entry& entry : slots_) next = std::min(next, entry.life.deadline());
    if (!closed_ && places_held() < workers_ && processes() < processes_max() &&
        count(SlotState::Empty) > 0)
        next = std::min(next, policy_.next_change(count(SlotState::Starting), now));
    return next;
}

}  // namespace forkmill::supervisor
