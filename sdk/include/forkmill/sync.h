// SPDX-License-Identifier: Apache-2.0
// Semaphore, BoundedSemaphore, Condition, Event and Barrier between tasks, processes and hosts;
// Python's. Locks are in lock.h.
//
// object.h says how handles are made, live and travel. Each call is one message and its answer.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "forkmill/codec.h"
#include "forkmill/lock.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {

namespace detail {
FORKMILL_API void pack_handle(Packer& packer, const SharedPtr& object);
FORKMILL_API SharedPtr unpack_handle(Unpacker& unpacker, ObjectKind kind, std::string_view type);
/// Of handles that are one id and nothing else.
template <class H>
struct HandleCodec {
    static std::string signature() { return std::string{H::kType}; }
    static void encode(Packer& packer, const H& value) { pack_handle(packer, value.shared_); }
    static void decode(Unpacker& unpacker, H& value) {
        value.shared_ = unpack_handle(unpacker, H::kKind, H::kType);
    }
};
}  // namespace detail

/// Counts permits. They are nobody's: a process that dies with some does not give them back.
class FORKMILL_API Semaphore : public Object {
  public:
    Semaphore() = default;
    explicit Semaphore(Pool& pool, std::size_t value = 1, const ObjectOptions& options = {})
        : Semaphore(pool, value, std::size_t{1} << 24, options) {}

    void acquire() { acquire_async().get(); }
    bool try_acquire() { return try_acquire_for(Duration::zero()); }
    bool try_acquire_for(Duration timeout) { return try_acquire_async(timeout).get(); }
    Operation<void> acquire_async();
    Operation<bool> try_acquire_async(Duration timeout = Duration::zero());
    /// A BoundedSemaphore throws UsageError instead of going above its start value.
    void release(std::size_t permits = 1) { release_async(permits).get(); }
    Operation<void> release_async(std::size_t permits = 1);
    /// Permits left when it was asked for.
    std::size_t value() const { return value_async().get(); }
    Operation<std::size_t> value_async() const { return count_async(); }

  protected:
    Semaphore(Pool& pool, std::size_t value, std::size_t bound, const ObjectOptions& options);

  private:
    friend detail::HandleCodec<Semaphore>;
    static constexpr detail::ObjectKind kKind = detail::ObjectKind::Semaphore;
    static constexpr std::string_view kType = "semaphore";
};

class FORKMILL_API BoundedSemaphore : public Semaphore {
  public:
    BoundedSemaphore() = default;
    explicit BoundedSemaphore(Pool& pool, std::size_t value = 1, const ObjectOptions& options = {})
        : Semaphore(pool, value, value, options) {}

  private:
    friend detail::HandleCodec<BoundedSemaphore>;
    static constexpr detail::ObjectKind kKind = detail::ObjectKind::Semaphore;
    static constexpr std::string_view kType = "semaphore";
};

/// Waiting for something that a lock protects. It is Lockable itself, by its lock.
class FORKMILL_API Condition : public Object {
  public:
    Condition() = default;
    /// With an RLock of its own; that of a condition NAME is named NAME.lock.
    explicit Condition(Pool& pool, const ObjectOptions& options = {});
    /// TypeMismatch if one of that name belongs to another lock.
    Condition(Pool& pool, const BasicLock& lock, const ObjectOptions& options = {});

    void lock() { lock_.lock(); }
    bool try_lock() { return lock_.try_lock(); }
    void unlock() noexcept { lock_.unlock(); }
    BasicLock& owned_lock() { return lock_; }

