// SPDX-License-Identifier: Apache-2.0
// Dispatcher: callbacks on a thread of the program's choice, for programs with an event loop.
#pragma once

#include <cstddef>
#include <memory>

#include "forkmill/detail/export.h"

namespace forkmill {
inline namespace v0 {

namespace detail {
class DispatcherCore;
}
class Dispatcher;
namespace detail {
std::shared_ptr<DispatcherCore> core_of(Dispatcher& dispatcher);
}

/// Give its address to PoolOptions::dispatcher; poll fd() for reading and call dispatch() then.
/// Must outlive the pools that use it. dispatch() is called by one thread at a time.
class FORKMILL_API Dispatcher {
  public:
    Dispatcher();
    ~Dispatcher();
    Dispatcher(const Dispatcher&) = delete;
    Dispatcher& operator=(const Dispatcher&) = delete;

    /// Readable while a callback is due.
    int fd() const;
    /// Runs the callbacks that are due now; returns how many.
    std::size_t dispatch();

  private:
    friend std::shared_ptr<detail::DispatcherCore> detail::core_of(Dispatcher& dispatcher);
    std::shared_ptr<detail::DispatcherCore> core_;
};

}  // namespace v0
}  // namespace forkmill
