// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sharer_node.h"

#include <array>
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

constexpr Duration kTrust = seconds{8};

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
                         use_ = World::use_of(reply);
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

void SharerNode::act_soon() {
    if (world_.calm()) return;
    world_.clock.after(world_.random.between(microseconds{200}, milliseconds{20}),
                       [this, life = life_] {
                           if (life != life_ || world_.calm()) return;
                           act();
                           act_soon();
                       });
}

bool SharerNode::believes() const {
    return session_ != nullptr && world_.clock.now() - last_heard_ < kTrust;
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
