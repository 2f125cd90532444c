// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: these arguments do not match the task's signature: the items do not convert to
// its parameter
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"square", int(int)> square;

auto bad(forkmill::Pool& pool) {
    return pool.map(square, std::vector<std::string>{"1"});
}
