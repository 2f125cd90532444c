// SPDX-License-Identifier: Apache-2.0
// Upgrades: a rehearsal of the new program, the exec in place, and the first moments after it.
//
// The process, its pid, its children and the listening sockets stay; the code goes. What the new
// program would start otherwise is replaced as in a reload: first it takes over as it is.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/log.h"
#include "core/supervisor/fd_text.h"
#include "core/supervisor/handover.h"
#include "core/supervisor/master_impl.h"
#include "core/supervisor/service_manager.h"
#include "core/supervisor/spawn.h"

namespace forkmill::supervisor {

using base::LogLevel;

namespace {

/// A descriptor of a child that came through the exec: it must not leak into the next child.
OwnedFd taken_over(int fd) {
    if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    return OwnedFd{fd};
}

void set_inheritable(const std::vector<int>& fds, bool inheritable) {
    for (const int fd : fds) ::fcntl(fd, F_SETFD, inheritable ? 0 : FD_CLOEXEC);
}

}  // namespace

void Master::Impl::upgrade(base::Time now) {
    if (!spec_.upgrade.save) {
        base::log_line(LogLevel::Warning, "this program cannot be upgraded while it runs");
        return;
    }
    if (phase_ != Phase::Running || reloading_) {
        base::log_line(LogLevel::Warning,
                       "upgrade refused: a reload or an upgrade is under way, or the end");
        return;
    }
    reloading_ = true;
    reload_failed_ = false;
    reload_why_.clear();
    upgrading_ = true;
    std::vector<int> kept;
    const base::Result<OwnedFd> saved = text_as_file(to_text(save(kept)));
    const base::Status started =
        saved.ok() ? start_probe(now, saved.value().get()) : base::Status{saved.failure()};
    if (started) return;
    upgrading_ = false;
    fail_reload(started.failure().text);
}

SavedMaster Master::Impl::save(std::vector<int>& kept) {
    const auto keep = [&](int fd) {
        if (fd >= 0) kept.push_back(fd);
        return fd;
    };
    const auto save_process = [&](SavedChild& out, Child& child) {
        child.channel.flush();
        out.pid = child.process.pid;
        out.pidfd = keep(child.process.pidfd.get());
        out.channel_fd = keep(child.channel.fd());
        out.stderr_fd = keep(child.err.fd());
        out.born_ns = child.born.time_since_epoch().count();
        out.generation = child.generation;
    };
    SavedMaster saved;
    saved.owner = spec_.upgrade.save(kept);
    saved.relay_identity = spec_.relay.identity;
    saved.relay_generation = relay_generation_;
    if (relay_) {
        saved.relay.emplace();
        save_process(*saved.relay, *relay_);
        saved.relay->state = relay_slot_.state();
        saved.relay->was_ready = relay_up_;
    }
    for (Pool& pool : pools_) {
        SavedPool& out = saved.pools.emplace_back();
        out.name = pool.spec.name;
        out.identity = pool.spec.identity;
        out.workers = pool.slots.workers();
        out.closed = pool.slots.closed();
        out.scoreboard_fd = keep(pool.board.fd());
        for (std::uint32_t slot = 0; slot < pool.slots.capacity(); ++slot) {
            if (pool.slots.generation(slot) == 0) continue;
            SavedChild& child = out.children.emplace_back(pool.slots.save(slot));
            // A birth that is under way fails with the exec, and is ordered again.
            if (pool.children[slot] && pool.children[slot]->is_born())
                save_process(child, *pool.children[slot]);
        }
    }
    return saved;
}

/// Returns only when the new program cannot be executed; then nothing has changed.
void Master::Impl::execute_in_place() {
    std::vector<int> kept;
    const base::Result<OwnedFd> saved = text_as_file(to_text(save(kept)));
    if (!saved) return fail_reload(saved.failure().text);
    kept.push_back(saved.value().get());
    std::vector<std::string> argv = spec_.upgrade.argv;
    std::vector<std::string> more{handover_variable(saved.value().get())};
    if (reports_.manager != nullptr)
        more.insert(more.end(),
                    reports_.manager->environment().begin(),
                    reports_.manager->environment().end());
    std::vector<std::string> environment = environment_with(more);
    base::log_line(LogLevel::Info, "upgrade: the new program takes over", {{"program", argv[0]}});
    // Its successor does not know fork servers; one that initializes would not see us go.
    for (Pool& pool : pools_) {
        if (!pool.forks.server) continue;
        pool.forks.retired = true;
        signal(*pool.forks.server, SIGKILL);
    }
    set_inheritable(kept, true);
    ::execve(argv[0].c_str(), pointers(argv).data(), pointers(environment).data());
    const int number = errno;
    set_inheritable(kept, false);
    fail_reload(std::string{"cannot execute the new program: "} + std::strerror(number));
}

/// The first moments of the new program: it takes over what is, then brings it to what its config
/// says. A child that died meanwhile is reaped like any other.
base::Status Master::Impl::take_over(const SavedMaster& saved, base::Time now) {
    RelaySpec relay = spec_.relay;
    const std::vector<PoolSpec> wanted = std::exchange(spec_.pools, {});
    spec_.relay.identity = saved.relay_identity;
    relay_generation_ = saved.relay_generation;
    for (const SavedPool& old : saved.pools) {
        base::Result<Scoreboard> board = Scoreboard::attach(taken_over(old.scoreboard_fd));
        if (!board) return board.failure();
        PoolSpec spec;
        for (const PoolSpec& pool : wanted)
            if (pool.name == old.name) spec = pool;
        spec.name = old.name;
        spec.identity = old.identity;
        spec.workers = old.workers;
        pools_.push_back(adopt_pool(spec, std::move(board).value()));
        adopt_children(static_cast<std::uint16_t>(pools_.size() - 1), old, now);
    }
    if (saved.relay) {
        adopt_child(relay_, kRelayPool, *saved.relay);
        relay_slot_.adopt(saved.relay->state, now, spec_.relay.timeouts);
        relay_up_ = saved.relay->was_ready;
        relay_tick_ = now;
    }
    phase_ = Phase::Running;
    ready_told_ = true;
    reloading_ = true;
    MasterSpec fresh = spec_;
    fresh.relay = std::move(relay);
    fresh.pools = wanted;
    reap(now);
    apply(std::move(fresh), now);
    return base::Done{};
}

Master::Impl::Pool Master::Impl::adopt_pool(const PoolSpec& spec, Scoreboard board) {
    const std::uint32_t capacity = board.slots();
    PoolRules rules;
    // A config that asks for more than there is room for is refused as in a reload.
    rules.workers = std::min(spec.workers, capacity - 1);
    rules.capacity = capacity;
    rules.timeouts = spec.timeouts;
    rules.seed = ++seed_;
    Pool pool{
        spec, {}, PoolSlots{rules}, std::move(board), {}, {}, Sizing{spec.sizing}, false, 0, {}};
    pool.children.resize(capacity);
    return pool;
}

void Master::Impl::adopt_children(std::uint16_t index, const SavedPool& old, base::Time now) {
    Pool& pool = pools_[index];
    for (const SavedChild& child : old.children) {
        if (child.slot >= pool.slots.capacity()) continue;
        pool.slots.adopt(child, now);
        if (child.pid > 0) adopt_child(pool.children[child.slot], index, child);
    }
    if (old.closed) pool.slots.close(pool.spec.timeouts.drain, now, actions_);
    act(index, now);
}

void Master::Impl::adopt_child(std::optional<Child>& place,
                               std::uint16_t pool,
                               const SavedChild& saved) {
    Child child;
    child.pool = pool;
    child.slot = saved.slot;
    child.generation = saved.generation;
    child.process = {saved.pid, taken_over(saved.pidfd)};
    child.channel = Channel{taken_over(saved.channel_fd)};
    child.err = StderrTail{taken_over(saved.stderr_fd), stderr_prefix(child)};
    child.born = base::Time{std::chrono::nanoseconds{saved.born_ns}};
    if (pool != kRelayPool) child.cgroup = cgroups_.find(saved.pid);
    places_[saved.pid] = {pool, saved.slot};
    place.emplace(std::move(child));
    if (!watch(*place)) signal(*place, SIGKILL);
}

/// Groups that a master of the same state_dir left, which may have been this very process.
void Master::Impl::sweep_cgroups(base::Time now) {
    cgroups_.sweep(
        [&](const std::string& directory) {
            return std::ranges::any_of(pools_, [&](const Pool& pool) {
                return std::ranges::any_of(pool.children, [&](const std::optional<Child>& child) {
                    return child && child->cgroup == directory;
                });
            });
        },
        now);
}

}  // namespace forkmill::supervisor
