// SPDX-License-Identifier: Apache-2.0
// Session: both ends' numbering, acks, pacing and resend for one peer, without a socket
// (semantics.md 3).
//
// One object per session and end; it outlives connections. The owner queues every numbered message
// it wants to send and transmits what next_transmit() yields; it feeds in every numbered header it
// receives. Invariants: (1) outgoing numbers are dense from 1 within an incarnation; (2) a message
// is kept until the peer acked it, and only such messages are ever transmitted again; (3) incoming
// number n+1 is the only one processed; (4) transmitted but unacked messages never exceed
// kUnackedFramesMax, nor kUnackedBytesMax by more than one message. Threading: none; it belongs to
// its owner's thread.
#pragma once

#include <cstdint>
#include <deque>

#include "core/base/bytes.h"
#include "core/base/time.h"
#include "core/wire/limits.h"

namespace forkmill::session {

enum class Verdict : std::uint8_t {
    Process,    ///< The next number: process the records.
    Duplicate,  ///< Already processed: drop it, it was a resend.
    Gap,        ///< Something before it is missing: drop it and send WHO (server) or HELLO (client)
                ///< again.
};

class Session {
  public:
    /// The number the next queued message must carry in its header, together with received() as
    /// ack.
    std::uint64_t next_number() const { return acked_ + unacked_.size() + 1; }
    /// Keeps `message`, encoded under next_number(), until it is acked. Transmit it through
    /// next_transmit().
    void queue(base::Message message);
    /// The next message to hand to the transport, counted as transmitted; null when all is out or
    /// the window is full.
    const base::Message* next_transmit();
    /// True while everything queued is within the peer's window. The owner stops producing records
    /// when it is false.
    bool can_send() const {
        return unacked_.size() < wire::kUnackedFramesMax && queued_bytes_ < wire::kUnackedBytesMax;
    }

    /// Judges an incoming numbered frame of `bytes` bytes; Process counts it as received.
    Verdict on_number(std::uint64_t number, std::size_t bytes);
    /// Takes a cumulative ack. False: the peer acked what was never transmitted (a protocol error;
    /// nothing changed).
    [[nodiscard]] bool on_ack(std::uint64_t ack);
    /// A new connection of the same incarnation: the peer processed up to `received`; the rest is
    /// transmitted again. False: impossible value.
    [[nodiscard]] bool resume(std::uint64_t received);
    /// A new incarnation: numbering starts again, nothing is kept.
    void reset() { *this = Session{}; }

    /// To be asked at every turn. True when frames that are on the way were not acked for `limit`:
    /// they were lost without the connection's end, which no transport of ours does and a relay in
    /// between may. The owner ends the connection; what was lost is sent over the next.
    [[nodiscard]] bool stalled(base::Time now, base::Duration limit);
    /// When stalled() must be asked at the latest.
    base::Time stalls_at(base::Duration limit) const {
        return waiting_since_ == base::kNever ? base::kNever : waiting_since_ + limit;
    }

    std::uint64_t received() const { return received_; }
    std::uint64_t acked() const { return acked_; }
    std::size_t unacked() const { return unacked_.size(); }
    std::size_t queued_bytes() const { return queued_bytes_; }
    bool all_acked() const { return unacked_.empty(); }
    /// So much was received since our last outgoing header that a bare ACK is due; ack_told()
    /// resets it.
    bool ack_due() const {
        return frames_since_ack_ >= wire::kAckFrames || bytes_since_ack_ >= wire::kAckBytes;
    }
    /// Something was received that no header of ours has acked yet; a bare ACK follows within 100
    /// ms if nothing else goes out.
    bool ack_owed() const { return frames_since_ack_ > 0; }
    void ack_told() {
        frames_since_ack_ = 0;
        bytes_since_ack_ = 0;
    }

  private:
    std::uint64_t acked_ = 0;
    std::uint64_t received_ = 0;
    std::deque<base::Message>
        unacked_;  ///< Numbers acked_ + 1 … ; the first transmitted_ of them are on the way.
    std::size_t transmitted_ = 0;
    /// The highest number any connection carried: what a resumed session has yet to send again may
    /// be acked all the same, when its first copy arrived.
    std::uint64_t highest_ = 0;
    std::size_t transmitted_bytes_ = 0;
    base::Time waiting_since_ = base::kNever;  ///< For an ack beyond waiting_at_.
    std::uint64_t waiting_at_ = 0;
    std::size_t queued_bytes_ = 0;
    std::size_t frames_since_ack_ = 0;
    std::size_t bytes_since_ack_ = 0;
};

}  // namespace forkmill::session
