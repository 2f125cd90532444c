// SPDX-License-Identifier: Apache-2.0
// One of two editions of a task module; tests put either in one place.
#include <forkmill/forkmill.h>
#include <forkmill/module.h>

namespace {

int number(int) {
    return 1;
}

}  // namespace

FORKMILL_MODULE(tasks) {
    tasks.bind(forkmill::Task<"edition.number", int(int)>{}, number);
}
