// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/group.h"

#include <algorithm>
#include <utility>

#include "forkmill/errors.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t kBatchMax = 128;
constexpr std::uint64_t kBatchBytes = 1024 * 1024;

}  // namespace

Group::Group(ClientPtr client, std::uint16_t template_id, std::size_t expected)
    : client_(std::move(client)), template_id_(template_id), state_(new GroupState) {
    slots_.reserve(std::min<std::size_t>(expected, wire::kWindowMax));
}

Group::~Group() {
    if (client_->forked()) return;
    PendingTable& table = client_->table();
    table.give_back(fresh_);
    for (std::size_t i = 0; i + fresh_.size() < slots_.size(); ++i) {
        if (slots_[i] != kNoSlot) table.release(slots_[i]);
    }
    table.give_back(claimed_);
    state_->abandon();
}

void Group::submit(Bytes arguments, const SubmitExtra* extra) {
    client_->check_submit(arguments.size());
    PendingTable& table = client_->table();
    if (claimed_.empty()) {
        table.claim(batch_, claimed_);
        if (claimed_.empty())
            throw_code(
                wire::Code::Busy, "too many results of this pool are held at once", wire::Ran::No);
        std::reverse(claimed_.begin(), claimed_.end());
    }
    std::unique_ptr<Aux> aux = client_->make_aux(extra);
    const std::uint32_t number = claimed_.back();
    PendingTable::fill(table.at(number),
                       PendingTable::NewTask{template_id_,
                                             arguments,
                                             aux.release(),
                                             state_,
                                             static_cast<std::uint32_t>(slots_.size())});
    claimed_.pop_back();
    slots_.push_back(number);
    fresh_.push_back(number);
    fresh_bytes_ += arguments.size();
    if (fresh_.size() >= batch_ || fresh_bytes_ >= kBatchBytes) {
        flush();
        batch_ = std::min(batch_ * 2, kBatchMax);
    }
}

void Group::flush() {
    if (fresh_.empty()) return;
    state_->add(fresh_.size());
    const PendingTable::Taken taken =
        client_->table().hand_over(fresh_, fresh_bytes_, client_->may_block());
    if (taken != PendingTable::Taken::Ok) {
        state_->take_back(fresh_.size());
        client_->throw_closed();
    }
    fresh_.clear();
    fresh_bytes_ = 0;
}

std::uint32_t Group::slot_of(std::size_t index) const {
    if (index >= slots_.size() || slots_[index] == kNoSlot)
        throw UsageError{"no such item in this job"};
    return slots_[index];
}

bool Group::wait_all(Duration timeout) {
    flush();
    return client_->wait_until(timeout, [&](base::Time until) { return state_->wait_all(until); });
}

bool Group::wait_item(std::size_t index, Duration timeout) {
    flush();
    Slot& slot = client_->table().at(slot_of(index));
    return PendingTable::settled(slot) || client_->wait_slot(slot_of(index), timeout);
}

std::optional<std::size_t> Group::next(Duration timeout) {
    flush();
    std::size_t index = 0;
    if (client_->wait_until(timeout, [&](base::Time until) { return state_->next(index, until); }))
        return index;
    return std::nullopt;
}

SettledView Group::view(std::size_t index) {
    return PendingTable::view(client_->table().at(slot_of(index)));
}

void Group::release(std::size_t index) {
    const std::uint32_t slot = slot_of(index);
    slots_[index] = kNoSlot;
    client_->table().release(slot);
}

void Group::cancel(bool kill) {
    flush();
    std::vector<std::uint32_t> open;
    for (const std::uint32_t slot : slots_) {
        if (slot != kNoSlot && !PendingTable::settled(client_->table().at(slot)))
            open.push_back(slot);
    }
    if (!open.empty()) client_->table().cancel(open, kill);
}

void Group::then(std::function<void()> done) {
    flush();
    client_->start_callbacks();
    std::vector<Job> due;
    state_->then(std::move(done), due);
    if (!due.empty()) client_->jobs().post(due);
}

TaskId Group::id(std::size_t index) {
    flush();
    return TaskId{client_->stream(), client_->table().at(slot_of(index)).seq};
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
