// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/object_port.h"

#include <algorithm>
#include <utility>

#include "forkmill/errors.h"
#include "sdk/src/client.h"
#include "sdk/src/pending_futex.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

using wire::Code;
using wire::ObjectVerb;

namespace {

bool waits(ObjectVerb verb) {
    switch (verb) {
        case ObjectVerb::Put:
        case ObjectVerb::Get:
        case ObjectVerb::Join:
        case ObjectVerb::Acquire:
        case ObjectVerb::Wait:
            return true;
        default:
            return false;
    }
}

Told told_of(Code code) {
    switch (code) {
        case Code::None:
            return Told::Done;
        case Code::WaitTimeout:
        case Code::QueueFull:
        case Code::QueueEmpty:
            return Told::TimedOut;
        case Code::ValueChanged:
            return Told::Changed;
        case Code::NotFound:
            return Told::Absent;
        case Code::ResultTooBig:
            return Told::TooBig;
        default:
            return Told::Refused;
    }
}

std::uint64_t size_of(const wire::ObjectOp& op) {
    std::uint64_t bytes = 0;
    for (const wire::ObjectItem& item : op.items) bytes += item.key.size() + item.body.size;
    return bytes;
}

constexpr std::string_view kLostText =
    "the broker that had this object was replaced; the outcome is unknown";

bool has_kept(Shared& queue) {
    const std::lock_guard lock{queue.mutex};
    return !queue.stash.empty();
}

/// Whoever dropped the operation is not called: a coroutine's frame may be gone.
Job call_of(const AskPtr& ask, std::function<void()> call) {
    Job job;
    job.call = [ask, call = std::move(call)] {
        if (!ask->abandoned.load(std::memory_order_acquire)) call();
    };
    return job;
}

}  // namespace

base::Blob whole_of(const base::Body& body) {
    if (!body.chunks) return body.blob.empty() ? base::Blob::copy(body.view) : body.blob;
    base::Blob all = base::Blob::allocate(body.size());
    std::size_t at = 0;
    for (const base::Blob& chunk : *body.chunks) {
        std::copy_n(chunk.data(), chunk.size(), all.mutable_data() + at);
        at += chunk.size();
    }
    return all;
}

ObjectPort::ObjectPort(JobQueue& jobs, std::function<void()> wake)
    : jobs_(jobs), wake_(std::move(wake)) {}
ObjectPort::~ObjectPort() = default;

void ObjectPort::wake() {
    if (!queued_.exchange(true, std::memory_order_acq_rel)) wake_();
}

void ObjectPort::push_locked(AskPtr ask) {
    ask->op.op = next_op_++;
    queued_bytes_ += size_of(ask->op);
    queue_.push_back(std::move(ask));
}

void ObjectPort::ask(const AskPtr& ask) {
    {
        const std::lock_guard lock{mutex_};
        if (end_code_ != Code::None) throw_code(end_code_, end_text_, wire::Ran::No);
        if (queue_.size() >= kQueuedMax || queued_bytes_ >= kQueuedBytesMax)
            throw_code(Code::Busy, "too many operations on objects are under way", wire::Ran::No);
        push_locked(ask);
        // An item may have come to be kept since the caller looked.
        if (ask->op.verb == ObjectVerb::Get && has_kept(*ask->object))
            call_back_getter_locked(*ask->object);
    }
    wake();
}

void ObjectPort::tell_locked(wire::ObjectOp op) {
    if (end_code_ != Code::None) return;
    auto told = std::make_shared<Ask>();
    told->op = std::move(op);
    push_locked(std::move(told));
}

void ObjectPort::tell(wire::ObjectOp op) noexcept {
    {
        const std::lock_guard lock{mutex_};
        tell_locked(std::move(op));
    }
    wake();
}

const wire::ObjectOp* ObjectPort::peek_operation() {
    if (!queued_.load(std::memory_order_acquire)) return nullptr;
    std::vector<AskPtr> gone;  // What ends with them must not find the lock taken.
    const std::lock_guard lock{mutex_};
    if (peeked_) return &peeked_->op;
    while (!queue_.empty() && queue_.front()->settled) {
        queued_bytes_ -= size_of(queue_.front()->op);
        gone.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }
    if (queue_.empty()) {
        queued_.store(false, std::memory_order_release);
        return nullptr;
    }
    if (unanswered_.size() >= kUnansweredMax) return nullptr;
    peeked_ = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= size_of(peeked_->op);
    return &peeked_->op;
}

