// SPDX-License-Identifier: Apache-2.0
// TaskSharer: what the tasks of one worker process share with others: some take the lock that the
// sharers take, in the name of their attempt, and leave it to the broker to free it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "core/session/client_core.h"
#include "tests/sim/no_tasks.h"
#include "tests/sim/world.h"

namespace sim {

class TaskSharer final : public NoTasks, public forkmill::session::ObjectLink {
  public:
    /// `turn_soon`: there is something to say. `awake`: the process runs, and was heard of lately.
    TaskSharer(World& world, std::function<void()> turn_soon, std::function<bool()> awake)
        : world_(world), turn_soon_(std::move(turn_soon)), awake_(std::move(awake)) {}
    ~TaskSharer() { forget(); }
    TaskSharer(const TaskSharer&) = delete;
    TaskSharer& operator=(const TaskSharer&) = delete;

    void begin(std::uint64_t run, std::uint64_t lease);
    void end(std::uint64_t run);
    /// After a silence nothing that was granted before it is certain.
    void distrust();

    const forkmill::wire::ObjectOp* peek_operation() override {
        return queue_.empty() ? nullptr : &queue_.front();
    }
    void pop_operation() override { queue_.pop_front(); }
    void on_answer(const forkmill::wire::ObjectReply& reply) override;
    void on_event(const forkmill::wire::ObjectEvent&) override {}
    void on_objects_lost() override;

  private:
    struct Asked {
        std::uint64_t run = 0;
        std::uint64_t epoch = 0;
    };
    void forget();
    void ask(forkmill::wire::ObjectOp op, std::uint64_t run);

    World& world_;
    std::function<void()> turn_soon_;
    std::function<bool()> awake_;
    std::deque<forkmill::wire::ObjectOp> queue_;
    std::map<std::uint64_t, Asked> pending_;
    std::map<std::uint64_t, int> owner_of_;  ///< Runs that go on → as whom they own.
    std::uint64_t lock_ = 0;
    forkmill::base::LockWord* word_ = nullptr;
    std::uint32_t use_ = 0;
    std::uint32_t mark_ = 0;
    std::uint64_t last_op_ = 0;
    std::uint64_t epoch_ = 0;
};

}  // namespace sim
