// SPDX-License-Identifier: Apache-2.0
// run_embedded: the life of one worker of an embedded pool, in the child that the fork server made
// for it.
//
// The child calls it right after fork, with one thread, and leaves by _exit with what it returns.
// Invariants: (1) it takes over both fds of the birth and touches no other; (2) EOF of the channel
// (the fork server is dead) or of the socket (the program is dead) ends it within 1 s, with
// whatever ran unfinished; (3) no ZeroMQ context is made. Threading: called once per process, by
// its only thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/base/lock_words.h"
#include "core/supervisor/scoreboard.h"
#include "forkmill/detail/seam.h"

namespace forkmill::worker {

struct EmbeddedBirth {
    int socket_fd =
        -1;  ///< Connected stream to the program's broker thread (core/net local transport).
    int channel_fd = -1;  ///< SOCK_SEQPACKET to the fork server.
    supervisor::SlotCells* cells =
        nullptr;           ///< This slot's cells, shared with the fork server; null: none are kept.
    std::string host_key;  ///< Names the fork server in HELLO and in death notices.
    std::string pool;      ///< Text under which the broker thread knows the pool.
    std::uint16_t pool_index = 0;  ///< The same in Notices.
    std::uint32_t slot = 0;
    std::uint32_t birth = 0;
    std::uint32_t threads = 1;
    std::uint32_t max_tasks_per_child = 0;  ///< 0: never recycled.
    std::span<base::LockWord> lock_words;   ///< Those of the program's brokers.
    std::vector<std::string> queues = {"default"};
    std::vector<detail::TaskEntry>
        tasks;  ///< Valid in this process: bound before the snapshot, or code addresses only.
    std::function<void()> initializer;  ///< Empty: none. Runs once, before Ready.
};

/// Returns the exit code: 0 after a drain or an orderly end, 1 when the initializer threw (told to
/// the fork server as Verb::Failed).
int run_embedded(EmbeddedBirth birth);

/// Task entries as bytes for another process of the same program image (fork server, memfd): names,
/// signatures and addresses.
std::vector<std::byte> pack_task_entries(const std::vector<detail::TaskEntry>& tasks);
/// The inverse, in a process forked from the same image. REQUIRES: every runner was alive when that
/// process was forked.
std::vector<detail::TaskEntry> unpack_task_entries(std::span<const std::byte> bytes);

}  // namespace forkmill::worker
