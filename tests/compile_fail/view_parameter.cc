// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: a task cannot take or return a view (string_view, span)
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"bad.view", int(std::string_view)> task;

int bad(forkmill::Pool& pool) {
    return pool.apply(task, "text");
}
