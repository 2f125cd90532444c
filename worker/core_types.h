// SPDX-License-Identifier: Apache-2.0
// What a WorkerCore is told at its start, its bounds and its patience. Values.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/time.h"
#include "core/wire/messages.h"

namespace forkmill::worker {

inline constexpr std::size_t kTemplatesMax = 65'536;     ///< One more is a protocol error.
inline constexpr std::size_t kKeptResultsMax = 131'072;  ///< In custody; beyond it nothing begins …
inline constexpr std::size_t kKeptBytesMax = 256UL << 20;  ///< … nor beyond these bytes.
inline constexpr base::Duration kCheckEvery = std::chrono::milliseconds{50};
/// A task that has run so long is named where people look; one of the short would be over first.
inline constexpr base::Duration kNamedAfter = std::chrono::milliseconds{100};
/// For running siblings when something must be killed; the broker's patience is 1 s.
inline constexpr base::Duration kKillGrace = std::chrono::milliseconds{700};
/// For clients to ack the last results of a worker that leaves.
inline constexpr base::Duration kCustodyPatience = std::chrono::seconds{5};

struct CoreConfig {
    wire::Hello hello;  ///< Who this worker is; generation, incarnation, received are filled here.
    std::uint64_t seed = 1;  ///< Makes later session keys.
    base::Duration leave_limit = std::chrono::seconds{60};
    base::Duration slowlog_timeout{};  ///< A task that runs longer is explained once; 0: never.
};

enum class Leaving : std::uint8_t {
    No,
    Drain,    ///< Finish what is held.
    Recycle,  ///< Return what has not begun, finish what runs.
    Kill,     ///< The same within kKillGrace: something that runs will not end by itself.
};

struct WorkerOut {
    std::vector<base::Message> messages;
    bool disconnect = false;  ///< After the messages: drop the connection and connect again.
};

}  // namespace forkmill::worker
