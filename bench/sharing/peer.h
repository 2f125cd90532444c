// SPDX-License-Identifier: Apache-2.0
// Python's multiprocessing, measured by peer.py: a process that is told a metric and how long, and
// answers with a figure.
//
// Owns that process, which ends at the end of its input. Threading: one thread.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <optional>
#include <string>

#include "bench/sharing/figure.h"

namespace bench {

class Peer {
  public:
    explicit Peer(const std::string& script);
    ~Peer();
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    /// `kind`: "plain", "simple" or "manager". Nothing: that kind has no such thing. Throws
    /// std::runtime_error when the process has ended.
    std::optional<Figure> run(const std::string& metric,
                              const std::string& kind,
                              Clock::duration length);

  private:
    pid_t pid_ = -1;
    std::FILE* to_ = nullptr;
    std::FILE* from_ = nullptr;
};

}  // namespace bench
