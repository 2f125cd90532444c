// SPDX-License-Identifier: Apache-2.0
// Queues: items in order, bounded, with leases on what was got and a count of what is not done.
#include <utility>

#include "broker/engine/objects.h"

namespace forkmill::engine {

namespace {

using wire::Code;
using wire::ObjectKind;

bool is_drained(const Object& queue) {
    return queue.cells->empty() && queue.leased.empty();
}

}  // namespace

bool Objects::is_full(const Object& queue, std::uint64_t cost) const {
    return queue.cells->size() >= queue.shape.capacity ||
           (queue.shape.bytes != 0 && !queue.cells->empty() &&
            queue.bytes + cost > queue.shape.bytes);
}

void Objects::put(Call& call) {
    Object& queue = *call.object;
    if (queue.kind() != ObjectKind::Queue) return fail(call, Code::TypeMismatch, "no queue");
    if (call.op.items.size() != 1) return fail(call, Code::InvalidRange, "put takes one item");
    if (queue.shut) return fail(call, Code::ObjectClosed, "the queue is shut");
    StoredItem item = keep(call.op.items.front());
    const std::uint64_t cost = cost_of(item);
    if (!room_for(cost)) return fail(call, Code::ObjectLimit, no_room(cost));
    const bool full = is_full(queue, cost) || queue.lines[kPutters].size > 0;
    if (full && call.op.timeout_ns == 0) return fail(call, Code::QueueFull);
    if (full) {
        const WaitIx wait = park(call, kPutters);
        if (wait == kNoWait) return;
        for (const ObjectId ref : item.refs) add_ref(ref);
        waits[wait].item = std::move(item);
        bytes += cost;
        return;
    }
    for (const ObjectId ref : item.refs) add_ref(ref);
    charge(queue, cost, 0);
    queue.cells->push_back(std::move(item));
    ++queue.undone;
    ++queue.version;
    wire::ObjectReply reply;
    reply.value = static_cast<std::int64_t>(queue.cells->size());
    say(call, std::move(reply));
    serve_queue(queue, call.step);
}

void Objects::get(Call& call) {
    Object& queue = *call.object;
    if (queue.kind() != ObjectKind::Queue) return fail(call, Code::TypeMismatch, "no queue");
    const bool peeks = call.op.verb == wire::ObjectVerb::Peek;
    if (peeks && !queue.cells->empty()) return say_there(queue, call.ix, call.op.op, call.step);
    if (!queue.cells->empty()) {
        // Whoever waits could not take it: it goes to the first who can.
        give(queue, call.ix, call.op.op, call.owner(), call.step);
        return serve_queue(queue, call.step);
    }
    if (queue.shut && is_drained(queue)) return fail(call, Code::ObjectClosed, "the queue is shut");
    if (call.op.timeout_ns == 0) return fail(call, Code::QueueEmpty);
    park(call, kTakers);
}

void Objects::say_there(const Object& queue, SessionIx ix, std::uint64_t op, Step& step) {
    wire::ObjectReply reply;
    reply.op = op;
    reply.value = static_cast<std::int64_t>(queue.cells->size());
    send(ix, std::move(reply), step, &queue);
}

/// REQUIRES: an item, and that the session can take it.
void Objects::give(Object& queue, SessionIx ix, std::uint64_t op, const Owner& owner, Step& step) {
    StoredItem item = std::move(queue.cells->front());
    queue.cells->pop_front();
    ++queue.version;
    wire::ObjectReply reply;
    reply.op = op;
    reply.value = static_cast<std::int64_t>(queue.cells->size());
    reply.items.push_back(show({}, item, ix));
    if (queue.has(wire::kOpLeased)) {
        reply.token = next_token();
        member(ix).holding.insert(queue.id);
        queue.leased.emplace(reply.token, LeasedItem{std::move(item), owner});
        ++queue.leases_of[ix];
    } else {
        drop(queue, item, 0);
    }
    send(ix, std::move(reply), step, &queue);
}

void Objects::serve_queue(Object& queue, Step& step) {
    for (bool moved = true; moved;) {
        moved = false;
        while (!queue.cells->empty()) {
            const WaitIx next = first_ready(queue.lines[kTakers], true);
            if (next == kNoWait) break;
            const Wait wait = take_wait(next);
            if (wait.verb == wire::ObjectVerb::Peek)
                say_there(queue, wait.session, wait.op, step);
            else
                give(queue, wait.session, wait.op, wait.owner, step);
            moved = true;
        }
        while (queue.lines[kPutters].head != kNoWait && !queue.shut &&
               !is_full(queue, cost_of(waits[queue.lines[kPutters].head].item))) {
            Wait wait = take_wait(queue.lines[kPutters].head);
            const std::uint64_t cost = cost_of(wait.item);
            bytes -= cost;
            charge(queue, cost, 0);
            queue.cells->push_back(std::move(wait.item));
            ++queue.undone;
            ++queue.version;
            wire::ObjectReply reply;
            reply.op = wait.op;
            reply.value = static_cast<std::int64_t>(queue.cells->size());
            send(wait.session, std::move(reply), step, &queue);
            moved = true;
        }
    }
    if (queue.shut) {
        end_line(queue, kPutters, Code::ObjectClosed, step);
        if (is_drained(queue)) end_line(queue, kTakers, Code::ObjectClosed, step);
    }
    if (queue.undone == 0) end_line(queue, kJoiners, Code::None, step);
}

void Objects::done(Call& call) {
    Object& queue = *call.object;
    if (queue.kind() != ObjectKind::Queue) return fail(call, Code::TypeMismatch, "no queue");
    if (queue.has(wire::kOpLeased)) {
        const auto lease = queue.leased.find(call.op.token);
        if (lease == queue.leased.end() || lease->second.owner.session != call.ix)
            return fail(call, Code::LockLost, "the item is not leased to it any more");
        drop(queue, lease->second.item, 0);
        queue.leased.erase(lease);
        --queue.leases_of[call.ix];
        refresh_holding(queue, call.ix);
        --queue.undone;
    } else {
        if (call.count() > queue.undone)
            return fail(call, Code::InvalidRange, "more is said to be done than was put");
        queue.undone -= call.count();
    }
    wire::ObjectReply reply;
    reply.value = static_cast<std::int64_t>(queue.undone);
    say(call, std::move(reply));
    serve_queue(queue, call.step);
}

void Objects::join(Call& call) {
    Object& queue = *call.object;
    if (queue.kind() != ObjectKind::Queue) return fail(call, Code::TypeMismatch, "no queue");
    if (queue.undone == 0) return say(call, {});
    if (call.op.timeout_ns == 0) return fail(call, Code::WaitTimeout);
    park(call, kJoiners);
}

void Objects::shut(Call& call) {
    Object& queue = *call.object;
    if (queue.kind() != ObjectKind::Queue) return fail(call, Code::TypeMismatch, "no queue");
    queue.shut = true;
    say(call, {});
    serve_queue(queue, call.step);
}

/// What the session, or one attempt of it, got and did not deal with stands at the head again, the
/// oldest first.
void Objects::return_items(Object& queue, SessionIx ix, const std::uint64_t* attempt, Step& step) {
    for (auto lease = queue.leased.end(); lease != queue.leased.begin();) {
        --lease;
        const Owner& owner = lease->second.owner;
        if (owner.session != ix || (attempt != nullptr && (!owner.task || owner.id != *attempt)))
            continue;
        queue.cells->push_front(std::move(lease->second.item));
        ++queue.version;
        lease = queue.leased.erase(lease);
        --queue.leases_of[ix];
    }
    refresh_holding(queue, ix);
    serve_queue(queue, step);
}

void Objects::refresh_holding(Object& object, SessionIx ix) {
    if (object.holder && object.holder->owner.session == ix) return;
    const auto leases = object.leases_of.find(ix);
    if (leases != object.leases_of.end()) {
        if (leases->second > 0) return;
        object.leases_of.erase(leases);
    }
    member(ix).holding.erase(object.id);
}

}  // namespace forkmill::engine
