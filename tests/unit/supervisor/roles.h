// SPDX-License-Identifier: Apache-2.0
// Children that a master under test starts: this same program with FORKMILL_TEST_ROLE set.
//
// relay: says Up, writes every notice as a line to the file FORKMILL_TEST_OUT, obeys Stop; orders
// what the file FORKMILL_TEST_OUT.orders says ("kill SLOT PID"), looked at on SIGUSR1.
// worker: says Up, obeys Drain and Stop, ends with its channel. crash, bad-config, silent,
// stubborn, poison, parent: see roles.cc. Threading: one thread each.
#pragma once

#include <string>
#include <string_view>

namespace forkmill::supervisor {

inline constexpr const char* kTestRole = "FORKMILL_TEST_ROLE";
inline constexpr const char* kTestOut = "FORKMILL_TEST_OUT";

int play(std::string_view role);

}  // namespace forkmill::supervisor
