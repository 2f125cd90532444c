// SPDX-License-Identifier: Apache-2.0
// Operations that wait: their lines, deadlines and sessions; and what becomes of what a session
// holds when it is away or gone.
#include <algorithm>
#include <utility>

#include "broker/engine/objects.h"
#include "core/base/check.h"

namespace forkmill::engine {

namespace {

using wire::Code;
using wire::ObjectKind;
using wire::ObjectVerb;

/// Values that one session is answered with in one turn, before its window is looked at again.
constexpr std::uint64_t kTurnBytes = wire::kUnackedBytesMax;

std::uint64_t cost_of(const wire::ObjectOp& op) {
    std::uint64_t sum = sizeof(op) + op.name.size() + op.type.size();
    for (const wire::ObjectItem& item : op.items) sum += engine::cost_of(item) + item.key.size();
    return sum;
}

}  // namespace

bool Objects::reachable(SessionIx ix) const {
    return knows(ix) && members[ix]->connected;
}

/// What it held was taken from it, and it was not heard of since.
bool Objects::is_given_up(SessionIx ix) const {
    return !members[ix]->connected && members[ix]->timer == 0;
}

bool Objects::deliverable(SessionIx ix) const {
    if (!knows(ix)) return false;
    const Member& to = *members[ix];
    return to.connected && to.writable && to.turn_bytes < kTurnBytes;
}

void Objects::link(WaitLine& line, WaitIx ix, bool of_session) {
    WaitIx Wait::*prev = of_session ? &Wait::session_prev : &Wait::prev;
    WaitIx Wait::*next = of_session ? &Wait::session_next : &Wait::next;
    waits[ix].*prev = line.tail;
    waits[ix].*next = kNoWait;
    (line.tail == kNoWait ? line.head : waits[line.tail].*next) = ix;
    line.tail = ix;
    ++line.size;
}

void Objects::unlink(WaitLine& line, WaitIx ix, bool of_session) {
    WaitIx Wait::*prev = of_session ? &Wait::session_prev : &Wait::prev;
    WaitIx Wait::*next = of_session ? &Wait::session_next : &Wait::next;
    const WaitIx before = waits[ix].*prev;
    const WaitIx after = waits[ix].*next;
    (before == kNoWait ? line.head : waits[before].*next) = after;
    (after == kNoWait ? line.tail : waits[after].*prev) = before;
    --line.size;
}

/// Whether one more operation may; `text`: why not.
bool Objects::may_wait(const Member& asker, std::string& text) const {
    const auto as_many_as = [](std::uint64_t waiting, const char* key) {
        return std::to_string(waiting) + " operations wait: as many as limits." + key;
    };
    const std::uint64_t own = asker.waits.size + asker.deferred.size();
    if (own >= config.object_waits_per_session_max) {
        text = as_many_as(own, "object_waits_per_session");
    } else if (parked >= config.object_waits_max) {
        text = as_many_as(parked, "object_waits");
    }
    return text.empty();
}

/// The operation waits in a line of its object; kNoWait: it was refused.
WaitIx Objects::park(Call& call, LineName name) {
    Member& asker = member(call.ix);
    if (std::string text; !may_wait(asker, text)) {
        fail(call, Code::ObjectLimit, std::move(text));
        return kNoWait;
    }
    WaitIx ix = static_cast<WaitIx>(waits.size());
    if (free_waits.empty()) {
        waits.emplace_back();
    } else {
        ix = free_waits.back();
        free_waits.pop_back();
    }
    Wait& wait = waits[ix];
    wait = Wait{};
    wait.used = true;
    wait.session = call.ix;
    wait.op = call.op.op;
    wait.verb = call.op.verb;
    wait.object = call.object->id;
    wait.line = name;
    wait.owner = call.owner();
    wait.count = call.count();
    ++parked;
    link(call.object->lines[name], ix, false);
    link(asker.waits, ix, true);
    constexpr std::int64_t kLongest = INT64_MAX / 4;
    if (call.op.timeout_ns >= 0 && call.op.timeout_ns < kLongest)
        timers.arm(
            wait.timer, call.step.now + base::Duration{call.op.timeout_ns}, Timers::Kind::Wait, ix);
    return ix;
}

Wait Objects::take_wait(WaitIx ix) {
    Wait& wait = waits[ix];
    FORKMILL_CHECK(wait.used);
    timers.disarm(wait.timer);
    Object& object = *find(wait.object);
    unlink(object.lines[wait.line], ix, false);
    if (object.word) idle.push_back(object.id);
    unlink(member(wait.session).waits, ix, true);
    --parked;
    Wait taken = std::move(wait);
    wait = Wait{};
    free_waits.push_back(ix);
    return taken;
}

/// Its answer is `code` and nothing else.
void Objects::end_wait(WaitIx ix, Code code, Step& step) {
    Wait wait = take_wait(ix);
    if (wait.verb == ObjectVerb::Put) {
        bytes -= engine::cost_of(wait.item);
        for (const ObjectId ref : wait.item.refs) drop_ref(ref);
    }
    wire::ObjectReply reply;
    reply.op = wait.op;
    reply.code = code;
    send(wait.session, std::move(reply), step, find(wait.object));
}

void Objects::end_line(Object& object, LineName line, Code code, Step& step) {
    while (object.lines[line].head != kNoWait) end_wait(object.lines[line].head, code, step);
}

/// It leaves the line before its turn; who stands behind it may go on.
void Objects::abandon(WaitIx ix, Code code, Step& step) {
    Object& object = *find(waits[ix].object);
    if (object.kind() == ObjectKind::Barrier) return break_barrier(object, step);
    end_wait(ix, code, step);
    serve(object, step);
}

void Objects::wait_timer(WaitIx ix, Step& step) {
    const Wait& wait = waits[ix];
    switch (wait.verb) {
        case ObjectVerb::Put:
            return abandon(ix, Code::QueueFull, step);
        case ObjectVerb::Get:
        case ObjectVerb::Peek:
            return abandon(ix, Code::QueueEmpty, step);
        case ObjectVerb::Wait:
            if (find(wait.object)->kind() == ObjectKind::Condition)
                return wake(ix, Code::WaitTimeout, step);
            return abandon(ix, Code::WaitTimeout, step);
        default:
            return abandon(ix, Code::WaitTimeout, step);
    }
}

void Objects::interrupt(Call& call) {
    Member& asker = member(call.ix);
    wire::ObjectReply reply;
    for (WaitIx w = asker.waits.head; w != kNoWait; w = waits[w].session_next) {
        if (waits[w].op != call.op.token) continue;
        // Who was notified answers so once it has its lock: nobody else would act on it.
        if (waits[w].resumed) break;
        reply.value = 1;
        Object& object = *find(waits[w].object);
        if (object.kind() == ObjectKind::Condition) {
            wake(w, Code::TaskCancelled, call.step);
        } else if (object.kind() == ObjectKind::Barrier) {
            // Its own answer is that of whoever ends a wait; the others learn that it broke.
            end_wait(w, Code::TaskCancelled, call.step);
            break_barrier(object, call.step);
        } else {
            abandon(w, Code::TaskCancelled, call.step);
        }
        break;
    }
    say(call, std::move(reply));
}

/// The first in line that can be given something now. Others keep their place.
WaitIx Objects::first_ready(const WaitLine& line, bool with_values) {
    for (WaitIx ix = line.head; ix != kNoWait; ix = waits[ix].next) {
        const SessionIx session = waits[ix].session;
        if (with_values ? deliverable(session) : reachable(session)) return ix;
        members[session]->passed = true;
    }
    return kNoWait;
}

/// Whatever at the object can go on, goes on.
void Objects::serve(Object& object, Step& step) {
    switch (object.kind()) {
        case ObjectKind::Queue:
            return serve_queue(object, step);
        case ObjectKind::Lock:
            return serve_lock(object, step);
        case ObjectKind::Semaphore:
            return serve_semaphore(object, step);
        default:
            return;
    }
}

/// It waits as it is until the session can be answered.
void Objects::defer(SessionIx ix, const wire::ObjectOp& op, Step& step) {
    Member& asker = member(ix);
    const std::uint64_t cost = cost_of(op);
    std::string text = room_for(cost) ? std::string{} : no_room(cost);
    if (!text.empty() || !may_wait(asker, text))
        return refuse(ix, op, Code::ObjectLimit, std::move(text), step);
    wire::ObjectOp& kept = asker.deferred.emplace_back(op);
    for (wire::ObjectItem& item : kept.items) item.body.body = keep(item).body;
    bytes += cost;
    ++parked;
    asker.passed = true;
}

/// The session is there again, or not any more: who goes on where it waits may be another now.
void Objects::serve_lines_of(SessionIx ix, Step& step) {
    std::set<ObjectId> at;
    for (WaitIx w = member(ix).waits.head; w != kNoWait; w = waits[w].session_next)
        at.insert(waits[w].object);
    for (const ObjectId id : at)
        if (Object* object = find(id); object != nullptr) serve(*object, step);
}

/// The session can take answers again.
void Objects::resume(SessionIx ix, Step& step) {
    Member& to = member(ix);
    to.passed = false;
    serve_lines_of(ix, step);
    while (!to.deferred.empty() && deliverable(ix)) {
        const wire::ObjectOp op = std::move(to.deferred.front());
        to.deferred.pop_front();
        bytes -= cost_of(op);
        --parked;
        perform(ix, op, step);
    }
    if (!to.deferred.empty()) to.passed = true;
}

void Objects::set_session(SessionIx ix, bool connected, bool writable, Step step) {
    if (!knows(ix)) return;
    Member& to = *members[ix];
    const bool lost = to.connected && !connected;
    const bool found = !to.connected && connected;
    const bool opened = found || (connected && writable && !to.writable);
    to.connected = connected;
    to.writable = writable;
    if (lost) {
        timers.arm(to.timer, step.now + config.owner_lost_after, Timers::Kind::Member, ix);
        serve_lines_of(ix, step);  // Who wanted many permits holds nobody up any more.
    }
    if (found) {
        timers.disarm(to.timer);
        for (const std::uint64_t lease : std::exchange(to.ended, {}))
            free_holdings(ix, &lease, step);
    }
    if (opened) {
        to.turn_bytes = 0;
        resume(ix, step);
    }
    settle(step);
}

/// The attempt may not go on. One whose session is away may yet: its time runs from the last frame.
void Objects::end_attempt(SessionIx ix, std::uint64_t lease, Step step) {
    if (!knows(ix)) return;
    if (!members[ix]->connected) {
        members[ix]->ended.insert(lease);
        return;
    }
    free_holdings(ix, &lease, step);
    settle(step);
}

void Objects::end_killed(SessionIx ix, std::uint64_t lease, base::Time now) {
    killed.push_back({ix, lease, now + config.owner_lost_after});
}

/// What the session holds, or one attempt of it, is taken from it; that attempt's waits end.
void Objects::free_holdings(SessionIx ix, const std::uint64_t* attempt, Step& step) {
    const auto is_its = [&](const Owner& owner) {
        return owner.session == ix && (attempt == nullptr || (owner.task && owner.id == *attempt));
    };
    if (attempt != nullptr) {
        std::vector<std::pair<WaitIx, std::uint64_t>> its;
        for (WaitIx w = member(ix).waits.head; w != kNoWait; w = waits[w].session_next)
            if (is_its(waits[w].owner)) its.emplace_back(w, waits[w].op);
        for (const auto& [w, op] : its)
            if (waits[w].used && waits[w].session == ix && waits[w].op == op)
                abandon(w, Code::StaleLease, step);
    }
    if (attempt != nullptr) {
        std::deque<wire::ObjectOp> left;
        for (wire::ObjectOp& op : std::exchange(member(ix).deferred, {})) {
            if (!is_its({ix, op.owner, op.has(wire::kOpTask)})) {
                left.push_back(std::move(op));
                continue;
            }
            bytes -= cost_of(op);
            --parked;
            refuse(ix, op, Code::StaleLease, "the attempt that asks has ended", step);
        }
        member(ix).deferred = std::move(left);
    }
    grip_left_by(ix, attempt);
    const std::set<ObjectId> held = member(ix).holding;
    for (const ObjectId id : held) {
        Object* object = find(id);
        if (object == nullptr) continue;
        if (object->kind() == ObjectKind::Queue) {
            return_items(*object, ix, attempt, step);
        } else if (object->holder && is_its(object->holder->owner)) {
            if (object->kind() == ObjectKind::Lock) free_lock(*object, true, step);
            if (object->kind() == ObjectKind::Barrier) break_barrier(*object, step);
        }
    }
}

void Objects::close_session(SessionIx ix, Step step) {
    if (!knows(ix)) return;
    // Nothing is given to it while it leaves.
    members[ix]->connected = false;
    timers.disarm(members[ix]->timer);
    for (const wire::ObjectOp& op : members[ix]->deferred) {
        bytes -= cost_of(op);
        --parked;
    }
    members[ix]->deferred.clear();
    while (members[ix]->waits.head != kNoWait)
        abandon(members[ix]->waits.head, Code::SessionExpired, step);
    free_holdings(ix, nullptr, step);
    const std::set<ObjectId> opened = members[ix]->objects;
    for (const ObjectId id : opened) {
        Object& object = *find(id);
        const Handles all = object.handles[ix];
        drop_handles(object, ix, all, step);
    }
    FORKMILL_CHECK(members[ix]->watches.empty() && members[ix]->holding.empty());
    std::erase(turn, ix);
    marks.erase(members[ix]->mark);
    members[ix].reset();
    settle(step);
}

void Objects::tick(Step step) {
    while (!killed.empty() && killed.front().until <= step.now) {
        const Killed next = killed.front();
        killed.pop_front();
        end_attempt(next.worker, next.lease, step);
    }
    Timers::Fired fired;
    while (timers.pop_due(step.now, fired)) {
        if (fired.kind == Timers::Kind::Wait) {
            waits[fired.id].timer = 0;
            wait_timer(fired.id, step);
        } else {
            members[fired.id]->timer = 0;
            free_holdings(fired.id, nullptr, step);
        }
    }
    settle(step);
}

}  // namespace forkmill::engine
