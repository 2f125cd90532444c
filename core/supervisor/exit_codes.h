// SPDX-License-Identifier: Apache-2.0
// Exit codes with a meaning, as sysexits(3) names them. A child's counts only until it said Up;
// later its exit code is the task's own.
#pragma once

namespace forkmill::supervisor {

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 64;
inline constexpr int kExitSoftware = 70;  ///< Of a master: its relay died 10 times in 60 s.
inline constexpr int kExitTempFail = 75;  ///< What it needs is another process's for now.
inline constexpr int kExitNoPermission = 77;
inline constexpr int kExitConfig = 78;  ///< The config cannot work, today or tomorrow.

}  // namespace forkmill::supervisor
