// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/pending_io.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/wire/codec.h"
#include "sdk/src/group_state.h"
#include "sdk/src/pending_futex.h"
#include "sdk/src/pending_splice.h"
#include "sdk/src/templates.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

constexpr base::Duration kBusyRetryMin = std::chrono::milliseconds{10};

/// A dependency's error becomes the cause of the task that waited for it.
wire::ErrorInfo caused_by(base::ByteView packed) {
    wire::ErrorInfo info;
    info.code = wire::Code::DependencyFailed;
    info.what = "a task this one depends on did not succeed";
    info.ran = wire::Ran::No;
    if (const auto inner = wire::unpack_error(packed); inner.ok()) {
        const wire::ErrorInfo& cause = inner.value();
        info.nested.emplace_back(
            cause.type.empty() ? std::string{wire::name_of(cause.code)} : cause.type, cause.what);
        info.nested.insert(info.nested.end(), cause.nested.begin(), cause.nested.end());
        if (info.nested.size() > 16) info.nested.resize(16);
    }
    return info;
}

}  // namespace

void PendingIo::append(std::uint32_t slot) {
    if (end_ - floor_ == ring_.size()) {
        std::vector<std::uint32_t> larger(ring_.size() * 2, kNoSlot);
        for (std::uint64_t seq = floor_; seq < end_; ++seq)
            larger[seq & (larger.size() - 1)] = ring_[seq & (ring_.size() - 1)];
        ring_ = std::move(larger);
    }
    ring_[end_ & (ring_.size() - 1)] = slot;
    ++end_;
    ++unsettled_;
}

bool PendingIo::take() {
    if (!has_work()) return false;
    {
        const std::lock_guard lock{table_.mutex_};
        table_.has_work_.store(false, std::memory_order_relaxed);
        taken_.swap(table_.handed_);
        taken_cancels_.swap(table_.cancels_);
    }
    for (const std::uint32_t slot : taken_) append(slot);
    for (const auto& [slot, kill] : taken_cancels_) take_cancel(slot, kill);
    const bool any = !taken_.empty() || !taken_cancels_.empty();
    taken_.clear();
    taken_cancels_.clear();
    return any;
}

void PendingIo::take_cancel(std::uint32_t number, bool kill) {
    Slot& slot = table_.at(number);
    if (slot_of(slot.seq) == number) {  // Else it settled while the wish was on its way.
        slot.form = static_cast<std::uint8_t>(slot.form | kCancel | (kill ? kKill : 0));
        const bool leaving = peeked_ && item_.seq == slot.seq;  // Its body may be partly out.
        if (slot.seq >= sent_ && !leaving) {
            fail(slot.seq,
                 wire::Outcome::Cancelled,
                 wire::Code::TaskCancelled,
                 "cancelled before it was sent",
                 wire::Ran::No);
        } else {
            cancels_.push_back(session::CancelItem{slot.seq, kill});
        }
    }
    release(number);
}

bool PendingIo::peek_retry() {
    for (std::size_t left = retry_.size(); left > 0; --left) {
        const std::uint64_t seq = retry_.front();
        const Ready ready = slot_of(seq) == kNoSlot ? Ready::Ended : prepare(seq, true);
        if (ready == Ready::Yes) return true;
        retry_.pop_front();
        if (ready == Ready::Wait)
            retry_.push_back(seq);  // Its result is on its way; the others need not wait for it.
    }
    return false;
}

const session::SubmitItem* PendingIo::peek() {
    if (peeked_) return &item_;
    while (!busy_.empty() && busy_.front().at <= now_) {
        retry_.push_back(busy_.front().seq);
        busy_.pop_front();
    }
    peeked_retry_ = !retry_.empty() && peek_retry();
    peeked_ = peeked_retry_;
    while (!peeked_ && cursor_ < end_) {
        const std::uint32_t number = slot_of(cursor_);
        if (number != kNoSlot && (table_.at(number).form & kCancel) == 0)
            peeked_ = prepare(cursor_, false) == Ready::Yes;
        if (!peeked_ && cursor_ < end_)
            ++cursor_;  // Settled already, or only its cancel is told again.
    }
    return peeked_ ? &item_ : nullptr;
}

