// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: a Process takes a function or a Task; task options are for pools
#include "forkmill/forkmill.h"

inline constexpr forkmill::Task<"job", void()> job;
void bad() {
    forkmill::Process process{job.with({.priority = 1})};
}
