// SPDX-License-Identifier: Apache-2.0
// Who this process is towards a broker: its host's name, and random numbers for keys and streams.
//
// Threading: any.
#pragma once

#include <cstdint>
#include <string>

namespace forkmill {
inline namespace v0 {
namespace detail {

const std::string& host_name();
/// From the kernel; never 0.
std::uint64_t random_u64();

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
