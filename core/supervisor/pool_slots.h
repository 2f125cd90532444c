// SPDX-License-Identifier: Apache-2.0
// PoolSlots: all decisions about the workers of one pool; its owner makes the system calls.
//
// Everything that happens is a call with `now`, everything to be done is appended to `out`.
// Invariants: (1) at most `workers` slots hold a place; a slot whose worker leaves on purpose, or
// cannot be killed, holds none, so its replacement starts at once (make before break); (2) at most
// max(1, workers / 10) workers more than `workers` run tasks at a time because of (1); (3) each
// birth raises its slot's generation; (4) once closed, nothing is launched. Pure. Threading: one
// owner.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/time.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/handover.h"
#include "core/supervisor/respawn_policy.h"
#include "core/supervisor/slot.h"

namespace forkmill::supervisor {

struct PoolRules {
    std::uint32_t workers = 1;
    std::uint32_t capacity = 0;  ///< Slots; 0: slots_for(workers).
    SlotTimeouts timeouts;
    RespawnRule respawn;
    std::uint32_t broken_after = 3;  ///< Births in a row that failed, with none ready: pool broken.
    std::uint64_t seed = 1;
};

/// Room for `workers`, those that are being replaced, and growth by TTIN and reloads.
constexpr std::uint32_t slots_for(std::uint32_t workers) {
    return workers * 2 + 128;
}

struct PoolAction {
    enum class Kind : std::uint8_t {
        Launch,         ///< Start a process: answer with on_launched or on_launch_failed.
        TellDrain,      ///< Verb::Drain with `limit`.
        Term,           ///< SIGTERM, and Verb::Stop.
        Abort,          ///< SIGABRT.
        Kill,           ///< SIGKILL for the process group.
        Alarm,          ///< It survived SIGKILL.
        Waiting,        ///< To tell: it will be started again after `limit`.
        Gone,           ///< To tell: it will not be started again (exit 77, 78).
        BreakerOpened,  ///< To tell: one probe at a time from now on.
        BreakerClosed,
        Broken,  ///< To tell: no worker of this pool can start (P25).
        Mended,
        Rolled,      ///< To tell: the last worker of the former version is on its way out.
        RolledBack,  ///< To tell: the new version cannot start; from now on launch the former one.
    };
    Kind kind{};
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    base::Duration limit{};
};

class PoolSlots {
  public:
    using Actions = std::vector<PoolAction>;
    static constexpr std::uint32_t kRollFailures = 3;

    explicit PoolSlots(const PoolRules& rules);

    /// Launches what is missing, and acts on every deadline that is due.
    void on_tick(base::Time now, Actions& out);
    void on_launched(std::uint32_t slot, std::int32_t pid);
    void on_launch_failed(std::uint32_t slot, base::Time now, Actions& out);
    /// Its birth waits for somebody who has a deadline, so it has none until on_asked().
    void on_waiting(std::uint32_t slot, base::Time now);
    void on_asked(std::uint32_t slot, base::Time now);
    /// Several births came to nothing for one reason, which counts as one: all wait as long.
    void on_births_failed(const std::vector<std::uint32_t>& slots,
                          const Ending& ending,
                          base::Time now,
                          Actions& out);
    void on_up(std::uint32_t slot, base::Time now, Actions& out);
    /// It will leave on purpose soon (Verb::Ageing): its replacement starts when there is room for
    /// one more process, and once that is ready, it is drained.
    void on_ageing(std::uint32_t slot, base::Time now, Actions& out);
    /// It runs nothing any more (Verb::Emptied), so it takes no room from its replacement.
    void on_emptied(std::uint32_t slot, base::Time now, Actions& out);
    /// It leaves on purpose (Verb::Recycle).
    void on_leaving(std::uint32_t slot, base::Time now, Actions& out);
    void on_paused(std::uint32_t slot, base::Time now);
    void on_resumed(std::uint32_t slot, base::Time now);
    /// `ending.wanted`, `was_ready` and `uptime` are filled in here.
    void on_died(std::uint32_t slot, Ending ending, base::Time now, Actions& out);
    /// An order from outside; `cause` becomes its doom.
    void kill(std::uint32_t slot, Cause cause, base::Time now, Actions& out);
    void drain(std::uint32_t slot, base::Time now, Actions& out);
    /// It stands still, or its task passed its hard limit: ABRT, and KILL after the dump timeout.
    void hang(std::uint32_t slot, Cause cause, base::Time now, Actions& out);

