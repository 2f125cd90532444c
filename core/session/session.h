// SPDX-License-Identifier: Apache-2.0
// Session: both ends' numbering, acks and resend for one peer, without a socket (semantics.md 3).
//
// One object per session and end; it outlives connections. The owner feeds it every numbered header it receives and every numbered message it
// wants to send; it answers what to do. Invariants: (1) outgoing numbers are dense from 1 within an incarnation; (2) a message is kept until the peer
// acked it, and only such messages are ever resent; (3) incoming number n+1 is the only one processed; (4) unacked() ≤ the limits unless the owner ignores
// can_send(). Threading: none; it belongs to its owner's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "core/base/bytes.h"
#include "core/wire/limits.h"
#include "core/wire/messages.h"

namespace forkmill::session {

enum class Verdict : std::uint8_t {
    Process,    ///< The next number: process the records.
    Duplicate,  ///< Already processed: drop it, it was a resend.
    Gap,        ///< Something before it is missing: drop it and send WHO (server) or HELLO (client) again.
};

class Session {
  public:
    /// The number of the next outgoing message; goes into its header together with received() as ack.
    std::uint64_t next_number() const { return sent_ + 1; }
    /// Remembers `message`, encoded under next_number(), until it is acked. The caller sends it (now or after a resume).
    void sent(base::Message message);
    /// False while as much is unacked as the peer must accept; then the owner holds its records back.
    bool can_send() const { return unacked_.size() < wire::kUnackedFramesMax && unacked_bytes_ < wire::kUnackedBytesMax; }

    /// Judges an incoming numbered frame of `bytes` bytes; Process counts it as received.
    Verdict on_number(std::uint64_t number, std::size_t bytes);
    /// Takes a cumulative ack. False: the peer acked what was never sent (a protocol error; nothing changed).
    [[nodiscard]] bool on_ack(std::uint64_t ack);

    std::uint64_t received() const { return received_; }
    std::uint64_t acked() const { return acked_; }
    std::uint64_t sent_number() const { return sent_; }
    std::size_t unacked() const { return unacked_.size(); }
    std::size_t unacked_bytes() const { return unacked_bytes_; }
    /// True once so much was received since our last outgoing header that a bare ACK is due; ack_told() resets it.
    bool ack_due() const { return frames_since_ack_ >= wire::kAckFrames || bytes_since_ack_ >= wire::kAckBytes; }
    /// Any frames received that no header of ours has acked yet.
    bool ack_owed() const { return frames_since_ack_ > 0; }
    void ack_told() { frames_since_ack_ = 0; bytes_since_ack_ = 0; }

    /// The peer says it processed up to `received`: drops those, then calls `resend` for each kept message in order. False: impossible value.
    [[nodiscard]] bool resume(std::uint64_t received, const std::function<void(const base::Message&)>& resend);
    /// A new incarnation: numbering starts again, nothing is kept.
    void reset();

  private:
    std::uint64_t sent_ = 0;
    std::uint64_t acked_ = 0;
    std::uint64_t received_ = 0;
    std::deque<base::Message> unacked_;  ///< Numbers acked_ + 1 … sent_.
    std::size_t unacked_bytes_ = 0;
    std::size_t frames_since_ack_ = 0;
    std::size_t bytes_since_ack_ = 0;
};

}  // namespace forkmill::session