void ObjectPort::pop_operation() {
    const std::lock_guard lock{mutex_};
    if (!peeked_) return;
    peeked_->popped = base::monotonic_now();
    peeked_->epoch = epoch();
    peeked_->silence = silence();
    const std::uint64_t number = peeked_->op.op;
    unanswered_.emplace(number, std::move(peeked_));
    peeked_.reset();
}

void ObjectPort::settle_locked(const AskPtr& ask, Code code, std::string text, Due& due) {
    if (std::exchange(ask->settled, true)) return;
    ask->code = code;
    ask->text = std::move(text);
    ask->answer.told = told_of(code);
    const SharedPtr object = ask->object;
    end_wait_locked(*ask, due);
    if (ask->abandoned) return_locked(ask, due);
    if (ask->op.verb == ObjectVerb::Get || ask->op.verb == ObjectVerb::Peek)
        tell_readiness_locked(ask, object, due);
    for (std::function<void()>& call : ask->thens)
        due.jobs.push_back(call_of(ask, std::move(call)));
    ask->thens.clear();
    due.settled.push_back(ask);
}

void ObjectPort::publish(Due& due) {
    for (const AskPtr& ask : due.settled) {
        const std::uint32_t before = ask->word.fetch_or(Ask::kDone, std::memory_order_acq_rel);
        if ((before & Ask::kSleepers) != 0) futex_wake_all(ask->word);
    }
    if (!due.jobs.empty()) jobs_.post(due.jobs);
}

void ObjectPort::gather(Ask& ask, const wire::ObjectReply& reply) {
    for (const wire::ObjectItem& item : reply.items) {
        ask.bodies.push_back(whole_of(item.body.body));
        ask.keys.push_back(item.key);
        ask.answer.items.push_back({base::bytes_of(ask.keys.back()), ask.bodies.back().view()});
        ask.adopted.insert(ask.adopted.end(), item.refs.begin(), item.refs.end());
    }
    ask.answer.value = reply.value;
    ask.answer.count = reply.count;
    ask.answer.token = reply.token;
    ask.answer.version = reply.version;
    ask.answer.flags = reply.flags;
}

void ObjectPort::on_answer(const wire::ObjectReply& reply) {
    Due due;
    base::Time popped;
    bool more = false;
    {
        const std::lock_guard lock{mutex_};
        const auto known = unanswered_.find(reply.op);
        if (known == unanswered_.end()) return;  // Ended meanwhile.
        const AskPtr ask = known->second;
        if (ask->settled) {
            due.settled.push_back(ask);
            unanswered_.erase(known);
            return;
        }
        gather(*ask, reply);
        if ((reply.flags & wire::kReplyMore) != 0) return;
        unanswered_.erase(known);
        popped = ask->popped;
        if (!refuse_late_locked(ask, reply, due) && !answer_by_kept_locked(ask, reply.code, due)) {
            if (!ask->abandoned || ask->lock) grant_locked(ask, reply);
            settle_locked(ask, reply.code, reply.text, due);
        }
        if (ask->lock && ask->op.verb == ObjectVerb::Wait && reply.token == 0)
            tell_if_given_locked(*ask);
        more = !queue_.empty();  // Something that is given back, perhaps.
    }
    publish(due);
    if (more) wake();
    if (heard_ns_.load(std::memory_order_relaxed) != INT64_MAX) on_heard(popped);
}

/// A lock that was asked for before the broker was silent for long: it may have been taken away
/// again before we heard of it.
bool ObjectPort::refuse_late_locked(const AskPtr& ask, const wire::ObjectReply& reply, Due& due) {
    if (ask->silence == silence() || reply.token == 0) return false;
    const bool again = ask->lock && ask->op.verb == ObjectVerb::Wait;
    const bool acquired = ask->op.verb == ObjectVerb::Acquire && reply.code == Code::None &&
                          ask->object && ask->object->identity.kind == wire::ObjectKind::Lock;
    if (!again && !acquired) return false;
    const SharedPtr& lock = again ? ask->lock : ask->object;
    const Holder holder{ask->op.owner, ask->op.has(wire::kOpTask)};
    tell_locked(release_of(lock->identity.id, holder, reply.token));
    settle_locked(ask, Code::LockLost, "it was granted while the broker was out of reach", due);
    return true;
}

