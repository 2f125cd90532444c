// SPDX-License-Identifier: Apache-2.0
// This program is client, worker and worker host in one: a master starts it again as its workers.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "tests/e2e/tasks.h"
#include "tests/support/process.h"

int main(int argc, char** argv) {
    const bool host = argc > 1 && std::string_view{argv[1]} == "host";
    if (host || std::getenv("FORKMILL_CHANNEL_FD") != nullptr) {
        forkmill::Worker worker;
        worker.tasks = forkmill::e2e::all_tasks();
        return host ? worker.run(argc - 1, argv + 1) : worker.run(argc, argv);
    }
    forkmill::test::adopt_orphans();
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
