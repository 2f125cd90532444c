// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: this code does not return the task's result
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"square", int(int)> square;

void bad(forkmill::Tasks& tasks) {
    tasks.bind(square, [](int) { return std::string{}; });
}
