// SPDX-License-Identifier: Apache-2.0
// What time brings: due tasks, deadlines, workers that do not obey, sessions that stay away.
#include "broker/engine/core.h"

namespace forkmill::engine {

namespace {
constexpr base::Duration kKillAgain = std::chrono::seconds{5};
}

void Core::tick(base::Time now, Effects& out) {
    if (recovering && now >= recovery_until) end_recovery(now, out);
    Timers::Fired fired;
    while (timers.pop_due(now, fired)) {
        switch (fired.kind) {
            case Timers::Kind::Task:
                tasks[fired.id].timer = 0;
                task_timer(fired.id, now, out);
                break;
            case Timers::Kind::Outcome:
                tasks[fired.id].timer = 0;
                outcome_timer(fired.id, now);
                break;
            case Timers::Kind::Session:
                sessions[fired.id]->timer = 0;
                session_timer(fired.id, now, out);
                break;
            case Timers::Kind::Wait:
            case Timers::Kind::Member:
                break;  // Those of objects are in a heap of their own.
            case Timers::Kind::Stream:
                streams[fired.id].timer = 0;
                stream_timer(fired.id, now, out);
                break;
        }
    }
}

void Core::task_timer(Slot slot, base::Time now, Effects& out) {
    TaskNode& node = tasks[slot];
    if (!has_worker(node.state)) return place(slot, now, out);
    if (node.state == State::Cancelling) {
        kill_worker_of(node, wire::Code::TaskCancelled, out);
    } else {
        node.set(kTimedOut);
        kill_worker_of(node, wire::Code::TaskTimeout, out);
    }
    // A supervisor that was away hears it again.
    timers.arm(node.timer, now + kKillAgain, Timers::Kind::Task, slot);
}

/// Its worker neither settled nor gave it back in time: the supervisor must act.
void Core::kill_worker_of(TaskNode& node, wire::Code why, Effects& out) {
    node.set(kKillSent);
    sessions[node.worker]->worker->doomed = true;
    ++counters.kills;
    Effect& effect = out.list.emplace_back();
    effect.kind = Effect::Kind::KillWorker;
    effect.session = node.worker;
    effect.code = why;
}

}  // namespace forkmill::engine
