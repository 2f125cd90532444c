// SPDX-License-Identifier: Apache-2.0
// Items that came to this process when nobody took them any more: they wait in their queue's Shared
// for the next get here, or for one that is under way, which is called back from the broker.
#include <algorithm>
#include <utility>

#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

using wire::Code;
using wire::ObjectVerb;

/// `holder` is to be done with the item that was lent under `token`, and nobody else.
void ObjectPort::lend_locked(Shared& object, const Holder& holder, std::uint64_t token) {
    if (token == 0) return;
    object.tokens.store(true, std::memory_order_relaxed);
    const std::lock_guard lock{object.mutex};
    std::erase_if(object.grants, [&](const Grant& grant) { return grant.token == token; });
    Grant grant;
    grant.holder = holder;
    grant.token = token;
    grant.silence = silence();
    object.grants.push_back(grant);
}

void ObjectPort::keep_locked(const AskPtr& ask, Due& due) {
    // The stash must not keep the object that it belongs to; and it is another operation's from now
    // on, for jobs of the old one may still be due.
    due.kept.push_back(std::exchange(ask->object, nullptr));
    Shared& object = *due.kept.back();
    auto kept = std::make_shared<Ask>();
    kept->op.verb = ask->op.verb;
    kept->op.object = ask->op.object;
    kept->client = ask->client;
    kept->bodies = std::move(ask->bodies);
    kept->keys = std::move(ask->keys);
    kept->adopted = std::move(ask->adopted);
    kept->answer = std::move(ask->answer);
    kept->epoch = ask->epoch;
    kept->silence = ask->silence;
    kept->settled = true;
    kept->word.store(Ask::kDone, std::memory_order_release);
    ask->adopted.clear();
    {
        const std::lock_guard lock{object.mutex};
        object.stash.push_back(std::move(kept));
        object.show_readiness();  // There is something, whatever the broker would say.
    }
    call_back_getter_locked(object);
}

void ObjectPort::keep(const AskPtr& ask) noexcept {
    Due due;
    {
        const std::lock_guard lock{mutex_};
        if (ask->object) keep_locked(ask, due);
    }
    wake();
}

void ObjectPort::retake(const AskPtr& ask, const SharedPtr& object, const Holder& holder) {
    const std::lock_guard lock{mutex_};
    ask->object = object;
    lend_locked(*object, holder, ask->answer.token);
}

/// Whoever waits at the broker does not see what is kept here: the oldest get ends there, and its
/// answer finds the item.
void ObjectPort::call_back_getter_locked(const Shared& object) {
    AskPtr first;
    const auto look = [&](const AskPtr& ask) {
        if (ask && ask->object.get() == &object && ask->op.verb == ObjectVerb::Get &&
            !ask->settled && !ask->abandoned && !ask->called_back &&
            (!first || ask->op.op < first->op.op))
            first = ask;
    };
    for (const auto& [number, ask] : unanswered_) look(ask);
    look(peeked_);
    for (const AskPtr& ask : queue_) look(ask);
    if (!first) return;
    first->called_back = true;
    wire::ObjectOp op;
    op.verb = ObjectVerb::Interrupt;
    op.token = first->op.op;
    tell_locked(std::move(op));
}

/// True: the get that came back empty-handed is answered by an item that is kept here, or goes out
/// again, if it was called back for one that another has got meanwhile.
bool ObjectPort::answer_by_kept_locked(const AskPtr& ask, Code code, Due& due) {
    if (ask->op.verb != ObjectVerb::Get || !ask->object || ask->abandoned) return false;
    Shared& object = *ask->object;
    AskPtr kept;
    const bool empty_handed =
        code == Code::TaskCancelled || code == Code::QueueEmpty || code == Code::ObjectClosed;
    {
        const std::lock_guard lock{object.mutex};
        if (object.stash.empty()) {
            if (code != Code::TaskCancelled || !ask->called_back || ask->interrupted) return false;
        } else if (empty_handed) {
            kept = std::move(object.stash.front());
            object.stash.pop_front();
        }
    }
    if (kept) {
        ask->bodies = std::move(kept->bodies);
        ask->keys = std::move(kept->keys);
        ask->adopted = std::move(kept->adopted);
        ask->answer = std::move(kept->answer);
        lend_locked(object, {ask->op.owner, ask->op.has(wire::kOpTask)}, ask->answer.token);
        settle_locked(ask, Code::None, {}, due);
        return true;
    }
    if (!empty_handed) {
        // It got another item, and what it was called back for is kept still.
        if (ask->called_back) call_back_getter_locked(object);
        return false;
    }
    ask->called_back = false;
    push_locked(ask);
    return true;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
