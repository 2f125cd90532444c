// SPDX-License-Identifier: Apache-2.0
// ForkServer: the process that forks, reaps and kills every worker of a program's embedded pools,
// and every forkmill::Process of it.
//
// It is forked while the program has one thread, and so are its workers: they see the program as it
// was at that moment (api.md ruling 3). A process of the program's is a worker of no pool: its
// socket stays with the fork server, which closes it once the death is reported, and nobody is told
// of its stops. Invariants: (1) the fork server has one thread and never
// returns into the program's code: workers leave by _exit with what `worker` returned, and so does
// it; (2) it ends, with all its workers and their process groups, within 1 s after the program's
// end of the channel is closed or the program is dead; workers die with it; (3) it and its workers
// keep the program's descriptors only where they pin nobody: regular files and devices stay, all
// others (sockets, pipes, …) are replaced by /dev/null, so that no number changes its meaning.
// Threading: start() while the process has one thread; a ForkServer belongs to one thread at a
// time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/forked_context.h"
#include "core/supervisor/scoreboard.h"

namespace forkmill::supervisor {

/// A worker's start in life, in its own process; all descriptors are its own to close.
struct Birth {
    pid_t program = 0;  ///< Whose fork server this is.
    std::uint16_t pool = 0;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    int socket_fd = -1;   ///< As sent with the order: to the program's broker thread. −1: a
                          ///< process of the program's has none.
    int channel_fd = -1;  ///< To the fork server: say Up, Recycle, Failed; hear Drain, Stop.
    SlotCells* cells = nullptr;  ///< Of its slot; null when the order carried no scoreboard.
    std::vector<int> extra_fds;  ///< Whatever else the order carried.
};

/// An order to start one worker. Descriptors are only borrowed.
struct SpawnOrder {
    std::uint16_t pool = 0;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    int socket_fd = -1;
    int scoreboard_fd = -1;          ///< −1: none.
    std::span<const int> extra_fds;  ///< At most kFdsInPacket − 2.
    bool process = false;            ///< Of the program's: Options::process is its life.
};

class ForkServer {
  public:
    struct Options {
        std::function<int(const Birth&)>
            worker;  ///< Life of a worker; its result is the exit code.
        std::function<int(const Birth&)> process;  ///< The same of a process of the program's.
        std::vector<int> keep_fds;                 ///< Not replaced by /dev/null (invariant 3).
    };

    /// Forks it. Fails when the process has other threads, with their number in the text
    /// (sanitizers' own threads are not counted), or when the system refuses.
    static base::Result<ForkServer> start(Options options);

    ForkServer(ForkServer&& other) noexcept;
    ForkServer& operator=(ForkServer&& other) noexcept;
    /// stop(); in a forked child of the program it only closes what it holds.
    ~ForkServer();

    pid_t pid() const { return pid_; }
    /// Readable when next() has something; stays readable once dead().
    int fd() const { return channel_.fd(); }
    /// Orders wait for room in the channel: poll fd() for writing too and call flush().
    bool has_backlog() const { return channel_.has_backlog(); }
    bool flush() { return channel_.flush(); }

    /// Orders; false when the fork server is dead. Each spawn is answered by Born, or by Died with
    /// pid 0 and a text when the system refused.
    bool spawn(const SpawnOrder& order);
    /// SIGKILL for the worker's process group. `cause` comes back in its Died.
    bool kill(std::uint16_t pool, std::uint32_t slot, pid_t pid, Cause cause);
    /// One signal for a process alone, not for its group; nothing when it is dead.
    bool signal(std::uint16_t pool, std::uint32_t slot, pid_t pid, int signo);
    /// Passes Drain or Stop on to a worker's channel.
    bool tell(Verb verb,
              std::uint16_t pool,
              std::uint32_t slot,
              pid_t pid,
              std::int32_t detail = 0);

    /// What it reports: Born, Ready, Failed, Recycle, Stopped, Continued, Died.
    std::optional<Notice> next();
    /// The fork server is gone, and its workers with it. What it reported before comes first.
    bool dead() const { return channel_.closed(); }

    /// Ends it and all its workers: closes the channel, reaps it; kills it after `limit`. It never
    /// waits for any other child of the program.
    void stop(base::Duration limit = std::chrono::seconds{1});

  private:
    ForkServer(pid_t pid, OwnedFd pidfd, Channel channel);

    pid_t pid_ = -1;
    OwnedFd pidfd_;
    Channel channel_;
    ForkedContext context_;
};

/// How a fork server's child ends, if not by returning from its life: what is buffered is written,
/// and what it started ends with it.
[[noreturn]] void leave_forked(int exit_code);

/// Threads of this process that are not a sanitizer's own.
std::uint32_t count_own_threads();

}  // namespace forkmill::supervisor
