// SPDX-License-Identifier: Apache-2.0
// Reloads: a probe judges, respec() says what shall be, and each part is brought there by itself.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/log.h"
#include "core/supervisor/fd_text.h"
#include "core/supervisor/master_impl.h"

namespace forkmill::supervisor {

using base::LogLevel;

namespace {

constexpr base::Duration kRehearsalLimit = std::chrono::seconds{10};
constexpr std::size_t kResultMax = 16 << 20;  ///< Bytes of a judged config.

PoolRules rules_of(const PoolSpec& spec, std::uint64_t seed) {
    PoolRules rules;
    rules.workers = spec.workers;
    rules.timeouts = spec.timeouts;
    rules.seed = seed;
    return rules;
}

}  // namespace

void set_rules(PoolSpec& pool, const WorkerRules& rules) {
    pool.workers = rules.workers;
    pool.sizing = rules.sizing;
    pool.threads = rules.threads;
    pool.fork_server = rules.fork_server;
    pool.timeouts.start = rules.start_timeout;
    pool.timeouts.drain = rules.drain_timeout;
    pool.timeouts.stop = rules.stop_timeout;
    pool.watch = {rules.hung_timeout, rules.max_memory_per_child, rules.kill_memory_per_child};
    pool.outlives_master = rules.finish_orphaned;
}

base::Result<Master::Impl::Pool> Master::Impl::make_pool(const PoolSpec& spec) {
    const std::uint32_t capacity = slots_for(std::max(spec.workers, spec.sizing.max));
    base::Result<Scoreboard> board = Scoreboard::create(capacity);
    if (!board) return board.failure();
    PoolRules rules = rules_of(spec, ++seed_);
    rules.capacity = capacity;
    Pool pool{spec, {}, PoolSlots{rules}, std::move(board).value(), {}, {}, {}, false, 0, {}};
    pool.sizing.emplace(spec.sizing);
    pool.children.resize(capacity);
    return pool;
}

void Master::Impl::reload(base::Time now) {
    if (!spec_.reload.probe) {
        base::log_line(LogLevel::Warning, "there is no config to reload");
        return;
    }
    if (phase_ == Phase::Stopping || phase_ == Phase::StoppingRelay) return;
    if (phase_ == Phase::Boot || reloading_) {
        reload_pending_ = true;
        return;
    }
    reloading_ = true;
    upgrading_ = false;
    reload_failed_ = false;
    reload_why_.clear();
    if (const base::Status started = start_probe(now); !started)
        fail_reload(started.failure().text);
}

/// With a handover it is a rehearsal of the new program's start as well.
base::Status Master::Impl::start_probe(base::Time now, int handover_fd) {
    OwnedFd result{::memfd_create("forkmill-reload", MFD_CLOEXEC)};
    if (!result) return base::system_failure("cannot make room for the new config");
    std::array<int, 2> err{};
    if (::pipe2(err.data(), O_CLOEXEC) != 0) return base::system_failure("cannot make a pipe");
    OwnedFd err_read{err[0]};
    const OwnedFd err_write{err[1]};
    ::fcntl(err_read.get(), F_SETFL, O_NONBLOCK);
    base::Result<Command> command = spec_.reload.probe(result.get());
    if (!command) return command.failure();
    std::vector<int> inherit{result.get()};
    if (handover_fd >= 0) {
        inherit.push_back(handover_fd);
        command.value().environment.push_back(handover_variable(handover_fd));
        command.value().argv = spec_.upgrade.argv;
    }
    Program program{std::move(command.value().argv),
                    environment_with(command.value().environment),
                    std::move(inherit),
                    err_write.get()};
    base::Result<Spawned> spawned = spawn_program(program);
    if (!spawned) return spawned.failure();
    probe_.emplace(Probe{std::move(spawned).value(),
                         StderrTail{std::move(err_read), "[reload] "},
                         std::move(result),
                         now + (handover_fd < 0 ? spec_.reload.timeout : kRehearsalLimit)});
    // Its death raises SIGCHLD, watched or not.
    static_cast<void>(
        watcher_->watch(probe_->err.fd(), {.kind = Watched::Kind::Stderr, .pool = kProbePool}));
    return base::Done{};
}

void Master::Impl::on_probe_death(const ChildEvent& death, base::Time now) {
    probe_->err.pump();
    watcher_->forget(probe_->err.fd());
    const Probe probe = std::move(*probe_);
    probe_.reset();
    if (phase_ != Phase::Running) return;
    const bool upgrading = std::exchange(upgrading_, false);
    if (death.kind != ChildEvent::Kind::Exited || death.detail != kExitOk) {
        const bool exited = death.kind == ChildEvent::Kind::Exited;
        return fail_reload((exited ? "the new config or program is not good (exit "
                                   : "the probe ended by signal (") +
                           std::to_string(death.detail) + "): " + std::string{probe.err.tail()});
    }
    const base::Result<std::string> result =
        read_whole(probe.result.get(), kResultMax, "the probe's result");
    if (!result) return fail_reload(result.failure().text);
    if (upgrading) return execute_in_place();
    base::Result<MasterSpec> fresh = spec_.reload.respec(result.value());
    if (!fresh) return fail_reload(fresh.failure().text);
    apply(std::move(fresh).value(), now);
}

/// Each part for itself: what fails is said and stays as it was.
void Master::Impl::apply(MasterSpec fresh, base::Time now) {
    cgroups_.open(fresh.cgroup);
    for (std::uint16_t pool = 0; pool < pool_count(); ++pool) {
        const bool stays = std::any_of(fresh.pools.begin(), fresh.pools.end(), [&](const auto& p) {
            return p.name == pools_[pool].spec.name;
        });
        if (stays || pools_[pool].slots.closed()) continue;
        pools_[pool].slots.close(pools_[pool].spec.timeouts.drain, now, actions_);
        act(pool, now);
    }
    for (const PoolSpec& spec : fresh.pools)
        if (const base::Status done = apply_pool(spec, now); !done)
            fail_reload(done.failure().text);
    const bool new_relay = fresh.relay.identity != spec_.relay.identity;
    RelaySpec relay = std::exchange(fresh.relay, std::move(spec_.relay));
    fresh.pools.clear();
    spec_ = std::move(fresh);
    if (new_relay)
        swap_relay(std::move(relay), now);
    else
        spec_.relay = std::move(relay);
}

base::Status Master::Impl::apply_pool(const PoolSpec& spec, base::Time now) {
    const auto known = std::find_if(
        pools_.begin(), pools_.end(), [&](const Pool& p) { return p.spec.name == spec.name; });
    const auto is_there = [](const std::optional<Child>& child) { return child.has_value(); };
    const bool gone = known != pools_.end() && known->slots.closed() && !known->forks.server &&
                      std::none_of(known->children.begin(), known->children.end(), is_there);
    if (known == pools_.end() || gone) {
        base::Result<Pool> made = make_pool(spec);
        if (!made) return made.failure();
        if (gone) made.value().slots.continue_from(known->slots);
        if (gone)
            *known = std::move(made).value();
        else
            pools_.push_back(std::move(made).value());
        return base::Done{};
    }
    if (known->slots.closed())
        return base::Failure{spec.name + " comes back while its former workers still drain"};
    const bool changed = spec.identity != known->spec.identity;
    PoolRules rules = rules_of(spec, 0);
    // A size that varies goes on from where it is.
    if (spec.sizing.varies())
        rules.workers = std::clamp(known->slots.workers(), spec.sizing.min, spec.sizing.max);
    const std::uint32_t most = std::max(rules.workers, spec.sizing.max);
    const bool has_room = most + std::max(1U, most / 10) <= known->slots.capacity();
    PoolSpec former = std::exchange(known->spec, spec);
    known->former.reset();
    if (changed) known->former = former;
    if (!has_room || !known->slots.reload(rules, changed, now, actions_)) {
        known->spec = std::move(former);
        known->former.reset();
        return base::Failure{spec.name + " has no room for " + std::to_string(most) +
                             " workers; expected a restart for so many"};
    }
    known->sizing.emplace(spec.sizing);
    known->drained = false;
    act(static_cast<std::uint16_t>(known - pools_.begin()), now);
    return base::Done{};
}

/// The present one makes room; until its successor is up, connections wait in the backlog.
void Master::Impl::swap_relay(RelaySpec fresh, base::Time now) {
    former_relay_ = std::exchange(spec_.relay, std::move(fresh));
    if (!relay_slot_.has_process()) return;
    swapping_relay_ = true;
    act_on_relay(relay_slot_.step(SlotEvent::Stop, now, spec_.relay.timeouts));
}

void Master::Impl::take_back_relay() {
    spec_.relay = std::move(*former_relay_);
    former_relay_.reset();
    fail_reload(spec_.relay.name + " did not start with the new config; the former one is back");
}

void Master::Impl::fail_reload(std::string_view why) {
    reload_failed_ = true;
    reload_why_ += (reload_why_.empty() ? "" : "\n") + std::string{why};
    base::log_line(LogLevel::Error, "reload failed", {{"why", why}});
}

void Master::Impl::check_reload(base::Time now) {
    if (probe_) {
        if (now >= probe_->deadline) {
            probe_->deadline = base::kNever;
            kill_group(probe_->process.pid);
        }
        return;
    }
    const bool busy = swapping_relay_ || former_relay_ ||
                      std::any_of(pools_.begin(), pools_.end(), [](const Pool& pool) {
                          return pool.slots.rolling();
                      });
    if (phase_ != Phase::Running || busy) return;
    if (std::exchange(reloading_, false)) {
        base::log_line(
            reload_failed_ ? LogLevel::Warning : LogLevel::Info,
            reload_failed_ ? "reload ended; a part of it was taken back" : "reload done");
        answer_reload();
    }
    if (std::exchange(reload_pending_, false)) reload(now);
}

}  // namespace forkmill::supervisor
