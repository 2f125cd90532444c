// SPDX-License-Identifier: Apache-2.0
// Never finishes loading.
#include <forkmill/forkmill.h>
#include <forkmill/module.h>
#include <unistd.h>

namespace {
struct Sleeper {
    Sleeper() {
        while (true) ::pause();
    }
} sleeper;
}  // namespace

FORKMILL_MODULE(tasks) {
    static_cast<void>(tasks);
}
