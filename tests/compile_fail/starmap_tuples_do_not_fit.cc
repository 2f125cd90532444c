// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: these arguments do not match the task's signature: the tuples do not fit it
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"add", int(int, int)> add;

auto bad(forkmill::Pool& pool) {
    return pool.starmap(add, std::vector<std::tuple<int>>{{1}});
}
