// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: an initializer's arguments must match its function
#include "forkmill/forkmill.h"

void load(std::string) {}

forkmill::Initializer bad() {
    return forkmill::initializer(load);
}
