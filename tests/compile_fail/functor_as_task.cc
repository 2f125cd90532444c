// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: this is no task
#include "forkmill/forkmill.h"

struct Adder {
    int base = 1;
    int operator()(int x) const { return base + x; }
};

auto bad(forkmill::Pool& pool) {
    return pool.apply_async(Adder{}, 1);
}
