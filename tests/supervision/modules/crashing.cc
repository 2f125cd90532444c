// SPDX-License-Identifier: Apache-2.0
// A module that ends its process while it is loaded.
#include <forkmill/forkmill.h>
#include <forkmill/module.h>

#include <cstdlib>

namespace {

[[maybe_unused]] const bool crashed = [] {
    std::abort();
    return true;
}();

}  // namespace

FORKMILL_MODULE(tasks) {
    static_cast<void>(tasks);
}