    /// A reload. Sizes and timeouts hold at once. `changed`: all workers are replaced by those of a
    /// new version, one (or a tenth of the pool) at a time, each READY before an old one drains.
    /// While old ones still serve, kRollFailures births of the new version that fail in a row, or
    /// one that says its config is wrong, bring the former version back. False: no room for so many
    /// workers; nothing was changed. REQUIRES: !rolling().
    bool reload(const PoolRules& rules, bool changed, base::Time now, Actions& out);
    bool rolling() const { return rolling_; }
    std::uint32_t version() const { return version_; }
    bool closed() const { return closed_; }

    /// TTIN and TTOU; false at the bounds (1 and what the slots have room for).
    bool resize(std::uint32_t workers, base::Time now, Actions& out);
    /// To no workers at all, until the next resize() or reload().
    void empty_out(base::Time now, Actions& out);
    /// One fewer: this one. REQUIRES: workers() > 0.
    void let_go(std::uint32_t slot, base::Time now, Actions& out);
    /// Drains all for at most `limit`, then TERM, then KILL. May be repeated with another limit.
    void close(base::Duration limit, base::Time now, Actions& out);
    void kill_all(base::Time now, Actions& out);

    /// A pool that comes back under its name: births go on counting.
    void continue_from(const PoolSlots& former);
    /// For the program that takes over; its caller adds the descriptors.
    SavedChild save(std::uint32_t slot) const;
    void adopt(const SavedChild& saved, base::Time now);

    std::uint32_t workers() const { return workers_; }
    std::uint32_t capacity() const { return static_cast<std::uint32_t>(slots_.size()); }
    std::uint32_t count(SlotState state) const;
    SlotState state(std::uint32_t slot) const { return slots_[slot].life.state(); }
    std::uint32_t generation(std::uint32_t slot) const { return slots_[slot].generation; }
    std::uint32_t version(std::uint32_t slot) const { return slots_[slot].version; }
    std::int32_t pid(std::uint32_t slot) const { return slots_[slot].pid; }
    bool was_ready(std::uint32_t slot) const { return slots_[slot].was_ready; }
    /// Why it is about to end, when that was somebody's will; else Unknown.
    Cause doom(std::uint32_t slot) const { return slots_[slot].doom; }
    /// No process is left, but for those that cannot be killed.
    bool empty() const;
    bool ever_ready() const { return ever_ready_; }
    bool broken() const { return broken_; }
    base::Time next_deadline(base::Time now) const;

  private:
    struct Entry {
        Slot life;
        std::uint32_t generation = 0;
        std::int32_t pid = 0;
        base::Time born{};
        bool was_ready = false;
        bool leaving = false;  ///< Holds no place any more.
        bool emptied = false;  ///< And runs nothing.
        std::uint32_t version = 1;
        Cause doom = Cause::Unknown;
    };

    void step(std::uint32_t slot,
              SlotEvent event,
              base::Time now,
              Actions& out,
              std::optional<base::Duration> limit = std::nullopt);
    void settle(std::uint32_t slot, const Ending& ending, base::Time now, Actions& out);
    void check_broken(Actions& out);
    void fill(base::Time now, Actions& out);
    void shrink(base::Time now, Actions& out);
    void relieve(base::Time now, Actions& out);
    bool is_old(const Entry& entry) const { return entry.version < version_; }
    bool serves(const Entry& entry) const;
    bool old_serve() const;
    void check_rolled(Actions& out);
    void note_failed_birth(std::uint32_t slot, const Ending& ending, base::Time now, Actions& out);
    void roll_back(base::Time now, Actions& out);
    bool holds_place(const Entry& entry) const;
    std::uint32_t places_held() const;
    std::uint32_t processes() const;
    std::uint32_t processes_max() const;

    SlotTimeouts timeouts_;
    std::uint32_t workers_;
    std::uint32_t broken_after_;
    RespawnPolicy policy_;
    std::vector<Entry> slots_;
    std::uint32_t failed_births_ = 0;
    std::uint32_t version_ = 1;
    std::uint32_t failed_rolls_ = 0;  ///< Births of this version that failed in a row.
    bool rolling_ = false;
    bool proven_ = true;  ///< A worker of this version was ready.
    bool ever_ready_ = false;
    bool broken_ = false;
    bool closed_ = false;
};

}  // namespace forkmill::supervisor
