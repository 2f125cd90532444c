// SPDX-License-Identifier: Apache-2.0
// The smallest program: a function, a pool of four processes, a map.
#include <unistd.h>

#include <iostream>
#include <vector>

#include "forkmill/forkmill.h"

int square(int x) {
    return x * x;
}

int main() {
    forkmill::Pool pool{4};
    const std::vector<int> inputs{1, 2, 3, 4, 5};
    for (const int y : pool.map(square, inputs)) std::cout << y << ' ';
    std::cout << '\n';
}
