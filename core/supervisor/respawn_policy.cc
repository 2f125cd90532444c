// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/respawn_policy.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"

namespace forkmill::supervisor {

namespace {

/// Deaths that are older than the window no longer count.
void forget_before(std::deque<base::Time>& times, base::Time oldest) {
    while (!times.empty() && times.front() <= oldest) times.pop_front();
}

}  // namespace

RespawnPolicy::RespawnPolicy(const RespawnRule& rule, std::uint32_t slots, std::uint64_t seed)
    : rule_(rule), probe_(rule.delay, seed) {
    slots_.reserve(slots);
    for (std::uint32_t i = 0; i < slots; ++i) slots_.emplace_back(rule.delay, seed + i + 1);
}

Verdict RespawnPolicy::on_death(std::uint32_t slot,
                                const Ending& ending,
                                std::uint32_t workers,
                                base::Time now) {
    FORKMILL_CHECK(slot < slots_.size());
    // What was meant to end is replaced at no charge, however often that happens.
    if (ending.wanted && bucket_ >= 0) bucket_ += 1;
    // A fatal exit of an old generation says nothing about the config in force.
    if (ending.wanted || !ending.current) return {};
    if (!ending.was_ready) {
        if (ending.exit_code == kExitConfig || ending.exit_code == kExitNoPermission)
            return {Verdict::Kind::Never, {}};
        // The world is not ready for it; that is no crash loop, and it is not hurried.
        if (ending.exit_code == kExitTempFail)
            return {Verdict::Kind::After, std::max(slots_[slot].next(), rule_.slow)};
    }
    // What a task did is settled by its crash limit (P6), not by starving its pool of workers.
    const bool lived = ending.was_ready && ending.uptime >= rule_.min_uptime;
    if (ending.in_task || ending.tasks_done > 0 || lived) {
        slots_[slot].reset();
        return {};
    }
    return on_early_death(slot, ending, workers, now);
}

Verdict RespawnPolicy::on_early_death(std::uint32_t slot,
                                      const Ending& ending,
                                      std::uint32_t workers,
                                      base::Time now) {
    const bool repeated = slots_[slot].failures() > 0;
    const base::Duration delay = slots_[slot].next();
    proof_is_life_ = ending.was_ready;
    if (breaker_ != Breaker::Closed) {
        // Those that were under way when it opened say nothing new; only a probe's death does.
        if (breaker_ == Breaker::Refilling || now >= launch_at_) launch_at_ = now + probe_.next();
        breaker_ = Breaker::Open;
        return {};
    }
    // A worker that was ready and is killed from outside is replaced at once, once.
    if (ending.was_ready && !repeated) return {};
    early_.push_back(now);
    forget_before(early_, now - rule_.window);
    if (early_.size() < std::max<std::size_t>(rule_.breaker_least, workers))
        return {Verdict::Kind::After, delay};
    breaker_ = Breaker::Open;
    launch_at_ = now + probe_.next();
    return {};
}

void RespawnPolicy::on_ready(std::uint32_t slot, base::Time now) {
    FORKMILL_CHECK(slot < slots_.size());
    if (breaker_ != Breaker::Open) return;
    breaker_ = Breaker::Refilling;
    allowance_ = 1;
    launched_ = 1;  // The probe itself.
    launch_at_ = now + (proof_is_life_ ? rule_.min_uptime : rule_.refill_step);
}

void RespawnPolicy::on_full() {
    if (breaker_ != Breaker::Refilling) return;
    breaker_ = Breaker::Closed;
    early_.clear();
    probe_.reset();
}

void RespawnPolicy::forgive() {
    for (base::Backoff& slot : slots_) slot.reset();
    breaker_ = Breaker::Closed;
    early_.clear();
    probe_.reset();
    proof_is_life_ = false;
}

void RespawnPolicy::refill_bucket(std::uint32_t workers, base::Time now) {
    const double burst = std::max(rule_.births_per_second, workers);
    const std::chrono::duration<double> passed = now - bucket_at_;
    if (bucket_ < 0)
        bucket_ = burst;
    else
        bucket_ = std::min(burst, bucket_ + passed.count() * rule_.births_per_second);
    bucket_at_ = now;
}

bool RespawnPolicy::may_launch(std::uint32_t starting, std::uint32_t workers, base::Time now) {
    refill_bucket(workers, now);
    if (bucket_ < 1) return false;
    switch (breaker_) {
        case Breaker::Closed:
            return true;
        case Breaker::Open:
            return starting == 0 && now >= launch_at_;
        case Breaker::Refilling:
            if (now >= launch_at_) {
                allowance_ = std::min(allowance_ * 2, rule_.refill_max);
                launched_ = 0;
                launch_at_ = now + rule_.refill_step;
            }
            return launched_ < allowance_;
    }
    return false;
}

void RespawnPolicy::on_launch() {
    bucket_ -= 1;
    ++launched_;
}

base::Time RespawnPolicy::next_change(std::uint32_t starting, base::Time now) const {
    // One birth's worth of the bucket.
    const base::Time refilled =
        bucket_ < 1
            ? now + std::chrono::nanoseconds{std::chrono::seconds{1}} / rule_.births_per_second
            : base::Time{};
    switch (breaker_) {
        case Breaker::Closed:
            return bucket_ < 1 ? refilled : base::kNever;
        case Breaker::Open:
            return starting > 0 ? base::kNever : std::max(launch_at_, refilled);
        case Breaker::Refilling:
            return std::max(launch_at_, refilled);
    }
    return base::kNever;
}

RelayPolicy::RelayPolicy(const RelayRule& rule, std::uint64_t seed)
    : rule_(rule), backoff_(rule.delay, seed) {}

base::Duration RelayPolicy::on_death(base::Duration uptime, base::Time now) {
    deaths_.push_back(now);
    forget_before(deaths_, now - rule_.window);
    if (uptime >= rule_.min_uptime) {
        backoff_.reset();
        first_ = true;
    }
    if (std::exchange(first_, false)) return {};
    return backoff_.next();
}

}  // namespace forkmill::supervisor
