// SPDX-License-Identifier: Apache-2.0
// Births and deaths of a master's children.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/log.h"
#include "core/supervisor/last_words.h"
#include "core/supervisor/master_impl.h"

namespace forkmill::supervisor {

using base::LogLevel;

/// Gives it our ends of a channel and of its stderr; returns its own.
base::Result<std::array<OwnedFd, 2>> Master::Impl::connect(Child& fresh) {
    std::array<int, 2> talk{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, talk.data()) != 0)
        return base::system_failure("cannot make a channel");
    fresh.channel = Channel{OwnedFd{talk[0]}};
    OwnedFd theirs{talk[1]};
    std::array<int, 2> err{};
    if (::pipe2(err.data(), O_CLOEXEC) != 0) return base::system_failure("cannot make a pipe");
    ::fcntl(err[0], F_SETFL, O_NONBLOCK);
    fresh.err = StderrTail{OwnedFd{err[0]}, stderr_prefix(fresh)};
    return std::array{std::move(theirs), OwnedFd{err[1]}};
}

base::Status Master::Impl::launch(std::optional<Child>& place,
                                  Child fresh,
                                  const CommandBuilder& command) {
    const base::Result<std::array<OwnedFd, 2>> ends = connect(fresh);
    if (!ends) return ends.failure();
    const auto& [channel, err] = ends.value();
    ChildEnv env{channel.get(), -1, fresh.pool, fresh.slot, fresh.generation};
    if (fresh.pool != kRelayPool) env.scoreboard_fd = pools_[fresh.pool].board.fd();
    base::Result<Command> built = command(env);
    if (!built) return built.failure();
    Program program{std::move(built.value().argv),
                    environment_with(built.value().environment),
                    std::move(built.value().inherit),
                    err.get(),
                    std::move(built.value().privileges)};
    const OwnedFd cgroup = open_cgroup(fresh.cgroup);
    program.cgroup_fd = cgroup.get();
    program.keep_fds.push_back(env.channel_fd);
    if (env.scoreboard_fd >= 0) program.keep_fds.push_back(env.scoreboard_fd);
    base::Result<Spawned> spawned = spawn_program(program);
    if (!spawned) return spawned.failure();

    fresh.process = std::move(spawned).value();
    fresh.err.set_prefix(stderr_prefix(fresh));
    places_[fresh.process.pid] = {fresh.pool, fresh.slot};
    place.emplace(std::move(fresh));
    // Unwatched it could die unseen; but its death still raises SIGCHLD, so only orders to it and
    // words from it would be lost. Then it is better to have none.
    if (!watch(*place)) signal(*place, SIGKILL);
    return base::Done{};
}

bool Master::Impl::watch(Child& child) {
    return watcher_->watch(child.process.pidfd.get(), name(child, Watched::Kind::Process)).ok() &&
           watch_ends(child);
}

bool Master::Impl::watch_ends(Child& child) {
    return watcher_->watch(child.channel.fd(), name(child, Watched::Kind::Channel)).ok() &&
           watcher_->watch(child.err.fd(), name(child, Watched::Kind::Stderr)).ok();
}

void Master::Impl::launch_worker(std::uint16_t pool, std::uint32_t slot, base::Time now) {
    Pool& owner = pools_[pool];
    Child fresh;
    fresh.pool = pool;
    fresh.slot = slot;
    fresh.generation = owner.slots.generation(slot);
    fresh.born = now;
    const std::string cgroup =
        cgroups_.make({owner.spec.name, slot, fresh.generation, owner.spec.outlives_master});
    fresh.cgroup = cgroup;
    owner.board.reset(slot, 0, fresh.generation);
    std::optional<Child>& place = owner.children[slot];
    const bool forked = forks_workers(owner);
    const base::Status launched = forked ? order_birth(place, std::move(fresh))
                                         : launch(place, std::move(fresh), owner.spec.command);
    if (!launched) {
        cgroups_.retire(cgroup, now);
        owner.last_words = launched.failure().text;
        base::log_line(LogLevel::Error,
                       "worker not started",
                       {{"pool", pools_[pool].spec.name}, {"why", launched.failure().text}});
        owner.slots.on_launch_failed(slot, now, actions_);
        return;
    }
    if (!forked) on_born(*place);
}

void Master::Impl::on_born(Child& child) {
    Pool& owner = pools_[child.pool];
    owner.board.cells(child.slot).pid = static_cast<std::uint32_t>(child.process.pid);
    owner.slots.on_launched(child.slot, child.process.pid);
    base::log_line(
        LogLevel::Info, "worker born", {{"worker", title(child)}, {"pid", child.process.pid}});
    tell_relay(notice_of(Verb::Born, child));
}

