// SPDX-License-Identifier: Apache-2.0
// daemonize: `--daemon`, for hosts without a service manager.
//
// Two forks: the daemon leads no session, so it never gets a terminal again. Whoever typed the
// command waits until the daemon says how its start went, and so do scripts: the exit code is the
// daemon's. Invariants: (1) daemonize() returns in the daemon alone, and a failure in the process
// that called; (2) the daemon's stderr stays the caller's until ready(), so faults of the start are
// seen where they are cured; (3) after ready() nothing holds the caller's terminal or pipes: stdin
// is /dev/null, and stdout and stderr too unless they are regular files; (4) the pipe is closed by
// every exec. Two things stay as the caller has them: the umask, because every file of ours is made
// with its own mode, and the working directory, because names in a config and on the command line
// may be relative to it, and reload and upgrade read them again. Threading: REQUIRES no other
// thread, no child and no lock yet: a fork inherits none of them as its own.
#pragma once

#include <string>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

/// The daemon's word to whoever waits for it. Only the first counts; a default one has no listener.
class ReadinessPipe {
  public:
    ReadinessPipe() = default;
    explicit ReadinessPipe(OwnedFd write_end) : pipe_(std::move(write_end)) {}

    /// It serves: the caller's command ends with 0. Lets go of the caller's stderr.
    void ready();
    /// It ends, for a reason that it has written to stderr; the caller's command ends with
    /// `exit_code`. Code 0 is nobody's failure and becomes kExitSoftware.
    void failed(int exit_code);
    /// Somebody waits for a word.
    bool is_awaited() const { return static_cast<bool>(pipe_); }

  private:
    void say(int exit_code);

    OwnedFd pipe_;
};

struct DaemonizeOptions {
    std::string name = "forkmill";  ///< Of the program, in what the caller is told.
    /// How long the caller waits; then it ends with kExitTempFail, and the daemon goes on.
    base::Duration limit = std::chrono::seconds{60};
};

/// Becomes a daemon. A daemon that ends without a word makes the caller's command end with
/// kExitSoftware.
base::Result<ReadinessPipe> daemonize(const DaemonizeOptions& options);

}  // namespace forkmill::supervisor
