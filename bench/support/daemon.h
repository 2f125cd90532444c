// SPDX-License-Identifier: Apache-2.0
// A broker daemon of a bench, with the bench's own program as its workers.
//
// Owns the process and a directory for its config, state and socket; both end with it. Threading:
// one thread.
#pragma once

#include <sys/types.h>

#include <string>

namespace bench {

class Daemon {
  public:
    /// `size`: "ipc" (ZeroMQ), "unix" (a local socket) or "tcp" (ZeroMQ, loopback). Waits for
    /// nothing: a pool that connects does.
    Daemon(const std::string& size, int workers);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// The router is the master's first child.
    pid_t router() const;
    const std::string& endpoint() const { return endpoint_; }

  private:
    std::string directory_;
    std::string endpoint_;
    pid_t pid_ = -1;
};

/// True in the processes that a Daemon's master started from this program.
bool is_worker();

}  // namespace bench
