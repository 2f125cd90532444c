// SPDX-License-Identifier: Apache-2.0
// ForkedContext: how an object knows that this process is a fork of the one that made it
// (semantics.md 6): its threads and sockets are not here then.
//
// Invariants: (1) fork_generation() differs between a process and every fork(2) of it; (2) asking
// is one relaxed load. Threading: any thread.
#pragma once

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

}  // namespace forkmill::supervisor
