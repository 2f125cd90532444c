// SPDX-License-Identifier: Apache-2.0
#include "worker/worker_loop.h"

#include <algorithm>
#include <utility>

#include "core/base/log.h"
#include "core/supervisor/process_title.h"

namespace forkmill::worker {

namespace {

constexpr int kReadBatch = 256;
constexpr base::Duration kNoLimit = std::chrono::hours{24 * 365};
constexpr base::Duration kFarewell = std::chrono::milliseconds{300};

}  // namespace

WorkerLoop::WorkerLoop(LoopSetup setup) : setup_(std::move(setup)) {
    nested_ = detail::make_nested_client(
        {setup_.core.hello.stream, [this] { wakeup_.notify(); }, setup_.lock_words});
    ExecutorOptions options;
    options.threads = setup_.core.hello.threads;
    if (setup_.max_tasks_per_child != 0) options.budget = setup_.max_tasks_per_child;
    options.cells = setup_.cells;
    if (setup_.cells != nullptr)
        setup_.cells->threads.store(options.threads, std::memory_order_relaxed);
    options.wake = [this] { wakeup_.notify(); };
    executor_ = std::make_unique<Executor>(std::move(options), setup_.make_runner(nested_.client));
    Registry* registry = setup_.registry;
    core_ = std::make_unique<WorkerCore>(
        std::move(setup_.core),
        *executor_,
        [registry](std::string_view name, std::string_view signature) {
            return registry->find(name, signature);
        },
        nested_.source,
        nested_.sink,
        base::monotonic_now());
    core_->set_objects(nested_.objects);
    loop_.add(*setup_.transport, [this] { read_transport(); });
    loop_.add(wakeup_, [] {});
    if (setup_.channel != nullptr) loop_.add(setup_.channel->fd(), [this] { read_channel(); });
}

WorkerLoop::~WorkerLoop() {
    // The nested client's wake refers to us.
    detail::end_nested_client(*nested_.client);
}

int WorkerLoop::run() {
    while (!core_->done() && !orphaned_) {
        loop_.run_once(wake_at(base::monotonic_now()));
        turn();
    }
    return finish();
}

base::Time WorkerLoop::wake_at(base::Time now) {
    base::Time next = std::min(core_->next_timer(), now + setup_.turn_at_least);
    const base::Duration patience = executor_->patience();
    if (patience != base::Duration::max()) next = std::min(next, now + patience);
    return executor_->ready() ? now : next;
}

void WorkerLoop::read_transport() {
    net::Incoming incoming;
    for (int i = 0; i < kReadBatch && setup_.transport->receive(incoming); ++i) {
        const base::Time now = base::monotonic_now();
        switch (incoming.kind) {
            case net::Incoming::Kind::Connected:
                conn_ = incoming.conn;
                core_->on_connected(now, out_);
                send_out();
                break;
            case net::Incoming::Kind::Message:
                if (incoming.conn != conn_) break;
                core_->on_message(incoming.message, now, out_);
                if (out_.disconnect) send_out();
                break;
            case net::Incoming::Kind::Disconnected:
                if (incoming.conn != conn_) break;
                core_->on_disconnected(now);
                orphaned_ = orphaned_ || setup_.adopted;
                break;
            case net::Incoming::Kind::Rejected:
                base::log_line(base::LogLevel::Warning,
                               "the connection was refused",
                               {{"reason", incoming.reason}});
                if (incoming.conn != 0 && incoming.conn == conn_) {
                    core_->on_disconnected(now);
                    setup_.transport->disconnect(conn_);
                    orphaned_ = orphaned_ || setup_.adopted;
                }
                break;
        }
    }
}

void WorkerLoop::read_channel() {
    const base::Time now = base::monotonic_now();
    while (auto packet = setup_.channel->receive()) on_order(packet->notice, now);
    if (!setup_.channel->closed()) return;
    if (!setup_.finish_orphaned) {
        // Nobody is left who would reap or replace us: what runs is somebody else's to run again.
        orphaned_ = true;
        return;
    }
    loop_.remove(setup_.channel->fd());
    setup_.channel = nullptr;
    finishing_ = true;
    core_->leave(Leaving::Recycle, {}, now);
}

void WorkerLoop::on_order(const supervisor::Notice& notice, base::Time now) {
    switch (notice.verb) {
        case supervisor::Verb::Drain:
            ordered_ = true;
            core_->leave(Leaving::Drain,
                         notice.detail == 0 ? kNoLimit : std::chrono::milliseconds{notice.detail},
                         now);
            break;
        case supervisor::Verb::Stop:
            ordered_ = true;
            core_->leave(Leaving::Kill, {}, now);
            break;
        case supervisor::Verb::Reopen:
            static_cast<void>(base::log_reopen());
            break;
        default:
            break;
    }
}

void WorkerLoop::collect(base::Time now) {
    executor_->collect(finished_, events_);
    for (const TaskEvent& event : events_) {
        if (event.kind == TaskEvent::Kind::Partial) {
            core_->on_partial(*event.job, event.fraction, event.note);
        } else {
            core_->on_blocked(*event.job, event.kind == TaskEvent::Kind::Blocked);
        }
    }
    if (!finished_.list.empty()) core_->on_finished(finished_, now);
}

void WorkerLoop::turn() {
    const base::Time now = base::monotonic_now();
    if (setup_.cells != nullptr)
        setup_.cells->io_tick_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    if (executor_->ready()) collect(now);
    if (core_->next_timer() <= now) core_->tick(now, out_);
    if (executor_->ageing() && !std::exchange(ageing_told_, true))
        tell_parent(supervisor::Verb::Ageing);
    if (executor_->exhausted()) core_->leave(Leaving::Recycle, {}, now);
    core_->pump(now, out_);
    send_out();
    note_leaving();
    show_tasks();
    // Results wait for whoever serves the endpoint next; one that has none waits for nobody.
    orphaned_ = orphaned_ || (finishing_ && core_->empty_handed());
}

void WorkerLoop::send_out() {
    net::Transport& transport = *setup_.transport;
    for (const base::Message& message : out_.messages) {
        if (transport.send(conn_, message) != net::Sent::Full) continue;
        // Windows make this impossible towards a broker that reads; one that does not is gone.
        out_.disconnect = true;
        core_->on_disconnected(base::monotonic_now());
        break;
    }
    out_.messages.clear();
    transport.flush();
    if (std::exchange(out_.disconnect, false)) {
        transport.disconnect(std::exchange(conn_, 0));
        orphaned_ = orphaned_ || setup_.adopted;
    }
}

/// The parent hears of an end that it did not order, early enough to start the replacement.
void WorkerLoop::note_leaving() {
    if (setup_.channel != nullptr && setup_.channel->has_backlog()) setup_.channel->flush();
    if (core_->leaving() != told_) {
        const bool first = told_ == Leaving::No;
        told_ = core_->leaving();
        if (setup_.cells != nullptr) setup_.cells->leaving.store(1, std::memory_order_relaxed);
        if (first && !ordered_ && core_->rejected().empty()) tell_parent(supervisor::Verb::Recycle);
    }
    if (told_ != Leaving::No && core_->live_jobs() == 0 && !std::exchange(emptied_told_, true))
        tell_parent(supervisor::Verb::Emptied);
}

/// Costs a comparison of two texts, both empty as long as tasks are short.
void WorkerLoop::show_tasks() {
    if (setup_.title.empty() || core_->long_tasks() == shown_tasks_) return;
    shown_tasks_ = core_->long_tasks();
    supervisor::set_process_title(shown_tasks_.empty() ? setup_.title
                                                       : setup_.title + " running " + shown_tasks_);
}

void WorkerLoop::tell_parent(supervisor::Verb verb, std::string_view text) {
    if (setup_.channel == nullptr) return;
    supervisor::Notice notice;
    notice.verb = verb;
    notice.pool = setup_.pool_index;
    notice.set_text(text);
    setup_.channel->post(notice);
}

int WorkerLoop::finish() {
    if (orphaned_) return 1;
    send_out();
    const base::Time until = base::monotonic_now() + kFarewell;
    while (setup_.transport->unsent() && base::monotonic_now() < until) {
        setup_.transport->flush();
        loop_.run_once(base::monotonic_now() + std::chrono::milliseconds{5});
    }
    if (core_->rejected().empty()) return 0;
    base::log_line(base::LogLevel::Error,
                   "the broker will not have this worker",
                   {{"reason", core_->rejected()}});
    tell_parent(supervisor::Verb::Failed, core_->rejected());
    return 1;
}

}  // namespace forkmill::worker
