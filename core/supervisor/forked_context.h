// SPDX-License-Identifier: Apache-2.0
// ForkedContext: how an object knows that this process is a fork of the one that made it
// (semantics.md 6): its threads and sockets are not here then.
//
// Invariants: (1) fork_generation() differs between a process and every fork(2) of it; (2) asking
// is one relaxed load; (3) a PerProcess of a fork has nothing of its parent's: not its value, not a
// mutex in it that was locked while the fork was made. Threading: any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace forkmill::supervisor {

/// Raised in the child by every fork since the first call in this program.
std::uint32_t fork_generation();

/// A member of what must not be used after a fork.
class ForkedContext {
  public:
    bool is_forked_child() const { return born_ != fork_generation(); }

  private:
    std::uint32_t born_ = fork_generation();
};

/// One T per process, made when it is first asked for and never destroyed: threads and destructors
/// of statics may still use it when the program ends.
template <class T>
class PerProcess {
  public:
    T& get() {
        const std::uint32_t generation = fork_generation();
        One* one = newest_.load(std::memory_order_acquire);
        while (one == nullptr || one->generation != generation) {
            auto* fresh = new One{generation, one, {}};
            if (newest_.compare_exchange_strong(one, fresh, std::memory_order_acq_rel))
                return fresh->value;
            delete fresh;
        }
        return one->value;
    }

  private:
    struct One {
        std::uint32_t generation;
        One* parents;  ///< Left as it is: what it holds is the parent's to close.
        T value;
    };
    std::atomic<One*> newest_{nullptr};
};

}  // namespace forkmill::supervisor
