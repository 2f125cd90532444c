// SPDX-License-Identifier: Apache-2.0
// What the harness knows of each shared object, whoever asked: judged with every answer.
//
// Violations: an item that comes twice, or was refused and comes; a lock with two owners that both
// have reason to believe in it, or a token that did not grow; more permits out than there are; an
// addition or an update that was lost or counted twice; items that are nowhere at the end.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace sim {

class World;

struct ObjectTruth {
    // Queues.
    std::set<std::uint64_t> asked, put, refused, got, done;
    std::uint64_t lost_puts = 0;  ///< Asked by somebody who crashed before the answer …
    std::uint64_t lost_gets = 0;
    std::uint64_t lost_dones = 0;
    std::map<std::uint64_t, int> item_of;  ///< Leased item → who deals with it.
    // Locks.
    std::set<std::uint64_t> tokens;
    std::map<int, std::uint64_t> owners;  ///< Who believes to own it, and by which token.
    // Semaphores.
    int permits_out = 0;
    // Numbers.
    std::set<std::int64_t> seen;
};

}  // namespace sim
