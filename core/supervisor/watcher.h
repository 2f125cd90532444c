// SPDX-License-Identifier: Apache-2.0
// Watcher: the master's one place to wait: epoll, with a name for each descriptor.
//
// Invariants: (1) a descriptor is forgotten before it is closed, because a child that is just being
// forked may hold it open; (2) a name carries a generation, so an event of a dead child is never
// taken for its successor's. Threading: one owner.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

struct Watched {
    enum class Kind : std::uint8_t { Signals, Process, Channel, Stderr, Control };
    Kind kind{};
    std::uint16_t pool = 0;
    std::uint32_t slot = 0;        ///< Low 20 bits travel,
    std::uint32_t generation = 0;  ///< and of this too: see same_generation().
    bool writable = false;         ///< As reported; otherwise readable or ended.

    bool same_generation(std::uint32_t other) const {
        return ((generation ^ other) & 0xfffff) == 0;
    }
};

class Watcher {
  public:
    static base::Result<Watcher> open();

    base::Status watch(int fd, const Watched& name) const;
    /// Also report when it takes more, or no longer.
    void want_writable(int fd, const Watched& name, bool wanted) const;
    void forget(int fd) const;
    /// Waits until something happens, at most until `until`.
    void wait(base::Time until, base::Time now, std::vector<Watched>& out) const;

  private:
    explicit Watcher(OwnedFd fd) : fd_(std::move(fd)) {}
    OwnedFd fd_;
};

}  // namespace forkmill::supervisor
