// SPDX-License-Identifier: Apache-2.0
// This program is client, worker and worker host in one: a master starts it again as its workers.
//   e2e host --connect …      the master of a worker host
//   e2e embedded NOTES        a pool whose two workers are busy for long, to be killed
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "tests/e2e/tasks.h"
#include "tests/support/process.h"

namespace {

int keep_embedded_workers_busy(const char* notes) {
    forkmill::PoolOptions options;
    options.workers = 2;
    options.tasks = forkmill::e2e::all_tasks();
    forkmill::Pool pool{options};
    const std::vector<std::string> both{notes, notes};
    return static_cast<int>(pool.map(forkmill::e2e::start_child, both).size());
}

}  // namespace

int main(int argc, char** argv) {
    const bool host = argc > 1 && std::string_view{argv[1]} == "host";
    if (host || std::getenv("FORKMILL_CHANNEL_FD") != nullptr) {
        forkmill::Worker worker;
        worker.tasks = forkmill::e2e::all_tasks();
        worker.initializer = forkmill::e2e::asked_initializer();
        return host ? worker.run(argc - 1, argv + 1) : worker.run(argc, argv);
    }
    if (argc > 2 && std::string_view{argv[1]} == "embedded")
        return keep_embedded_workers_busy(argv[2]);
    forkmill::test::adopt_orphans();
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
