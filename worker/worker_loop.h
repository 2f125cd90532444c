// SPDX-License-Identifier: Apache-2.0
// WorkerLoop: the I/O thread of a worker: transport, channel to the parent and task threads, around
// the WorkerCore.
//
// Invariants: (1) it answers PINGs and obeys its parent whatever the task threads do; (2) EOF of
// the channel ends it at once with nothing finished, so that no orphan is left, or, where orphans
// may finish, once what runs has ended and was told, at the latest after leave_limit; (3) the end
// of an adopted socket does too, the end of any other connection only makes it connect again, with
// all results kept. Threading: run() on one thread, once; afterwards the process leaves by _exit,
// because tasks may still run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/lock_words.h"
#include "core/net/poll_loop.h"
#include "core/net/transport.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/scoreboard.h"
#include "worker/executor.h"
#include "worker/registry.h"
#include "worker/worker_core.h"

namespace forkmill::worker {

struct LoopSetup {
    std::unique_ptr<net::Transport> transport;
    bool adopted = false;                    ///< The transport has one connection in its life.
    supervisor::Channel* channel = nullptr;  ///< Null: no parent (tests).
    bool finish_orphaned = false;
    supervisor::SlotCells* cells = nullptr;
    std::span<base::LockWord> lock_words;  ///< Shared with the broker, if any.
    std::uint16_t pool_index = 0;          ///< For Notices.
    std::string title;  ///< Of the process, without what it runs; empty: not to be set.
    std::uint32_t max_tasks_per_child = 0;
    base::Duration turn_at_least = std::chrono::seconds{2};  ///< So the scoreboard's io tick lives.
    CoreConfig core;
    Registry* registry = nullptr;
    /// Makes what runs jobs, once the nested client is known.
    std::function<RunJob(detail::ClientPtr nested)> make_runner;
};

class WorkerLoop {
  public:
    explicit WorkerLoop(LoopSetup setup);
    ~WorkerLoop();
    WorkerLoop(const WorkerLoop&) = delete;
    WorkerLoop& operator=(const WorkerLoop&) = delete;

    /// Until the worker has left; the exit code.
    int run();

  private:
    void read_transport();
    void read_channel();
    void on_order(const supervisor::Notice& notice, base::Time now);
    void collect(base::Time now);
    void turn();
    void send_out();
    void note_leaving();
    void show_tasks();
    void tell_parent(supervisor::Verb verb, std::string_view text = {});
    base::Time wake_at(base::Time now);
    int finish();

    LoopSetup setup_;
    net::PollLoop loop_;
    net::Wakeup wakeup_;
    detail::Nested nested_;
    std::unique_ptr<Executor> executor_;
    std::unique_ptr<WorkerCore> core_;
    net::ConnId conn_ = 0;
    WorkerOut out_;
    FinishedBatch finished_;
    std::vector<TaskEvent> events_;
    std::string shown_tasks_;  ///< In the process's title.
    Leaving told_ = Leaving::No;
    bool ageing_told_ = false;
    bool emptied_told_ = false;
    bool ordered_ = false;    ///< The parent asked us to leave: it knows.
    bool orphaned_ = false;   ///< Parent or program are gone: it ends.
    bool finishing_ = false;  ///< The parent is gone, and what runs may end.
};

}  // namespace forkmill::worker
