// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: this is no task: pass a forkmill::Task, a plain function, or a lambda without
// captures
#include "forkmill/forkmill.h"

int bad(forkmill::Pool& pool, int base) {
    return pool.apply([base](int x) { return base + x; }, 1);
}
