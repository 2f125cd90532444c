// SPDX-License-Identifier: Apache-2.0
// HeirWatch: tells the broker of the end of processes whose sessions were opened for them.
//
// Their sentinels hang on one descriptor, made with the first of them, so that an I/O thread has
// one more to look at however many they are. Invariant: a sentinel is kept open until its end was
// heard or the watch goes. Threading: add() by any thread, the rest by the session's I/O thread.
#pragma once

#include <map>
#include <mutex>

#include "core/base/ids.h"
#include "core/net/poll_loop.h"
#include "core/net/unique_fd.h"
#include "sdk/src/client_backend.h"
#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

class HeirWatch {
  public:
    explicit HeirWatch(ObjectPort& port) : port_(port) {}

    /// The I/O thread is to be woken afterwards. Fails without descriptors.
    base::Status add(const base::SessionKey& heir, Sentinel sentinel);
    /// Once per turn: watches from the first add() on.
    void join(net::PollLoop& loop);
    void leave(net::PollLoop& loop);

  private:
    struct Watched {
        base::SessionKey heir;
        Sentinel sentinel;
    };
    void hear();

    ObjectPort& port_;
    bool joined_ = false;  ///< The I/O thread's.
    std::mutex mutex_;     // Guards the rest.
    net::UniqueFd epoll_;
    std::map<int, Watched> watched_;
};

/// The process of that session is dead, or will never be.
wire::ObjectOp burial_of(const base::SessionKey& heir);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
