// SPDX-License-Identifier: Apache-2.0
// Zap: answers libzmq's question "may this key connect?" (RFC 27) from an AllowList.
//
// A thread of its own, so that handshakes neither wait for the owner's loop nor slow it. There is
// at most one per context, made before any CURVE server binds and ended after all have closed.
// Threading: construct and destroy on one thread; counters from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>

#include "core/base/result.h"
#include "core/net/curve.h"
#include "core/net/zmq_context.h"

namespace forkmill::net {

/// ZAP domain of routers with keys, and of those without: a Zap lets everybody into the latter.
inline constexpr std::string_view kGuardedDomain = "forkmill";
inline constexpr std::string_view kOpenDomain = "forkmill.open";

class Zap {
  public:
    /// Fails when the process has a handler already.
    static base::Result<std::unique_ptr<Zap>> start(std::shared_ptr<const AllowList> allowed);
    ~Zap();
    Zap(const Zap&) = delete;
    Zap& operator=(const Zap&) = delete;

    std::uint64_t accepted() const { return accepted_.load(std::memory_order_relaxed); }
    std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

  private:
    explicit Zap(std::shared_ptr<const AllowList> allowed);
    void serve();
    void answer(void* socket);

    std::shared_ptr<Context> context_;
    std::shared_ptr<const AllowList> allowed_;
    void* handler_ = nullptr;
    void* stop_here_ = nullptr;
    void* stop_there_ = nullptr;
    std::atomic<std::uint64_t> accepted_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::thread thread_;
};

/// Fails when a server set up like ours lets a key in that nobody allowed (a libzmq that fails
/// open). Run once before the first CURVE server binds, with the Zap running; takes < 2 s.
base::Status curve_self_test();

}  // namespace forkmill::net
