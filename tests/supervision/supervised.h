// SPDX-License-Identifier: Apache-2.0
// Supervised: forkmilld with a pool of this program's workers, and what a case asks of them.
//
// SUPERVISION(07, Name) { … } is case 07; its ctest name holds supervision_07_Name.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/site.h"
#include "tests/e2e/tasks.h"
#include "tests/support/wait_until.h"

namespace forkmill::e2e {

class Supervised : public Site {
  protected:
    using Clock = std::chrono::steady_clock;

    void TearDown() override;

    /// Starts the broker and a pool on it; returns when its workers are ready.
    Daemon& start_pool(const BrokerWanted& wanted = {.workers = 4});
    Pool& pool() { return *pool_; }
    void close_pool() { pool_.reset(); }

    std::vector<pid_t> workers() const;
    /// Workers that are ready, and none of `before` among them.
    bool replaced(const std::vector<pid_t>& before, std::size_t count) const;
    /// The state of a worker as the broker shows it; empty: it shows none of that pid.
    std::string state_of(pid_t worker) const;
    bool in_log(const Daemon& daemon, const std::string& words) const;
    /// How often the text stands in the log.
    int times_in_log(const Daemon& daemon, const std::string& words) const;
    std::string notes() const { return (directory_ / "notes").string(); }
    std::string gate_file() const { return (directory_ / "gate").string(); }
    /// The first numbers that tasks noted, once there are `count`.
    std::vector<int> noted(std::size_t count) const;

    std::optional<Pool> pool_;
};

#define SUPERVISION(number, name) TEST_F(Supervised, supervision_##number##_##name)

}  // namespace forkmill::e2e
