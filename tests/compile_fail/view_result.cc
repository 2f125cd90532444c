// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: a task cannot take or return a view (string_view, span)
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"bad.span", std::span<int>(int)> task;

auto bad(forkmill::Pool& pool) {
    return pool.apply_async(task, 1);
}
