// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/children.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/wire/codes.h"
#include "forkmill/errors.h"
#include "sdk/local/process_life.h"
#include "sdk/local/self.h"
#include "sdk/src/client.h"
#include "sdk/src/client_log.h"

namespace forkmill {
inline namespace v0 {
namespace local {

using detail::Child;
using detail::ChildPtr;

namespace {

/// All Children of this process: those of a dead fork server may still be in somebody's hands.
struct Registry {
    std::mutex mutex;
    std::vector<std::weak_ptr<Children>> all;
    bool watches_exit = false;
};

Registry& registry() {
    static constinit supervisor::PerProcess<Registry> state;
    return state.get();
}

constexpr const char* kHostIsDead = "the fork server of this program is dead";

void end_children_at_exit() {
    Children::end_all();
}

std::vector<std::shared_ptr<Children>> all_children() {
    Registry& known = registry();
    const std::lock_guard lock{known.mutex};
    std::vector<std::shared_ptr<Children>> list;
    std::erase_if(known.all, [](const auto& one) { return one.expired(); });
    for (const std::weak_ptr<Children>& one : known.all) {
        if (std::shared_ptr<Children> there = one.lock()) list.push_back(std::move(there));
    }
    return list;
}

constexpr std::size_t kKeepFdsMax = 4;

std::string quoted(const Child& child) {
    return "the process '" + child.plan.name + "' ";
}

[[noreturn]] void throw_busy(const Child& child, std::string_view why) {
    throw Busy{quoted(child) + "cannot start just now: " + std::string{why}};
}

[[noreturn]] void throw_not_in_snapshot(const Child& child) {
    detail::throw_code(wire::Code::NotInSnapshot,
                       quoted(child) +
                           "runs code that was bound, loaded or captured after the "
                           "fork server was forked",
                       wire::Ran::No);
}

}  // namespace

std::shared_ptr<Children> Children::get() {
    std::shared_ptr<ForkHost> host = ForkHost::get();
    for (const std::shared_ptr<Children>& one : all_children()) {
        if (one->host_ == host) return one;
    }
    auto made = std::make_shared<Children>(std::move(host));
    Registry& known = registry();
    const std::lock_guard lock{known.mutex};
    known.all.push_back(made);
    if (!std::exchange(known.watches_exit, true)) std::atexit(end_children_at_exit);
    return made;
}

ChildPtr Children::make(detail::ProcessPlan plan) {
    auto child = std::make_shared<Child>();
    child->home = get();
    child->plan = std::move(plan);
    child->plan.path = next_path();
    if (child->plan.name.empty()) child->plan.name = "Process-" + child->plan.path;
    if (!child->home->host_->snapshot().has(child->plan.entry)) throw_not_in_snapshot(*child);
    if (child->plan.keep_fds.size() > kKeepFdsMax)
        throw UsageError{quoted(*child) + "cannot have more than " + std::to_string(kKeepFdsMax) +
                         " descriptors of its parent"};
    return child;
}

Children::Children(std::shared_ptr<ForkHost> host)
    : host_(std::move(host)), port_(wakeup_), pool_(*host_, port_) {}

void Children::start(const ChildPtr& child) {
    for (const int fd : child->plan.keep_fds)
        if (fd <= STDERR_FILENO || ::fcntl(fd, F_GETFD) < 0)
            throw UsageError{quoted(*child) + "cannot have the descriptor " + std::to_string(fd) +
                             ": expected an open one above 2"};
    const supervisor::OwnedFd theirs = enter(child);
    try {
        bear(child, theirs.get());
    } catch (...) {
        take_back(child);
        throw;
    }
    std::vector<detail::SharedPtr> passed;  // The child has them; they end without our lock.
    const std::lock_guard lock{mutex_};
    if (child->state != State::Made) return passed.swap(child->plan.handles);
    if (lost_) throw PoolBroken{quoted(*child) + "cannot start: " + child->refusal};
    throw_busy(*child, child->refusal);
}

/// Orders its birth and waits for the answer.
void Children::bear(const ChildPtr& child, int sentinel_fd) {
    Bequest bequest{child->plan.handles};
    const base::Result<supervisor::OwnedFd> told = write_process(child->plan, bequest);
    if (!told) throw_busy(*child, told.failure().text);
    std::vector<int> extra{told.value().get()};
    for (const std::vector<int>& more : {child->plan.keep_fds, bequest.doors()})
        extra.insert(extra.end(), more.begin(), more.end());
    if (extra.size() + 2 > supervisor::kFdsInPacket)
        throw UsageError{
            quoted(*child) +
            "has handles of too many pools: each takes the place of a kept descriptor"};
    supervisor::SpawnOrder order;
    order.pool = pool_.get();
    order.slot = child->slot;
    order.socket_fd = sentinel_fd;
    order.extra_fds = extra;
    order.process = true;
    host_->spawn(order);  // When it is dead, reading tells.
    Sentinel sentinel;
    read_until([&] {
        sentinel = child->sentinel;
        return child->state != State::Starting;
    });
    if (state_of(*child) != State::Made && sentinel) bequest.born(sentinel);
}

/// Into the table; the fork server's end of its sentinel.
supervisor::OwnedFd Children::enter(const ChildPtr& child) {
    const std::lock_guard lock{mutex_};
    if (child->state != State::Made) throw UsageError{quoted(*child) + "was started already"};
    if (lost_) throw PoolBroken{quoted(*child) + "cannot start: " + kHostIsDead};
    if (running_.size() >= kChildrenMax)
        throw Busy{std::to_string(kChildrenMax) + " processes of this program run already"};
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
        throw_busy(*child, std::string{"no socket: "} + std::strerror(errno));
    child->sentinel = std::make_shared<const supervisor::OwnedFd>(pair[0]);
    child->state = State::Starting;
    child->slot = ++started_;
    running_.emplace(child->slot, child);
    return supervisor::OwnedFd{pair[1]};
}

/// Back out of the table: it was not born, and may be started again.
void Children::leave(const ChildPtr& child, std::string_view refusal) {
    child->state = State::Made;
    child->refusal = refusal;
    child->sentinel = nullptr;
}

/// What was entered will not be ordered.
void Children::take_back(const ChildPtr& child) {
    {
        const std::lock_guard lock{mutex_};
        if (child->state != State::Starting) return;
        running_.erase(child->slot);
        leave(child, {});
    }
    wakeup_.notify();
}

template <class Done>
void Children::read_until(Done done) {
    const std::lock_guard reading{reading_};
    const auto is_over = [&] {
        const std::lock_guard lock{mutex_};
        return lost_ || done();
    };
    while (read(), !is_over()) {
        if (!wakeup_.prepare_sleep()) continue;
        const auto events = static_cast<short>(host_->flush() ? POLLIN | POLLOUT : POLLIN);
        // A broker thread of a pool may read what is for us; then it says so by the wakeup.
        std::array<pollfd, 2> polled{pollfd{host_->fd(), events, 0},
                                     pollfd{wakeup_.fd(), POLLIN, 0}};
        ::poll(polled.data(), polled.size(), -1);
        wakeup_.awake();
    }
}

void Children::read() {
    wakeup_.clear();
    const bool dead = host_->dead();
    host_->pump();
    port_.take(notices_);
    const std::lock_guard lock{mutex_};
    for (const supervisor::Notice& notice : notices_) apply(notice);
    // What it reported before its death came first.
    if (dead && !lost_) lose_host();
}

void Children::apply(const supervisor::Notice& notice) {
    const auto found = running_.find(notice.slot);
    if (found == running_.end()) return;
    const ChildPtr child = found->second;
    if (notice.verb == supervisor::Verb::Born) {
        child->pid = notice.pid;
        child->state = State::Running;
    } else if (notice.verb == supervisor::Verb::Died) {
        running_.erase(found);
        if (notice.pid == 0) return leave(child, notice.text_view());
        end(*child, notice.cause == supervisor::Cause::Exit ? notice.detail : -notice.detail);
    }
}

void Children::end(Child& child, int exit_code) {
    child.state = State::Ended;
    child.exit_code = exit_code;
    child.plan.arguments = {};
}

/// Its children die with it, by a signal and untold.
void Children::lose_host() {
    lost_ = true;
    for (const auto& [slot, child] : std::exchange(running_, {})) {
        if (child->state == State::Starting)
            leave(child, kHostIsDead);
        else
            end(*child, -SIGKILL);
    }
}

/// Of a child whose sentinel says that it is dead: the fork server's word on it is there, or on
/// its way.
void Children::settle(const Child& child) {
    read_until([&] { return child.state != State::Running; });
}

/// True once it does not run; false at `until`.
bool Children::await_end(const Child& child, base::Time until) {
    // Another thread starts it: its birth will be answered presently.
    if (state_of(child) == State::Starting)
        read_until([&] { return child.state != State::Starting; });
    Sentinel sentinel;
    {
        const std::lock_guard lock{mutex_};
        if (child.state != State::Running) return true;
        sentinel = child.sentinel;
    }
    if (wait_readable({sentinel->get()}, until).empty()) return false;
    settle(child);
    return true;
}

void Children::send(const Child& child, int signo) {
    const std::lock_guard lock{mutex_};
    if (child.state == State::Running) host_->signal(pool_.get(), child.slot, child.pid, signo);
}

Children::State Children::state_of(const Child& child) {
    const std::lock_guard lock{mutex_};
    return child.state;
}

void Children::require_open(const Child& child) {
    if (state_of(child) == State::Closed) throw UsageError{quoted(child) + "is closed"};
}

void Children::require_started(const Child& child) {
    require_open(child);
    const State state = state_of(child);
    if (state == State::Made || state == State::Starting)
        throw UsageError{quoted(child) + "was not started"};
}

bool Children::join(const Child& child, base::Time until) {
    require_started(child);
    return await_end(child, until);
}

void Children::signal(const Child& child, int signo) {
    require_started(child);
    send(child, signo);
}

void Children::close(Child& child) {
    if (is_alive(child))
        throw UsageError{quoted(child) + "still runs; join() or kill() it before close()"};
    const std::lock_guard lock{mutex_};
    child.state = State::Closed;
    child.sentinel = nullptr;
}

std::int32_t Children::pid(const Child& child) {
    require_open(child);
    const std::lock_guard lock{mutex_};
    return child.pid;
}

bool Children::is_alive(const Child& child) {
    require_open(child);
    return !await_end(child, base::monotonic_now());
}

std::optional<int> Children::exit_code(const Child& child) {
    if (is_alive(child)) return std::nullopt;
    const std::lock_guard lock{mutex_};
    if (child.state != State::Ended) return std::nullopt;
    return child.exit_code;
}

int Children::sentinel(const Child& child) {
    require_started(child);
    const std::lock_guard lock{mutex_};
    return child.sentinel ? child.sentinel->get() : -1;
}

std::vector<ChildPtr> Children::living() {
    std::vector<ChildPtr> list;
    for (const std::shared_ptr<Children>& one : all_children()) {
        std::map<std::uint32_t, ChildPtr> running;
        {
            const std::lock_guard lock{one->mutex_};
            running = one->running_;
        }
        for (const auto& [slot, child] : running) {
            if (!one->await_end(*child, base::monotonic_now())) list.push_back(child);
        }
    }
    return list;
}

void Children::end_all() noexcept {
    try {
        // A thread may start others meanwhile.
        for (auto list = living(); !list.empty(); list = living()) {
            const base::Time until = base::monotonic_now() + kDaemonGrace;
            for (const ChildPtr& child : list) {
                if (child->plan.daemon) child->home->send(*child, SIGTERM);
            }
            for (const ChildPtr& child : list) {
                if (!child->plan.daemon) child->home->await_end(*child, base::kNever);
            }
            for (const ChildPtr& child : list) {
                if (child->home->await_end(*child, until)) continue;
                child->home->send(*child, SIGKILL);
                child->home->await_end(*child, base::kNever);
            }
        }
    } catch (const std::exception& error) {
        detail::log_warning(std::string{"waiting for the program's processes: "} + error.what());
    }
}

std::vector<int> wait_readable(const std::vector<int>& fds, base::Time until) {
    std::vector<pollfd> polled;
    polled.reserve(fds.size());
    const auto throw_not_open = [](int fd) {
        throw UsageError{"the descriptor " + std::to_string(fd) + " is not open"};
    };
    for (const int fd : fds) {
        if (fd < 0) throw_not_open(fd);  // The system would wait for the others without a word.
        polled.push_back({fd, POLLIN, 0});
    }
    for (;;) {
        const base::Duration left = until == base::kNever
                                        ? base::Duration{}
                                        : std::max(until - base::monotonic_now(), base::Duration{});
        const timespec limit{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
        const timespec* const wait = until == base::kNever ? nullptr : &limit;
        if (::ppoll(polled.data(), polled.size(), wait, nullptr) >= 0) break;
        if (errno != EINTR) throw std::system_error{errno, std::generic_category(), "ppoll"};
    }
    std::vector<int> ready;
    for (const pollfd& one : polled) {
        if ((one.revents & POLLNVAL) != 0) throw_not_open(one.fd);
        if (one.revents != 0) ready.push_back(one.fd);
    }
    return ready;
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
