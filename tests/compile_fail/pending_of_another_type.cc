// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: these arguments do not match the task's signature: one has a type that does not
// convert
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"name", std::string(int)> name;
inline constexpr forkmill::Task<"add", int(int, int)> add;

int bad(forkmill::Pool& pool) {
    return pool.apply(add, 1, pool.apply_async(name, 1));
}
