// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: this is no task: pass a forkmill::Task, a plain function, or a lambda without
// captures
#include "forkmill/forkmill.h"

void bad(int base) {
    forkmill::Process process{[base](int x) { return base + x; }, 1};
}
