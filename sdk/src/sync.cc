// SPDX-License-Identifier: Apache-2.0
// Semaphores, conditions, events, barriers and namespaces: thin doors to operations.
#include "forkmill/sync.h"

#include <string>
#include <utility>

#include "forkmill/dict.h"
#include "sdk/src/client.h"
#include "sdk/src/client_log.h"
#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {

using detail::Verb;

namespace {

bool in_time(const detail::SharedPtr& object, detail::Request request) {
    return Operation<bool>{detail::ask(object, std::move(request)), &detail::finish_in_time}.get();
}

}  // namespace

namespace detail {

void pack_handle(Packer& packer, const SharedPtr& object) {
    packer.unsigned_integer(object_leaves(object));
}
SharedPtr unpack_handle(Unpacker& unpacker, ObjectKind kind, std::string_view type) {
    return object_arrived(unpacker.unsigned_integer(UINT64_MAX), kind, type, 0);
}

}  // namespace detail

Semaphore::Semaphore(Pool& pool, std::size_t value, std::size_t bound, const ObjectOptions& options)
    : Object(open(pool,
                  options,
                  {.kind = detail::ObjectKind::Semaphore,
                   .type = std::string{kType},
                   .capacity = bound,
                   .initial = value})) {}

bool Semaphore::try_acquire_for(Duration timeout) {
    return in_time(shared_, {.verb = Verb::Acquire, .timeout = timeout});
}
Operation<void> Semaphore::acquire_async() {
    return {detail::ask(shared_, {.verb = Verb::Acquire}), &detail::finish_done};
}
void Semaphore::release(std::size_t permits) {
    if (permits != 0) detail::perform(shared_, {.verb = Verb::Release, .count = permits});
}

Condition::Condition(Pool& pool, const ObjectOptions& options)
    : Condition(pool, RLock{pool}, options) {}
Condition::Condition(Pool& pool, const BasicLock& lock, const ObjectOptions& options)
    : Object(
          open(pool,
               options,
               {.kind = detail::ObjectKind::Condition, .type = "condition", .lock = lock.shared_})),
      lock_(lock) {}

detail::AskPtr Condition::ask_wait(Duration timeout) {
    const std::optional<detail::Grant> grant = detail::grant_of(lock_.shared_);
    if (!grant) throw NotOwner{"wait: the condition's lock is not held here"};
    detail::tell_of_grant(lock_.shared_, grant->holder);
    return detail::ask_under_lock(shared_,
                                  {.verb = Verb::Wait, .timeout = timeout, .token = grant->token},
                                  lock_.shared_,
                                  grant->holder);
}
bool Condition::wait_for(Duration timeout) {
    return Operation<bool>{ask_wait(timeout), &detail::finish_in_time}.get();
}
Operation<void> Condition::wait_async() {
    return {ask_wait(forever), &detail::finish_done};
}
std::size_t Condition::notify(std::size_t count) {
    return count == 0 ? 0 : wake(count, 0);
}
std::size_t Condition::notify_all() {
    return wake(0, detail::kAll);
}
std::size_t Condition::wake(std::uint64_t count, std::uint32_t flags) {
    const std::optional<detail::Grant> grant = detail::grant_of(lock_.shared_);
    if (!grant) throw NotOwner{"notify: the condition's lock is not held here"};
    detail::tell_of_grant(lock_.shared_, grant->holder);
    const detail::AskPtr ask = detail::ask_under_lock(
        shared_,
        {.verb = Verb::Notify, .flags = flags, .token = grant->token, .count = count},
        nullptr,
        grant->holder);
    detail::await_answer(ask);
    detail::finish_done(*ask);
    return static_cast<std::size_t>(detail::answer_of(*ask).value);
}
void Condition::pack(Packer& packer) const {
    packer.array(3);
    detail::pack_handle(packer, shared_);
    packer.boolean(lock_.shared_ && lock_.shared_->identity.reentrant);
    detail::pack_handle(packer, lock_.shared_);
}
void Condition::unpack(Unpacker& unpacker) {
    if (unpacker.array() != 3) throw PackError("expected a condition and its lock");
    shared_ = detail::unpack_handle(unpacker, detail::ObjectKind::Condition, "condition");
    lock_.unpack(unpacker, unpacker.boolean());
}

