// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/slot.h"

#include <array>

namespace forkmill::supervisor {

namespace {

using S = SlotState;
using A = SlotAct;

struct Cell {
    bool changes = false;  ///< False: the event means nothing in this state.
    S next = S::Empty;
    A act = A::None;
    bool resumes = false;  ///< `next` is where it was before it was suspended.
    bool later = false;    ///< Stay suspended; `next` is where Resumed will lead.
};

constexpr Cell ___{};  // NOLINT(bugprone-reserved-identifier): the table shall show its holes.
constexpr Cell Sta{true, S::Starting};
constexpr Cell Rdy{true, S::Ready};
constexpr Cell Lve{true, S::Draining};
constexpr Cell Drn{true, S::Draining, A::TellDrain};
constexpr Cell Trm{true, S::Term, A::SendTerm};
constexpr Cell Abt{true, S::Abort, A::SendAbort};
constexpr Cell Kil{true, S::Kill, A::SendKill};
constexpr Cell Sus{true, S::Suspended};
constexpr Cell Res{true, S::Empty, A::None, true};
constexpr Cell RdL{true, S::Ready, A::None, false, true};
constexpr Cell DrL{true, S::Draining, A::TellDrain, false, true};
constexpr Cell Giv{true, S::Unkillable, A::Alarm};
constexpr Cell Rpd{true, S::Reaped};
constexpr Cell Wai{true, S::Backoff};
constexpr Cell Fai{true, S::Failed};
constexpr Cell Emp{true, S::Empty};

// The whole of supervision. A process that was seen stopped obeys nothing but KILL, so Stop kills
// it; Drain is told and waits in its channel until it runs again or its time is up. A worker that
// is starting holds no task, so Drain ends it. Died counts in every state that has a process.
// clang-format off
constexpr std::array<std::array<Cell, kSlotEvents>, kSlotStates> kTable{{
// SlotEvent:   Laun Up   Leav Drai Stop Kill Paus Resu Died Due  Hang Wait Forb Reti
/*Empty     */{{ Sta, ___, ___, ___, ___, ___, ___, ___, ___, ___, ___, Wai, Fai, ___ }},
/*Starting  */{{ ___, Rdy, Lve, Trm, Trm, Kil, Sus, ___, Rpd, Abt, ___, ___, ___, ___ }},
/*Ready     */{{ ___, ___, Lve, Drn, Trm, Kil, Sus, ___, Rpd, ___, Abt, ___, ___, ___ }},
/*Draining  */{{ ___, ___, ___, Drn, Trm, Kil, Sus, ___, Rpd, Trm, Abt, ___, ___, ___ }},
/*Term      */{{ ___, ___, ___, ___, ___, Kil, ___, ___, Rpd, Kil, ___, ___, ___, ___ }},
/*Abort     */{{ ___, ___, ___, ___, ___, Kil, ___, ___, Rpd, Kil, ___, ___, ___, ___ }},
/*Kill      */{{ ___, ___, ___, ___, ___, ___, ___, ___, Rpd, Giv, ___, ___, ___, ___ }},
/*Suspended */{{ ___, RdL, Lve, DrL, Kil, Kil, ___, Res, Rpd, Kil, ___, ___, ___, ___ }},
/*Unkillable*/{{ ___, ___, ___, ___, ___, ___, ___, ___, Rpd, ___, ___, ___, ___, ___ }},
/*Reaped    */{{ ___, ___, ___, ___, ___, ___, ___, ___, ___, ___, ___, Wai, Fai, Emp }},
/*Backoff   */{{ ___, ___, ___, ___, ___, ___, ___, ___, ___, Emp, ___, ___, Fai, Emp }},
/*Failed    */{{ ___, ___, ___, ___, ___, ___, ___, ___, ___, ___, ___, ___, ___, Emp }},
}};
// clang-format on

base::Duration limit_of(S state, const SlotTimeouts& timeouts) {
    switch (state) {
        case S::Starting:
            return timeouts.start;
        case S::Draining:
            return timeouts.drain;
        case S::Term:
            return timeouts.term;
        case S::Abort:
            return timeouts.dump;
        case S::Kill:
            return timeouts.kill;
        case S::Suspended:
            return timeouts.stop;
        default:
            return base::Duration::max();
    }
}

base::Time after(base::Time now, base::Duration limit) {
    return limit >= base::kNever - now ? base::kNever : now + limit;
}

}  // namespace

std::string_view name_of(SlotState state) {
    constexpr std::array<std::string_view, kSlotStates> names{"empty",
                                                              "starting",
                                                              "ready",
                                                              "draining",
                                                              "term",
                                                              "abort",
                                                              "kill",
                                                              "suspended",
                                                              "unkillable",
                                                              "reaped",
                                                              "backoff",
                                                              "failed"};
    return names[static_cast<std::size_t>(state)];
}

void Slot::adopt(SlotState state, base::Time now, const SlotTimeouts& timeouts) {
    state_ = state;
    resume_ = SlotState::Ready;
    deadline_ = after(now, limit_of(state, timeouts));
}

SlotAct Slot::step(SlotEvent event,
                   base::Time now,
                   const SlotTimeouts& timeouts,
                   std::optional<base::Duration> limit) {
    const Cell& cell = kTable[static_cast<std::size_t>(state_)][static_cast<std::size_t>(event)];
    if (!cell.changes) return SlotAct::None;
    if (cell.later) {
        resume_ = cell.next;
        return cell.act;
    }
    const S next = cell.resumes ? resume_ : cell.next;
    if (next == S::Suspended) resume_ = state_;
    state_ = next;
    deadline_ = after(now, limit.value_or(limit_of(next, timeouts)));
    return cell.act;
}

}  // namespace forkmill::supervisor
