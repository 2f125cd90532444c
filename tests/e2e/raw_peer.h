// SPDX-License-Identifier: Apache-2.0
// RawPeer: somebody on a tcp port who speaks ZMTP 3.0 by hand, and so may say what no library
// would.
//
// Threading: one owner. Nothing here throws for what the other side does; it says so instead.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/wire/codec.h"

namespace forkmill::e2e {

class RawPeer {
  public:
    explicit RawPeer(int port);
    ~RawPeer();
    RawPeer(RawPeer&& other) noexcept;
    RawPeer(const RawPeer&) = delete;
    RawPeer& operator=(const RawPeer&) = delete;

    /// Greeting and READY of a DEALER without security. False: the other side hung up.
    bool greet();
    /// Bytes as they are. False: the other side hung up.
    bool say_bytes(std::string_view bytes) const;
    /// One frame of a message; `more` follow.
    bool say_frame(std::string_view bytes, bool more = false) const;
    bool say(const base::Message& message) const;

    /// The next message (its first frame) within a few seconds.
    std::optional<std::string> hear();
    /// The next message of that kind, others passed over.
    template <class T>
    std::optional<T> hear_as(wire::Kind kind) {
        while (const std::optional<std::string> text = hear()) {
            base::Message message;
            message.control = base::Blob::copy(base::bytes_of(*text));
            wire::Header header;
            wire::Cursor cursor;
            T value;
            if (wire::decode_header(message, header, cursor) == wire::Code::None &&
                header.kind == kind && wire::decode(cursor, value) == wire::Code::None) {
                heard_ = header;
                return value;
            }
        }
        return std::nullopt;
    }
    const wire::Header& heard() const { return heard_; }
    /// The other side ends the connection within `limit`.
    bool hung_up(std::chrono::milliseconds limit);

  private:
    bool fill(std::size_t bytes, std::chrono::milliseconds limit);
    std::string take(std::size_t bytes);

    int fd_ = -1;
    std::string input_;
    wire::Header heard_;
};

}  // namespace forkmill::e2e
