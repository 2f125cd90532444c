// SPDX-License-Identifier: Apache-2.0
// open_session: a client with a session of its own over a transport.
//
// Threading: any.
#pragma once

#include <memory>

#include "core/base/ids.h"
#include "core/net/transport.h"
#include "core/net/wakeup.h"
#include "sdk/src/client.h"

namespace forkmill {
inline namespace v0 {
namespace local {

struct SessionName {
    base::SessionKey key;
    std::uint64_t stream = 0;
    std::uint64_t incarnation = 0;  ///< Not 0: that broker has opened it already.
};

/// Without a backend yet; whoever wakes it wakes `wakeup`.
detail::ClientPtr make_client(Dispatcher* dispatcher,
                              std::uint64_t stream,
                              std::shared_ptr<net::Wakeup>& wakeup);

/// `way` is how the transport got there.
detail::ClientPtr open_session(Dispatcher* dispatcher,
                               const SessionName& name,
                               std::unique_ptr<net::Transport> transport,
                               detail::Way way);

}  // namespace local
}  // namespace v0
}  // namespace forkmill
