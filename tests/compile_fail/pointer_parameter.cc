// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: a pointer means nothing in another process; pass the value
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"bad.pointer", int(const char*)> task;

int bad(forkmill::Pool& pool) {
    return pool.apply(task, "text");
}
