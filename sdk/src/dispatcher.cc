// SPDX-License-Identifier: Apache-2.0
#include "forkmill/dispatcher.h"

#include "sdk/src/dispatcher_core.h"

namespace forkmill {
inline namespace v0 {

Dispatcher::Dispatcher() : core_(std::make_shared<detail::DispatcherCore>()) {}
Dispatcher::~Dispatcher() = default;
int Dispatcher::fd() const {
    return core_->fd();
}
std::size_t Dispatcher::dispatch() {
    return core_->dispatch();
}

namespace detail {
std::shared_ptr<DispatcherCore> core_of(Dispatcher& dispatcher) {
    return dispatcher.core_;
}
}  // namespace detail

}  // namespace v0
}  // namespace forkmill
