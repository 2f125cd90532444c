// SPDX-License-Identifier: Apache-2.0
// Backend: what stands behind a client's pending table: a connection to a daemon, an embedded
// broker, or a worker's own session.
//
// Invariants: (1) every task handed over is settled at last: by its outcome, by terminate(), or as
// lost; (2) after stop() no thread of it runs; (3) it tells Client::set_liveness() what it knows of
// the other side, so that it may go before the client does. Threading: all functions from any user
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/net/key_file.h"
#include "core/supervisor/channel.h"
#include "forkmill/options.h"

namespace forkmill {
inline namespace v0 {

struct WorkerInfo;

namespace detail {

enum class Liveness : std::uint8_t {
    Live,
    Unreached,  ///< No connection yet; a bounded wait ends with Disconnected.
    Away,       ///< No connection just now; within gone_after.
    Silent,     ///< Nothing heard for gone_after: bounded waits end with Disconnected.
    Lost,       ///< Nothing heard for session_ttl: submits fail.
};

/// How a process that this one starts reaches the same broker.
struct Way {
    std::string endpoint;
    net::KeyNames keys;
    /// Of an embedded broker, which has no endpoint: it serves what is handed in there.
    std::shared_ptr<supervisor::Channel> door = nullptr;
};
/// Readable once a process is dead.
using Sentinel = std::shared_ptr<const supervisor::OwnedFd>;

class Backend {
  public:
    virtual ~Backend() = default;
    virtual void wake() = 0;
    /// The table takes no more; when all is settled the session ends.
    virtual void close() = 0;
    /// Settles everything unsettled as Cancelled and ends what runs; returns at once.
    virtual void terminate() noexcept = 0;
    /// Everything settled and, where they are ours, every worker gone; false at `until`.
    virtual bool join(base::Time until) = 0;
    /// terminate(), then ends the threads. Idempotent.
    virtual void stop() noexcept = 0;
    virtual std::vector<WorkerInfo> workers() = 0;
    /// Throws Busy when the system has no descriptors for it.
    virtual Way way() = 0;
    /// The session `heir` ends with the process of that sentinel.
    virtual base::Status end_with(const base::SessionKey& heir, Sentinel sentinel) = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
