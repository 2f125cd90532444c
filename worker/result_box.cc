// SPDX-License-Identifier: Apache-2.0
#include "worker/result_box.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "core/wire/limits.h"

namespace forkmill::worker {

bool ResultBox::write(session::Session& session, session::Transfers& transfers) {
    if (ready_.empty()) return false;
    const std::uint64_t before = session.next_number();
    const base::Duration each = busy_ / static_cast<std::int64_t>(ready_.size());
    while (!ready_.empty() && session.can_send()) {
        if (!put(session, transfers, ready_.front())) break;
        ready_.pop_front();
        writer_.add_busy_ns(static_cast<std::uint64_t>(each.count()));
        busy_ -= each;
        if (writer_.full()) close_frame(session);
    }
    if (ready_.empty()) busy_ = {};
    close_frame(session);
    return session.next_number() != before;
}

/// False: a body in chunks is not all out yet; its record follows when it is.
bool ResultBox::put(session::Session& session, session::Transfers& transfers, Result& result) {
    wire::BodyRef ref;
    if (result.body.size() > wire::kBodyFrameMax) {
        if (!sending_ && transfers.sending()) return false;  // A nested submit's body is.
        const std::optional<std::uint64_t> transfer =
            transfers.send(session, 0, result.body.body());
        sending_ = !transfer;
        if (!transfer) return false;
        ref = wire::BodyRef::of_transfer(*transfer, result.body.size());
    } else {
        ref = wire::BodyRef::of(result.body.body());
    }
    if (!writer_.fits(ref)) close_frame(session);
    writer_.add(result.lease, result.outcome, ref);
    open_.push_back(std::move(result));
    return true;
}

void ResultBox::close_frame(session::Session& session) {
    if (writer_.count() == 0) return;
    const std::uint64_t number = session.next_number();
    session.queue(writer_.finish({wire::Kind::Results, number, session.received(), 0}));
    session.ack_told();
    custody_.keep(number, open_);
}

void ResultBox::drop(std::uint64_t lease) {
    // A body that is partly out must be ended, or its chunks would stay with the broker.
    const auto first = ready_.begin() + (sending_ ? 1 : 0);
    ready_.erase(
        std::remove_if(
            first, ready_.end(), [&](const Result& result) { return result.lease == lease; }),
        ready_.end());
}

std::vector<Result> ResultBox::take_all() {
    std::vector<Result> all = custody_.take_all();
    all.insert(
        all.end(), std::make_move_iterator(ready_.begin()), std::make_move_iterator(ready_.end()));
    ready_.clear();
    busy_ = {};
    sending_ = false;
    return all;
}

std::string ResultBox::check_invariants() const {
    if (!open_.empty() || writer_.count() != 0) return "a frame was left open between two turns";
    return custody_.check_invariants();
}

}  // namespace forkmill::worker
