// SPDX-License-Identifier: Apache-2.0
// FrameReader: one connection's bytes, cut into messages (framing of local sockets, see
// local_socket.h).
//
// Sans-io. Invariants: (1) counts and lengths are checked before anything is allocated, and a frame
// is allocated only when its turn comes; (2) a small frame, and a control frame of any size, that
// lies whole in the chunk shares the chunk; a payload of kOwnBlock bytes and more has a block of
// its own, since it may be kept long. Threading: one owner.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/base/bytes.h"
#include "core/wire/limits.h"

namespace forkmill::net {

class FrameReader {
  public:
    static constexpr std::size_t kOwnBlock = 4096;

    enum class Step : std::uint8_t {
        Message,  ///< `out` is the next message.
        More,     ///< The chunk is used up.
        Broken,   ///< reason() says how; nothing more can be read.
    };

    /// Takes bytes from chunk[begin, end) and moves `begin` past them.
    Step next(const base::Blob& chunk, std::size_t& begin, std::size_t end, base::Message& out);

    /// Where the next bytes of a large frame belong: reading them there saves a copy. May be empty.
    std::span<std::byte> missing() {
        return {frame_data_ + frame_have_, frame_.size() - frame_have_};
    }
    /// `count` bytes were put into missing().
    void filled(std::size_t count) { frame_have_ += count; }

    /// A message has begun and is not whole.
    bool inside() const { return header_have_ != 0; }
    const std::string& reason() const { return reason_; }

  private:
    enum class Header : std::uint8_t { Whole, Partial, Bad };
    Header read_header(const base::Blob& chunk, std::size_t& begin, std::size_t end);
    bool read_frame(const base::Blob& chunk, std::size_t& begin, std::size_t end);
    void take(base::Blob frame);

    std::array<std::byte, 4 + 4 * wire::kMessageFramesMax> header_{};
    std::size_t header_have_ = 0;
    std::size_t frames_ = 0;  ///< Of this message; 0 while its count is not known.
    std::array<std::uint32_t, wire::kMessageFramesMax> sizes_{};
    std::size_t at_ = 0;  ///< Frames taken so far.
    base::Message message_;
    base::Blob frame_;  ///< The one being filled, if it does not lie whole in a chunk.
    std::byte* frame_data_ = nullptr;
    std::size_t frame_have_ = 0;
    bool filling_ = false;
    std::string reason_;
};

/// Writes the header of `message` to `to` and returns its size; `to` holds kHeaderMax bytes.
inline constexpr std::size_t kHeaderMax = 4 + 4 * wire::kMessageFramesMax;
std::size_t write_header(const base::Message& message, std::byte* to);
/// Whether the framing can carry it (frames, bytes); one that cannot is a bug of the sender.
bool fits_framing(const base::Message& message);

}  // namespace forkmill::net
