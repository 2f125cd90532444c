// SPDX-License-Identifier: Apache-2.0
// Plan: what every worker of an embedded pool is told at its birth, by a memfd: bytes and code
// addresses that are good in any fork of the snapshot.
//
// Invariants: (1) a plan names only what the fork server knows: the caller left out what came
// later; (2) it is read by the same build that wrote it. Threading: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/supervisor/fd.h"
#include "core/supervisor/fork_server.h"
#include "forkmill/detail/seam.h"

namespace forkmill {
inline namespace v0 {
namespace local {

struct Plan {
    std::string host_key;
    std::string pool;
    std::uint32_t threads = 1;
    std::uint32_t max_tasks_per_child = 0;
    std::vector<std::byte> tasks;               ///< worker::pack_task_entries.
    const void* initializer = nullptr;          ///< A function's address, with …
    detail::Thunk initializer_thunk = nullptr;  ///< … what runs it; null: there is none.
    std::vector<std::byte> initargs;
};

/// A memfd. Throws std::system_error.
supervisor::OwnedFd write_plan(const Plan& plan);
std::optional<Plan> read_plan(int fd);

/// ForkServer::Options::worker: reads its plan and lives by it.
int run_worker(const supervisor::Birth& birth);

}  // namespace local
}  // namespace v0
}  // namespace forkmill