void Master::Impl::launch_relay(base::Time now) {
    Child fresh;
    fresh.generation = ++relay_generation_;
    fresh.born = now;
    const base::Status launched = launch(relay_, std::move(fresh), spec_.relay.command);
    if (!launched) {
        base::log_line(LogLevel::Error,
                       "relay not started",
                       {{"relay", spec_.relay.name}, {"why", launched.failure().text}});
        if (phase_ == Phase::Boot) return stop_now(kExitConfig, now);
        const base::Duration delay = relay_policy_->on_death({}, now);
        if (relay_policy_->gives_up()) return stop_now(kExitSoftware, now);
        relay_slot_.step(SlotEvent::Wait, now, spec_.relay.timeouts, delay);
        return;
    }
    relay_slot_.step(SlotEvent::Launched, now, spec_.relay.timeouts);
    base::log_line(
        LogLevel::Info, "relay born", {{"relay", spec_.relay.name}, {"pid", relay_->process.pid}});
    tell_roster(now);
}

/// A fresh relay knows nobody: it is told who lives, and which pools cannot start anybody. While
/// orphans may come that we do not know, it is not told that these are all.
void Master::Impl::tell_roster(base::Time now) {
    Notice end;
    end.verb = Verb::Roster;
    end.pid = static_cast<std::int32_t>(::getpid());
    for (Pool& pool : pools_) {
        for (std::optional<Child>& child : pool.children) {
            if (!child || !child->is_born()) continue;
            tell_relay(notice_of(Verb::Born, *child));
            ++end.detail;
        }
    }
    roster_at_ = now < orphans_until_ ? orphans_until_ : base::kNever;
    if (roster_at_ == base::kNever) tell_relay(end);
    for (std::uint16_t pool = 0; pool < pool_count(); ++pool)
        if (pools_[pool].slots.broken()) tell_broken(pool);
}

void Master::Impl::reap(base::Time now) {
    const auto is_ours = [&](pid_t pid) { return is_own_child(pid); };
    while (const std::optional<ChildEvent> event = next_child_event(is_ours)) {
        if (probe_ && event->pid == probe_->process.pid) {
            if (event->is_death()) on_probe_death(*event, now);
            continue;
        }
        const auto place = places_.find(event->pid);
        if (place == places_.end()) {  // An orphan we adopted.
            if (event->is_death()) escapes_.on_reaped(event->pid);
            continue;
        }
        Child* child = find(place->second.first, place->second.second);
        FORKMILL_CHECK(child != nullptr);
        if (child->slot == kForkServerSlot && child->pool != kRelayPool) {
            if (event->is_death()) on_fork_server_death(child->pool, *event, now);
        } else if (!event->is_death())
            on_pause(*child, *event, now);
        else if (child->pool == kRelayPool)
            on_relay_death(*event, now);
        else
            on_worker_death(*child, *event, now);
    }
}

void Master::Impl::on_worker_death(Child& child, const ChildEvent& death, base::Time now) {
    listen_to_the_last(child, now);
    const std::uint16_t pool = child.pool;
    const std::uint32_t slot = child.slot;
    Pool& owner = pools_[pool];
    Cause doom = owner.slots.doom(slot);
    if (doom == Cause::Unknown && owner.board.cells(slot).leaving != 0) doom = Cause::Recycle;

    Notice notice = notice_of_death(child, death, doom);
    const std::vector<std::uint64_t> leases = owner.board.running_leases(slot);
    notice.lease_count = static_cast<std::uint32_t>(std::min(leases.size(), kLeasesInNotice));
    std::copy_n(leases.begin(), notice.lease_count, notice.leases.begin());
    tell_relay(notice);

    const bool expected = notice.cause == Cause::Recycle || notice.cause == Cause::Drain;
    base::log_line(expected ? LogLevel::Info : LogLevel::Warning,
                   "worker died",
                   {{"worker", title(child)},
                    {"pid", death.pid},
                    {"cause", name_of(notice.cause)},
                    {"detail", death.detail},
                    {"running", leases.size()},
                    {"core", death.core_dumped},
                    {"rss_peak", death.rss_peak}});
    if (!expected) record_crash(child, notice, now);
    Ending ending;
    ending.in_task = !leases.empty();
    ending.tasks_done = owner.board.tasks_done(slot);
    if (death.kind == ChildEvent::Kind::Exited) ending.exit_code = death.detail;
    if (!owner.slots.was_ready(slot)) owner.last_words = notice.text_view();
    const std::string cgroup = std::move(child.cgroup);
    bury(owner.children[slot]);
    cgroups_.retire(cgroup, now);
    escapes_.on_death([&](pid_t pid) { return is_own_child(pid); }, now);
    if (expected) owner.slots.on_leaving(slot, now, actions_);
    owner.slots.on_died(slot, ending, now, actions_);
    act(pool, now);
    stop_if_misconfigured(pool, ending, now);
}

