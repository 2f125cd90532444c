// SPDX-License-Identifier: Apache-2.0
// ForkHost: the one fork server of this program, shared by all its embedded pools and processes.
//
// Invariants: (1) at most one is alive; it lives as long as one of them holds it, or for ever once
// pinned; (2) what was made before its snapshot() may cross into workers by address, nothing else;
// (3) a pool's index is not given out again while a process of it may live. Threading: any; notices
// of a pool come to its Port under the port's own lock. Whoever waits for one reads the channel for
// all (pump), and is woken by its Port when another was faster.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/net/wakeup.h"
#include "core/supervisor/fork_server.h"
#include "sdk/local/snapshot.h"

namespace forkmill {
inline namespace v0 {
namespace local {

/// Where one pool hears of its workers, or the program of its processes.
class Port {
  public:
    explicit Port(net::Wakeup& wakeup) : wakeup_(wakeup) {}
    void deliver(const supervisor::Notice& notice);
    /// Moves what came into `out`.
    void take(std::vector<supervisor::Notice>& out);

  private:
    net::Wakeup& wakeup_;
    std::mutex mutex_;
    std::vector<supervisor::Notice> inbox_;
};

class ForkHost {
  public:
    /// The living one, or a new one. Throws UsageError when it would have to fork while the program
    /// has other threads.
    static std::shared_ptr<ForkHost> get();
    /// forkmill::init: keeps it for the program's life.
    static void pin();

    ForkHost(supervisor::ForkServer server, Snapshot snapshot);

    /// What its workers know of this program.
    const Snapshot& snapshot() const { return snapshot_; }
    pid_t pid() const { return pid_; }
    int fd() const { return fd_; }

    std::uint16_t open(Port& port);
    void close(std::uint16_t pool);

    /// Reads what the fork server reported and hands it to the ports.
    void pump();
    /// Orders that had to wait go out; true while some still wait.
    bool flush();
    bool dead();
    bool spawn(const supervisor::SpawnOrder& order);
    bool kill(std::uint16_t pool, std::uint32_t slot, pid_t pid, supervisor::Cause cause);
    bool signal(std::uint16_t pool, std::uint32_t slot, pid_t pid, int signo);
    bool tell(supervisor::Verb verb,
              std::uint16_t pool,
              std::uint32_t slot,
              pid_t pid,
              std::int32_t detail);

  private:
    std::mutex mutex_;
    supervisor::ForkServer server_;
    std::vector<Port*> ports_;
    const Snapshot snapshot_;
    const pid_t pid_;
    const int fd_;
};

/// A pool's index, given back when it ends.
class PoolIndex {
  public:
    PoolIndex(ForkHost& host, Port& port) : host_(host), index_(host.open(port)) {}
    ~PoolIndex() { host_.close(index_); }
    PoolIndex(const PoolIndex&) = delete;
    PoolIndex& operator=(const PoolIndex&) = delete;
    std::uint16_t get() const { return index_; }

  private:
    ForkHost& host_;
    const std::uint16_t index_;
};

}  // namespace local
}  // namespace v0
}  // namespace forkmill
