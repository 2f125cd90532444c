// SPDX-License-Identifier: Apache-2.0
// ChildEnv: what every child of a master finds in its environment: its descriptors and its place.
//
// A worker gets more (worker_birth.h); a relay needs no more. Threading: before any thread exists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace forkmill::supervisor {

inline constexpr std::uint16_t kRelayPool = UINT16_MAX;  ///< `pool` of a relay, which has none.
/// `slot` of a pool's fork server, which has none. No pool has so many; 20 bits fit Watched.
inline constexpr std::uint32_t kForkServerSlot = (1U << 20) - 1;

struct ChildEnv {
    int channel_fd = -1;              ///< FORKMILL_CHANNEL_FD, inherited.
    int scoreboard_fd = -1;           ///< FORKMILL_SCOREBOARD_FD, inherited; −1: none (a relay).
    std::uint16_t pool = kRelayPool;  ///< FORKMILL_POOL: index of the pool.
    std::uint32_t slot = 0;           ///< FORKMILL_SLOT, also its index in the scoreboard.
    std::uint32_t generation = 0;     ///< FORKMILL_GENERATION
};

/// "NAME=value" texts for the child's environment.
std::vector<std::string> to_environment(const ChildEnv& env);
/// Reads the variables and removes them; nullopt when no master started this process.
std::optional<ChildEnv> take_child_env();
/// An inherited descriptor whose number the variable `name` holds; the variable is removed.
std::optional<int> take_fd(const char* name);

}  // namespace forkmill::supervisor
