// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/client.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <stop_token>
#include <string>
#include <utility>

#include "core/wire/codec.h"
#include "forkmill/errors.h"
#include "sdk/src/templates.h"
#include "sdk/src/until.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

/// Waits are cut into slices so that a silent broker is noticed.
constexpr base::Duration kSlice = std::chrono::milliseconds{250};
constexpr base::Duration kBeforeLending = std::chrono::microseconds{50};

/// Lends the running task's slot while its thread waits (semantics.md 17).
class Lending {
  public:
    explicit Lending(TaskScope* scope) : scope_(scope) {
        if (scope_ != nullptr && !scope_->block()) {
            throw_code(wire::Code::WouldDeadlock,
                       "too many tasks of this worker wait for other tasks at once",
                       wire::Ran::Maybe);
        }
    }
    ~Lending() {
        if (scope_ != nullptr) scope_->unblock();
    }
    Lending(const Lending&) = delete;
    Lending& operator=(const Lending&) = delete;

  private:
    TaskScope* scope_;
};

}  // namespace

void throw_code(wire::Code code, std::string_view text, wire::Ran ran) {
    wire::ErrorInfo info;
    info.code = code;
    info.what = text;
    info.ran = ran;
    const std::vector<std::byte> packed = wire::pack_error(info);
    throw_error(SettledView{static_cast<std::uint8_t>(wire::Outcome::Failed), packed});
}

Client::Parts::Parts(Dispatcher* dispatcher, std::function<void()> wake)
    : callbacks(dispatcher),
      table(callbacks, wake),
      io(table, callbacks),
      objects(callbacks, std::move(wake)) {}

Client::Client(Dispatcher* dispatcher,
               std::uint64_t stream,
               bool nested,
               std::function<void()> wake)
    : parts_(std::make_unique<Parts>(dispatcher, std::move(wake))),
      stream_(stream),
      nested_(nested) {
    parts_->callbacks.attach(parts_->table, this);
}

Client::~Client() {
    if (forked()) {
        static_cast<void>(parts_.release());  // Threads and locks in it belong to the parent.
    }
}

void Client::set_backend(std::shared_ptr<Backend> behind) {
    const std::lock_guard lock{parts_->backend_mutex};
    parts_->backend.swap(behind);
}

std::shared_ptr<Backend> Client::backend() const {
    const std::lock_guard lock{parts_->backend_mutex};
    return parts_->backend;
}

void Client::throw_forked() {
    throw ForkedContextError{
        "this pool was made before fork() and belongs to the parent process; make a new one in the "
        "child"};
}

void Client::throw_closed() const {
    if (phase_.load() == Phase::Open)
        throw_code(wire::Code::BrokerLost, "the pool's session has ended", wire::Ran::No);
    throw UsageError{"the pool is closed: it takes no more tasks"};
}

void Client::check_submit(std::size_t bytes) {
    check_fork();
    if (phase_.load(std::memory_order_relaxed) != Phase::Open) throw_closed();
    const std::uint64_t max = payload_max_.load(std::memory_order_relaxed);
    if (bytes > max)
        throw_code(wire::Code::TooBig,
                   "the packed arguments take " + std::to_string(bytes) + " bytes; the limit is " +
                       std::to_string(max),
                   wire::Ran::No);
    if (liveness_.load(std::memory_order_relaxed) == Liveness::Lost)
        throw_code(wire::Code::BrokerLost,
                   "the broker has been silent for longer than the session lives",
                   wire::Ran::No);
}

std::unique_ptr<Aux> Client::make_aux(const SubmitExtra* extra) {
    const TaskScope* scope = task_scope();
    const bool passes = scope != nullptr && (scope->deadline || !scope->trace.empty());
    if (extra == nullptr && !passes) return nullptr;
    auto aux = std::make_unique<Aux>();
    aux->has_extras = true;
    const auto nanos = [](std::chrono::system_clock::time_point at) {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
    };
    if (extra != nullptr) {
        if (extra->key.size() > wire::kKeyMax)
            throw UsageError{"a task's key has at most 64 bytes"};
        if (extra->dependencies.size() > wire::kDependenciesMax)
            throw UsageError{"a task depends on at most 64 results"};
        if (extra->deadline) aux->extras.deadline = nanos(*extra->deadline);
        aux->extras.key = extra->key;
    }
    if (passes) {
        if (scope->deadline) {
            const std::int64_t inherited = nanos(*scope->deadline);
            aux->extras.deadline =
                aux->extras.deadline == 0 ? inherited : std::min(inherited, aux->extras.deadline);
        }
        aux->extras.trace = scope->trace;
        aux->extras.parent = base::TaskId{scope->id.stream, scope->id.seq};
    }
    if (extra != nullptr) {
        for (const Dependency& dependency : extra->dependencies)
            parts_->table.of(dependency.ticket);
        for (const Dependency& dependency : extra->dependencies) {
            parts_->table.retain(dependency.ticket.slot);
            aux->dependencies.push_back(dependency);
        }
    }
    return aux;
}

Ticket Client::submit(std::uint32_t template_number, Bytes arguments, const SubmitExtra* extra) {
    check_submit(arguments.size());
    const bool detached = task_scope() != nullptr && template_definition(template_number).detached;
    std::unique_ptr<Aux> aux = detached && extra == nullptr ? nullptr : make_aux(extra);
    Ticket ticket;
    const PendingTable::NewTask task{
        static_cast<std::uint16_t>(template_number), arguments, aux.get(), nullptr, 0};
    const PendingTable::Taken taken = parts_->table.submit(task, may_block(), ticket);
    if (taken == PendingTable::Taken::Ok) {
        static_cast<void>(aux.release());
        return ticket;
    }
    if (aux) {
        for (const Dependency& dependency : aux->dependencies)
            parts_->table.release(dependency.ticket.slot);
    }
    if (taken == PendingTable::Taken::Closed) throw_closed();
    throw_code(wire::Code::Busy, "too many results of this pool are held at once", wire::Ran::No);
}

