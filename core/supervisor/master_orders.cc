// SPDX-License-Identifier: Apache-2.0
// What a master is told, by signals, by its children and by its own decisions, and what it does.
#include <signal.h>

#include <algorithm>

#include "core/base/log.h"
#include "core/supervisor/master_impl.h"

namespace forkmill::supervisor {

using base::LogLevel;

namespace {

/// For Notice::detail, where 0 means "no limit".
std::int32_t milliseconds_of(base::Duration limit) {
    if (limit == base::Duration::max()) return 0;
    const auto count = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(count, 1, INT32_MAX));
}

}  // namespace

void Master::Impl::take_signals(base::Time now) {
    while (const std::optional<int> signo = signals_->next()) {
        const SignalRow* row = find_signal(*signo);
        if (row == nullptr) continue;
        const bool again = row->first == stopping_by_ || stopping_by_ == Order::StopNow;
        if (row->first != Order::Reap)
            base::log_line(LogLevel::Info, "signal", {{"name", row->name}, {"again", again}});
        obey(again ? row->again : row->first, now);
    }
}

void Master::Impl::obey(Order order, base::Time now) {
    switch (order) {
        case Order::Reap:
            return reap(now);
        case Order::Stop:
            if (stopping_by_ != Order::StopNow) stopping_by_ = order;
            return stop(spec_.shutdown_timeout, kExitOk, now);
        case Order::Quit:
            if (stopping_by_ == Order::Stop) return;  // What is hurried is not made patient again.
            stopping_by_ = order;
            return stop(base::Duration::max(), kExitOk, now);
        case Order::StopNow:
            stopping_by_ = order;
            return stop_now(kExitOk, now);
        case Order::Reopen:
            return reopen();
        case Order::AddWorker:
            return resize(true, now);
        case Order::RemoveWorker:
            return resize(false, now);
        case Order::Reload:
            return reload(now);
        case Order::Upgrade:
            return upgrade(now);
        case Order::DrainWorkers:
            return drain_workers(now);
    }
}

void Master::Impl::stop(base::Duration limit, int exit_code, base::Time now) {
    if (exit_code_ == kExitOk) exit_code_ = exit_code;
    if (phase_ == Phase::StoppingRelay) return;
    phase_ = Phase::Stopping;
    for (std::uint16_t pool = 0; pool < pool_count(); ++pool) {
        pools_[pool].slots.close(limit, now, actions_);
        act(pool, now);
    }
}

void Master::Impl::stop_now(int exit_code, base::Time now) {
    if (exit_code_ == kExitOk) exit_code_ = exit_code;
    if (phase_ != Phase::StoppingRelay) phase_ = Phase::Stopping;
    for (std::uint16_t pool = 0; pool < pool_count(); ++pool) {
        pools_[pool].slots.kill_all(now, actions_);
        act(pool, now);
    }
    act_on_relay(relay_slot_.step(SlotEvent::Kill, now, spec_.relay.timeouts));
}

void Master::Impl::resize(bool more, base::Time now) {
    const auto first = std::find_if(
        pools_.begin(), pools_.end(), [](const Pool& pool) { return !pool.slots.closed(); });
    if (first == pools_.end() || phase_ != Phase::Running) return;
    first->drained = false;
    PoolSlots& slots = first->slots;
    const std::uint32_t wanted = more ? slots.workers() + 1 : slots.workers() - 1;
    const bool done = slots.resize(wanted, now, actions_);
    base::log_line(done ? LogLevel::Info : LogLevel::Warning,
                   done ? "pool resized" : "pool is at its bound",
                   {{"pool", first->spec.name}, {"workers", slots.workers()}});
    act(static_cast<std::uint16_t>(first - pools_.begin()), now);
}

/// The relay goes on, and tasks wait; TTIN, a new size or a reload brings workers back.
void Master::Impl::drain_workers(base::Time now) {
    if (phase_ != Phase::Running) return;
    for (std::uint16_t pool = 0; pool < pool_count(); ++pool) {
        if (pools_[pool].slots.rolling())
            base::log_line(LogLevel::Warning,
                           "not drained: its workers are just being replaced",
                           {{"pool", pools_[pool].spec.name}});
        else
            pools_[pool].drained = true;
        pools_[pool].slots.empty_out(now, actions_);
        act(pool, now);
    }
}

void Master::Impl::reopen() {
    if (spec_.reopen)
        spec_.reopen();
    else if (const base::Status done = base::log_reopen(); !done)
        base::log_line(LogLevel::Error, "log not reopened", {{"why", done.failure().text}});
    Notice notice;
    notice.verb = Verb::Reopen;
    tell_relay(notice);
    for (Pool& pool : pools_)
        for (std::optional<Child>& child : pool.children)
            if (child && child->is_born()) tell(*child, notice);
}

