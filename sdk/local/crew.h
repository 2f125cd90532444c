// SPDX-License-Identifier: Apache-2.0
// Crew: the worker processes of one embedded pool: births, deaths, respawns, drains and kills,
// through the fork server.
//
// Invariants: (1) a slot has at most one process; (2) initializers that throw cost at most one
// birth per slot while no worker is ready (P25); (3) after drain() and stop() nothing is born;
// stop() ends every process within kStopGrace and a kill. Threading: the broker thread; rows() any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/time.h"
#include "core/supervisor/fd.h"
#include "core/supervisor/respawn_policy.h"
#include "core/supervisor/scoreboard.h"
#include "core/supervisor/slot.h"
#include "sdk/local/fork_host.h"

namespace forkmill {
inline namespace v0 {
namespace local {

class Crew {
  public:
    struct Row {
        std::int32_t pid = 0;
        supervisor::SlotState state{};
    };
    static constexpr base::Duration kStopGrace = std::chrono::milliseconds{300};
    static constexpr base::Duration kStoppedMax = std::chrono::milliseconds{
        1500};  ///< Seen SIGSTOPped so long: its tasks go elsewhere (P45).

    /// `adopt` takes the program's end of a new worker's socket; `plan_fd` is what each birth is
    /// told.
    Crew(ForkHost& host,
         std::uint16_t pool,
         std::uint32_t workers,
         int plan_fd,
         std::function<void(int)> adopt,
         std::uint64_t seed);

    void start(base::Time now);
    /// True: the broker's engine is to hear of it too.
    bool on_notice(const supervisor::Notice& notice, base::Time now);
    /// A worker did not obey the engine.
    void kill(std::uint32_t slot, std::uint32_t birth, supervisor::Cause cause);
    void tick(base::Time now);
    base::Time next_timer(base::Time now) const;
    /// Lets every worker finish what it holds and leave.
    void drain(base::Time now);
    void stop(base::Time now);
    /// The fork server is dead, and all workers with it.
    void on_host_lost();
    /// No process is left and none will come.
    bool gone() const;
    /// Births that were answered, once all first ones are.
    bool all_born() const;
    std::vector<Row> rows() const;
    /// Tasks the slot's process finished.
    std::uint64_t tasks_done(std::uint32_t slot) const { return scoreboard_.tasks_done(slot); }

  private:
    struct Seat {
        supervisor::Slot slot;
        std::uint32_t generation = 0;
        std::int32_t pid = 0;
        base::Time born{};
        bool was_ready = false;
        bool failed = false;  ///< Its initializer threw in its last life.
        bool leaving = false;
        bool answered = false;
    };

    void launch(std::uint32_t index, base::Time now);
    void step(std::uint32_t index,
              supervisor::SlotEvent event,
              base::Time now,
              std::optional<base::Duration> limit = std::nullopt);
    void on_died(std::uint32_t index, const supervisor::Notice& notice, base::Time now);
    std::uint32_t count(supervisor::SlotState state) const;
    bool hopeless() const;
    void publish();

    ForkHost& host_;
    const std::uint16_t pool_;
    const int plan_fd_;
    std::function<void(int)> adopt_;
    supervisor::Scoreboard scoreboard_;
    supervisor::SlotTimeouts timeouts_;
    supervisor::RespawnPolicy policy_;
    std::vector<Seat> seats_;
    bool ending_ = false;
    bool host_lost_ = false;

    mutable std::mutex mutex_;  // Guards rows_.
    std::vector<Row> rows_;
};

}  // namespace local
}  // namespace v0
}  // namespace forkmill
