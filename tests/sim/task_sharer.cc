// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/task_sharer.h"

#include <utility>

namespace sim {

using namespace forkmill;
using std::chrono::milliseconds;
using wire::Code;
using wire::ObjectVerb;

void TaskSharer::forget() {
    distrust();
    queue_.clear();
    pending_.clear();
    lock_ = 0;
    word_ = nullptr;
}

void TaskSharer::distrust() {
    ++epoch_;
    for (const auto& [run, owner] : owner_of_) world_.disown(owner);
}

void TaskSharer::on_objects_lost() {
    forget();
    wire::ObjectOp op;
    op.verb = ObjectVerb::Open;
    op.flags = wire::kOpCreate;
    op.name = "lock";
    op.shaped = true;
    op.shape.kind = wire::ObjectKind::Lock;
    ask(op, 0);
}

void TaskSharer::ask(wire::ObjectOp op, std::uint64_t run) {
    op.op = ++last_op_;
    pending_[op.op] = {run, epoch_};
    queue_.push_back(std::move(op));
    turn_soon_();
}

void TaskSharer::begin(std::uint64_t run, std::uint64_t lease) {
    owner_of_[run] = world_.new_owner(awake_);
    if (lock_ == 0 || !world_.random.chance(0.2)) return;
    // It never gives it back: the end of its attempt does.
    if (word_ != nullptr && awake_() && world_.random.chance(0.5)) {
        if (const auto hold = word_->take(use_, mark_, lease | 1ULL << 63)) {
            ++world_.word_grants;
            return world_.own(world_.objects[lock_], owner_of_[run], hold->token);
        }
    }
    wire::ObjectOp op;
    op.verb = ObjectVerb::Acquire;
    op.object = lock_;
    op.flags = wire::kOpTask;
    op.owner = lease;
    op.timeout_ns = base::Duration{milliseconds{200}}.count();
    ask(op, run);
}

/// The attempt is over: what it owned is nobody's, or will be as soon as the broker hears of it.
void TaskSharer::end(std::uint64_t run) {
    const auto found = owner_of_.find(run);
    if (found == owner_of_.end()) return;
    world_.disown(found->second);
    owner_of_.erase(found);
}

void TaskSharer::on_answer(const wire::ObjectReply& reply) {
    const auto found = pending_.find(reply.op);
    if (found == pending_.end()) return world_.violate("a task's operation was answered twice");
    const Asked asked = found->second;
    pending_.erase(found);
    if (asked.run == 0) {
        if (reply.code != Code::None)
            world_.violate("a task's lock could not be opened: " +
                           std::string{wire::name_of(reply.code)});
        lock_ = reply.token;
        word_ = world_.word_of(reply);
        use_ = World::use_of(reply);
        mark_ = static_cast<std::uint32_t>(reply.count);
        return;
    }
    if (reply.code == Code::WaitTimeout || reply.code == Code::StaleLease) return;
    if (reply.code != Code::None)
        return world_.violate("a task's acquire was answered " +
                              std::string{wire::name_of(reply.code)});
    const auto owner = owner_of_.find(asked.run);
    // One that ended meanwhile, or was granted it before a silence, does not believe in it.
    const bool late = owner == owner_of_.end() || asked.epoch != epoch_;
    world_.own(world_.objects[lock_], late ? -1 : owner->second, reply.token);
}

}  // namespace sim
