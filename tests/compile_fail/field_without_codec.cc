// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: this type cannot travel
#include "forkmill/forkmill.h"

struct Inner {};
struct Outer {
    Inner inner;
    FORKMILL_FIELDS(inner)
};
inline constexpr forkmill::Task<"bad.field", Outer()> task;

auto bad(forkmill::Pool& pool) {
    return pool.apply_async(task);
}