Ticket Client::attach(const TaskId& id) {
    check_submit(0);
    auto aux = std::make_unique<Aux>();
    aux->attach = base::TaskId{id.stream, id.seq};
    Ticket ticket;
    const PendingTable::NewTask task{0, {}, aux.get(), nullptr, 0};
    const PendingTable::Taken taken = parts_->table.submit(task, may_block(), ticket);
    if (taken == PendingTable::Taken::Closed) throw_closed();
    if (taken == PendingTable::Taken::Full)
        throw_code(
            wire::Code::Busy, "too many results of this pool are held at once", wire::Ran::No);
    static_cast<void>(aux.release());
    return ticket;
}

bool Client::watch(base::Time until, bool bounded) {
    if (!bounded) return true;
    const Liveness liveness = liveness_.load(std::memory_order_relaxed);
    const bool over = base::monotonic_now() >= until;
    // A connection that is only just away is no reason to throw: the timeout is told instead.
    if (liveness == Liveness::Silent || liveness == Liveness::Lost) {
        throw_code(
            wire::Code::Disconnected,
            "the broker does not answer; the task is still pending and a later get() may return it",
            wire::Ran::Maybe);
    }
    if (over && liveness == Liveness::Unreached)
        throw_code(wire::Code::Disconnected,
                   "no broker has answered so far; the task is pending and a later get() may "
                   "return it",
                   wire::Ran::No);
    return !over;
}

bool Client::wait_slot(std::uint32_t number, Duration timeout) {
    check_fork();
    Slot& slot = parts_->table.at(number);
    if (PendingTable::settled(slot)) return true;
    if (timeout <= Duration::zero()) return false;
    TaskScope* scope = task_scope();
    const base::Time until = until_of(timeout);
    const bool bounded = until != base::kNever;
    if (scope == nullptr && !bounded) {
        while (!PendingTable::wait(slot, until, true)) {
        }
        return true;
    }
    if (PendingTable::wait(slot, std::min(until, base::monotonic_now() + kBeforeLending), true))
        return true;
    const Lending lent{scope};
    PendingTable& table = parts_->table;
    const std::stop_callback passed_on{scope != nullptr ? scope->stop : std::stop_token{},
                                       [&table, number] { table.cancel(number, false); }};
    do {
        const base::Time slice = std::min(until, base::monotonic_now() + kSlice);
        if (PendingTable::wait(slot, slice, false)) return true;
    } while (watch(until, bounded));
    return PendingTable::settled(slot);
}

bool Client::wait_until(Duration timeout, const std::function<bool(base::Time)>& slice) {
    check_fork();
    if (timeout <= Duration::zero()) return slice(base::Time{});  // Only a look.
    TaskScope* scope = task_scope();
    const base::Time until = until_of(timeout);
    const base::Time first =
        scope == nullptr ? until : std::min(until, base::monotonic_now() + kBeforeLending);
    if (slice(std::min(first, base::monotonic_now() + kSlice))) return true;
    const Lending lent{scope};
    const bool bounded = until != base::kNever;
    while (watch(until, bounded)) {
        if (slice(std::min(until, base::monotonic_now() + kSlice))) return true;
    }
    return slice(base::Time{});
}

void Client::close() {
    check_fork();
    if (nested_)
        throw UsageError{"the pool of a running task is its worker's and cannot be closed"};
    Phase open = Phase::Open;
    if (!phase_.compare_exchange_strong(open, Phase::Closed)) return;
    parts_->table.close();
    if (const std::shared_ptr<Backend> behind = backend()) behind->close();
}

void Client::terminate() noexcept {
    if (forked() || nested_) return;
    if (phase_.exchange(Phase::Terminated) == Phase::Ended) {
        phase_.store(Phase::Ended);
        return;
    }
    parts_->table.close();
    if (const std::shared_ptr<Backend> behind = backend()) behind->terminate();
    parts_->objects.end(wire::Code::TaskCancelled, "the pool was terminated");
}

bool Client::join(Duration timeout) {
    check_fork();
    if (nested_)
        throw UsageError{"the pool of a running task is its worker's and cannot be joined"};
    if (parts_->callbacks.on_this_thread())
        throw UsageError{"join() inside a callback would wait for itself"};
    if (phase_.load() == Phase::Open) throw UsageError{"join() comes after close() or terminate()"};
    const base::Time until = until_of(timeout);
    if (!parts_->table.wait_idle(until)) return false;
    const std::shared_ptr<Backend> behind = backend();
    return (!behind || behind->join(until)) && parts_->callbacks.wait_idle(until);
}

void Client::destroy() noexcept {
    if (forked() || nested_) return;
    if (phase_.exchange(Phase::Ended) == Phase::Ended) return;
    parts_->table.close();
    if (const std::shared_ptr<Backend> behind = backend()) behind->stop();
    parts_->objects.end(wire::Code::TaskCancelled, "the pool has ended");
    parts_->callbacks.stop();
    // A handle may keep the client for long; processes, threads and descriptors go now.
    set_backend(nullptr);
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
