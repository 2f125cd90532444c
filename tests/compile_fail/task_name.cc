// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: a task's name is 1 to 128 characters of A-Z a-z 0-9 _ . -
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"no spaces", int(int)> task;

int bad(forkmill::Pool& pool) {
    return pool.apply(task, 1);
}
