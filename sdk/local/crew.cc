// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/crew.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace forkmill {
inline namespace v0 {
namespace local {

using supervisor::SlotAct;
using supervisor::SlotEvent;
using supervisor::SlotState;

namespace {

supervisor::RespawnRule respawn_rule() {
    supervisor::RespawnRule rule;
    // max_tasks_per_child = 1 costs a birth per task, which is what was asked for; crash loops are
    // held by the other rules.
    rule.births_per_second = 5000;
    return rule;
}

}  // namespace

Crew::Crew(ForkHost& host,
           std::uint16_t pool,
           std::uint32_t workers,
           int plan_fd,
           std::function<void(int)> adopt,
           std::uint64_t seed)
    : host_(host),
      pool_(pool),
      plan_fd_(plan_fd),
      adopt_(std::move(adopt)),
      policy_(respawn_rule(), workers, seed),
      seats_(workers),
      rows_(workers) {
    timeouts_.stop = kStoppedMax;
    base::Result<supervisor::Scoreboard> board = supervisor::Scoreboard::create(workers);
    if (!board.ok())
        throw std::system_error{
            board.failure().error_number, std::generic_category(), board.failure().text};
    scoreboard_ = std::move(board).value();
}

void Crew::start(base::Time now) {
    for (std::uint32_t i = 0; i < seats_.size(); ++i) launch(i, now);
}

void Crew::launch(std::uint32_t index, base::Time now) {
    Seat& seat = seats_[index];
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        step(index, SlotEvent::Launched, now);
        supervisor::Notice died;
        died.slot = index;
        died.generation = ++seat.generation;
        on_died(index, died, now);
        return;
    }
    const supervisor::OwnedFd theirs{pair[1]};
    ++seat.generation;
    seat.pid = 0;
    seat.born = now;
    seat.was_ready = seat.failed = seat.leaving = false;
    scoreboard_.reset(index, 0, seat.generation);
    policy_.on_launch();
    step(index, SlotEvent::Launched, now);
    const std::array<int, 1> extra{plan_fd_};
    supervisor::SpawnOrder order;
    order.pool = pool_;
    order.slot = index;
    order.generation = seat.generation;
    order.socket_fd = theirs.get();
    order.scoreboard_fd = scoreboard_.fd();
    order.extra_fds = extra;
    adopt_(pair[0]);
    host_.spawn(order);  // When it is dead, on_host_lost() follows.
}

void Crew::step(std::uint32_t index,
                SlotEvent event,
                base::Time now,
                std::optional<base::Duration> limit) {
    Seat& seat = seats_[index];
    switch (seat.slot.step(event, now, timeouts_, limit)) {
        case SlotAct::TellDrain:
            host_.tell(supervisor::Verb::Drain, pool_, index, seat.pid, 0);
            break;
        case SlotAct::SendTerm:
            host_.tell(supervisor::Verb::Stop, pool_, index, seat.pid, 0);
            break;
        case SlotAct::SendAbort:
        case SlotAct::SendKill:
            host_.kill(pool_,
                       index,
                       seat.pid,
                       event == SlotEvent::Deadline && !seat.was_ready
                           ? supervisor::Cause::StartTimeout
                           : supervisor::Cause::Killed);
            break;
        case SlotAct::Alarm:
        case SlotAct::None:
            break;
    }
}

bool Crew::on_notice(const supervisor::Notice& notice, base::Time now) {
    if (notice.slot >= seats_.size()) return false;
    Seat& seat = seats_[notice.slot];
    if (notice.generation != seat.generation) return false;
    switch (notice.verb) {
        case supervisor::Verb::Born:
            seat.pid = notice.pid;
            seat.answered = true;
            // Ordered before the pool began to end, born after: it must hear of it too.
            if (ending_)
                step(notice.slot,
                     seat.leaving ? SlotEvent::Drain : SlotEvent::Stop,
                     now,
                     kStopGrace);
            break;
        case supervisor::Verb::Ready:
            seat.was_ready = true;
            step(notice.slot, SlotEvent::Up, now);
            policy_.on_ready(notice.slot, now);
            if (count(SlotState::Ready) == seats_.size()) policy_.on_full();
            if (ending_)
                step(notice.slot,
                     seat.leaving ? SlotEvent::Drain : SlotEvent::Stop,
                     now,
                     seat.leaving ? std::optional<base::Duration>{} : kStopGrace);
            break;
        case supervisor::Verb::Failed:
            seat.failed = true;
            break;
        case supervisor::Verb::Recycle:
            seat.leaving = true;
            step(notice.slot, SlotEvent::Leave, now);
            break;
        case supervisor::Verb::Stopped:
            step(notice.slot, SlotEvent::Paused, now);
            break;
        case supervisor::Verb::Continued:
            step(notice.slot, SlotEvent::Resumed, now);
            break;
        case supervisor::Verb::Died:
            seat.answered = true;
            on_died(notice.slot, notice, now);
            publish();
            return notice.pid != 0;
        default:
            return false;
    }
    publish();
    return true;
}

void Crew::on_died(std::uint32_t index, const supervisor::Notice& notice, base::Time now) {
    Seat& seat = seats_[index];
    step(index, SlotEvent::Died, now);
    seat.pid = 0;
    if (ending_ || hopeless()) {
        step(index, SlotEvent::Forbid, now);
        return;
    }
    supervisor::Ending ending;
    ending.wanted = seat.leaving || notice.cause == supervisor::Cause::HardTimeout ||
                    notice.cause == supervisor::Cause::Killed;
    ending.was_ready = seat.was_ready;
    ending.in_task = notice.lease_count != 0;
    ending.tasks_done = scoreboard_.tasks_done(index);
    ending.uptime = now - seat.born;
    ending.exit_code = notice.cause == supervisor::Cause::Exit ? notice.detail : -1;
    const auto workers = static_cast<std::uint32_t>(seats_.size());
    const supervisor::Verdict verdict = policy_.on_death(index, ending, workers, now);
    switch (verdict.kind) {
        case supervisor::Verdict::Kind::Now:
            step(index, SlotEvent::Retire, now);
            break;
        case supervisor::Verdict::Kind::After:
            step(index, SlotEvent::Wait, now, verdict.delay);
            break;
        case supervisor::Verdict::Kind::Never:
            step(index, SlotEvent::Forbid, now);
            break;
    }
    tick(now);
}

/// Initializers threw and nobody is ready or on the way: trying again would only repeat it.
bool Crew::hopeless() const {
    bool failed = false;
    for (const Seat& seat : seats_) {
        failed = failed || seat.failed;
        const SlotState state = seat.slot.state();
        if (state == SlotState::Starting && !seat.failed) continue;
        if (seat.slot.has_process() && seat.was_ready) return false;
    }
    return failed;
}

void Crew::kill(std::uint32_t slot, std::uint32_t birth, supervisor::Cause cause) {
    if (slot < seats_.size() && seats_[slot].generation == birth && seats_[slot].pid != 0)
        host_.kill(pool_, slot, seats_[slot].pid, cause);
}

void Crew::tick(base::Time now) {
    const auto workers = static_cast<std::uint32_t>(seats_.size());
    for (std::uint32_t i = 0; i < workers; ++i) {
        if (seats_[i].slot.is_due(now)) step(i, SlotEvent::Deadline, now);
    }
    if (ending_ || host_lost_) return;
    for (std::uint32_t i = 0; i < workers; ++i) {
        if (seats_[i].slot.state() != SlotState::Empty) continue;
        if (!policy_.may_launch(count(SlotState::Starting), workers, now)) return;
        launch(i, now);
    }
}

base::Time Crew::next_timer(base::Time now) const {
    base::Time next = base::kNever;
    bool waiting = false;
    for (const Seat& seat : seats_) {
        next = std::min(next, seat.slot.deadline());
        waiting = waiting || seat.slot.state() == SlotState::Empty;
    }
    if (waiting && !ending_ && !host_lost_)
        next = std::min(next, policy_.next_change(count(SlotState::Starting), now));
    return next;
}

void Crew::drain(base::Time now) {
    ending_ = true;
    for (std::uint32_t i = 0; i < seats_.size(); ++i) {
        Seat& seat = seats_[i];
        seat.leaving = true;
        if (seat.pid != 0) step(i, SlotEvent::Drain, now);
        if (!seat.slot.has_process()) step(i, SlotEvent::Forbid, now);
    }
}

void Crew::stop(base::Time now) {
    ending_ = true;
    for (std::uint32_t i = 0; i < seats_.size(); ++i) {
        Seat& seat = seats_[i];
        seat.leaving = false;
        if (seat.pid != 0) step(i, SlotEvent::Stop, now, kStopGrace);
        if (!seat.slot.has_process()) step(i, SlotEvent::Forbid, now);
    }
}

void Crew::on_host_lost() {
    host_lost_ = true;
    for (Seat& seat : seats_) seat.pid = 0;
    publish();
}

bool Crew::gone() const {
    if (host_lost_) return true;
    return ending_ && std::none_of(seats_.begin(), seats_.end(), [](const Seat& seat) {
               return seat.slot.has_process() && seat.slot.state() != SlotState::Unkillable;
           });
}

bool Crew::all_born() const {
    return host_lost_ || std::all_of(seats_.begin(), seats_.end(), [](const Seat& seat) {
               return seat.answered;
           });
}

std::uint32_t Crew::count(SlotState state) const {
    return static_cast<std::uint32_t>(
        std::count_if(seats_.begin(), seats_.end(), [&](const Seat& seat) {
            return seat.slot.state() == state;
        }));
}

void Crew::publish() {
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < seats_.size(); ++i)
        rows_[i] = Row{seats_[i].pid, seats_[i].slot.state()};
}

std::vector<Crew::Row> Crew::rows() const {
    const std::lock_guard lock{mutex_};
    return rows_;
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
