// SPDX-License-Identifier: Apache-2.0
#include "core/net/transport.h"

#include <atomic>

namespace forkmill::net {

ConnId next_transport_prefix() {
    static std::atomic<std::uint64_t> last{0};
    return (last.fetch_add(1, std::memory_order_relaxed) + 1) << 40;
}

}  // namespace forkmill::net