Event::Event(Pool& pool, const ObjectOptions& options)
    : Object(open(pool, options, {.kind = detail::ObjectKind::Event, .type = std::string{kType}})) {
}
void Event::set() {
    detail::perform(shared_, {.verb = Verb::Notify});
}
void Event::clear() {
    detail::perform(shared_, {.verb = Verb::Reset});
}
bool Event::is_set() const {
    const detail::AskPtr ask = detail::perform(shared_, {.verb = Verb::Info});
    return (detail::answer_of(*ask).flags & detail::kAnswerSet) != 0;
}
bool Event::wait_for(Duration timeout) {
    return in_time(shared_, {.verb = Verb::Wait, .timeout = timeout});
}
Operation<void> Event::wait_async() {
    return {detail::ask(shared_, {.verb = Verb::Wait}), &detail::finish_done};
}

Barrier::Barrier(Pool& pool,
                 std::size_t parties,
                 std::function<void()> action,
                 const ObjectOptions& options)
    : Object(open(pool,
                  options,
                  {.kind = detail::ObjectKind::Barrier,
                   .flags = action ? detail::kAction : 0U,
                   .type = std::string{kType},
                   .capacity = parties})) {
    if (action) on_pass(std::move(action));
}
void Barrier::on_pass(std::function<void()> action) {
    if (!shared_) throw UsageError{"this handle names no barrier: make one from a pool"};
    const std::lock_guard lock{shared_->mutex};
    shared_->action = std::move(action);
}

Operation<std::size_t> Barrier::wait_async(Duration timeout) {
    return {detail::ask(shared_, {.verb = Verb::Wait, .timeout = timeout}), [](detail::Ask& ask) {
                if (ask.code == wire::Code::WaitTimeout)
                    throw BrokenBarrier{"the barrier is broken: a party did not come in time"};
                detail::finish_done(ask);
                if ((ask.answer.flags & wire::kReplyAct) != 0) detail::act(ask);
                return static_cast<std::size_t>(ask.answer.value);
            }};
}
void Barrier::reset() {
    detail::perform(shared_, {.verb = Verb::Reset});
}
void Barrier::abort() {
    detail::perform(shared_, {.verb = Verb::Abort});
}
bool Barrier::broken() const {
    const detail::AskPtr ask = detail::perform(shared_, {.verb = Verb::Info});
    return (detail::answer_of(*ask).flags & detail::kAnswerSet) != 0;
}
std::size_t Barrier::parties() const {
    const detail::AskPtr ask = detail::perform(shared_, {.verb = Verb::Info});
    return static_cast<std::size_t>(detail::answer_of(*ask).token);
}

namespace {

detail::Request of_name(Verb verb, std::string_view name, std::uint32_t flags) {
    detail::Request request{.verb = verb, .flags = flags};
    request.items.push_back({.key = detail::pack_key(std::string{name})});
    return request;
}

bool is_there(const detail::SharedPtr& object, detail::Request request) {
    const detail::AskPtr ask = detail::ask(object, std::move(request));
    if (detail::await_answer(ask).told == detail::Told::Absent) return false;
    detail::finish_done(*ask);
    return true;
}

}  // namespace

bool Namespace::contains(std::string_view name) const {
    return is_there(shared_, of_name(Verb::Read, name, detail::kKeysOnly));
}
bool Namespace::erase(std::string_view name) {
    return is_there(shared_, of_name(Verb::Erase, name, 0));
}
std::vector<std::string> Namespace::names() const {
    std::vector<std::string> all;
    detail::read_keys(shared_, [&](const detail::ItemView& item) {
        all.push_back(detail::unpack<std::string>(item.key));
    });
    return all;
}
void Namespace::set_item(std::string_view name, detail::Item item) {
    item.key = detail::pack_key(std::string{name});
    detail::Request request{.verb = Verb::Write};
    request.items.push_back(std::move(item));
    detail::perform(shared_, std::move(request));
}
detail::AskPtr Namespace::read(std::string_view name) const {
    return detail::perform(shared_, of_name(Verb::Read, name, 0));
}
Unpacker Namespace::value_of(const detail::Answer& answer,
                             std::string_view name,
                             const std::string& signature) {
    if (answer.items.empty()) throw ProtocolError{"an answer without its item"};
    Unpacker unpacker{answer.items.front().body};
    unpacker.array();
    const std::string_view is = unpacker.text();
    if (is == signature) return unpacker;
    throw TypeMismatch{"attribute \"" + std::string{name} + "\" is " + std::string{is} +
                       ", and was read as " + signature};
}

}  // namespace v0
}  // namespace forkmill
