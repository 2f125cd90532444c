// SPDX-License-Identifier: Apache-2.0
// Lock and RLock: by a word in shared memory while nobody waits and the broker is this program's
// own, by the broker otherwise.
#include "forkmill/lock.h"

#include <optional>
#include <string>
#include <utility>

#include "core/base/lock_words.h"
#include "core/base/spin.h"
#include "forkmill/detail/nested.h"
#include "forkmill/sync.h"
#include "sdk/src/client.h"
#include "sdk/src/client_log.h"
#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {

namespace detail {

std::optional<Grant> grant_of(const SharedPtr& lock) {
    if (!lock) return std::nullopt;
    lock->client->check_fork();
    const Holder holder = current_holder(*lock->client);
    const bool any = !lock->identity.reentrant;
    const std::lock_guard guard{lock->mutex};
    const auto grant = lock->find(holder, any);
    if (grant == lock->grants.end()) return std::nullopt;
    return *grant;
}

void tell_of_grant(const SharedPtr& lock, const Holder& holder, bool waits) {
    const std::lock_guard guard{lock->mutex};
    const auto own = lock->find(holder, false);
    if (own == lock->grants.end()) return;
    own->told = true;
    own->waiting = waits;
}

namespace {

/// As the broker packs it, too.
std::uint64_t packed(const Holder& holder) {
    return holder.number | (holder.task ? 1ULL << 63 : 0);
}

bool holds(const Shared& lock, const Grant& grant) {
    const ObjectPort& port = lock.client->objects();
    return lock.identity.epoch == port.epoch() && port.holds(grant);
}

/// The caller has it already, and that is all right.
bool lock_again(Shared& lock) {
    if (!lock.identity.reentrant) return false;
    const Holder holder = current_holder(*lock.client);
    const std::lock_guard guard{lock.mutex};
    const auto grant = lock.find(holder, false);
    if (grant == lock.grants.end() || !holds(lock, *grant)) return false;
    ++grant->again;
    return true;
}

/// Before the CPU is given away: a few microseconds, many times what short locks are held.
constexpr int kLooks = 100;

/// Most locks are free, or held for less time than it takes to ask the broker.
bool take_word(Shared& lock, base::Duration patience) {
    const Shared::Identity& identity = lock.identity;
    ObjectPort& port = lock.client->objects();
    if (identity.word == nullptr || identity.epoch != port.epoch()) return false;
    const TaskScope* scope = task_scope();
    if (scope != nullptr && scope->stop.stop_requested()) return false;  // To throw Cancelled.
    const Holder holder = current_holder(*lock.client);
    Grant grant;
    grant.silence = port.silence();
    std::optional<base::LockWord::Hold> hold;
    const auto look = [&] {
        hold = identity.word->take(identity.use, identity.mark, packed(holder));
        return hold || identity.word->is_gripped();
    };
    bool looked = look();
    for (int i = 0; !looked && patience > base::Duration::zero() && i < kLooks; ++i) {
        base::relax();
        looked = look();
    }
    if (!looked) base::spin_until(look, patience);
    if (!hold) return false;
    grant.holder = holder;
    grant.token = hold->token;
    grant.owner_died = hold->died;
    // We may have stood still for so long that the broker gave us up: it may give it to another.
    if (!port.holds(grant)) {
        if (!identity.word->give(identity.use, identity.mark, grant.token))
            port.tell(release_of(identity.id, holder, grant.token));
        return false;
    }
    const std::lock_guard guard{lock.mutex};
    lock.grants.push_back(grant);
    return true;
}

bool lock_here(const SharedPtr& lock, base::Duration patience) {
    if (!lock) return false;
    lock->client->check_fork();
    return lock_again(*lock) || take_word(*lock, patience);
}

/// False: the broker has to know of it, or to judge it.
bool unlock_here(const SharedPtr& lock) {
    if (!lock) return false;
    lock->client->check_fork();
    const Shared::Identity& identity = lock->identity;
    const Holder holder = current_holder(*lock->client);
    const std::lock_guard guard{lock->mutex};
    auto grant = lock->find(holder, !identity.reentrant);
    if (grant == lock->grants.end()) {
        // A wait for a condition was dropped: what it brings back is surplus then.
        grant = lock->find_waiting(holder);
        if (grant == lock->grants.end()) return false;
        if (grant->again > 0)
            --grant->again;
        else if (--grant->depth == 0)
            lock->grants.erase(grant);
        return true;
    }
    if (grant->again > 0) {
        if (!holds(*lock, *grant)) return false;
        --grant->again;
        return true;
    }
    if (identity.word == nullptr || grant->told || grant->depth != 1) return false;
    if (!identity.word->give(identity.use, identity.mark, grant->token)) return false;
    lock->grants.erase(grant);
    return true;
}

/// The caller lets go of it once; throws when there is nothing to let go of.
wire::ObjectOp take_release(const SharedPtr& lock) {
    const std::optional<Grant> grant = grant_of(lock);
    if (!lock) throw UsageError{"this handle names no lock: make one from a pool"};
    if (!grant) throw NotOwner{"release: this lock is not held here"};
    wire::ObjectOp op = release_of(lock->identity.id, grant->holder, grant->token);
    const bool held = holds(*lock, *grant);
    {
        const std::lock_guard guard{lock->mutex};
        const auto own = lock->find(grant->holder, false);
        if (own != lock->grants.end() && (!held || --own->depth == 0)) lock->grants.erase(own);
    }
    if (held) return op;
    lock->client->objects().tell(std::move(op));  // The broker may not know yet.
    throw LockLost{"release: the broker was out of reach for so long that another may have had it"};
}

}  // namespace
}  // namespace detail