/// As it is told: why, and its last words.
Notice Master::Impl::notice_of_death(const Child& child, const ChildEvent& death, Cause doom) {
    const bool signaled = death.kind == ChildEvent::Kind::Signaled;
    const bool ours = signaled && (child.signals_sent >> death.detail & 1) != 0;
    const bool oom = signaled && death.detail == SIGKILL && !ours && was_out_of_memory(child);
    Notice notice = notice_of(Verb::Died, child);
    notice.cause = cause_of(death, doom, ours, oom);
    notice.detail = death.detail;
    notice.rss_peak = death.rss_peak;
    notice.core_dumped = death.core_dumped ? 1 : 0;
    notice.set_text(child.reason.empty() ? last_words(child.err.tail()) : child.reason);
    return notice;
}

/// At the start only: a pool that a reload brings must not end those that serve.
void Master::Impl::stop_if_misconfigured(std::uint16_t pool, const Ending& ending, base::Time now) {
    const Pool& owner = pools_[pool];
    if (owner.slots.ever_ready() || ending.exit_code != kExitConfig || phase_ != Phase::Running ||
        ready_told_)
        return;
    base::log_line(LogLevel::Error,
                   "pool cannot start",
                   {{"pool", owner.spec.name}, {"why", owner.last_words}});
    stop(spec_.shutdown_timeout, kExitConfig, now);
}

void Master::Impl::on_relay_death(const ChildEvent& death, base::Time now) {
    listen_to_the_last(*relay_, now);
    const bool was_up = std::exchange(relay_up_, false);
    const bool bad_config =
        !was_up && death.kind == ChildEvent::Kind::Exited && death.detail == kExitConfig;
    const base::Duration uptime = now - relay_->born;
    relay_slot_.step(SlotEvent::Died, now, spec_.relay.timeouts);
    const bool swapped = std::exchange(swapping_relay_, false);
    const bool wanted = phase_ == Phase::StoppingRelay || swapped;
    base::log_line(wanted ? LogLevel::Info : LogLevel::Error,
                   "relay died",
                   {{"relay", spec_.relay.name},
                    {"pid", death.pid},
                    {"cause", death.kind == ChildEvent::Kind::Exited ? "exit" : "signal"},
                    {"detail", death.detail}});
    bury(relay_);
    relay_slot_.step(SlotEvent::Retire, now, spec_.relay.timeouts);
    for (Pool& pool : pools_) pool.queued = 0;  // Its successor tells what is new to it.
    if (!wants_relay()) return;
    if (swapped) return;  // The slot is empty: the next turn starts its successor.
    if (!was_up && former_relay_) return take_back_relay();
    if (bad_config) return stop(spec_.shutdown_timeout, kExitConfig, now);
    const base::Duration delay = relay_policy_->on_death(uptime, now);
    if (relay_policy_->gives_up()) {
        base::log_line(LogLevel::Error, "relay dies again and again; giving up");
        // Nobody carries the workers' results any more: no reason to wait for long.
        return stop(spec_.relay.timeouts.term, kExitSoftware, now);
    }
    relay_slot_.step(SlotEvent::Wait, now, spec_.relay.timeouts, delay);
}

void Master::Impl::on_pause(Child& child, const ChildEvent& event, base::Time now) {
    const bool stopped = event.kind == ChildEvent::Kind::Stopped;
    base::log_line(LogLevel::Warning,
                   stopped ? "child stopped by a signal" : "child continues",
                   {{"child", title(child)}, {"pid", event.pid}});
    if (child.pool == kRelayPool) {
        relay_tick_ = now;
        relay_slot_.step(
            stopped ? SlotEvent::Paused : SlotEvent::Resumed, now, spec_.relay.timeouts);
        return;
    }
    child.stood_until = now;
    PoolSlots& slots = pools_[child.pool].slots;
    stopped ? slots.on_paused(child.slot, now) : slots.on_resumed(child.slot, now);
    tell_relay(notice_of(stopped ? Verb::Stopped : Verb::Continued, child));
}

/// What a dead child said before its end: it is all here by now.
void Master::Impl::listen_to_the_last(Child& child, base::Time now) {
    read_channel(child, now);
    child.err.pump();
}

void Master::Impl::bury(std::optional<Child>& place) {
    watcher_->forget(place->process.pidfd.get());
    watcher_->forget(place->channel.fd());
    watcher_->forget(place->err.fd());
    places_.erase(place->process.pid);
    place.reset();
}

void Master::Impl::signal(Child& child, int signo) {
    if (!child.is_born()) return;  // Its number would mean somebody else.
    child.signals_sent |= std::uint64_t{1} << signo;
    if (signo != SIGKILL) return send_signal(child.process.pid, signo);
    kill_group(child.process.pid);
    if (!child.cgroup.empty()) kill_cgroup(child.cgroup);
}

/// Its own group's count tells of it alone; the host's may be another process's.
bool Master::Impl::was_out_of_memory(const Child& child) {
    const bool somebody = oom_->has_struck();
    const std::optional<std::uint64_t> own = oom_kills(child.cgroup);
    return own ? *own > 0 : somebody;
}

}  // namespace forkmill::supervisor