PendingIo::Ready PendingIo::prepare(std::uint64_t seq, bool again) {
    Slot& slot = table_.at(slot_of(seq));
    item_.seq = seq;
    item_.resent = seq < sent_ && !again;
    item_.extras = nullptr;
    item_.attach = nullptr;
    if ((slot.form & kExtras) != 0) {
        auto& aux = *static_cast<Aux*>(slot.link);
        if (aux.attach) {
            item_.attach = &*aux.attach;
            item_.body = {};
            return Ready::Yes;
        }
        if (aux.has_extras) item_.extras = &aux.extras;
        if (!aux.dependencies.empty()) {
            const Ready ready = resolve(slot, aux, again);
            if (ready != Ready::Yes) return ready;
        }
    }
    const std::optional<std::uint16_t> id = session_template(slot.template_id);
    if (!id) {
        fail(seq,
             wire::Outcome::Failed,
             wire::Code::TooManyTemplates,
             "more than 4,096 different task and option sets in one session",
             wire::Ran::No);
        return Ready::Ended;
    }
    item_.template_id = *id;
    if (item_.extras != &item_extras_ || item_body_.empty())
        item_.body =
            (slot.form & kBlob) != 0 ? base::Body::of(slot.blob()) : base::Body::of(slot.body());
    return Ready::Yes;
}

PendingIo::Ready PendingIo::resolve(Slot& slot, Aux& aux, bool again) {
    std::vector<std::pair<std::uint32_t, base::ByteView>> values;
    item_extras_ = aux.extras;
    item_extras_.dependencies.clear();
    item_body_ = {};
    for (const Dependency& dependency : aux.dependencies) {
        Slot& inner = table_.at(dependency.ticket.slot);
        if (!PendingTable::settled(inner)) {
            if (again) return Ready::Wait;
            item_extras_.dependencies.push_back({dependency.argument, inner.seq});
        } else if (inner.outcome == 0) {
            values.emplace_back(dependency.argument, inner.body());
        } else {
            const std::vector<std::byte> error = wire::pack_error(caused_by(inner.body()));
            settle(slot.seq, wire::Outcome::Failed, base::Body::of(base::ByteView{error}));
            return Ready::Ended;
        }
    }
    item_.extras = &item_extras_;
    if (values.empty()) return Ready::Yes;
    std::sort(values.begin(), values.end(), [](const auto& a, const auto& b) {
        return a.first < b.first;
    });
    std::optional<base::Blob> whole = splice(slot.body(), values);
    if (!whole) {
        fail(slot.seq,
             wire::Outcome::Failed,
             wire::Code::BadArguments,
             "the packed arguments are no array of as many elements",
             wire::Ran::No);
        return Ready::Ended;
    }
    item_body_ = std::move(*whole);
    item_.body = base::Body::of(item_body_);
    return Ready::Yes;
}

void PendingIo::pop() {
    FORKMILL_CHECK(peeked_);
    peeked_ = false;
    if (peeked_retry_) {
        retry_.pop_front();
        return;
    }
    if (cursor_ >= sent_) {
        popped_bytes_ += table_.at(slot_of(cursor_)).size;
        sent_ = cursor_ + 1;
    }
    ++cursor_;
}

std::optional<std::uint16_t> PendingIo::session_template(std::uint16_t number) {
    if (number >= session_ids_.size()) session_ids_.resize(number + 1U, 0);
    if (session_ids_[number] == 0) {
        if (templates_.size() >= wire::kTemplatesMax) return std::nullopt;
        const auto id = static_cast<std::uint16_t>(templates_.size());
        templates_.push_back(template_definition(number));
        templates_.back().id = id;
        session_ids_[number] = static_cast<std::uint16_t>(id + 1);
    }
    return static_cast<std::uint16_t>(session_ids_[number] - 1);
}

std::optional<session::CancelItem> PendingIo::next_cancel() {
    for (std::size_t left = cancels_.size(); left > 0; --left) {
        const session::CancelItem item = cancels_.front();
        cancels_.pop_front();
        if (slot_of(item.seq) == kNoSlot) continue;
        if (item.seq < sent_) return item;
        cancels_.push_back(item);  // A cancel never overtakes its submit.
    }
    return std::nullopt;
}

void PendingIo::rewind() {
    // It was cancelled while it stood ready to leave, and did not.
    const std::uint32_t leaving =
        std::exchange(peeked_, false) && item_.seq >= sent_ ? slot_of(item_.seq) : kNoSlot;
    if (leaving != kNoSlot && (table_.at(leaving).form & kCancel) != 0)
        fail(item_.seq,
             wire::Outcome::Cancelled,
             wire::Code::TaskCancelled,
             "cancelled before it was sent",
             wire::Ran::No);
    cursor_ = floor_;
    retry_.clear();
    busy_.clear();
    cancels_.clear();
    for (std::uint64_t seq = floor_; seq < sent_; ++seq) {
        const std::uint32_t number = slot_of(seq);
        if (number == kNoSlot) continue;
        const std::uint8_t form = table_.at(number).form;
        if ((form & kCancel) != 0)
            cancels_.push_back(session::CancelItem{seq, (form & kKill) != 0});
    }
}

