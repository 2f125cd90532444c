// SPDX-License-Identifier: Apache-2.0
// The demo tasks: the contract that callers share with demo_module.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <forkmill/forkmill.h>

namespace demo {

inline constexpr forkmill::Task<"demo.square", std::int64_t(std::int64_t)> square;
inline constexpr forkmill::Task<"demo.add", std::int64_t(std::int64_t, std::int64_t)> add;
/// Gives the bytes back.
inline constexpr forkmill::Task<"demo.echo", std::vector<std::uint8_t>(std::vector<std::uint8_t>)>
    echo;
/// Sleeps, telling its progress; ends early when it is asked to stop. Returns how long it slept, in
/// milliseconds.
inline constexpr forkmill::Task<"demo.sleep_ms", std::int64_t(std::int64_t)> sleep_ms;
/// The process that ran it.
inline constexpr forkmill::Task<"demo.pid", std::int64_t()> pid;
/// Throws std::runtime_error with the text.
inline constexpr forkmill::Task<"demo.fail", void(std::string)> fail;
/// Ends its worker: segv, abort, exit, stack or oom.
inline constexpr forkmill::Task<"demo.crash", void(std::string)> crash;
/// Computes for ever and listens to nobody.
inline constexpr forkmill::Task<"demo.spin", void()> spin;

}  // namespace demo
