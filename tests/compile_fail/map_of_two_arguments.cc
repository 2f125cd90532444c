// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: map takes a task of one argument; pass tuples to starmap for more
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"add", int(int, int)> add;

auto bad(forkmill::Pool& pool) {
    return pool.map(add, std::vector<int>{1, 2});
}
