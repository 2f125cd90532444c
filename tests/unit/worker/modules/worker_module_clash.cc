// SPDX-License-Identifier: Apache-2.0
// Binds a name that worker_module_good binds too.
#include <forkmill/forkmill.h>
#include <forkmill/module.h>

inline constexpr forkmill::Task<"module.clash", int()> clash;

FORKMILL_MODULE(tasks) {
    tasks.bind(clash, [] { return 2; });
}
