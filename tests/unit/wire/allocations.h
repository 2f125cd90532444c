// SPDX-License-Identifier: Apache-2.0
// How often this program asked operator new; the test binary's own operator new counts.
#pragma once

#include <cstddef>

namespace forkmill::wire::test {

std::size_t allocations();
/// The largest single request since the last call.
std::size_t take_largest_allocation();

}  // namespace forkmill::wire::test
