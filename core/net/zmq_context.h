// SPDX-License-Identifier: Apache-2.0
// Context: the one ZeroMQ context of a process, shared by its sockets; ends with the last of them.
//
// Invariants: (1) a process that forks never calls get(); (2) in a forked child the parent's
// context and sockets are left alone, since touching them is undefined. Threading: get() from any
// thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>

namespace forkmill::net {

class Context {
  public:
    static std::shared_ptr<Context> get();
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    void* raw() const { return raw_; }
    /// False in a child that was forked after the context was made.
    bool ours() const;
    /// Set while a Zap answers for this context.
    std::atomic<bool>& has_zap() { return has_zap_; }

  private:
    Context();
    void* raw_ = nullptr;
    pid_t owner_ = 0;
    std::atomic<bool> has_zap_{false};
};

}  // namespace forkmill::net
