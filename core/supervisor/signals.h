// SPDX-License-Identifier: Apache-2.0
// Signals: what each signal tells the master, as a table: OS signal, operator's verb, orders.
//
// Invariants: (1) every signal of the table is blocked and read from a signalfd, so no handler ever
// runs; (2) the command line's verbs (`-s stop`) are this table's. Threading: the process's only
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/base/result.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

enum class Order : std::uint8_t {
    Reap,          ///< Look after the children.
    Stop,          ///< End, within shutdown_timeout.
    StopNow,       ///< End: kill everything.
    Quit,          ///< End when the running tasks have ended.
    Reload,        ///< New config, new code.
    Reopen,        ///< Log files anew.
    Upgrade,       ///< New binary.
    DrainWorkers,  ///< Workers to zero; the router goes on.
    AddWorker,     ///< The first pool, by one.
    RemoveWorker,
};

struct SignalRow {
    int signo;
    std::string_view name;  ///< "SIGHUP"
    std::string_view verb;  ///< Operator's word for it; empty: none.
    Order first;
    Order again;  ///< When `first` is already being carried out.
};

/// All signals that a master knows; nginx's meanings.
std::span<const SignalRow> signal_table();
const SignalRow* find_signal(int signo);
/// For `-s VERB`.
const SignalRow* find_verb(std::string_view verb);

/// The signals of the table, as a descriptor to poll.
class SignalFd {
  public:
    /// Blocks them (and ignores SIGPIPE) for this process.
    static base::Result<SignalFd> open();

    int fd() const { return fd_.get(); }
    /// The next signal that came; nullopt when there is none now.
    std::optional<int> next() const;

  private:
    explicit SignalFd(OwnedFd fd) : fd_(std::move(fd)) {}
    OwnedFd fd_;
};

}  // namespace forkmill::supervisor