/// A condition's wait that has the lock no more than before: it was never given away, or is lost.
void ObjectPort::end_wait_locked(Ask& ask, Due& due) {
    if (!ask.lock || ask.op.verb != ObjectVerb::Wait || ask.answer.token != 0) return;
    due.kept.push_back(ask.lock);
    const std::lock_guard lock{ask.lock->mutex};
    const auto own = ask.lock->find_waiting({ask.op.owner, ask.op.has(wire::kOpTask)});
    if (own == ask.lock->grants.end()) return;
    if (ask.code == Code::ObjectLimit || ask.code == Code::TaskCancelled)
        own->waiting = false;
    else
        ask.lock->grants.erase(own);
}

/// The broker refused the wait, or its condition ended: whether it has the lock still is not known.
void ObjectPort::tell_if_given_locked(const Ask& ask) {
    if (ask.code == Code::ObjectLimit || ask.code == Code::TaskCancelled) return;
    const Holder holder{ask.op.owner, ask.op.has(wire::kOpTask)};
    tell_locked(release_of(ask.lock->identity.id, holder, ask.op.token));
}

/// What the broker says that we own now.
void ObjectPort::grant_locked(const AskPtr& ask, const wire::ObjectReply& reply) {
    const bool lock_again = ask->lock && ask->op.verb == ObjectVerb::Wait && reply.token != 0;
    Shared* object = lock_again ? ask->lock.get() : ask->object.get();
    if (object == nullptr || reply.token == 0) return;
    const bool acquired = ask->op.verb == ObjectVerb::Acquire && reply.code == Code::None &&
                          object->identity.kind == wire::ObjectKind::Lock;
    const bool lent = ask->op.verb == ObjectVerb::Get && reply.code == Code::None;
    if (!lock_again && !acquired && !lent) return;
    Grant grant;
    grant.holder = {ask->op.owner, ask->op.has(wire::kOpTask)};
    grant.token = reply.token;
    grant.depth = lent || reply.value < 1 ? 1 : static_cast<std::uint64_t>(reply.value);
    grant.silence = silence();
    grant.owner_died = (reply.flags & wire::kReplyOwnerDied) != 0;
    const std::lock_guard lock{object->mutex};
    std::uint64_t kept = 0;
    if (lent) {
        object->tokens.store(true, std::memory_order_relaxed);
    } else if (const auto old = lock_again ? object->find_waiting(grant.holder)
                                           : object->find(grant.holder, false);
               old != object->grants.end()) {
        kept = old->depth;
        grant.owner_died = grant.owner_died || (old->owner_died && old->token == grant.token);
        grant.again = old->again;
        object->grants.erase(old);
    }
    // Whoever dropped a condition's wait may have let go of the lock since, which then was not his:
    // now that it is, nobody else would.
    for (; ask->abandoned && lock_again && grant.depth > kept; --grant.depth)
        tell_locked(release_of(object->identity.id, grant.holder, grant.token));
    if (grant.depth > 0) object->grants.push_back(grant);
}

/// Nobody takes what it brought.
void ObjectPort::return_locked(const AskPtr& ask, Due& due) {
    const Holder holder{ask->op.owner, ask->op.has(wire::kOpTask)};
    const bool done = ask->code == Code::None;
    if (!done) return;
    wire::ObjectOp op;
    op.object = ask->op.object;
    switch (ask->op.verb) {
        case ObjectVerb::Open:
            op.verb = ObjectVerb::Close;
            op.object = ask->answer.token;
            op.flags = ask->op.flags & (wire::kOpReader | wire::kOpWriter);
            return tell_locked(std::move(op));
        case ObjectVerb::Get: {
            // Lent to a task, it returns to the queue with that; kept here it would be there twice.
            if (holder.task && ask->answer.token != 0) return;
            return keep_locked(ask, due);
        }
        case ObjectVerb::Acquire:
            op = release_of(ask->op.object, holder, 0);
            if (ask->object->identity.kind == wire::ObjectKind::Lock)
                op.token = ask->answer.token;
            else
                op.count = ask->op.count;
            return tell_locked(std::move(op));
        case ObjectVerb::Wait:
            if ((ask->answer.flags & wire::kReplyAct) == 0) return;
            op.verb = ObjectVerb::Abort;
            return tell_locked(std::move(op));
        default:
            return;
    }
}

