// SPDX-License-Identifier: Apache-2.0
// A module as it should be.
#include <forkmill/forkmill.h>
#include <forkmill/module.h>

inline constexpr forkmill::Task<"module.twice", int(int)> twice;
inline constexpr forkmill::Task<"module.clash", int()> clash;

FORKMILL_MODULE(tasks) {
    tasks.bind(twice, [](int x) { return 2 * x; });
    tasks.bind(clash, [] { return 1; });
}
