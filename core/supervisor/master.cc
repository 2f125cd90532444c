// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/master.h"

#include <algorithm>

#include "core/base/log.h"
#include "core/supervisor/fork_server.h"
#include "core/supervisor/master_impl.h"
#include "core/supervisor/service_manager.h"

namespace forkmill::supervisor {

Master::Master(MasterSpec spec, const MasterReports& reports)
    : impl_(std::make_unique<Impl>(std::move(spec), reports)) {}
Master::~Master() = default;

int Master::run() {
    return impl_->run(nullptr);
}

int Master::run(const SavedMaster& saved) {
    return impl_->run(&saved);
}

/// The master's whole life: wait, look at what happened, do what is due.
int Master::Impl::run(const SavedMaster* saved) {
    base::Status ready = prepare();
    if (ready.ok())
        ready = saved == nullptr ? make_pools() : take_over(*saved, base::monotonic_now());
    if (!ready) {
        base::log_line(base::LogLevel::Error, "cannot start", {{"why", ready.failure().text}});
        report_end(kExitSoftware);
        return kExitSoftware;
    }
    std::vector<Watched> events;
    base::Time now = base::monotonic_now();
    if (saved == nullptr) orphans_until_ = now + spec_.orphans_return;
    sweep_cgroups(now);
    for (advance(now); !is_over(); advance(now)) {
        watcher_->wait(next_deadline(now), now, events);
        now = base::monotonic_now();
        for (const Watched& event : events) dispatch(event, now);
    }
    cgroups_.close();
    base::log_line(base::LogLevel::Info, "master ends", {{"exit_code", exit_code_}});
    report_end(exit_code_);
    return exit_code_;
}

base::Status Master::Impl::prepare() {
    if (base::Status filled = fill_standard_fds(); !filled) return filled;
    base::Result<Watcher> watcher = Watcher::open();
    if (!watcher) return watcher.failure();
    base::Result<SignalFd> signals = SignalFd::open();
    if (!signals) return signals.failure();
    // Signals could end such a thread's process instead of coming to us. Libraries that start
    // threads before main exist, so that is no reason to refuse all service.
    if (const std::uint32_t threads = count_own_threads(); threads > 1)
        base::log_line(base::LogLevel::Warning,
                       "a master should have one thread; orders by signals may end it",
                       {{"threads", threads}});
    watcher_.emplace(std::move(watcher).value());
    signals_.emplace(std::move(signals).value());
    oom_.emplace();
    become_subreaper();
    cgroups_.open(spec_.cgroup);
    seed_ = spec_.seed != 0 ? spec_.seed : static_cast<std::uint64_t>(base::wall_now());
    relay_policy_.emplace(spec_.relay.respawn, seed_);
    open_control();
    return watcher_->watch(signals_->fd(), {.kind = Watched::Kind::Signals});
}

base::Status Master::Impl::make_pools() {
    for (const PoolSpec& pool : std::exchange(spec_.pools, {})) {
        base::Result<Pool> made = make_pool(pool);
        if (!made) return made.failure();
        pools_.push_back(std::move(made).value());
    }
    return base::Done{};
}

base::Time Master::Impl::next_deadline(base::Time now) const {
    base::Time next = std::min({relay_slot_.deadline(), cgroups_.next_try(), roster_at_});
    if (reports_.manager != nullptr) {
        const base::Duration interval = reports_.manager->watchdog_interval();
        if (interval != base::Duration::max()) next = std::min(next, fed_at_ + interval);
    }
    if (phase_ == Phase::Boot) return next;
    if (!places_.empty()) next = std::min(next, watch_at_);
    for (const Pool& pool : pools_)
        next = std::min({next, pool.slots.next_deadline(now), pool.forks.life.deadline()});
    if (probe_) next = std::min(next, probe_->deadline);
    return next;
}

void Master::Impl::dispatch(const Watched& event, base::Time now) {
    if (event.kind == Watched::Kind::Signals) return take_signals(now);
    if (event.kind == Watched::Kind::Process) return reap(now);
    if (event.kind == Watched::Kind::Control) return on_control(event.slot, now);
    if (event.pool == kProbePool) {
        if (probe_ && !probe_->err.pump()) watcher_->forget(probe_->err.fd());
        return;
    }
    Child* child = find(event.pool, event.slot);
    if (child == nullptr || !event.same_generation(child->generation)) return;
    if (event.kind == Watched::Kind::Channel) return read_channel(*child, now);
    if (!child->err.pump()) {
        watcher_->forget(child->err.fd());
    }
}

/// Everything that is due by now, whatever woke us.
void Master::Impl::advance(base::Time now) {
    advance_relay(now);
    report(now);
    cgroups_.settle(now);
    if (now >= roster_at_) tell_roster(now);
    if (phase_ == Phase::Boot) return;
    watch_children(now);
    bool workers_left = false;
    for (std::uint16_t pool = 0; pool < pool_count(); ++pool) {
        pools_[pool].slots.on_tick(now, actions_);
        act(pool, now);
        tend_fork_server(pool, now);
        workers_left =
            workers_left || !pools_[pool].slots.empty() || pools_[pool].forks.life.has_process();
    }
    check_reload(now);
    if (phase_ == Phase::Stopping && !workers_left) {
        phase_ = Phase::StoppingRelay;
        swapping_relay_ = false;
        relay_slot_.step(SlotEvent::Retire, now, spec_.relay.timeouts);
        act_on_relay(relay_slot_.step(SlotEvent::Stop, now, spec_.relay.timeouts));
    }
}

/// Workers that drain need it too: nobody else takes their results.
bool Master::Impl::wants_relay() const {
    if (phase_ == Phase::Stopping) return exit_code_ == kExitOk && stopping_by_ != Order::StopNow;
    return phase_ != Phase::StoppingRelay;
}

void Master::Impl::advance_relay(base::Time now) {
    if (relay_slot_.is_due(now))
        act_on_relay(relay_slot_.step(SlotEvent::Deadline, now, spec_.relay.timeouts));
    if (wants_relay() && relay_slot_.state() == SlotState::Empty) launch_relay(now);
}

bool Master::Impl::is_over() const {
    if (phase_ != Phase::StoppingRelay || !cgroups_.settled()) return false;
    return !relay_slot_.has_process() || relay_slot_.state() == SlotState::Unkillable;
}

}  // namespace forkmill::supervisor
