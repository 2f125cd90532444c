// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/object_shared.h"

#include <algorithm>
#include <utility>

#include "core/base/spin.h"
#include "forkmill/detail/nested.h"
#include "forkmill/errors.h"
#include "sdk/src/client.h"
#include "sdk/src/object_port.h"
#include "sdk/src/pending_futex.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

std::uint64_t number_of_this_thread() {
    static std::atomic<std::uint64_t> newest{0};
    thread_local const std::uint64_t number = newest.fetch_add(1) + 1;
    return number;
}

}  // namespace

Holder current_holder(const Client& client) {
    const TaskScope* scope = client.nested() ? task_scope() : nullptr;
    if (scope != nullptr) return {scope->lease(), true};
    return {number_of_this_thread(), false};
}

void Shared::Identity::find_word(const Client& of, std::uint64_t place) {
    constexpr std::uint64_t kIndex = (1ULL << base::kLockWordBits) - 1;
    const std::uint64_t number = place >> 32;
    const std::uint64_t index = (number & kIndex) - 1;
    const bool known = kind == wire::ObjectKind::Lock && index < of.lock_words().size();
    word = known ? &of.lock_words()[index] : nullptr;
    use = known ? static_cast<std::uint32_t>(number >> base::kLockWordBits) : 0;
    mark = known ? static_cast<std::uint32_t>(place) : 0;
}

Shared::Shared(ClientPtr of, const Identity& what) : client(std::move(of)), identity(what) {}

Shared::~Shared() {
    if (!client->forked()) client->objects().closing(*this);
}

std::vector<Grant>::iterator Shared::find(const Holder& holder, bool any) {
    const auto own = std::find_if(grants.begin(), grants.end(), [&](const Grant& grant) {
        return grant.holder == holder && !grant.waiting;
    });
    if (own != grants.end() || !any || holder.task) return own;
    return std::find_if(grants.begin(), grants.end(), [](const Grant& grant) {
        return !grant.holder.task && !grant.waiting;
    });
}

std::vector<Grant>::iterator Shared::find_waiting(const Holder& holder) {
    return std::find_if(grants.begin(), grants.end(), [&](const Grant& grant) {
        return grant.holder == holder && grant.waiting;
    });
}

wire::ObjectOp release_of(std::uint64_t object, const Holder& holder, std::uint64_t token) {
    wire::ObjectOp op;
    op.verb = wire::ObjectVerb::Release;
    op.object = object;
    op.flags = holder.task ? wire::kOpTask : 0U;
    op.owner = holder.number;
    op.token = token;
    return op;
}

Ask::~Ask() {
    if (client && !client->forked() && !adopted.empty()) client->objects().give_back(adopted);
}

bool Ask::wait(base::Time until) {
    if (base::spin_before(until, [this] { return is_settled(); })) return true;
    for (;;) {
        std::uint32_t now = word.load(std::memory_order_acquire);
        if ((now & kDone) != 0) return true;
        if ((now & kSleepers) == 0) {
            if (!word.compare_exchange_weak(now, now | kSleepers, std::memory_order_acq_rel))
                continue;
            now |= kSleepers;
        }
        if (futex_wait(word, now, until) != FutexResult::Changed) return is_settled();
    }
}

void throw_object(wire::Code code, const std::string& said, wire::ObjectVerb verb) {
    const std::string text = std::string{wire::name_of(verb)} + ": " +
                             (said.empty() ? std::string{wire::name_of(code)} : said);
    using wire::Code;
    using wire::ObjectVerb;
    switch (code) {
        case Code::ObjectLost:
            throw ObjectLost{text};
        case Code::ObjectClosed:
            throw ObjectClosed{text};
        case Code::TypeMismatch:
            throw TypeMismatch{text};
        case Code::NotFound:
            throw NotFound{text};
        case Code::Conflict:
            throw Conflict{text};
        case Code::QueueFull:
            throw QueueFull{text};
        case Code::QueueEmpty:
            throw QueueEmpty{text};
        case Code::WaitTimeout:
            throw TimeoutError{text, Ran::no};
        case Code::LockLost:
            throw LockLost{text};
        case Code::NotOwner:
            throw NotOwner{text};
        case Code::BrokenBarrier:
            throw BrokenBarrier{text};
        case Code::ObjectLimit:
            throw Busy{text, Ran::no, true};
        case Code::InvalidName:
            throw UsageError{text};
        case Code::InvalidRange:
            if (verb == ObjectVerb::Read || verb == ObjectVerb::Write || verb == ObjectVerb::Swap ||
                verb == ObjectVerb::Add || verb == ObjectVerb::Watch)
                throw OutOfRange{text};
            throw UsageError{text};
        default:
            throw_code(code, text, wire::info_of(code).ran);
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
