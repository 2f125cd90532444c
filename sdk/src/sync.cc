// SPDX-License-Identifier: Apache-2.0
// Semaphores, conditions, events, barriers and namespaces: thin doors to operations.
#include "forkmill/sync.h"

#include <string>
#include <utility>

#include "forkmill/detail/object_pages.h"
#include "forkmill/namespace.h"
#include "sdk/src/client.h"
#include "sdk/src/client_log.h"
#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {

using detail::Verb;

namespace {

Operation<void> operation(const detail::SharedPtr& object, detail::Request request) {
    return {detail::ask(object, std::move(request)), &detail::finish_done};
}
Operation<bool> in_time(const detail::SharedPtr& object, detail::Request request) {
    return {detail::ask(object, std::move(request)), &detail::finish_in_time};
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

Operation<void> Semaphore::acquire_async() {
    return operation(shared_, {.verb = Verb::Acquire});
}
Operation<bool> Semaphore::try_acquire_async(Duration timeout) {
    return in_time(shared_, {.verb = Verb::Acquire, .timeout = timeout});
}
Operation<void> Semaphore::release_async(std::size_t permits) {
    if (permits == 0) return {detail::nothing_to_ask(shared_), &detail::finish_done};
    return operation(shared_, {.verb = Verb::Release, .count = permits});
}

namespace {

/// Whoever opens the condition's name must find its lock, too; the condition keeps it.
ObjectOptions own_lock(const ObjectOptions& options) {
    if (options.name.empty()) return {};
    return {.name = options.name + ".lock", .create = options.create};
}

}  // namespace

Condition::Condition(Pool& pool, const ObjectOptions& options)
    : Condition(pool, RLock{pool, own_lock(options)}, options) {}
Condition::Condition(Pool& pool, const BasicLock& lock, const ObjectOptions& options)
    : Object(
          open(pool,
               options,
               {.kind = detail::ObjectKind::Condition, .type = "condition", .lock = lock.shared_})),
      lock_(lock) {}

detail::AskPtr Condition::ask_wait(Duration timeout) {
    const detail::SharedPtr& lock = lock_.shared_;
    const std::optional<detail::Grant> grant = detail::grant_of(lock);
    if (!grant) throw NotOwner{"wait: the condition's lock is not held here"};
    detail::tell_of_grant(lock, grant->holder, true);
    try {
        return detail::ask_under_lock(
            shared_,
            {.verb = Verb::Wait, .timeout = timeout, .token = grant->token},
            lock,
            grant->holder);
    } catch (...) {
        const std::lock_guard guard{lock->mutex};
        if (const auto own = lock->find_waiting(grant->holder); own != lock->grants.end())
            own->waiting = false;
        throw;
    }
}
Operation<void> Condition::wait_async() {
    return {ask_wait(forever), &detail::finish_done};
}
Operation<bool> Condition::wait_for_async(Duration timeout) {
    return {ask_wait(timeout), &detail::finish_in_time};
}
Operation<std::size_t> Condition::notify_async(std::size_t count) {
    return {count == 0 ? detail::nothing_to_ask(shared_) : ask_wake(count, 0),
            &detail::finish_count};
}
Operation<std::size_t> Condition::notify_all_async() {
    return {ask_wake(0, detail::kAll), &detail::finish_count};
}
detail::AskPtr Condition::ask_wake(std::uint64_t count, std::uint32_t flags) {
    const std::optional<detail::Grant> grant = detail::grant_of(lock_.shared_);
    if (!grant) throw NotOwner{"notify: the condition's lock is not held here"};
    detail::tell_of_grant(lock_.shared_, grant->holder, false);
    return detail::ask_under_lock(
        shared_,
        {.verb = Verb::Notify, .flags = flags, .token = grant->token, .count = count},
        nullptr,
        grant->holder);
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
Operation<void> Event::set_async() {
    return operation(shared_, {.verb = Verb::Notify});
}
Operation<void> Event::clear_async() {
    return operation(shared_, {.verb = Verb::Reset});
}
Operation<bool> Event::is_set_async() const {
    return {detail::ask(shared_, {.verb = Verb::Info}), &detail::finish_flag};
}
Operation<void> Event::wait_async() {
    return operation(shared_, {.verb = Verb::Wait});
}
Operation<bool> Event::wait_for_async(Duration timeout) {
    return in_time(shared_, {.verb = Verb::Wait, .timeout = timeout});
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
Operation<void> Barrier::reset_async() {
    return operation(shared_, {.verb = Verb::Reset});
}
Operation<void> Barrier::abort_async() {
    return operation(shared_, {.verb = Verb::Abort});
}
Operation<bool> Barrier::broken_async() const {
    return {detail::ask(shared_, {.verb = Verb::Info}), &detail::finish_flag};
}
Operation<std::size_t> Barrier::parties_async() const {
    return {detail::ask(shared_, {.verb = Verb::Info}), [](detail::Ask& ask) {
                detail::finish_done(ask);
                return static_cast<std::size_t>(ask.answer.token);
            }};
}

namespace {

detail::Request of_name(Verb verb, std::string_view name, std::uint32_t flags) {
    detail::Request request{.verb = verb, .flags = flags};
    request.items.push_back({.key = detail::pack_key(std::string{name})});
    return request;
}

}  // namespace

Operation<bool> Namespace::contains_async(std::string_view name) const {
    return {detail::ask(shared_, of_name(Verb::Read, name, detail::kKeysOnly)),
            &detail::finish_there};
}
Operation<bool> Namespace::erase_async(std::string_view name) {
    return {detail::ask(shared_, of_name(Verb::Erase, name, 0)), &detail::finish_there};
}
Operation<std::vector<std::string>> Namespace::names_async() const {
    return {detail::ask_keys(shared_), [](detail::Ask& ask) {
                std::vector<std::string> all;
                detail::take_keys(ask, [&](const detail::ItemView& item) {
                    all.push_back(detail::unpack<std::string>(item.key));
                });
                return all;
            }};
}
detail::AskPtr Namespace::write(std::string_view name, detail::Item item) {
    item.key = detail::pack_key(std::string{name});
    detail::Request request{.verb = Verb::Write};
    request.items.push_back(std::move(item));
    return detail::ask(shared_, std::move(request));
}
detail::AskPtr Namespace::read(std::string_view name) const {
    return detail::ask(shared_, of_name(Verb::Read, name, 0));
}
Unpacker Namespace::value_of(detail::Ask& ask, const std::string& signature) {
    detail::finish_done(ask);
    if (ask.answer.items.empty()) throw ProtocolError{"an answer without its item"};
    Unpacker unpacker{ask.answer.items.front().body};
    unpacker.array();
    const std::string_view is = unpacker.text();
    if (is == signature) return unpacker;
    const auto name = detail::unpack<std::string>(detail::sent_item(ask).key);
    throw TypeMismatch{"attribute \"" + name + "\" is " + std::string{is} + ", and was read as " +
                       signature};
}

}  // namespace v0
}  // namespace forkmill