void Master::Impl::read_channel(Child& child, base::Time now) {
    if (!child.is_born()) return read_birth(child, now);
    const std::uint16_t pool = child.pool;
    while (const std::optional<Packet> packet = child.channel.receive()) {
        if (pool == kRelayPool)
            on_relay_notice(packet->notice, now);
        else if (child.slot == kForkServerSlot)
            on_fork_server_notice(pool, packet->notice, now);
        else
            on_worker_notice(child, packet->notice, now);
    }
    if (child.channel.closed() && !std::exchange(child.channel_ended, true)) {
        // Its death follows, or it can no longer be told anything; a relay is of no use then.
        watcher_->forget(child.channel.fd());
        if (child.pool == kRelayPool)
            act_on_relay(relay_slot_.step(SlotEvent::Stop, now, spec_.relay.timeouts));
        return;
    }
    if (!child.writing) return;
    child.channel.flush();
    child.writing = child.channel.has_backlog();
    if (!child.writing)
        watcher_->want_writable(child.channel.fd(), name(child, Watched::Kind::Channel), false);
}

void Master::Impl::on_worker_notice(Child& child, const Notice& notice, base::Time now) {
    PoolSlots& slots = pools_[child.pool].slots;
    switch (notice.verb) {
        case Verb::Up: {
            slots.on_up(child.slot, now, actions_);
            tell_relay(notice_of(Verb::Ready, child));
            break;
        }
        case Verb::Emptied:
            slots.on_emptied(child.slot, now, actions_);
            break;
        case Verb::Ageing:
            slots.on_ageing(child.slot, now, actions_);
            break;
        case Verb::Recycle:
            slots.on_leaving(child.slot, now, actions_);
            break;
        case Verb::Failed:
            child.reason = notice.text_view();
            base::log_line(LogLevel::Error,
                           "worker cannot start",
                           {{"worker", title(child)}, {"why", child.reason}});
            break;
        default:
            break;
    }
    act(child.pool, now);
}

void Master::Impl::on_relay_notice(const Notice& notice, base::Time now) {
    relay_tick_ = now;
    if (notice.verb == Verb::Tick) return;
    if (notice.verb == Verb::Up) {
        relay_slot_.step(SlotEvent::Up, now, spec_.relay.timeouts);
        relay_up_ = true;
        if (!swapping_relay_) former_relay_.reset();
        if (phase_ == Phase::Boot) phase_ = Phase::Running;
        return;
    }
    if (notice.verb == Verb::Failed) {
        base::log_line(LogLevel::Error,
                       "relay cannot start",
                       {{"relay", spec_.relay.name}, {"why", notice.text_view()}});
        return;
    }
    if (notice.verb == Verb::Pressure) {
        if (notice.pool >= pools_.size()) return;
        pools_[notice.pool].queued = static_cast<std::uint64_t>(std::max(notice.detail, 0));
        return fit_to_load(notice.pool, now);
    }
    // An order about a worker: only for the process that it names.
    Child* child = notice.pool == kRelayPool ? nullptr : find(notice.pool, notice.slot);
    if (child == nullptr || child->process.pid != notice.pid) return;
    PoolSlots& slots = pools_[child->pool].slots;
    if (notice.verb == Verb::Kill) slots.kill(child->slot, notice.cause, now, actions_);
    if (notice.verb == Verb::Drain) slots.drain(child->slot, now, actions_);
    act(child->pool, now);
}

/// Carries out what a pool decided. Carrying it out may lead to more decisions of that pool.
void Master::Impl::act(std::uint16_t pool, base::Time now) {
    while (!actions_.empty()) {
        const PoolSlots::Actions todo = std::exchange(actions_, {});
        for (const PoolAction& action : todo) act_on(pool, action, now);
    }
}

void Master::Impl::act_on(std::uint16_t pool, const PoolAction& action, base::Time now) {
    using Kind = PoolAction::Kind;
    Notice notice;
    notice.pool = pool;
    Child* child = find(pool, action.slot);
    if (child != nullptr && child->generation != action.generation) child = nullptr;
    if (child != nullptr && !child->is_born()) return act_on_birth(*child, action.kind, now);
    switch (action.kind) {
        case Kind::Launch:
            return launch_worker(pool, action.slot, now);
        case Kind::TellDrain:
            notice.verb = Verb::Drain;
            notice.detail = milliseconds_of(action.limit);
            if (child != nullptr) tell(*child, notice);
            return;
        case Kind::Term:
            notice.verb = Verb::Stop;
            if (child != nullptr) tell(*child, notice);
            if (child != nullptr) signal(*child, SIGTERM);
            return;
        case Kind::Abort:
            if (child != nullptr) signal(*child, SIGABRT);
            return;
        case Kind::Kill:
            if (child != nullptr) signal(*child, SIGKILL);
            return;
        default:
            return tell_of(pool, action);
    }
}

