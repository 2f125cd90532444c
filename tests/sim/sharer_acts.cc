// SPDX-License-Identifier: Apache-2.0
// What a sharer does: each operation, and by what its answer is judged. Its life is in
// sharer_node.cc.
#include <cstring>
#include <utility>

#include "tests/sim/sharer_node.h"

namespace sim {

using namespace forkmill;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using wire::Code;
using wire::ObjectKind;
using wire::ObjectVerb;

namespace {

std::string bytes_of_number(std::uint64_t number) {
    std::string bytes(sizeof number, '\0');
    std::memcpy(bytes.data(), &number, sizeof number);
    return bytes;
}

std::uint64_t number_of(const wire::ObjectReply& reply) {
    std::uint64_t number = 0;
    if (reply.items.empty()) return UINT64_MAX;
    const base::Body& body = reply.items.front().body.body;
    const base::ByteView view = body.chunks ? body.chunks->front().view() : body.view;
    if (view.size() >= sizeof number) std::memcpy(&number, view.data(), sizeof number);
    return number;
}

}  // namespace

std::int64_t SharerNode::some_timeout() {
    const std::int64_t choices[] = {0, 1'000'000, 50'000'000, 400'000'000};
    return choices[world_.random.below(4)];
}

void SharerNode::act() {
    for (const std::uint64_t id : ids_)
        if (id == 0) return;  // Not everything is open yet.
    if (pending_.size() > 40) return;
    switch (world_.random.below(14)) {
        case 0:
        case 1:
            return put(kPlain);
        case 2:
        case 3:
            return put(kLeased);
        case 4:
        case 5:
            return get_plain();
        case 6:
        case 7:
            return get_leased();
        case 8:
        case 9:
            return lock();
        case 10:
            return semaphore();
        case 11:
            return world_.random.chance(0.5) ? add() : update();
        case 12:
            return rendezvous();
        default:
            return private_queue();
    }
}

void SharerNode::put(Name name) {
    ObjectTruth& here = truth(name);
    const std::uint64_t item = ++world_.items;
    here.asked.insert(item);
    wire::ObjectOp op = on(name, ObjectVerb::Put);
    op.timeout_ns = some_timeout();
    // Some values are large enough for frames of their own, and for chunks.
    std::string value = bytes_of_number(item);
    if (world_.random.chance(0.05)) value.resize(5000);
    if (world_.random.chance(0.01)) value.resize(wire::kBodyFrameMax + 10);
    ask(op,
        value,
        {.what = "put",
         .then =
             [this, item, here = &here](const wire::ObjectReply& r) {
                 if (!expect(r, {Code::None, Code::QueueFull}, "put")) return;
                 (r.code == Code::None ? here->put : here->refused).insert(item);
             },
         .item = item,
         .truth = &here});
}

void SharerNode::get_plain() {
    ObjectTruth& here = truth(kPlain);
    wire::ObjectOp op = on(kPlain, ObjectVerb::Get);
    op.timeout_ns = some_timeout();
    ask(op,
        {},
        {.what = "get",
         .then =
             [this, here = &here](const wire::ObjectReply& reply) {
                 if (!expect(reply, {Code::None, Code::QueueEmpty}, "get")) return;
                 if (reply.code != Code::None) return;
                 const std::uint64_t item = number_of(reply);
                 const std::string name = "item " + std::to_string(item);
                 if (here->asked.count(item) == 0) violate(name + " was got and never put");
                 if (here->refused.count(item) != 0) violate(name + " was refused and yet got");
                 if (!here->got.insert(item).second) violate(name + " was got twice");
             },
         .truth = &here});
}

void SharerNode::get_leased() {
    ObjectTruth& here = truth(kLeased);
    wire::ObjectOp op = on(kLeased, ObjectVerb::Get);
    op.timeout_ns = some_timeout();
    ask(op,
        {},
        {.what = "leased get",
         .then =
             [this, here = &here](const wire::ObjectReply& reply) {
                 if (!expect(reply, {Code::None, Code::QueueEmpty}, "leased get")) return;
                 if (reply.code != Code::None) return;
                 const std::uint64_t item = number_of(reply);
                 const std::string name = "leased item " + std::to_string(item);
                 if (here->asked.count(item) == 0) violate(name + " was got and never put");
                 if (here->refused.count(item) != 0) violate(name + " was refused and yet got");
                 if (here->done.count(item) != 0) violate(name + " was done and comes again");
                 const auto holder = here->item_of.find(item);
                 if (holder != here->item_of.end() && holder->second != number_ &&
                     world_.sharers()[static_cast<std::size_t>(holder->second)]->believes())
                     violate(name + " is dealt with by two");
                 here->item_of[item] = number_;
                 if (!here->tokens.insert(reply.token).second)
                     violate(name + " came by an old token");
                 after(world_.random.between(microseconds{10}, milliseconds{40}),
                       [this, here, item, token = reply.token, epoch = epoch_] {
                           here->item_of.erase(item);
                           wire::ObjectOp done = on(kLeased, ObjectVerb::Done);
                           done.token = token;
                           ask(done,
                               {},
                               {.what = "done",
                                .then =
                                    [this, here, item, epoch](const wire::ObjectReply& r) {
                                        if (!expect(r, {Code::None, Code::LockLost}, "done"))
                                            return;
                                        if (r.code == Code::LockLost && epoch == epoch_)
                                            violate("an item was taken from one who was there");
                                        if (r.code == Code::None && !here->done.insert(item).second)
                                            violate("an item was done twice");
                                    },
                                .truth = here});
                       });
             },
         .truth = &here});
}

void SharerNode::lock() {
    if (std::exchange(locking_, true)) return;
    if (word_ != nullptr && believes() && world_.random.chance(0.7)) {
        if (const auto hold = word_->take(use_, mark_, 1)) {
            ++world_.word_grants;
            return locked(hold->token, epoch_);
        }
    }
    wire::ObjectOp op = on(kLock, ObjectVerb::Acquire);
    op.owner = 1;
    op.timeout_ns = world_.random.chance(0.5) ? wire::kNoTimeout : some_timeout();
    ask(op, {}, {.what = "acquire", .then = [this](const wire::ObjectReply& reply) {
                     if (!expect(reply, {Code::None, Code::WaitTimeout}, "acquire")) return;
                     if (reply.code == Code::None) return locked(reply.token, epoch_);
                     locking_ = false;
                 }});
}

void SharerNode::locked(std::uint64_t token, std::uint64_t epoch) {
    ObjectTruth& here = truth(kLock);
    world_.own(here, owner_, token);
    after(world_.random.between(microseconds{10}, milliseconds{20}), [this, token, epoch] {
        if (epoch != epoch_) return unlock(token, epoch);
        if (world_.random.chance(0.3)) return wait_condition(token);
        if (world_.random.chance(0.5)) {
            wire::ObjectOp op = on(kCondition, ObjectVerb::Notify);
            op.owner = 1;
            op.token = token;
            if (world_.random.chance(0.3)) op.flags = wire::kOpAll;
            told_ = true;
            ask(op, {}, {.what = "notify", .then = [this, epoch](const wire::ObjectReply& reply) {
                             if (epoch == epoch_) expect(reply, {Code::None}, "notify");
                         }});
        }
        unlock(token, epoch);
    });
}

void SharerNode::wait_condition(std::uint64_t token) {
    truth(kLock).owners.erase(owner_);
    wire::ObjectOp op = on(kCondition, ObjectVerb::Wait);
    op.owner = 1;
    op.token = token;
    op.timeout_ns = some_timeout();
    ask(op, {}, {.what = "wait", .then = [this, epoch = epoch_](const wire::ObjectReply& reply) {
                     if (reply.code == Code::LockLost && epoch != epoch_) {
                         locking_ = false;
                         return;
                     }
                     if (expect(reply, {Code::None, Code::WaitTimeout}, "wait"))
                         locked(reply.token, epoch_);
                 }});
}

void SharerNode::unlock(std::uint64_t token, std::uint64_t epoch) {
    truth(kLock).owners.erase(owner_);
    // What it asked for under the lock comes before the release.
    if (!std::exchange(told_, false) && word_ != nullptr && word_->give(use_, mark_, token)) {
        locking_ = false;
        return;
    }
    wire::ObjectOp op = on(kLock, ObjectVerb::Release);
    op.owner = 1;
    op.token = token;
    ask(op, {}, {.what = "release", .then = [this, epoch](const wire::ObjectReply& reply) {
                     locking_ = false;
                     if (!expect(reply, {Code::None, Code::LockLost}, "release")) return;
                     if (reply.code == Code::LockLost && epoch == epoch_)
                         violate("the lock was taken from one who was there");
                 }});
}

void SharerNode::semaphore() {
    ObjectTruth& here = truth(kSemaphore);
    wire::ObjectOp op = on(kSemaphore, ObjectVerb::Acquire);
    op.timeout_ns = some_timeout();
    ask(op, {}, {.what = "permit", .then = [this, here = &here](const wire::ObjectReply& reply) {
                     if (!expect(reply, {Code::None, Code::WaitTimeout}, "permit")) return;
                     if (reply.code != Code::None) return;
                     if (++here->permits_out > kPermits)
                         violate("more permits are out than there are");
                     after(world_.random.between(microseconds{10}, milliseconds{20}), [this, here] {
                         --here->permits_out;
                         ask(on(kSemaphore, ObjectVerb::Release),
                             {},
                             {.what = "permit back", .then = [this](const wire::ObjectReply& back) {
                                  expect(back, {Code::None}, "permit back");
                              }});
                     });
                 }});
}

void SharerNode::add() {
    ObjectTruth& here = truth(kNumber);
    ask(on(kNumber, ObjectVerb::Add),
        bytes_of_number(1),
        {.what = "add", .then = [this, here = &here](const wire::ObjectReply& reply) {
             if (!expect(reply, {Code::None}, "add")) return;
             if (!here->seen.insert(static_cast<std::int64_t>(number_of(reply))).second)
                 violate("an addition was lost");
         }});
}

/// Read, and write one more if nobody was faster.
void SharerNode::update() {
    wire::ObjectOp op = on(kDict, ObjectVerb::Read);
    ask(op,
        "-",
        {.what = "read", .then = [this](const wire::ObjectReply& reply) {
             if (!expect(reply, {Code::None, Code::NotFound}, "read")) return;
             const std::uint64_t next = reply.code == Code::None ? number_of(reply) + 1 : 0;
             wire::ObjectOp write = on(kDict, ObjectVerb::Write);
             write.flags = wire::kOpIfVersion;
             write.version = reply.version;
             ask(write,
                 bytes_of_number(next),
                 {.what = "write",
                  .then = [this, next, here = &truth(kDict)](const wire::ObjectReply& written) {
                      if (!expect(written, {Code::None, Code::ValueChanged}, "write")) return;
                      if (written.code == Code::None &&
                          !here->seen.insert(static_cast<std::int64_t>(next)).second)
                          violate("an update was lost");
                  }});
         }});
}

void SharerNode::rendezvous() {
    const auto anything = [](const wire::ObjectReply&) {};
    const std::uint64_t dice = world_.random.below(5);
    if (dice < 2) {
        ask(on(kEvent, dice == 0 ? ObjectVerb::Notify : ObjectVerb::Reset),
            {},
            {.what = "event", .then = anything});
    } else if (dice == 2) {
        wire::ObjectOp op = on(kEvent, ObjectVerb::Wait);
        op.timeout_ns = some_timeout();
        ask(op, {}, {.what = "event wait", .then = [this](const wire::ObjectReply& reply) {
                         expect(reply, {Code::None, Code::WaitTimeout}, "event wait");
                     }});
    } else {
        wire::ObjectOp op = on(kBarrier, ObjectVerb::Wait);
        op.timeout_ns = some_timeout();
        ask(op, {}, {.what = "barrier", .then = [this, anything](const wire::ObjectReply& reply) {
                         if (!expect(reply, {Code::None, Code::BrokenBarrier}, "barrier")) return;
                         if (reply.code == Code::None && (reply.value < 0 || reply.value > 1))
                             violate("a party of two has index " + std::to_string(reply.value));
                         if (reply.code == Code::BrokenBarrier)
                             ask(on(kBarrier, ObjectVerb::Reset),
                                 {},
                                 {.what = "reset", .then = anything});
                     }});
    }
}

/// An object of its own: made, used, closed.
void SharerNode::private_queue() {
    wire::ObjectOp op;
    op.verb = ObjectVerb::Open;
    op.flags = wire::kOpCreate;
    op.shaped = true;
    op.shape.kind = ObjectKind::Queue;
    op.shape.capacity = 1;
    ask(op,
        {},
        {.what = "private open", .then = [this](const wire::ObjectReply& made) {
             if (!expect(made, {Code::None}, "private open")) return;
             wire::ObjectOp put = on(kPlain, ObjectVerb::Put);
             put.object = made.token;
             ask(put, "x", {.what = "private put", .then = [](const wire::ObjectReply&) {}});
             wire::ObjectOp get = put;
             get.verb = ObjectVerb::Get;
             ask(get, {}, {.what = "private get", .then = [this](const wire::ObjectReply& reply) {
                               expect(reply, {Code::None}, "private get");
                           }});
             wire::ObjectOp close = put;
             close.verb = ObjectVerb::Close;
             ask(close, {}, {.what = "private close", .then = [this](const wire::ObjectReply& r) {
                                 expect(r, {Code::None}, "private close");
                             }});
         }});
}

}  // namespace sim
