// SPDX-License-Identifier: Apache-2.0
// SendQueue: one connection's messages that the kernel has not taken yet; SmallBytes: where a
// transport gathers small frames so that many of them leave as one piece.
//
// Invariants: (1) bytes leave in the order of push(); (2) after write() nothing in the queue refers
// to the SmallBytes any more, so those are empty between turns and a stalled peer pins only what it
// has not read; (3) both bounds hold. Threading: one owner; a SmallBytes serves all queues of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/bytes.h"

namespace forkmill::net {

class SmallBytes {
  public:
    static constexpr std::size_t kChunk = 64 * 1024;

    /// Room for `size` ≤ kChunk bytes, right behind the last ones when they fit there.
    std::byte* reserve(std::size_t size);
    void commit(std::size_t size) { used_ += size; }
    const base::Blob& chunk() const { return chunk_; }

  private:
    base::Blob chunk_;
    std::byte* data_ = nullptr;
    std::size_t used_ = 0;
};

class SendQueue {
  public:
    static constexpr std::size_t kCopyBelow = 1024;  ///< Smaller frames are copied together.

    enum class Wrote : std::uint8_t { All, Blocked, Broken };

    SendQueue(std::size_t messages_max, std::size_t bytes_max)
        : messages_max_(messages_max), bytes_max_(bytes_max) {}

    /// False when it does not fit. An empty queue takes any message.
    bool push(const base::Message& message, SmallBytes& small);
    /// As much as the socket takes, many messages per call.
    Wrote write(int fd);

    bool empty() const { return head_ == parts_.size(); }
    std::size_t bytes() const { return bytes_; }
    std::size_t messages() const { return messages_; }

  private:
    struct Part {
        base::Blob keep;
        const std::byte* data = nullptr;
        std::size_t size = 0;
        std::uint32_t messages = 0;  ///< That end in this part.
        bool small = false;          ///< Lies in the SmallBytes.
    };

    void append_small(const std::byte* data, std::size_t size, SmallBytes& small);
    void advance(std::size_t count);
    void detach();

    std::vector<Part> parts_;
    std::size_t head_ = 0;
    std::size_t bytes_ = 0;
    std::size_t messages_ = 0;
    std::size_t messages_max_;
    std::size_t bytes_max_;
};

}  // namespace forkmill::net
