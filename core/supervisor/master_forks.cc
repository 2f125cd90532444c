// SPDX-License-Identifier: Apache-2.0
// Births by fork: a pool with a fork server has its workers forked from a process of their kind
// that has loaded and initialized everything already (birth_server.h).
//
// A birth is a Child without a process yet, in a slot that is Starting. While the server starts,
// the server's deadline counts; once it is asked for a birth, the birth's. The server is started
// when a birth needs it, and lives as long as it is of the version that is born now. It fails
// births, never workers.
#include <signal.h>

#include <algorithm>
#include <cstring>

#include "core/base/log.h"
#include "core/supervisor/birth_server.h"
#include "core/supervisor/master_impl.h"

namespace forkmill::supervisor {

using base::LogLevel;

bool Master::Impl::forks_workers(const Pool& pool) {
    return pool.spec.fork_server &&
           !(pool.forks.threaded && pool.forks.identity == pool.spec.fork_identity);
}

std::vector<std::uint32_t> Master::Impl::unborn(std::uint16_t pool) const {
    std::vector<std::uint32_t> slots;
    for (const std::optional<Child>& child : pools_[pool].children)
        if (child && !child->is_born()) slots.push_back(child->slot);
    return slots;
}

base::Status Master::Impl::order_birth(std::optional<Child>& place, Child fresh) {
    base::Result<std::array<OwnedFd, 2>> ends = connect(fresh);
    if (!ends) return ends.failure();
    for (OwnedFd& end : ends.value()) fresh.ends.push_back(std::move(end));
    const std::uint16_t pool = fresh.pool;
    const std::uint32_t slot = fresh.slot;
    const base::Time now = fresh.born;
    place.emplace(std::move(fresh));
    if (!watch_ends(*place)) {
        bury(place);
        return base::Failure{"cannot watch a birth"};
    }
    pools_[pool].slots.on_waiting(slot, now);
    ask_for_births(pool, now);
    return base::Done{};
}

/// Of a server that is not up yet, nothing is asked.
void Master::Impl::ask_for_births(std::uint16_t pool, base::Time now) {
    Forks& forks = pools_[pool].forks;
    if (!forks.server || forks.life.state() != SlotState::Ready ||
        forks.identity != pools_[pool].spec.fork_identity)
        return;
    for (const std::uint32_t slot : unborn(pool)) {
        Child& child = *pools_[pool].children[slot];
        if (child.ends.empty()) continue;
        const OwnedFd cgroup = open_cgroup(child.cgroup);
        std::vector<int> fds{child.ends[0].get(), child.ends[1].get()};
        if (cgroup) fds.push_back(cgroup.get());
        tell(*forks.server, notice_of(Verb::Spawn, child), fds);
        child.ends.clear();
        pools_[pool].slots.on_asked(slot, now);
    }
}

/// A birth says Born and waits for our answer, or it is none any more.
void Master::Impl::read_birth(Child& child, base::Time now) {
    const std::uint16_t pool = child.pool;
    if (const std::optional<Packet> packet = child.channel.receive())
        register_birth(child, packet->notice, now);
    else if (child.channel.closed())
        fail_birth(child, {}, "it died before its birth was known", now);
    act(pool, now);
}

/// The process is there, and is our child.
void Master::Impl::register_birth(Child& child, const Notice& notice, base::Time now) {
    const pid_t pid = notice.pid;
    base::Result<Spawned> process =
        is_own_child(pid) ? base::Failure{"another child has its number"} : adopt(pid);
    if (!process) return fail_birth(child, {}, process.failure().text, now);
    // A server of another user may not put it there.
    if (notice.detail == kNotInCgroup)
        if (const int number = enter_cgroup(open_cgroup(child.cgroup).get(), pid); number != 0)
            base::log_line(LogLevel::Warning,
                           "a worker cannot enter its control group",
                           {{"worker", title(child)}, {"why", std::strerror(number)}});
    child.process = std::move(process).value();
    child.err.set_prefix(stderr_prefix(child));
    places_[child.process.pid] = {child.pool, child.slot};
    const bool watched =
        watcher_->watch(child.process.pidfd.get(), name(child, Watched::Kind::Process)).ok();
    on_born(child);
    if (watched)
        tell(child, notice_of(Verb::Born, child));
    else
        signal(child, SIGKILL);
}

/// What there may be of its process sees its channel's end, and leaves.
void Master::Impl::bury_birth(Child& child, base::Time now) {
    child.err.pump();
    const std::string cgroup = std::move(child.cgroup);
    bury(pools_[child.pool].children[child.slot]);
    cgroups_.retire(cgroup, now);
}

void Master::Impl::fail_birth(Child& child,
                              const Ending& ending,
                              std::string_view why,
                              base::Time now) {
    Pool& owner = pools_[child.pool];
    const std::uint32_t slot = child.slot;
    owner.last_words = why;
    base::log_line(LogLevel::Warning,
                   "worker not born",
                   {{"worker", title(child)}, {"why", owner.last_words}});
    bury_birth(child, now);
    owner.slots.on_died(slot, ending, now, actions_);
}

void Master::Impl::act_on_birth(Child& child, PoolAction::Kind kind, base::Time now) {
    using Kind = PoolAction::Kind;
    if (kind != Kind::Term && kind != Kind::Abort && kind != Kind::Kill) return;
    Forks& forks = pools_[child.pool].forks;
    // The server was asked, and did not answer for so long.
    if (kind == Kind::Abort)
        act_on_fork_server(child.pool,
                           forks.life.step(SlotEvent::Hang, now, pools_[child.pool].spec.timeouts));
    fail_birth(child, {}, kind == Kind::Abort ? "start_timeout is over" : "it is not wanted", now);
}

/// Starts it when a birth needs one, and ends it when it can be of no more use.
void Master::Impl::tend_fork_server(std::uint16_t pool, base::Time now) {
    Pool& owner = pools_[pool];
    Forks& forks = owner.forks;
    const SlotTimeouts& timeouts = owner.spec.timeouts;
    if (forks.life.is_due(now))
        act_on_fork_server(pool, forks.life.step(SlotEvent::Deadline, now, timeouts));
    const bool wanted = forks_workers(owner) && !owner.slots.closed();
    const bool former = forks.identity != owner.spec.fork_identity;
    if (forks.server && (!wanted || former)) {
        forks.retired = true;
        act_on_fork_server(pool, forks.life.step(SlotEvent::Kill, now, timeouts));
    }
    if (!wanted || forks.server || unborn(pool).empty()) return;
    const base::Status launched = launch_fork_server(pool, now);
    if (launched) return;
    fail_births(pool, unborn(pool), {.exit_code = kExitTempFail}, launched.failure().text, now);
    act(pool, now);
}

/// For one reason, which is not theirs.
void Master::Impl::fail_births(std::uint16_t pool,
                               const std::vector<std::uint32_t>& slots,
                               const Ending& ending,
                               std::string_view why,
                               base::Time now) {
    if (slots.empty()) return;
    Pool& owner = pools_[pool];
    owner.last_words = why;
    base::log_line(LogLevel::Warning,
                   "workers not born",
                   {{"pool", owner.spec.name}, {"count", slots.size()}, {"why", why}});
    for (const std::uint32_t slot : slots) bury_birth(*owner.children[slot], now);
    owner.slots.on_births_failed(slots, ending, now, actions_);
}

base::Status Master::Impl::launch_fork_server(std::uint16_t pool, base::Time now) {
    Pool& owner = pools_[pool];
    Forks& forks = owner.forks;
    Child fresh;
    fresh.pool = pool;
    fresh.slot = kForkServerSlot;
    fresh.generation = ++forks.generation;
    fresh.born = now;
    base::Status launched = launch(forks.server, std::move(fresh), owner.spec.command);
    if (!launched) return launched;
    forks.identity = owner.spec.fork_identity;
    forks.threaded = forks.retired = forks.came_up = false;
    forks.life.step(SlotEvent::Launched, now, owner.spec.timeouts);
    base::log_line(LogLevel::Info,
                   "fork server born",
                   {{"pool", owner.spec.name}, {"pid", forks.server->process.pid}});
    return base::Done{};
}

void Master::Impl::on_fork_server_notice(std::uint16_t pool, const Notice& notice, base::Time now) {
    Pool& owner = pools_[pool];
    Forks& forks = owner.forks;
    switch (notice.verb) {
        case Verb::Up:
            forks.life.step(SlotEvent::Up, now, owner.spec.timeouts);
            forks.came_up = true;
            return ask_for_births(pool, now);
        case Verb::Failed:
            forks.server->reason = notice.text_view();
            return;
        case Verb::Died: {
            Child* child = find(pool, notice.slot);
            if (child == nullptr || child->is_born() || child->generation != notice.generation)
                return;
            fail_birth(*child, {.exit_code = kExitTempFail}, notice.text_view(), now);
            return act(pool, now);
        }
        case Verb::Threaded: {
            if (std::exchange(forks.threaded, true) || forks.identity != owner.spec.fork_identity)
                return;
            // A fork copies one thread: locks that the others hold would be held for ever.
            base::log_line(LogLevel::Warning,
                           "the fork server has threads: workers are executed instead",
                           {{"pool", owner.spec.name}, {"threads", notice.detail}});
            for (const std::uint32_t slot : unborn(pool)) {
                bury_birth(*owner.children[slot], now);
                owner.slots.on_asked(slot, now);
                launch_worker(pool, slot, now);
            }
            return act(pool, now);
        }
        default:
            return;
    }
}

/// Births that it was asked for fail, and all of them when it never came up.
void Master::Impl::on_fork_server_death(std::uint16_t pool,
                                        const ChildEvent& death,
                                        base::Time now) {
    Pool& owner = pools_[pool];
    Forks& forks = owner.forks;
    listen_to_the_last(*forks.server, now);
    const Notice notice = notice_of_death(*forks.server, death, Cause::Unknown);
    base::log_line(forks.retired ? LogLevel::Info : LogLevel::Warning,
                   "fork server died",
                   {{"pool", owner.spec.name},
                    {"pid", death.pid},
                    {"cause", name_of(notice.cause)},
                    {"detail", death.detail}});
    if (!forks.retired) record_crash(*forks.server, notice, now);
    const bool failed = !forks.came_up && !forks.retired;
    bury(forks.server);
    forks.life = {};
    std::vector<std::uint32_t> lost = unborn(pool);
    std::erase_if(
        lost, [&](std::uint32_t slot) { return !failed && !owner.children[slot]->ends.empty(); });
    Ending ending;
    if (death.kind == ChildEvent::Kind::Exited) ending.exit_code = death.detail;
    std::string why{notice.text_view()};
    if (why.empty())
        why = "the fork server died: " + std::string{name_of(notice.cause)} + " " +
              std::to_string(death.detail);
    fail_births(pool, lost, ending, why, now);
    act(pool, now);
    if (failed) stop_if_misconfigured(pool, ending, now);
}

void Master::Impl::act_on_fork_server(std::uint16_t pool, SlotAct act) {
    std::optional<Child>& server = pools_[pool].forks.server;
    if (!server) return;
    if (act == SlotAct::SendAbort) signal(*server, SIGABRT);
    if (act == SlotAct::SendKill) signal(*server, SIGKILL);
    if (act != SlotAct::Alarm) return;
    // It blocks nobody: from now on it is an orphan that this process will reap.
    base::log_line(
        LogLevel::Error, "fork server survives SIGKILL", {{"pool", pools_[pool].spec.name}});
    bury(server);
    pools_[pool].forks.life = {};
}

}  // namespace forkmill::supervisor
