// SPDX-License-Identifier: Apache-2.0
// What a process costs, as the kernel counts it.
//
// Threading: any thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>

namespace forkmill::e2e {

/// Processor time of the process since its start, in user and kernel; in steps of a clock tick.
std::chrono::milliseconds processor_time_of(pid_t pid);

std::uint64_t resident_bytes_of(pid_t pid);

}  // namespace forkmill::e2e