void ObjectPort::interrupt(Ask& ask) noexcept {
    Due due;
    bool told = false;
    {
        const std::lock_guard lock{mutex_};
        if (ask.settled || !waits(ask.op.verb)) return;
        ask.interrupted = true;
        const auto known = unanswered_.find(ask.op.op);
        if (known != unanswered_.end() || (peeked_ && peeked_.get() == &ask)) {
            wire::ObjectOp op;
            op.verb = ObjectVerb::Interrupt;
            op.token = ask.op.op;
            tell_locked(std::move(op));
            told = true;
        } else {
            const auto unsent = std::find_if(
                queue_.begin(), queue_.end(), [&](const AskPtr& one) { return one.get() == &ask; });
            if (unsent != queue_.end())
                settle_locked(*unsent, Code::TaskCancelled, "interrupted before it was sent", due);
        }
    }
    publish(due);
    if (told) wake();
}

void ObjectPort::abandon(Ask& ask) noexcept {
    Due due;
    std::vector<std::function<void()>> calls;  // What ends with them must not find the lock taken.
    {
        const std::lock_guard lock{mutex_};
        if (ask.abandoned.exchange(true, std::memory_order_acq_rel)) return;
        calls.swap(ask.thens);
        if (ask.settled) {
            if (const AskPtr self = ask.weak_from_this().lock()) {
                // Granted already: its owner lets go of it again.
                const bool a_lock = ask.op.verb == ObjectVerb::Acquire &&
                                    ask.object->identity.kind == wire::ObjectKind::Lock;
                if (ask.answer.token != 0 && (a_lock || ask.op.verb == ObjectVerb::Get)) {
                    const std::lock_guard inner{ask.object->mutex};
                    std::erase_if(ask.object->grants, [&](Grant& grant) {
                        return grant.token == ask.answer.token && --grant.depth == 0;
                    });
                }
                return_locked(self, due);
            }
        }
    }
    interrupt(ask);
    wake();
}

void ObjectPort::then(const AskPtr& ask, std::function<void()> call) {
    std::vector<Job> due;
    {
        const std::lock_guard lock{mutex_};
        if (!ask->settled) {
            ask->thens.push_back(std::move(call));
            return;
        }
        due.push_back(call_of(ask, std::move(call)));
    }
    jobs_.post(due);
}

void ObjectPort::on_objects_lost() {
    Due due;
    std::unordered_map<std::uint64_t, AskPtr> unanswered;  // What ends with them, likewise.
    {
        const std::lock_guard lock{mutex_};
        unanswered.swap(unanswered_);
        epoch_.fetch_add(1, std::memory_order_acq_rel);
        objects_.clear();
        for (const auto& [number, ask] : unanswered)
            settle_locked(ask, Code::ObjectLost, std::string{kLostText}, due);
        const auto dead = [](const AskPtr& ask) {
            return ask->settled || ask->op.verb != ObjectVerb::Open || ask->op.object != 0;
        };
        for (const AskPtr& ask : queue_)
            if (dead(ask)) settle_locked(ask, Code::ObjectLost, std::string{kLostText}, due);
        if (peeked_ && dead(peeked_)) {
            settle_locked(peeked_, Code::ObjectLost, std::string{kLostText}, due);
            peeked_.reset();
        }
        end_watches_locked(due);
    }
    publish(due);
}

void ObjectPort::end(Code code, std::string_view text) {
    Due due;
    std::deque<AskPtr> queue;
    std::unordered_map<std::uint64_t, AskPtr> unanswered;
    {
        const std::lock_guard lock{mutex_};
        end_code_ = code;
        end_text_ = text;
        epoch_.fetch_add(1, std::memory_order_acq_rel);
        objects_.clear();
        queue.swap(queue_);
        unanswered.swap(unanswered_);
        queued_bytes_ = 0;
        // What is peeked stays where it is: the I/O thread may be looking at it.
        if (peeked_) settle_locked(peeked_, code, end_text_, due);
        for (const AskPtr& ask : queue) settle_locked(ask, code, end_text_, due);
        for (const auto& [number, ask] : unanswered) settle_locked(ask, code, end_text_, due);
        end_watches_locked(due);
    }
    publish(due);
}

void ObjectPort::revive() {
    const std::lock_guard lock{mutex_};
    end_code_ = Code::None;
    end_text_.clear();
}

