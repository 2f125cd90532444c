// SPDX-License-Identifier: Apache-2.0
// Cannot say what it has.
#include <forkmill/forkmill.h>
#include <forkmill/module.h>

#include <stdexcept>

FORKMILL_MODULE(tasks) {
    static_cast<void>(tasks);
    throw std::runtime_error("no licence found");
}
