// SPDX-License-Identifier: Apache-2.0
// Slot: the life of one child process as data: a table of states × events (slot.cc, one page).
//
// Invariants: (1) a slot changes only through step(), and step() only through the table; (2) every
// state in which something is awaited has a deadline; (3) pure: no system call, no clock.
// Threading: one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/base/time.h"

namespace forkmill::supervisor {

/// How long each state of a slot may last.
struct SlotTimeouts {
    base::Duration start = std::chrono::seconds{30};  ///< From birth to Up; then ABRT.
    base::Duration dump = std::chrono::seconds{2};    ///< From ABRT to KILL.
    base::Duration drain = std::chrono::seconds{60};  ///< For its last tasks; then TERM.
    base::Duration term = std::chrono::seconds{5};    ///< From TERM to KILL.
    base::Duration kill = std::chrono::seconds{5};    ///< From KILL to giving it up (unkillable).
    base::Duration stop = std::chrono::seconds{10};   ///< Seen SIGSTOPped; then KILL.
};

enum class SlotState : std::uint8_t {
    Empty,
    Starting,  ///< Forked; has not said Up.
    Ready,
    Draining,    ///< Finishes what it holds, then leaves.
    Term,        ///< Told to stop, TERM sent.
    Abort,       ///< Never came up, or hangs: ABRT sent, so that it can leave a trace.
    Kill,        ///< KILL sent.
    Suspended,   ///< Seen SIGSTOPped.
    Unkillable,  ///< KILL did not end it (a system call that does not return). Blocks nobody.
    Reaped,      ///< Dead; its respawn policy is being asked.
    Backoff,     ///< Waits before its next start.
    Failed,      ///< Will not be started again.
};
inline constexpr std::size_t kSlotStates = 12;

enum class SlotEvent : std::uint8_t {
    Launched,
    Up,
    Leave,  ///< It leaves on purpose.
    Drain,
    Stop,
    Kill,
    Paused,
    Resumed,
    Died,
    Deadline,  ///< Of the state it is in.
    Hang,      ///< It does not obey any more, or its task does not.
    Wait,      ///< Policy: start again later.
    Forbid,    ///< Policy: never start again.
    Retire,    ///< The slot is free for whoever needs one.
};
inline constexpr std::size_t kSlotEvents = 14;

/// What the owner of the process has to do.
enum class SlotAct : std::uint8_t { None, TellDrain, SendTerm, SendAbort, SendKill, Alarm };

std::string_view name_of(SlotState state);

class Slot {
  public:
    SlotState state() const { return state_; }
    /// When SlotEvent::Deadline is due; kNever: not.
    base::Time deadline() const { return deadline_; }
    bool is_due(base::Time now) const { return deadline_ <= now; }
    /// A process is (or may still be) there.
    bool has_process() const {
        return state_ != SlotState::Empty && state_ != SlotState::Reaped &&
               state_ != SlotState::Backoff && state_ != SlotState::Failed;
    }

    /// `limit` replaces the timeout of the state that is entered; Duration::max() is "no limit".
    SlotAct step(SlotEvent event,
                 base::Time now,
                 const SlotTimeouts& timeouts,
                 std::optional<base::Duration> limit = std::nullopt);

    /// A process that somebody else brought to this state; its deadline begins anew.
    void adopt(SlotState state, base::Time now, const SlotTimeouts& timeouts);

  private:
    SlotState state_ = SlotState::Empty;
    SlotState resume_ = SlotState::Empty;  ///< Where Resumed leads, while Suspended.
    base::Time deadline_ = base::kNever;
};

}  // namespace forkmill::supervisor
