// SPDX-License-Identifier: Apache-2.0
// Locks, semaphores, conditions, events, barriers: who goes on, and in which order.
#include <utility>

#include "broker/engine/objects.h"

namespace forkmill::engine {

namespace {

using wire::Code;
using wire::ObjectKind;

}  // namespace

/// None: the caller's owner holds the lock under the token it named, if it named one.
Code Objects::judge_holder(const Object& lock, const Call& call) const {
    const std::uint64_t named = call.op.token;
    if (!lock.holder) return named == 0 ? Code::NotOwner : Code::LockLost;
    // Of one that was taken without us we may know the session only, and its token.
    if (lock.word && lock.holder->owner.session == call.ix && named == lock.holder->token)
        return Code::None;
    if (lock.holder->owner != call.owner())
        return named != 0 && named < lock.holder->token ? Code::LockLost : Code::NotOwner;
    return named == 0 || named == lock.holder->token ? Code::None : Code::LockLost;
}

void Objects::grant(Object& lock,
                    SessionIx ix,
                    std::uint64_t op,
                    const Owner& owner,
                    std::uint64_t depth,
                    Code code,
                    Step& step) {
    lock.holder = Holder{owner, depth, draw_token(lock)};
    member(ix).holding.insert(lock.id);
    wire::ObjectReply reply;
    reply.op = op;
    reply.code = code;
    reply.token = lock.holder->token;
    reply.value = static_cast<std::int64_t>(depth);
    reply.flags = std::exchange(lock.owner_died, false) ? wire::kReplyOwnerDied : 0U;
    send(ix, std::move(reply), step, &lock);
}

/// REQUIRES: it is held.
void Objects::free_lock(Object& lock, bool died, Step& step) {
    const SessionIx owner = lock.holder->owner.session;
    lock.holder.reset();
    lock.owner_died = lock.owner_died || died;
    refresh_holding(lock, owner);
    if (lock.word) idle.push_back(lock.id);
    serve_lock(lock, step);
}

void Objects::serve_lock(Object& lock, Step& step) {
    if (lock.holder) return;
    const WaitIx next = first_ready(lock.lines[kTakers], false);
    if (next == kNoWait) return;
    const Wait wait = take_wait(next);
    grant(lock, wait.session, wait.op, wait.owner, wait.resumed ? wait.depth : 1, wait.code, step);
}

void Objects::serve_semaphore(Object& semaphore, Step& step) {
    for (;;) {
        const WaitIx next = first_ready(semaphore.lines[kTakers], false);
        // Whoever wants many is not overtaken by those who want few.
        if (next == kNoWait || waits[next].count > semaphore.permits) return;
        const Wait wait = take_wait(next);
        semaphore.permits -= wait.count;
        wire::ObjectReply reply;
        reply.op = wait.op;
        reply.token = next_token();
        reply.value = static_cast<std::int64_t>(semaphore.permits);
        send(wait.session, std::move(reply), step, &semaphore);
    }
}

void Objects::acquire(Call& call) {
    Object& object = *call.object;
    if (object.kind() == ObjectKind::Lock) {
        std::optional<Holder>& holder = object.holder;
        if (holder && holder->owner == call.owner() && object.has(wire::kOpReentrant)) {
            wire::ObjectReply reply;
            reply.token = holder->token;
            reply.value = static_cast<std::int64_t>(++holder->depth);
            return say(call, std::move(reply));
        }
        if (!holder)
            return grant(object, call.ix, call.op.op, call.owner(), 1, Code::None, call.step);
    } else if (object.kind() == ObjectKind::Semaphore) {
        if (call.count() > object.shape.capacity)
            return fail(call, Code::InvalidRange, "there will never be so many permits");
        const bool first = first_ready(object.lines[kTakers], false) == kNoWait;
        if (first && call.count() <= object.permits) {
            object.permits -= call.count();
            wire::ObjectReply reply;
            reply.token = next_token();
            reply.value = static_cast<std::int64_t>(object.permits);
            return say(call, std::move(reply));
        }
    } else {
        return fail(call, Code::TypeMismatch, "neither lock nor semaphore");
    }
    if (call.op.timeout_ns == 0) return fail(call, Code::WaitTimeout);
    park(call, kTakers);
}

void Objects::release(Call& call) {
    Object& object = *call.object;
    if (object.kind() == ObjectKind::Semaphore) return release_semaphore(call);
    if (object.kind() != ObjectKind::Lock && object.kind() != ObjectKind::Barrier)
        return fail(call, Code::TypeMismatch, "nothing that can be released");
    if (const Code code = judge_holder(object, call); code != Code::None)
        return fail(call, code, code == Code::NotOwner ? "another holds it" : "it was lost");
    if (object.kind() == ObjectKind::Barrier) {
        say(call, {});
        return go_on(object, call.step);
    }
    wire::ObjectReply reply;
    reply.value = static_cast<std::int64_t>(--object.holder->depth);
    say(call, std::move(reply));
    if (object.holder->depth == 0) free_lock(object, false, call.step);
}

void Objects::release_semaphore(Call& call) {
    Object& semaphore = *call.object;
    if (call.count() > semaphore.shape.capacity - semaphore.permits)
        return fail(call, Code::InvalidRange, "released more often than acquired");
    semaphore.permits += call.count();
    wire::ObjectReply reply;
    reply.value = static_cast<std::int64_t>(semaphore.permits);
    say(call, std::move(reply));
    serve_semaphore(semaphore, call.step);
}

void Objects::break_lock(Call& call) {
    Object& lock = *call.object;
    if (!member(call.ix).admin) return fail(call, Code::Denied, "only admins break locks");
    if (lock.kind() != ObjectKind::Lock) return fail(call, Code::TypeMismatch, "no lock");
    if (!lock.holder) return fail(call, Code::NotOwner, "nobody holds it");
    say(call, {});
    free_lock(lock, true, call.step);
}

void Objects::wait(Call& call) {
    Object& object = *call.object;
    switch (object.kind()) {
        case ObjectKind::Condition:
            return wait_condition(call);
        case ObjectKind::Barrier:
            return wait_barrier(call);
        case ObjectKind::Event:
            if (object.is_set) return say(call, {});
            if (call.op.timeout_ns == 0) return fail(call, Code::WaitTimeout);
            park(call, kTakers);
            return;
        default:
            return fail(call, Code::TypeMismatch, "nothing that is waited for");
    }
}

void Objects::wait_condition(Call& call) {
    Object* lock = find(call.object->shape.lock);
    if (lock == nullptr) return fail(call, Code::ObjectLost, "its lock ended");
    grip(*lock);
    if (const Code code = judge_holder(*lock, call); code != Code::None)
        return fail(call, code, "the lock is not held");
    const WaitIx ix = park(call, kTakers);
    if (ix == kNoWait) return;
    waits[ix].depth = lock->holder->depth;
    free_lock(*lock, false, call.step);
    if (call.op.timeout_ns == 0) wake(ix, Code::WaitTimeout, call.step);
}

/// The waiter of a condition stands in line for its lock now; it answers when it has it.
void Objects::wake(WaitIx ix, Code code, Step& step) {
    Wait& wait = waits[ix];
    Object& condition = *find(wait.object);
    Object* lock = find(condition.shape.lock);
    if (lock == nullptr) return end_wait(ix, Code::ObjectLost, step);
    grip(*lock);
    timers.disarm(wait.timer);
    unlink(condition.lines[kTakers], ix, false);
    wait.object = lock->id;
    wait.line = kTakers;
    wait.resumed = true;
    wait.code = code;
    link(lock->lines[kTakers], ix, false);
    serve_lock(*lock, step);
}

void Objects::notify(Call& call) {
    Object& object = *call.object;
    wire::ObjectReply reply;
    if (object.kind() == ObjectKind::Event) {
        reply.value = object.lines[kTakers].size;
        const bool was = std::exchange(object.is_set, true);
        if (!was) changed(object, nullptr);
        say(call, std::move(reply));
        return end_line(object, kTakers, Code::None, call.step);
    }
    if (object.kind() != ObjectKind::Condition)
        return fail(call, Code::TypeMismatch, "neither condition nor event");
    Object* lock = find(object.shape.lock);
    if (lock == nullptr) return fail(call, Code::ObjectLost, "its lock ended");
    grip(*lock);
    if (const Code code = judge_holder(*lock, call); code != Code::None)
        return fail(call, code, "the lock is not held");
    const std::uint64_t most = call.op.has(wire::kOpAll) ? UINT64_MAX : call.count();
    while (object.lines[kTakers].head != kNoWait &&
           static_cast<std::uint64_t>(reply.value) < most) {
        wake(object.lines[kTakers].head, Code::None, call.step);
        ++reply.value;
    }
    say(call, std::move(reply));
}

void Objects::reset(Call& call) {
    Object& object = *call.object;
    if (object.kind() == ObjectKind::Event) {
        if (std::exchange(object.is_set, false)) changed(object, nullptr);
        return say(call, {});
    }
    if (object.kind() != ObjectKind::Barrier)
        return fail(call, Code::TypeMismatch, "neither event nor barrier");
    break_barrier(object, call.step);
    object.is_set = false;
    say(call, {});
}

void Objects::abort(Call& call) {
    if (call.object->kind() != ObjectKind::Barrier)
        return fail(call, Code::TypeMismatch, "no barrier");
    break_barrier(*call.object, call.step);
    say(call, {});
}

void Objects::wait_barrier(Call& call) {
    Object& barrier = *call.object;
    if (barrier.is_set) return fail(call, Code::BrokenBarrier, "the barrier is broken");
    const WaitIx ix = park(call, kTakers);
    if (ix == kNoWait) return;
    const std::uint64_t op = call.op.op;
    complete(barrier, call.step);
    const bool still = waits[ix].used && waits[ix].session == call.ix && waits[ix].op == op;
    if (still && call.op.timeout_ns == 0) break_barrier(barrier, call.step);
}

/// Rounds that have all their parties go on; with an action, its party alone at first.
void Objects::complete(Object& barrier, Step& step) {
    const std::uint64_t parties = barrier.shape.capacity;
    while (!barrier.holder && barrier.lines[kTakers].size >= parties) {
        WaitIx last = barrier.lines[kTakers].head;
        for (std::uint64_t i = 1; i < parties; ++i) last = waits[last].next;
        const Wait wait = take_wait(last);
        wire::ObjectReply reply;
        reply.op = wait.op;
        barrier.permits = parties - 1;
        ++barrier.version;
        if (barrier.has(wire::kOpAction)) {
            barrier.holder = Holder{wait.owner, 1, next_token()};
            member(wait.session).holding.insert(barrier.id);
            reply.token = barrier.holder->token;
            reply.flags = wire::kReplyAct;
        }
        send(wait.session, std::move(reply), step, &barrier);
        if (!barrier.holder) go_on(barrier, step);
    }
}

/// The other parties of the round that is complete.
void Objects::go_on(Object& barrier, Step& step) {
    const bool acted = barrier.holder.has_value();
    if (acted) {
        const SessionIx actor = barrier.holder->owner.session;
        barrier.holder.reset();
        refresh_holding(barrier, actor);
    }
    for (; barrier.permits > 0; --barrier.permits) {
        const Wait wait = take_wait(barrier.lines[kTakers].head);
        wire::ObjectReply reply;
        reply.op = wait.op;
        reply.value = static_cast<std::int64_t>(barrier.permits);
        send(wait.session, std::move(reply), step, &barrier);
    }
    if (acted) complete(barrier, step);
}

void Objects::break_barrier(Object& barrier, Step& step) {
    barrier.is_set = true;
    barrier.permits = 0;
    if (barrier.holder) {
        const SessionIx actor = barrier.holder->owner.session;
        barrier.holder.reset();
        refresh_holding(barrier, actor);
    }
    end_line(barrier, kTakers, Code::BrokenBarrier, step);
}

}  // namespace forkmill::engine
