// SPDX-License-Identifier: Apache-2.0
// Lock and RLock: mutual exclusion between tasks, processes and hosts; Python's.
//
// Both are Lockable and TimedLockable: std::scoped_lock and std::unique_lock take them. An owner is
// a task (the attempt that runs), outside of tasks a thread; what it holds is freed when the task
// ends or its process dies, and the next owner is told owner_died(). A Lock that this program holds
// outside of tasks may be released by any of its threads, as Python's. object.h says how handles
// are made, live and travel.
//
// READ THIS FIRST: a lock is a lease. When this process cannot reach the broker for 10 s, the
// broker gives the lock to another; 8 s after the last sign of it this process takes it for lost.
// A process that was stopped in between may not have noticed yet: only resources that check
// token(), which grows with every grant, are safe from it.
// Messages: lock() one and its answer; unlock() one that is not waited for. In an embedded pool
// none while nobody waits, and whoever comes first within 50 us of its release gets it; what was
// asked of other objects under it, and not waited for, may take effect later than its release.
#pragma once

#include <chrono>
#include <cstdint>

#include "forkmill/codec.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {

class FORKMILL_API BasicLock : public Object {
  public:
    /// Waits in line: those who wait are granted it in order of arrival.
    void lock();
    /// False: another holds it.
    bool try_lock() { return try_lock_for(Duration::zero()); }
    /// False after the timeout; the place in the line is given up.
    bool try_lock_for(Duration timeout);
    template <class Clock, class Length>
    bool try_lock_until(std::chrono::time_point<Clock, Length> until) {
        return try_lock_for(std::chrono::duration_cast<Duration>(until - Clock::now()));
    }
    /// The owner is whoever asks: in coroutines use a Lock, which another thread may release.
    Operation<void> lock_async();
    Operation<bool> try_lock_async(Duration timeout = Duration::zero());
    /// For guards: what release() would throw is logged.
    void unlock() noexcept;
    /// Waits for the broker's word, if it is asked. Throws NotOwner if it is not held here,
    /// LockLost if it was, but another has it since.
    void release();
    Operation<void> release_async();

    // Of the caller's grant, and if it has none of a Lock that another thread of the program holds
    // outside of tasks; 0 and false without one.
    /// It is held, as far as this process can know: within 8 s of the last sign of the broker.
    bool owns() const;
    /// The fencing token: give it to what the lock protects, which refuses smaller ones.
    std::uint64_t token() const;
    /// The owner before did not release it: what the lock protects may be half done.
    bool owner_died() const;

  protected:
    BasicLock() = default;
    BasicLock(Pool& pool, const ObjectOptions& options, bool reentrant);
    void pack(Packer& packer) const;
    void unpack(Unpacker& unpacker, bool reentrant);

  private:
    friend class Condition;
};

/// Whoever locks it again waits for itself.
class FORKMILL_API Lock : public BasicLock {
  public:
    Lock() = default;
    explicit Lock(Pool& pool, const ObjectOptions& options = {})
        : BasicLock(pool, options, false) {}

  private:
    friend struct Codec<Lock>;
};

/// Its owner may lock it again and must release it as often.
class FORKMILL_API RLock : public BasicLock {
  public:
    RLock() = default;
    explicit RLock(Pool& pool, const ObjectOptions& options = {})
        : BasicLock(pool, options, true) {}

  private:
    friend struct Codec<RLock>;
};

template <>
struct Codec<Lock> {
    static std::string signature() { return "lock"; }
    static void encode(Packer& packer, const Lock& value) { value.pack(packer); }
    static void decode(Unpacker& unpacker, Lock& value) { value.unpack(unpacker, false); }
};
template <>
struct Codec<RLock> {
    static std::string signature() { return "rlock"; }
    static void encode(Packer& packer, const RLock& value) { value.pack(packer); }
    static void decode(Unpacker& unpacker, RLock& value) { value.unpack(unpacker, true); }
};

}  // namespace v0
}  // namespace forkmill