BasicLock::BasicLock(Pool& pool, const ObjectOptions& options, bool reentrant)
    : Object(open(pool,
                  options,
                  {.kind = detail::ObjectKind::Lock,
                   .flags = reentrant ? detail::kReentrant : 0U,
                   .type = reentrant ? "rlock" : "lock"})) {}

void BasicLock::lock() {
    if (!detail::lock_here(shared_, base::kSpin)) lock_async().get();
}

bool BasicLock::try_lock_for(Duration timeout) {
    return detail::lock_here(shared_, std::min(timeout, base::kSpin)) ||
           try_lock_async(timeout).get();
}

Operation<void> BasicLock::lock_async() {
    return {detail::ask(shared_, {.verb = detail::Verb::Acquire}), &detail::finish_done};
}
Operation<bool> BasicLock::try_lock_async(Duration timeout) {
    return {detail::ask(shared_, {.verb = detail::Verb::Acquire, .timeout = timeout}),
            &detail::finish_in_time};
}

void BasicLock::release() {
    if (!detail::unlock_here(shared_)) release_async().get();
}
Operation<void> BasicLock::release_async() {
    if (detail::unlock_here(shared_))
        return {detail::nothing_to_ask(shared_), &detail::finish_done};
    wire::ObjectOp op = detail::take_release(shared_);
    auto ask = std::make_shared<detail::Ask>();
    ask->client = shared_->client;
    ask->object = shared_;
    ask->op = op;
    try {
        shared_->client->objects().ask(ask);
    } catch (...) {
        shared_->client->objects().tell(std::move(op));  // There is no grant any more to try again.
        throw;
    }
    return {std::move(ask), &detail::finish_done};
}

void BasicLock::unlock() noexcept {
    try {
        if (detail::unlock_here(shared_)) return;
        shared_->client->objects().tell(detail::take_release(shared_));
    } catch (const std::exception& error) {
        detail::log_warning(std::string{"a lock was not released: "} + error.what());
    }
}

bool BasicLock::owns() const {
    const std::optional<detail::Grant> grant = detail::grant_of(shared_);
    return grant && detail::holds(*shared_, *grant);
}
std::uint64_t BasicLock::token() const {
    const std::optional<detail::Grant> grant = detail::grant_of(shared_);
    return grant ? grant->token : 0;
}
bool BasicLock::owner_died() const {
    const std::optional<detail::Grant> grant = detail::grant_of(shared_);
    return grant && grant->owner_died;
}

void BasicLock::pack(Packer& packer) const {
    detail::pack_handle(packer, shared_);
}
void BasicLock::unpack(Unpacker& unpacker, bool reentrant) {
    shared_ = detail::object_arrived(unpacker.unsigned_integer(UINT64_MAX),
                                     detail::ObjectKind::Lock,
                                     reentrant ? "rlock" : "lock",
                                     0);
}

}  // namespace v0
}  // namespace forkmill