void PendingIo::pumped() {
    table_.popped_bytes_.store(popped_bytes_, std::memory_order_relaxed);
    table_.floor_.store(floor_, std::memory_order_seq_cst);
    table_.popped_.store(std::max(sent_, cursor_) - 1, std::memory_order_seq_cst);
    if (table_.blocked_.load(std::memory_order_seq_cst) == 0) return;
    bool room = false;
    {
        // Waking at the first free place would hand the core back and forth for every task.
        const std::lock_guard lock{table_.mutex_};
        room = table_.has_room_locked(1, 2);
    }
    if (room) table_.room_.notify_all();
}

bool PendingIo::settle(std::uint64_t seq, wire::Outcome outcome, const base::Body& body) {
    const std::uint32_t number = slot_of(seq);
    if (number == kNoSlot) return false;
    Slot& slot = table_.at(number);
    if (seq >= sent_) popped_bytes_ += slot.size;
    if (peeked_ && item_.seq == seq) peeked_ = false;
    if ((slot.form & kExtras) != 0) release_dependencies(*static_cast<Aux*>(slot.link));
    if (slot.refs.load(std::memory_order_acquire) > 1) {
        slot.outcome = static_cast<std::uint8_t>(outcome);
        if (body.chunks) {
            base::Blob whole = base::Blob::allocate(body.size());
            std::size_t at = 0;
            for (const base::Blob& chunk : *body.chunks) {
                std::copy_n(chunk.data(), chunk.size(), whole.mutable_data() + at);
                at += chunk.size();
            }
            slot.put(std::move(whole));
        } else if (!body.blob.empty() && body.view.size() > kInlineBytes) {
            slot.put(body.blob);
        } else {
            slot.put(body.view);
        }
    }
    ring_[seq & (ring_.size() - 1)] = kNoSlot;
    ++settled_;
    --unsettled_;
    while (floor_ < end_ && ring_[floor_ & (ring_.size() - 1)] == kNoSlot) ++floor_;
    if (cursor_ < floor_) cursor_ = floor_;
    if (sent_ < floor_) sent_ = floor_;

    bool held = false;
    notify(number, slot, held);
    release(number);
    return held;
}

void PendingIo::notify(std::uint32_t number, Slot& slot, bool& held) {
    // `link` of a task outside groups may be written by then() at this moment; kNotify says when it
    // may be read.
    GroupState* group = nullptr;
    if ((slot.form & kGroup) != 0)
        group = (slot.form & kExtras) != 0 ? static_cast<Aux*>(slot.link)->group
                                           : static_cast<GroupState*>(slot.link);
    const std::uint32_t index = slot.index;
    const std::uint32_t before = slot.state.fetch_or(kSettled, std::memory_order_acq_rel);
    if ((before & kWaiters) != 0) wakes_.push_back(&slot.state);
    if (group != nullptr) {
        if (group->io_settled(index)) groups_.push_back(group);
    } else if ((before & kNotify) != 0) {
        const std::lock_guard lock{table_.aux_mutex_};
        auto& aux = *static_cast<Aux*>(slot.link);
        for (std::unique_ptr<Completion>& completion : aux.completions) {
            due_.push_back(Job{number, std::move(completion), {}, !held});
            held = true;
        }
        aux.completions.clear();
    }
}

