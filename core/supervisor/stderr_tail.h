// SPDX-License-Identifier: Apache-2.0
// StderrTail: what a child writes to stderr: passed on line by line, its last 8 KiB kept for its
// death record.
//
// Invariants: (1) never blocks: when this process's own stderr takes no more, lines are dropped and
// their number is told later; (2) at most kPumpMax bytes per call, so that a chatty child does not
// hold the loop. Threading: one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

class StderrTail {
  public:
    static constexpr std::size_t kKept = 8 * 1024;
    static constexpr std::size_t kPumpMax = 64 * 1024;

    StderrTail() = default;
    /// `read_end` of a pipe, non-blocking; `prefix` goes before every line passed on.
    StderrTail(OwnedFd read_end, std::string prefix);

    int fd() const { return fd_.get(); }
    void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }
    /// Reads what is there; false at the end of the stream.
    bool pump();
    /// The last words: at most kKept bytes.
    std::string_view tail() const {
        const std::string_view all{kept_};
        return all.substr(all.size() > kKept ? all.size() - kKept : 0);
    }

  private:
    void keep(std::string_view bytes);
    void pass_on(std::string_view bytes);
    void write_out(bool everything);

    OwnedFd fd_;
    std::string prefix_;
    std::string kept_;
    std::string line_;    ///< An unfinished line.
    std::string output_;  ///< Finished lines, to be written at once.
    std::uint64_t dropped_ = 0;
};

}  // namespace forkmill::supervisor
