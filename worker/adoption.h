// SPDX-License-Identifier: Apache-2.0
// Adoption: what a worker told a new incarnation it holds (HELD) and what has not been given its
// new lease yet (ADOPT), semantics.md 4.
//
// Invariants: (1) an old lease stands at most once for something told; a second one with the same
// number (of another incarnation) waits until the first is answered; (2) a job in here has
// `adopting` set. Threading: none.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "worker/custody.h"

namespace forkmill::worker {

/// A living job, or a result.
struct Awaiting {
    Job* job = nullptr;
    std::unique_ptr<Result> result;
};

class Adoption {
  public:
    bool empty() const { return told_.empty() && deferred_.empty(); }
    std::size_t size() const { return told_.size() + deferred_.size(); }

    /// Adds something to be told under its old lease.
    void add(std::uint64_t lease, Awaiting what);
    /// Messages with everything added and not told yet; the last one says so. At least one when
    /// `always`.
    std::vector<wire::Held> tell(bool always);
    /// The broker answered `lease`. Nullopt: nothing of that number was told.
    std::optional<Awaiting> take(std::uint64_t lease);
    /// A job that waits here has finished: it waits as a result from now on.
    void finish(const Job& job, std::unique_ptr<Result> result);
    /// A job that waits here is no more.
    void forget(const Job& job);
    /// All results that wait here, taken out; jobs stay known to their table.
    std::vector<Result> take_results();

  private:
    Awaiting* find(const Job& job);
    static wire::HeldTask describe(std::uint64_t lease, const Awaiting& what);

    std::unordered_map<std::uint64_t, Awaiting> told_;
    std::vector<std::pair<std::uint64_t, Awaiting>> deferred_;
    std::vector<std::uint64_t> untold_;  ///< Keys of told_ that stand in no message yet.
};

}  // namespace forkmill::worker
