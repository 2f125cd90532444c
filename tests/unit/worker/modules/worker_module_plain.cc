// SPDX-License-Identifier: Apache-2.0
// A shared library that is no task module; its constructor must never run.
#include <cstdlib>

namespace {
struct Trap {
    Trap() { std::abort(); }
} trap;
}  // namespace