SharedPtr ObjectPort::adopt(const ClientPtr& client, const Shared::Identity& identity, bool owed) {
    SharedPtr object;
    {
        const std::lock_guard lock{mutex_};
        std::weak_ptr<Shared>& place = objects_[{identity.id, identity.role}];
        object = place.lock();
        if (object && owed) {
            wire::ObjectOp op;
            op.verb = ObjectVerb::Close;
            op.object = identity.id;
            op.flags = identity.role;
            tell_locked(std::move(op));
        } else if (!object) {
            object = std::make_shared<Shared>(client, identity);
            place = object;
            open_.fetch_add(1, std::memory_order_relaxed);
        }
    }
    wake();
    return object;
}

SharedPtr ObjectPort::known(std::uint64_t id, std::uint32_t role) {
    const std::lock_guard lock{mutex_};
    const auto place = objects_.find({id, role});
    return place == objects_.end() ? nullptr : place->second.lock();
}

void ObjectPort::closing(const Shared& object) noexcept {
    {
        const std::lock_guard lock{mutex_};
        open_.fetch_sub(1, std::memory_order_relaxed);
        if (object.identity.epoch != epoch()) return;
        const auto place = objects_.find({object.identity.id, object.identity.role});
        if (place != objects_.end() && place->second.expired()) objects_.erase(place);
        wire::ObjectOp op;
        op.verb = ObjectVerb::Close;
        op.object = object.identity.id;
        op.flags = object.identity.role;
        tell_locked(std::move(op));
    }
    wake();
}

bool ObjectPort::take_adopted(Ask& ask, std::uint64_t id) {
    const std::lock_guard lock{mutex_};
    const auto owed = std::find(ask.adopted.begin(), ask.adopted.end(), id);
    if (owed == ask.adopted.end()) return false;
    ask.adopted.erase(owed);
    return true;
}

void ObjectPort::give_back(const std::vector<std::uint64_t>& handles) noexcept {
    {
        const std::lock_guard lock{mutex_};
        for (const std::uint64_t id : handles) {
            wire::ObjectOp op;
            op.verb = ObjectVerb::Close;
            op.object = id;
            tell_locked(std::move(op));
        }
    }
    wake();
}

void ObjectPort::check_alive(const Shared& object) const {
    if (object.identity.epoch == epoch()) return;
    const std::lock_guard lock{mutex_};
    if (end_code_ != Code::None) throw_code(end_code_, end_text_, wire::Ran::No);
    throw ObjectLost{"the broker that had this object was replaced, or gave our session up",
                     Ran::no};
}

void ObjectPort::begin_silence(base::Time now) {
    heard_ns_.store(now.time_since_epoch().count(), std::memory_order_release);
}

bool ObjectPort::holds(const Grant& grant) const {
    const bool silent = heard_ns_.load(std::memory_order_acquire) != INT64_MAX;
    return holds(grant, silent ? base::monotonic_now() : base::Time{});
}

bool ObjectPort::holds(const Grant& grant, base::Time now) const {
    if (grant.silence != silence()) return false;
    const std::int64_t heard = heard_ns_.load(std::memory_order_acquire);
    return heard == INT64_MAX || now.time_since_epoch().count() - heard < kHoldMax.count();
}

void ObjectPort::on_heard(base::Time sent) {
    const std::int64_t at = sent.time_since_epoch().count();
    const std::int64_t before = heard_ns_.load(std::memory_order_relaxed);
    if (before != INT64_MAX && at <= before) return;
    // Whoever asked meanwhile was told that it is lost, so it is, though the broker may not know.
    const bool silent = before != INT64_MAX && at - before >= kHoldMax.count();
    if (silent) silence_.fetch_add(1, std::memory_order_acq_rel);
    heard_ns_.store(at, std::memory_order_release);
    if (!silent) return;
    std::vector<SharedPtr> kept;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [place, weak] : objects_) {
            SharedPtr object = weak.lock();
            if (!object) continue;
            if (object->identity.kind == wire::ObjectKind::Lock) {
                const std::lock_guard inner{object->mutex};
                for (const Grant& grant : object->grants)
                    if (grant.silence != silence())
                        tell_locked(release_of(place.first, grant.holder, grant.token));
            }
            kept.push_back(std::move(object));
        }
    }
    wake();
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
