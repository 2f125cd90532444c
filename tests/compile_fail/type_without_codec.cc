// SPDX-License-Identifier: Apache-2.0
// expect: forkmill: this type cannot travel: put FORKMILL_FIELDS(members…) into it
#include "forkmill/forkmill.h"

struct Image {
    int width = 0;
};
inline constexpr forkmill::Task<"bad.type", int(Image)> task;

int bad(forkmill::Pool& pool) {
    return pool.apply(task, Image{});
}
