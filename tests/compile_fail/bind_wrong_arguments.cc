// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: this code does not take the task's arguments (by value, in this order)
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"square", int(int)> square;

void bad(forkmill::Tasks& tasks) {
    tasks.bind(square, [](std::string) { return 1; });
}
