// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/plan.h"

#include <unistd.h>

#include <system_error>
#include <utility>

#include "core/supervisor/exit_codes.h"
#include "sdk/local/birth_bytes.h"
#include "sdk/local/lock_memory.h"
#include "sdk/local/self.h"
#include "worker/embedded.h"

namespace forkmill {
inline namespace v0 {
namespace local {

supervisor::OwnedFd write_plan(const Plan& plan) {
    BirthWriter writer;
    writer.bytes(plan.host_key);
    writer.bytes(plan.pool);
    writer.value(plan.threads);
    writer.value(plan.max_tasks_per_child);
    writer.bytes(plan.tasks);
    writer.value(plan.initializer);
    writer.value(plan.initializer_thunk);
    writer.bytes(plan.initargs);
    base::Result<supervisor::OwnedFd> fd = writer.to_memfd();
    if (!fd) throw std::system_error{fd.failure().error_number, std::generic_category(), "a plan"};
    return std::move(fd).value();
}

std::optional<Plan> read_plan(int fd) {
    std::optional<BirthReader> reader = BirthReader::from_memfd(fd);
    if (!reader) return std::nullopt;
    Plan plan;
    reader->bytes(plan.host_key);
    reader->bytes(plan.pool);
    reader->value(plan.threads);
    reader->value(plan.max_tasks_per_child);
    reader->bytes(plan.tasks);
    reader->value(plan.initializer);
    reader->value(plan.initializer_thunk);
    reader->bytes(plan.initargs);
    if (!reader->ok()) return std::nullopt;
    return plan;
}

int run_worker(const supervisor::Birth& birth) {
    const std::optional<Plan> plan =
        birth.extra_fds.empty() ? std::nullopt : read_plan(birth.extra_fds[0]);
    for (const int fd : birth.extra_fds) ::close(fd);
    if (!plan) return supervisor::kExitSoftware;
    become({"Worker-" + std::to_string(birth.slot), 0, false}, {}, birth.program);
    worker::EmbeddedBirth life;
    life.socket_fd = birth.socket_fd;
    life.channel_fd = birth.channel_fd;
    life.cells = birth.cells;
    life.host_key = plan->host_key;
    life.pool = plan->pool;
    life.pool_index = birth.pool;
    life.slot = birth.slot;
    life.birth = birth.generation;
    life.threads = plan->threads;
    life.max_tasks_per_child = plan->max_tasks_per_child;
    life.lock_words = inherited_lock_words();
    life.tasks = worker::unpack_task_entries(plan->tasks);
    if (plan->initializer_thunk != nullptr) {
        life.initializer = [thunk = plan->initializer_thunk,
                            function = plan->initializer,
                            arguments = plan->initargs] {
            detail::Buffer nothing;
            thunk(function, detail::Arguments{arguments, {}}, nothing);
        };
    }
    return worker::run_embedded(std::move(life));
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
