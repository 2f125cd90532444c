// SPDX-License-Identifier: Apache-2.0
// Queues: items that came and were not taken, and what was got and is not done; contents in parts.
#include <algorithm>
#include <utility>

#include "forkmill/detail/object_pages.h"
#include "forkmill/errors.h"
#include "forkmill/object.h"
#include "sdk/src/client.h"
#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t kPageBytes = 4UL << 20;
constexpr std::size_t kPagesUnderWay = 16;
constexpr std::uint64_t kCellsAtOnce = 256;

AskPtr from_stash(const SharedPtr& queue) {
    AskPtr ask;
    bool unknown = false;
    {
        const std::lock_guard lock{queue->mutex};
        if (queue->stash.empty()) return nullptr;
        ask = std::move(queue->stash.front());
        queue->stash.pop_front();
        unknown = queue->show_readiness();
    }
    queue->client->objects().retake(ask, queue, current_holder(*queue->client));
    if (unknown) queue->client->objects().peek(queue);
    return ask;
}

/// The answer, whether or not it is one that is liked.
AskPtr ask_and_wait(const SharedPtr& object, Request request) {
    AskPtr asked = ask(object, std::move(request));
    try {
        await_answer(asked);
    } catch (...) {
        abandon(asked);
        throw;
    }
    return asked;
}

void take_items(Ask& ask, const OnItem& on_item) {
    finish_done(ask);
    const Unpacking unpacking{ask};
    for (const ItemView& item : ask.answer.items) on_item(item);
}

/// Pairs of these keys; in halves when they are too big together.
void read_some(const SharedPtr& dict, std::vector<Buffer> keys, const OnItem& on_item) {
    if (keys.empty()) return;
    Request request{.verb = Verb::Read};
    for (const Buffer& key : keys) {
        Item item;
        item.key = key;
        request.items.push_back(std::move(item));
    }
    const AskPtr asked = ask_and_wait(dict, std::move(request));
    if (asked->answer.told == Told::Done) return take_items(*asked, on_item);
    if (asked->answer.told == Told::Absent) return;  // Of one key only.
    if (asked->answer.told != Told::TooBig || keys.size() == 1) throw_refusal(*asked);
    const auto middle = keys.begin() + static_cast<std::ptrdiff_t>(keys.size() / 2);
    read_some(dict, {keys.begin(), middle}, on_item);
    read_some(dict, {middle, keys.end()}, on_item);
}

}  // namespace

AskPtr ask_get(const SharedPtr& queue, Duration timeout) {
    if (queue) {
        queue->client->check_fork();
        if (AskPtr kept = from_stash(queue)) return kept;
    }
    return ask(queue, {.verb = Verb::Get, .timeout = timeout});
}

AskPtr ask_poll(const SharedPtr& queue, Duration timeout) {
    {
        const std::lock_guard lock{queue->mutex};
        if (!queue->stash.empty()) return nothing_to_ask(queue);
    }
    return ask(queue, {.verb = Verb::Get, .timeout = timeout});
}

bool finish_poll(Ask& ask) {
    if (ask.answer.told == Told::TimedOut) return false;
    if (ask.op.verb == wire::ObjectVerb::Get && ask.code == wire::Code::None) {
        ask.client->objects().keep(ask.shared_from_this());
    }
    return true;  // Or recv() throws at once.
}

AskPtr ask_done(const SharedPtr& queue) {
    Request request{.verb = Verb::Done};
    if (queue && (queue->identity.leased || queue->tokens.load(std::memory_order_relaxed))) {
        const Holder holder = current_holder(*queue->client);
        const std::lock_guard lock{queue->mutex};
        const auto grant = queue->find(holder, true);
        if (grant == queue->grants.end())
            throw UsageError{"task_done() more often than items were got"};
        request.token = grant->token;
        queue->grants.erase(grant);
    }
    return ask(queue, std::move(request));
}

void Pages::add(Item item) {
    const std::size_t size = item.body.size() + item.key.size();
    if (items_.size() == kItemsMax || (!items_.empty() && bytes_ + size > kPageBytes)) send();
    bytes_ += size;
    items_.push_back(std::move(item));
}

void Pages::send() {
    if (asks_.size() == kPagesUnderWay) {
        await_answer(asks_.front());
        finish_done(*asks_.front());
        asks_.erase(asks_.begin());
    }
    Request request{.verb = verb_, .index = index_};
    if (index_ != kEndOfList) index_ += static_cast<std::int64_t>(items_.size());
    request.items = std::exchange(items_, {});
    bytes_ = 0;
    asks_.push_back(ask(object_, std::move(request)));
}

void Pages::finish() {
    if (!items_.empty()) send();
    for (const AskPtr& asked : asks_) {
        await_answer(asked);
        finish_done(*asked);
    }
    asks_.clear();
}

AskPtr ask_keys(const SharedPtr& dict) {
    return ask(dict, {.verb = Verb::Read, .flags = kAll | kKeysOnly});
}

void take_keys(Ask& ask, const OnItem& on_item) {
    take_items(ask, on_item);
}

AskPtr ask_pairs(const SharedPtr& dict) {
    return ask(dict, {.verb = Verb::Read, .flags = kAll});
}

void take_pairs(Ask& ask, const OnItem& on_item) {
    if (ask.answer.told != Told::TooBig) return take_items(ask, on_item);
    const SharedPtr& dict = ask.object;
    std::vector<Buffer> keys;
    const AskPtr asked = perform(dict, {.verb = Verb::Read, .flags = kAll | kKeysOnly});
    take_items(*asked,
               [&](const ItemView& item) { keys.emplace_back(item.key.begin(), item.key.end()); });
    for (std::size_t at = 0; at < keys.size(); at += kItemsMax) {
        const auto first = keys.begin() + static_cast<std::ptrdiff_t>(at);
        const auto count = static_cast<std::ptrdiff_t>(std::min(kItemsMax, keys.size() - at));
        read_some(dict, {first, first + count}, on_item);
    }
}

AskPtr ask_cells(const SharedPtr& object) {
    return ask(object, {.verb = Verb::Read});
}

std::uint64_t take_cells(Ask& ask, const std::function<void()>& begin, const OnItem& on_item) {
    if (ask.answer.told != Told::TooBig) {
        begin();
        take_items(ask, on_item);
        return ask.answer.version;
    }
    const SharedPtr& object = ask.object;
    for (std::uint64_t step = kCellsAtOnce;;) {
        AskPtr asked = perform(object, {.verb = Verb::Info});
        const auto size = static_cast<std::uint64_t>(asked->answer.value);
        std::uint64_t version = 0;
        bool again = false;
        begin();
        for (std::uint64_t at = 0; at < size && !again;) {
            Request request{.verb = Verb::Read,
                            .index = static_cast<std::int64_t>(at),
                            .count = std::min(step, size - at)};
            asked = ask_and_wait(object, std::move(request));
            if (asked->answer.told == Told::TooBig && step > 1) {
                step /= 2;
                continue;
            }
            again =
                asked->answer.told != Told::Done || (at != 0 && asked->answer.version != version);
            if (asked->answer.told == Told::Refused && asked->code != wire::Code::InvalidRange)
                throw_refusal(*asked);
            if (again) break;
            version = asked->answer.version;
            take_items(*asked, on_item);
            at += asked->answer.items.size();
        }
        if (!again) return version;
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