void PendingIo::release(std::uint32_t number) {
    Slot& slot = table_.at(number);
    if (slot.refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    PendingTable::reclaim(slot);
    freed_.push_back(number);
}

void PendingIo::release_dependencies(Aux& aux) {
    for (const Dependency& dependency : aux.dependencies) release(dependency.ticket.slot);
    aux.dependencies.clear();
}

void PendingIo::fail(std::uint64_t seq,
                     wire::Outcome outcome,
                     wire::Code code,
                     std::string_view text,
                     wire::Ran ran) {
    wire::ErrorInfo info;
    info.code = code;
    info.what = text;
    info.ran = ran;
    const std::uint32_t number = slot_of(seq);
    if (number == kNoSlot) return;
    const Slot& slot = table_.at(number);
    if ((slot.form & kExtras) == 0 || !static_cast<Aux*>(slot.link)->attach)
        info.task = template_definition(slot.template_id).name;
    const std::vector<std::byte> packed = wire::pack_error(info);
    settle(seq, outcome, base::Body::of(base::ByteView{packed}));
}

void PendingIo::fail_all(wire::Outcome outcome, wire::Code code, std::string_view text) {
    take();
    const std::uint64_t end = end_;
    const std::uint64_t sent = sent_;
    for (std::uint64_t seq = floor_; seq < end; ++seq)
        fail(seq, outcome, code, text, seq < sent ? wire::Ran::Maybe : wire::Ran::No);
}

void PendingIo::on_refused(const wire::Refused& refused) {
    const std::uint32_t number = slot_of(refused.seq);
    if (number == kNoSlot) return;
    Slot& slot = table_.at(number);
    if ((slot.form & kCancel) != 0) {
        fail(refused.seq,
             wire::Outcome::Cancelled,
             wire::Code::TaskCancelled,
             "cancelled",
             wire::Ran::No);
        return;
    }
    const bool depends =
        (slot.form & kExtras) != 0 && !static_cast<Aux*>(slot.link)->dependencies.empty();
    if (refused.code == wire::Code::UnknownDependency && depends) {
        // Its result crossed our submit; it is here by now or about to be, and goes along inline.
        retry_.push_back(refused.seq);
    } else if (refused.code == wire::Code::Busy) {
        const base::Duration after = std::max<base::Duration>(
            kBusyRetryMin, std::chrono::milliseconds{refused.retry_after_ms});
        busy_.push_back(Busy{now_ + after, refused.seq});
    } else {
        fail(refused.seq,
             wire::Outcome::Failed,
             refused.code,
             refused.text.empty() ? wire::name_of(refused.code) : refused.text,
             wire::Ran::No);
    }
}

void PendingIo::on_forgotten(std::uint64_t first, std::uint64_t count) {
    const std::uint64_t from = std::max(first, floor_);
    const std::uint64_t to = count > end_ - std::min(first, end_) ? end_ : first + count;
    for (std::uint64_t seq = from; seq < to; ++seq)
        fail(seq,
             wire::Outcome::Failed,
             wire::Code::Forgotten,
             "the broker no longer knows this task",
             wire::Ran::Maybe);
}

void PendingIo::on_partial(std::uint64_t seq, double fraction, std::string_view note) {
    const std::uint32_t number = slot_of(seq);
    if (number == kNoSlot) return;
    Slot& slot = table_.at(number);
    if ((slot.form & kGroup) != 0 || (slot.state.load(std::memory_order_acquire) & kNotify) == 0)
        return;
    const std::lock_guard lock{table_.aux_mutex_};
    auto& aux = *static_cast<Aux*>(slot.link);
    if (!aux.progress) return;
    aux.fraction = fraction;
    aux.note = note;
    if (std::exchange(aux.progress_queued, true)) return;
    table_.retain(number);
    PendingTable& table = table_;
    due_.push_back(Job{number,
                       nullptr,
                       [&table, &aux] {
                           std::unique_lock inner{table.aux_mutex_};
                           aux.progress_queued = false;
                           const auto handler = aux.progress;
                           const double newest = aux.fraction;
                           const std::string text = aux.note;
                           inner.unlock();
                           if (handler) handler(newest, text);
                       },
                       false});
}

void PendingIo::on_reply(const wire::Reply& answer) {
    if (reply) reply(answer);
}

std::pair<std::uint64_t, std::uint64_t> PendingIo::consumed() {
    if (table_.consumed_records_.load(std::memory_order_relaxed) == 0) return {0, 0};
    return {table_.consumed_records_.exchange(0, std::memory_order_relaxed),
            table_.consumed_bytes_.exchange(0, std::memory_order_relaxed)};
}

void PendingIo::on_turn(session::ClientCore& core) {
    publish();
    const auto [records, bytes] = consumed();
    if (records != 0) core.taken(records, bytes);
    take();
}

void PendingIo::publish() {
    if (settled_ != 0)
        table_.settled_count_.fetch_add(std::exchange(settled_, 0), std::memory_order_seq_cst);
    for (std::atomic<std::uint32_t>* word : wakes_) futex_wake_all(*word);
    wakes_.clear();
    for (GroupState* group : groups_) group->io_publish(due_);
    groups_.clear();
    if (!due_.empty()) jobs_.post(due_);
    if (!freed_.empty()) {
        const std::lock_guard lock{table_.mutex_};
        for (const std::uint32_t slot : freed_) table_.free_locked(slot);
        freed_.clear();
    }
    if (table_.idle_waiters_.load(std::memory_order_seq_cst) != 0 && unsettled_ == 0) {
        { const std::lock_guard lock{table_.idle_mutex_}; }
        table_.idle_.notify_all();
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
