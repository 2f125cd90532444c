// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sharer_node.h"

#include <array>
#include <cstring>
#include <utility>

#include "core/wire/codec.h"
#include "tests/sim/broker_node.h"

namespace sim {

using namespace forkmill;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using wire::Code;
using wire::ObjectKind;
using wire::ObjectVerb;

namespace {

constexpr int kPermits = 2;
constexpr Duration kTrust = seconds{8};

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

SharerNode::SharerNode(World& world, int number)
    : world_(world), number_(number), owner_(world.new_owner([this] { return believes(); })) {}

void SharerNode::violate(const std::string& what) {
    world_.violate("sharer " + std::to_string(number_) + ": " + what);
}

void SharerNode::start() {
    ++life_;
    session::ClientSessionConfig config;
    config.key = {world_.random.bits(), world_.random.bits()};
    config.stream = world_.random.bits() | 1;
    config.host = "sim";
    session::SubmitSource& source = *this;
    session::OutcomeSink& sink = *this;
    session::ClientListener& listener = *this;
    session_ = std::make_unique<session::ClientSession>(
        config, source, sink, listener, world_.clock.now());
    session_->core().set_objects(this);
    last_heard_ = world_.clock.now();
    ++epoch_;
    connect();
    act_soon();
}

void SharerNode::forget_all() {
    for (auto& [op, pending] : std::exchange(pending_, {})) {
        if (pending.truth == nullptr) continue;
        pending.truth->lost_puts += pending.verb == ObjectVerb::Put;
        pending.truth->lost_gets += pending.verb == ObjectVerb::Get;
        pending.truth->lost_dones += pending.verb == ObjectVerb::Done;
    }
    for (auto& [id, truth] : world_.objects) {
        truth.owners.erase(owner_);
        std::erase_if(truth.item_of, [&](const auto& each) { return each.second == number_; });
    }
    queue_.clear();
    std::fill(std::begin(ids_), std::end(ids_), 0);
    word_ = nullptr;
    ++generation_;
    busy_ = 0;
    locking_ = false;
}

void SharerNode::crash() {
    if (session_ == nullptr || left_) return;
    world_.network.say("sharer " + std::to_string(number_) + " crashes");
    forget_all();
    session_.reset();
    ++life_;
    turn_due_ = dialing_ = false;
    armed_ = base::kNever;
    if (conn_ != 0) world_.network.cut(std::exchange(conn_, 0), false, true);
    world_.clock.after(world_.random.between(milliseconds{5}, milliseconds{500}),
                       [this] { start(); });
}

/// A new incarnation, or the first: everything is opened again.
void SharerNode::on_objects_lost() {
    forget_all();
    open(kLock);
    for (const Name name : {kPlain, kLeased, kSemaphore, kEvent, kBarrier, kDict, kNumber})
        open(name);
}

void SharerNode::open(Name name) {
    static const std::array<std::pair<const char*, wire::ObjectShape>, kNames> kShapes = {{
        {"plain", {.kind = ObjectKind::Queue, .capacity = 5}},
        {"leased", {.kind = ObjectKind::Queue, .capacity = 8}},
        {"lock", {.kind = ObjectKind::Lock}},
        {"permits", {.kind = ObjectKind::Semaphore, .capacity = kPermits, .initial = kPermits}},
        {"event", {.kind = ObjectKind::Event}},
        {"barrier", {.kind = ObjectKind::Barrier, .capacity = 2}},
        {"dict", {.kind = ObjectKind::Dict, .capacity = 10}},
        {"number", {.kind = ObjectKind::Array, .capacity = 1, .cell = wire::CellKind::I64}},
        {"condition", {.kind = ObjectKind::Condition}},
    }};
    wire::ObjectOp op;
    op.verb = ObjectVerb::Open;
    op.flags = wire::kOpCreate | (name == kLeased ? wire::kOpLeased : 0U);
    op.name = kShapes[name].first;
    op.shaped = true;
    op.shape = kShapes[name].second;
    op.shape.lock = ids_[kLock];
    ask(op, {}, {.what = op.name, .then = [this, name](const wire::ObjectReply& reply) {
                     if (!expect(reply, {Code::None}, "open")) return;
                     ids_[name] = reply.token;
                     if (name == kLock) {
                         word_ = world_.word_of(reply);
                         mark_ = static_cast<std::uint32_t>(reply.count);
                         open(kCondition);
                     }
                     if (name != kDict) return;
                     wire::ObjectOp watch = on(kDict, ObjectVerb::Watch);
                     watch.flags = wire::kOpAll;
                     watch_ =
                         ask(watch, {}, {.what = "watch", .then = [](const wire::ObjectReply&) {}});
                 }});
}

ObjectTruth& SharerNode::truth(Name name) {
    return world_.objects[ids_[name]];
}

wire::ObjectOp SharerNode::on(Name name, ObjectVerb verb) const {
    wire::ObjectOp op;
    op.verb = verb;
    op.object = ids_[name];
    return op;
}

std::uint64_t SharerNode::ask(wire::ObjectOp op, std::string value, Pending pending) {
    op.op = ++last_op_;
    pending.verb = op.verb;
    pending.epoch = epoch_;
    pending_[op.op] = std::move(pending);
    queue_.emplace_back(std::move(op), std::move(value));
    turn_soon();
    return last_op_;
}

const wire::ObjectOp* SharerNode::peek_operation() {
    if (queue_.empty()) return nullptr;
    auto& [op, value] = queue_.front();
    if (!value.empty() && op.items.empty())
        op.items.push_back({"k", {base::Body::of(base::bytes_of(value)), 0, value.size()}, {}});
    return &op;
}

void SharerNode::on_answer(const wire::ObjectReply& reply) {
    const auto found = pending_.find(reply.op);
    if (found == pending_.end())
        return violate("operation " + std::to_string(reply.op) + " was answered twice");
    const Pending pending = std::move(found->second);
    pending_.erase(found);
    ++answered_;
    // What was granted before a long silence may have been taken away since.
    if (pending.epoch != epoch_ && reply.token != 0 && pending.verb != ObjectVerb::Open) {
        if (pending.truth != nullptr) ++pending.truth->lost_gets;
        if (pending.verb == ObjectVerb::Acquire || pending.verb == ObjectVerb::Wait)
            unlock(reply.token, pending.epoch);
        return;
    }
    pending.then(reply);
}

void SharerNode::on_event(const wire::ObjectEvent& event) {
    if (event.watch != watch_) violate("an event of a watch that is not its own");
}

bool SharerNode::expect(const wire::ObjectReply& reply,
                        std::initializer_list<Code> codes,
                        const char* what) {
    for (const Code code : codes)
        if (reply.code == code) return true;
    violate(std::string{what} + " was answered " + std::string{wire::name_of(reply.code)} + " " +
            reply.text);
    return false;
}

void SharerNode::after(Duration delay, std::function<void()> act) {
    ++busy_;
    world_.clock.after(delay, [this, life = life_, generation = generation_, act = std::move(act)] {
        if (life != life_ || generation != generation_) return;
        --busy_;
        act();
    });
}

std::int64_t SharerNode::some_timeout() {
    const std::int64_t choices[] = {0, 1'000'000, 50'000'000, 400'000'000};
    return choices[world_.random.below(4)];
}

void SharerNode::act_soon() {
    if (world_.calm()) return;
    world_.clock.after(world_.random.between(microseconds{200}, milliseconds{20}),
                       [this, life = life_] {
                           if (life != life_ || world_.calm()) return;
                           act();
                           act_soon();
                       });
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

bool SharerNode::believes() const {
    return session_ != nullptr && world_.clock.now() - last_heard_ < kTrust;
}

void SharerNode::lock() {
    if (std::exchange(locking_, true)) return;
    if (word_ != nullptr && believes() && world_.random.chance(0.7)) {
        if (const auto hold = word_->take(mark_, 1)) {
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
    if (!std::exchange(told_, false) && word_ != nullptr && word_->give(mark_, token)) {
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

void SharerNode::on_client_state(session::ClientState state, Code code, std::string_view text) {
    if (state == session::ClientState::Lost || state == session::ClientState::Rejected)
        violate("it lost its broker: " + std::string{wire::name_of(code)} + " " +
                std::string{text});
}

/// Something came: after too long a silence nothing that it held is certain.
void SharerNode::heard() {
    const Time now = world_.clock.now();
    if (now - last_heard_ >= kTrust) {
        ++epoch_;
        for (auto& [id, truth] : world_.objects) {
            truth.owners.erase(owner_);
            std::erase_if(truth.item_of, [&](const auto& each) { return each.second == number_; });
        }
    }
    last_heard_ = now;
}

void SharerNode::connect() {
    if (conn_ != 0 || session_ == nullptr) return;
    const std::uint64_t life = life_;
    End end;
    end.on_message = [this, life](std::uint64_t conn, base::Message message) {
        if (life != life_ || conn != conn_) return;
        heard();
        session::ClientOut out;
        session_->on_message(conn, message, world_.clock.now(), out);
        send(out);
        turn_soon();
    };
    end.on_disconnected = [this, life](std::uint64_t conn) {
        if (life != life_ || conn != conn_) return;
        conn_ = 0;
        session::ClientOut out;
        session_->on_disconnected(conn, world_.clock.now(), out);
        if (!left_) connect();
    };
    conn_ = world_.broker().accept(std::move(end));
    if (conn_ == 0) {
        if (std::exchange(dialing_, true)) return;
        world_.clock.after(world_.random.between(milliseconds{10}, milliseconds{100}),
                           [this, life] {
                               if (life != life_) return;
                               dialing_ = false;
                               connect();
                           });
        return;
    }
    session::ClientOut out;
    session_->on_connected(conn_, world_.clock.now(), out);
    send(out);
    turn_soon();
}

void SharerNode::send(session::ClientOut& out) {
    for (session::ClientOut::Item& item : out.items) {
        if (!item.message.control.empty()) world_.network.send(item.conn, true, item.message);
        if (item.disconnect && item.conn == conn_) world_.network.cut(conn_, true, true);
    }
}

void SharerNode::turn_soon() {
    if (std::exchange(turn_due_, true)) return;
    world_.clock.after(world_.random.between(microseconds{0}, microseconds{200}),
                       [this, life = life_] {
                           if (life == life_) turn();
                       });
}

void SharerNode::turn() {
    turn_due_ = false;
    session::ClientOut out;
    if (session_->next_timer() <= world_.clock.now()) session_->tick(world_.clock.now(), out);
    session_->pump(world_.clock.now(), out);
    send(out);
    arm();
}

void SharerNode::arm() {
    const Time next = session_->next_timer();
    if (next == base::kNever || (armed_ <= next && armed_ > world_.clock.now())) return;
    armed_ = std::max(next, world_.clock.now() + microseconds{50});
    world_.clock.at(armed_, [this, life = life_, at = armed_] {
        if (life != life_ || armed_ != at) return;
        armed_ = base::kNever;
        turn();
    });
}

/// Its session ends in order, and its handles with it.
void SharerNode::leave() {
    if (std::exchange(left_, true) || session_ == nullptr) return;
    session::ClientOut out;
    session_->close("done", world_.clock.now(), out);
    send(out);
    turn_soon();
}

std::string SharerNode::pending_text() const {
    std::string text = "sharer " + std::to_string(number_) + ":";
    for (const auto& [op, pending] : pending_)
        text += " " + std::to_string(op) + " " + pending.what;
    if (busy_ != 0) text += " busy " + std::to_string(busy_);
    return text;
}

}  // namespace sim
