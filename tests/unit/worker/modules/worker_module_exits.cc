// SPDX-License-Identifier: Apache-2.0
// Ends the process while it is loaded.
#include <forkmill/forkmill.h>
#include <forkmill/module.h>

#include <cstdlib>

namespace {
struct Quitter {
    Quitter() { std::exit(0); }
} quitter;
}  // namespace

FORKMILL_MODULE(tasks) {
    static_cast<void>(tasks);
}
