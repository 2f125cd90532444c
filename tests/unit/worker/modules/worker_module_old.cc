// SPDX-License-Identifier: Apache-2.0
// Was built for another Forkmill: its note says so, and its constructor must never run.
#include <forkmill/module.h>

#include <cstdlib>

namespace {

struct OldNote {
    unsigned name_size = 9;
    unsigned text_size = 20;
    unsigned type = 1;
    char name[12] = "Forkmill";
    char text[20] = "forkmill v-1 module";
};
[[gnu::section(".note.forkmill"), gnu::used, gnu::aligned(4)]] constexpr OldNote note{};

struct Trap {
    Trap() { std::abort(); }
} trap;

}  // namespace
