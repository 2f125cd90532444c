// SPDX-License-Identifier: Apache-2.0
// The conformance program is client, worker and worker host in one: forkmilld starts it again as
// its workers' executable.
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <cstdlib>

#include "tests/conformance/tasks.h"

int main(int argc, char** argv) {
    if (std::getenv("FORKMILL_CHANNEL_FD") != nullptr) {
        forkmill::Worker worker;
        worker.tasks = conformance::all_tasks();
        if (const char* kind = std::getenv("CONFORMANCE_INITIALIZER"))
            worker.initializer = conformance::make_initializer(kind);
        return worker.run(argc, argv);
    }
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
