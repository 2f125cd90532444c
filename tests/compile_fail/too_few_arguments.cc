// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: these arguments do not match the task's signature: it takes another number of
// them
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"add", int(int, int)> add;

int bad(forkmill::Pool& pool) {
    return pool.apply(add, 1);
}
