// SPDX-License-Identifier: Apache-2.0
// The tests, or, when a master under test execs this program, one of the children in roles.h.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/supervisor/roles.h"

int main(int argc, char** argv) {
    if (const char* role = std::getenv(forkmill::supervisor::kTestRole))
        return forkmill::supervisor::play(role);
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
