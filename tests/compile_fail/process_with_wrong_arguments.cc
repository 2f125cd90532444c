// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: these arguments do not match the function's signature
#include "forkmill/forkmill.h"

void code(int);
void bad() {
    forkmill::Process process{code, 1, 2};
}
