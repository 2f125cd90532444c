// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/fork_host.h"

#include <utility>

#include "core/supervisor/forked_context.h"
#include "forkmill/detail/seam.h"
#include "forkmill/errors.h"
#include "sdk/local/lock_memory.h"
#include "sdk/local/plan.h"
#include "sdk/local/process_life.h"

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

struct Shared {
    std::mutex mutex;
    std::weak_ptr<ForkHost> current;
    std::shared_ptr<ForkHost> pinned;
};

/// Of this process alone: the fork server is forked while the mutex is held, and belongs to the
/// parent of every fork of it.
Shared& shared() {
    static constinit supervisor::PerProcess<Shared> state;
    return state.get();
}

std::shared_ptr<ForkHost> start() {
    supervisor::ForkServer::Options options;
    options.worker = run_worker;
    options.process = run_process;
    Snapshot snapshot = Snapshot::take();
    map_lock_words();  // Before the fork, or its workers would not have them.
    base::Result<supervisor::ForkServer> server = supervisor::ForkServer::start(std::move(options));
    if (!server.ok()) {
        throw UsageError{server.failure().text +
                         "; call forkmill::init(argc, argv) at the start of main, before any "
                         "thread is made, or make the first Pool or Process before them"};
    }
    return std::make_shared<ForkHost>(std::move(server).value(), std::move(snapshot));
}

std::shared_ptr<ForkHost> get_locked(Shared& state) {
    std::shared_ptr<ForkHost> host = state.current.lock();
    if (host && !host->dead()) return host;
    host = start();
    state.current = host;
    if (state.pinned) state.pinned = host;
    return host;
}

}  // namespace

void Port::deliver(const supervisor::Notice& notice) {
    {
        const std::lock_guard lock{mutex_};
        inbox_.push_back(notice);
    }
    wakeup_.notify();
}

void Port::take(std::vector<supervisor::Notice>& out) {
    out.clear();
    const std::lock_guard lock{mutex_};
    out.swap(inbox_);
}

std::shared_ptr<ForkHost> ForkHost::get() {
    Shared& state = shared();
    const std::lock_guard lock{state.mutex};
    return get_locked(state);
}

void ForkHost::pin() {
    Shared& state = shared();
    const std::lock_guard lock{state.mutex};
    state.pinned = get_locked(state);
}

ForkHost::ForkHost(supervisor::ForkServer server, Snapshot snapshot)
    : server_(std::move(server)),
      snapshot_(std::move(snapshot)),
      pid_(server_.pid()),
      fd_(server_.fd()) {}

std::uint16_t ForkHost::open(Port& port) {
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        if (ports_[i] != nullptr) continue;
        ports_[i] = &port;
        return static_cast<std::uint16_t>(i);
    }
    if (ports_.size() >= UINT16_MAX) throw UsageError{"too many pools at once"};
    ports_.push_back(&port);
    return static_cast<std::uint16_t>(ports_.size() - 1);
}

void ForkHost::close(std::uint16_t pool) {
    const std::lock_guard lock{mutex_};
    ports_[pool] = nullptr;
}

void ForkHost::pump() {
    const std::lock_guard lock{mutex_};
    while (const std::optional<supervisor::Notice> notice = server_.next()) {
        if (notice->pool < ports_.size() && ports_[notice->pool] != nullptr)
            ports_[notice->pool]->deliver(*notice);
    }
}

bool ForkHost::flush() {
    const std::lock_guard lock{mutex_};
    if (!server_.has_backlog()) return false;
    server_.flush();
    return server_.has_backlog();
}

bool ForkHost::dead() {
    const std::lock_guard lock{mutex_};
    return server_.dead();
}

bool ForkHost::spawn(const supervisor::SpawnOrder& order) {
    const std::lock_guard lock{mutex_};
    return server_.spawn(order);
}

bool ForkHost::kill(std::uint16_t pool, std::uint32_t slot, pid_t pid, supervisor::Cause cause) {
    const std::lock_guard lock{mutex_};
    return server_.kill(pool, slot, pid, cause);
}

bool ForkHost::signal(std::uint16_t pool, std::uint32_t slot, pid_t pid, int signo) {
    const std::lock_guard lock{mutex_};
    return server_.signal(pool, slot, pid, signo);
}

bool ForkHost::tell(supervisor::Verb verb,
                    std::uint16_t pool,
                    std::uint32_t slot,
                    pid_t pid,
                    std::int32_t detail) {
    const std::lock_guard lock{mutex_};
    return server_.tell(verb, pool, slot, pid, detail);
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
