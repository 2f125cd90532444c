// SPDX-License-Identifier: Apache-2.0
#include "worker/embedded.h"

#include <utility>

#include "core/net/local_socket.h"
#include "worker/worker_process.h"

namespace forkmill::worker {

int run_embedded(EmbeddedBirth birth) {
    ProcessSetup setup;
    setup.channel = supervisor::Channel{supervisor::OwnedFd{birth.channel_fd}};
    setup.cells = birth.cells;
    setup.adopted = true;
    setup.connect = [fd = birth.socket_fd]() -> base::Result<std::unique_ptr<net::Transport>> {
        return std::unique_ptr<net::Transport>{
            std::make_unique<net::LocalClient>(net::UniqueFd{fd})};
    };
    setup.lock_words = birth.lock_words;
    setup.birth.host_key = std::move(birth.host_key);
    setup.birth.pool = std::move(birth.pool);
    setup.birth.pool_index = birth.pool_index;
    setup.birth.slot = birth.slot;
    setup.birth.birth = birth.birth;
    setup.birth.threads = birth.threads;
    setup.birth.max_tasks_per_child = birth.max_tasks_per_child;
    setup.birth.queues = std::move(birth.queues);
    setup.code = {std::move(birth.tasks), std::move(birth.initializer)};
    return run_worker(std::move(setup));
}

}  // namespace forkmill::worker
