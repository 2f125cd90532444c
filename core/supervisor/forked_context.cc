// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/forked_context.h"

#include <pthread.h>

#include <atomic>

namespace forkmill::supervisor {

namespace {

std::atomic<std::uint32_t> forks{0};

void count_fork() {
    forks.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

std::uint32_t fork_generation() {
    static const int watched = ::pthread_atfork(nullptr, nullptr, count_fork);
    static_cast<void>(watched);
    return forks.load(std::memory_order_relaxed);
}

}  // namespace forkmill::supervisor
