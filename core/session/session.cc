// SPDX-License-Identifier: Apache-2.0
#include "core/session/session.h"

#include <algorithm>
#include <utility>

namespace forkmill::session {

void Session::queue(base::Message message) {
    queued_bytes_ += message.bytes();
    unacked_.push_back(std::move(message));
}

const base::Message* Session::next_transmit() {
    if (transmitted_ == unacked_.size()) return nullptr;
    // One message may overshoot the byte window: a single body larger than the window must still
    // get through.
    if (transmitted_ >= wire::kUnackedFramesMax || transmitted_bytes_ >= wire::kUnackedBytesMax)
        return nullptr;
    const base::Message& message = unacked_[transmitted_];
    ++transmitted_;
    transmitted_bytes_ += message.bytes();
    highest_ = std::max(highest_, acked_ + transmitted_);
    return &message;
}

Verdict Session::on_number(std::uint64_t number, std::size_t bytes) {
    if (number <= received_) return Verdict::Duplicate;
    if (number != received_ + 1) return Verdict::Gap;
    received_ = number;
    ++frames_since_ack_;
    bytes_since_ack_ += bytes;
    return Verdict::Process;
}

bool Session::on_ack(std::uint64_t ack) {
    if (ack > highest_) return false;
    while (acked_ < ack) {
        const std::size_t bytes = unacked_.front().bytes();
        if (transmitted_ > 0) {
            --transmitted_;
            transmitted_bytes_ -= bytes;
        }
        queued_bytes_ -= bytes;
        unacked_.pop_front();
        ++acked_;
    }
    return true;  // An older ack than the newest known is normal: frames cross.
}

bool Session::resume(std::uint64_t received) {
    if (received < acked_ || !on_ack(received)) return false;
    transmitted_ = 0;
    transmitted_bytes_ = 0;
    waiting_since_ = base::kNever;
    return true;
}

bool Session::stalled(base::Time now, base::Duration limit) {
    if (transmitted_ == 0) {
        waiting_since_ = base::kNever;
        return false;
    }
    if (waiting_since_ == base::kNever || waiting_at_ != acked_) {
        waiting_since_ = now;
        waiting_at_ = acked_;
        return false;
    }
    return now - waiting_since_ >= limit;
}

}  // namespace forkmill::session