    /// REQUIRES: the caller owns the lock (else NotOwner); it has it again, under a new token, at
    /// the end, also when it throws Cancelled. LockLost: not even that.
    void wait() { wait_async().get(); }
    /// False at the timeout.
    bool wait_for(Duration timeout) { return wait_for_async(timeout).get(); }
    /// Waits until `predicate()`, which runs under the lock.
    template <std::predicate Predicate>
    void wait(Predicate predicate) {
        while (!predicate()) wait();
    }
    /// What `predicate()` last was.
    template <std::predicate Predicate>
    bool wait_for(Duration timeout, Predicate predicate) {
        const auto began = std::chrono::steady_clock::now();
        while (!predicate()) {
            if (timeout <= Duration::zero()) return false;
            const Duration left =
                timeout == forever ? timeout : timeout - (std::chrono::steady_clock::now() - began);
            if (left <= Duration::zero() || !wait_for(left)) return predicate();
        }
        return true;
    }
    /// Without a predicate.
    Operation<void> wait_async();
    Operation<bool> wait_for_async(Duration timeout);
    /// REQUIRES: the caller owns the lock. Wakes so many of those who wait, the first in line
    /// first; returns how many.
    std::size_t notify(std::size_t count = 1) { return notify_async(count).get(); }
    std::size_t notify_all() { return notify_all_async().get(); }
    Operation<std::size_t> notify_async(std::size_t count = 1);
    Operation<std::size_t> notify_all_async();

  private:
    friend struct Codec<Condition>;
    detail::AskPtr ask_wait(Duration timeout);
    detail::AskPtr ask_wake(std::uint64_t count, std::uint32_t flags);
    void pack(Packer& packer) const;
    void unpack(Unpacker& unpacker);

    BasicLock lock_;
};

/// A flag that can be waited for.
class FORKMILL_API Event : public Object {
  public:
    Event() = default;
    explicit Event(Pool& pool, const ObjectOptions& options = {});

    void set() { set_async().get(); }  ///< Releases all who wait.
    void clear() { clear_async().get(); }
    bool is_set() const { return is_set_async().get(); }
    void wait() { wait_async().get(); }
    /// False at the timeout.
    bool wait_for(Duration timeout) { return wait_for_async(timeout).get(); }
    Operation<void> set_async();
    Operation<void> clear_async();
    Operation<bool> is_set_async() const;
    Operation<void> wait_async();
    Operation<bool> wait_for_async(Duration timeout);

  private:
    friend detail::HandleCodec<Event>;
    static constexpr detail::ObjectKind kKind = detail::ObjectKind::Event;
    static constexpr std::string_view kType = "event";
};

/// Lets `parties` go on together, round after round.
class FORKMILL_API Barrier : public Object {
  public:
    Barrier() = default;
    /// `action` runs once a round, before anybody goes on, in the process that came last. A handle
    /// that travelled has no code: give it there by on_pass().
    explicit Barrier(Pool& pool,
                     std::size_t parties,
                     std::function<void()> action = {},
                     const ObjectOptions& options = {});
    /// Only for a barrier that was made with an action.
    void on_pass(std::function<void()> action);

    /// Waits for the others; one of them gets 0, each another number. Throws BrokenBarrier when it
    /// is or gets broken: by abort(), a timeout, a party's end, or an action that throws.
    std::size_t wait() { return wait_async().get(); }
    std::size_t wait_for(Duration timeout) { return wait_async(timeout).get(); }
    Operation<std::size_t> wait_async(Duration timeout = forever);
    /// Whole again; who waits gets BrokenBarrier.
    void reset() { reset_async().get(); }
    void abort() { abort_async().get(); }
    bool broken() const { return broken_async().get(); }
    std::size_t parties() const { return parties_async().get(); }
    /// How many wait.
    std::size_t waiting() const { return waiting_async().get(); }
    Operation<void> reset_async();
    Operation<void> abort_async();
    Operation<bool> broken_async() const;
    Operation<std::size_t> parties_async() const;
    Operation<std::size_t> waiting_async() const { return count_async(); }

  private:
    friend detail::HandleCodec<Barrier>;
    static constexpr detail::ObjectKind kKind = detail::ObjectKind::Barrier;
    static constexpr std::string_view kType = "barrier";
};

template <>
struct Codec<Semaphore> : detail::HandleCodec<Semaphore> {};
template <>
struct Codec<BoundedSemaphore> : detail::HandleCodec<BoundedSemaphore> {};
template <>
struct Codec<Event> : detail::HandleCodec<Event> {};
template <>
struct Codec<Barrier> : detail::HandleCodec<Barrier> {};
template <>
struct Codec<Condition> {
    static std::string signature() { return "condition"; }
    static void encode(Packer& packer, const Condition& value) { value.pack(packer); }
    static void decode(Unpacker& unpacker, Condition& value) { value.unpack(unpacker); }
};

}  // namespace v0
}  // namespace forkmill
