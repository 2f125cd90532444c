// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/task.h"

#include <array>

namespace forkmill::engine {

namespace {

constexpr std::array<std::string_view, kStates> kNames = {"free",
                                                          "accepting",
                                                          "scheduled",
                                                          "ready",
                                                          "leased",
                                                          "running",
                                                          "cancelling",
                                                          "succeeded",
                                                          "failed",
                                                          "cancelled",
                                                          "expired",
                                                          "dead"};

template <class... S>
constexpr std::uint16_t to(S... states) {
    return static_cast<std::uint16_t>((0U | ... | (1U << static_cast<unsigned>(states))));
}

using enum State;

// A row per state: where it may go. Final states go nowhere; Free is left by allocation only.
constexpr std::array<std::uint16_t, kStates> kArrows = {
    to(Accepting, Leased),                                           // Free
    to(Scheduled, Ready, Failed, Cancelled, Expired),                // Accepting
    to(Ready, Leased, Succeeded, Failed, Cancelled, Expired, Dead),  // Scheduled
    to(Leased, Failed, Cancelled, Expired, Dead),                    // Ready
    to(Running, Ready, Scheduled, Cancelling, Succeeded, Failed, Cancelled, Expired, Dead),
    to(Ready, Scheduled, Cancelling, Succeeded, Failed, Cancelled, Expired, Dead),  // Running
    to(Succeeded, Failed, Cancelled, Expired),                                      // Cancelling
    0,
    0,
    0,
    0,
    0,
};

}  // namespace

std::string_view name_of(State state) {
    const auto index = static_cast<std::size_t>(state);
    return index < kStates ? kNames[index] : "unknown";
}

bool may_become(State from, State target) {
    return (kArrows[static_cast<std::size_t>(from)] >> static_cast<unsigned>(target) & 1U) != 0;
}

}  // namespace forkmill::engine