/// What is only to be told, or to be kept in mind.
void Master::Impl::tell_of(std::uint16_t pool, const PoolAction& action) {
    using Kind = PoolAction::Kind;
    const std::string pool_name = pools_[pool].spec.name;
    switch (action.kind) {
        case Kind::Alarm:
            base::log_line(LogLevel::Error,
                           "worker survives SIGKILL",
                           {{"pool", pool_name}, {"slot", action.slot}});
            return;
        case Kind::Waiting:
            base::log_line(LogLevel::Warning,
                           "worker will be started again",
                           {{"pool", pool_name},
                            {"slot", action.slot},
                            {"after_ms", milliseconds_of(action.limit)}});
            return;
        case Kind::Gone:
            base::log_line(LogLevel::Error,
                           "worker will not be started again: its config cannot work",
                           {{"pool", pool_name}, {"slot", action.slot}});
            return;
        case Kind::BreakerOpened:
        case Kind::BreakerClosed:
            base::log_line(LogLevel::Warning,
                           action.kind == Kind::BreakerOpened
                               ? "workers die as soon as they start: one probe at a time"
                               : "workers live again: pool is whole",
                           {{"pool", pool_name}});
            return;
        case Kind::Broken:
            base::log_line(LogLevel::Error,
                           "pool broken",
                           {{"pool", pool_name}, {"why", pools_[pool].last_words}});
            return tell_broken(pool);
        case Kind::Mended:
            base::log_line(LogLevel::Info, "pool works again", {{"pool", pool_name}});
            return;
        case Kind::Rolled:
            pools_[pool].former.reset();
            base::log_line(LogLevel::Info,
                           "pool runs its new version",
                           {{"pool", pool_name}, {"version", pools_[pool].slots.version()}});
            return;
        case Kind::RolledBack:
            if (pools_[pool].former) pools_[pool].spec = std::move(*pools_[pool].former);
            pools_[pool].former.reset();
            return fail_reload(pool_name + " keeps its workers, the new ones do not start: " +
                               pools_[pool].last_words);
        default:
            return;
    }
}

/// The relay hears of it too: tasks that only this pool could run end.
void Master::Impl::tell_broken(std::uint16_t pool) {
    Notice notice;
    notice.verb = Verb::Failed;
    notice.pool = pool;
    notice.set_text(pools_[pool].last_words);
    tell_relay(notice);
}

void Master::Impl::act_on_relay(SlotAct act) {
    if (!relay_) return;
    Notice notice;
    notice.verb = Verb::Stop;
    switch (act) {
        // No TERM beside it: that would end a relay before it has sent what it still holds.
        case SlotAct::SendTerm:
            return tell(*relay_, notice);
        case SlotAct::SendAbort:
            return signal(*relay_, SIGABRT);
        case SlotAct::SendKill:
            return signal(*relay_, SIGKILL);
        case SlotAct::Alarm:
            base::log_line(
                LogLevel::Error, "relay survives SIGKILL", {{"relay", spec_.relay.name}});
            return;
        case SlotAct::None:
        case SlotAct::TellDrain:
            return;
    }
}

void Master::Impl::tell(Child& child, const Notice& notice, std::span<const int> fds) {
    if (child.channel_ended) return;
    const bool taken = child.channel.post(notice, fds);
    if (child.channel.has_backlog() && !std::exchange(child.writing, true))
        watcher_->want_writable(child.channel.fd(), name(child, Watched::Kind::Channel), true);
    // A child that reads nothing while 8,192 notices pile up does not work.
    if (!taken && child.channel.has_backlog()) signal(child, SIGKILL);
}

void Master::Impl::tell_relay(const Notice& notice) {
    if (relay_) tell(*relay_, notice);
}

Master::Impl::Child* Master::Impl::find(std::uint16_t pool, std::uint32_t slot) {
    if (pool == kRelayPool) return relay_ ? &*relay_ : nullptr;
    if (pool >= pools_.size()) return nullptr;
    if (slot == kForkServerSlot) {
        std::optional<Child>& server = pools_[pool].forks.server;
        return server ? &*server : nullptr;
    }
    if (slot >= pools_[pool].children.size()) return nullptr;
    std::optional<Child>& child = pools_[pool].children[slot];
    return child ? &*child : nullptr;
}

Watched Master::Impl::name(const Child& child, Watched::Kind kind) const {
    return {kind, child.pool, child.slot, child.generation, false};
}

std::string Master::Impl::title(const Child& child) const {
    if (child.pool == kRelayPool) return spec_.relay.name;
    const std::string& pool = pools_[child.pool].spec.name;
    return child.slot == kForkServerSlot ? pool + " fork server"
                                         : pool + "/" + std::to_string(child.slot);
}

std::string Master::Impl::stderr_prefix(const Child& child) const {
    return "[" + title(child) + " " + std::to_string(child.process.pid) + "] ";
}

Notice Master::Impl::notice_of(Verb verb, const Child& child) const {
    Notice notice;
    notice.verb = verb;
    notice.pool = child.pool;
    notice.slot = child.slot;
    notice.pid = child.process.pid;
    notice.generation = child.generation;
    return notice;
}

}  // namespace forkmill::supervisor
