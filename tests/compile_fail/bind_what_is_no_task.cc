// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: bind() takes a forkmill::Task and the code that runs it
#include "forkmill/forkmill.h"

int square(int x) {
    return x * x;
}

void bad(forkmill::Tasks& tasks) {
    tasks.bind(&square, &square);
}
