// SPDX-License-Identifier: Apache-2.0
// LocalLink: one connected local socket of a transport: what came in half, what has not gone out.
//
// ReadBuffer is the one block that all links of a transport read into. Invariants: (1) a link's fd
// is in the transport's epoll set with `id` as its data; (2) EPOLLOUT is watched only while the
// kernel refuses bytes. Threading: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/bytes.h"
#include "core/net/framing.h"
#include "core/net/local_socket.h"
#include "core/net/send_queue.h"
#include "core/net/unique_fd.h"

namespace forkmill::net {

class ReadBuffer {
  public:
    explicit ReadBuffer(std::size_t size) : size_(size) {}

    /// Makes room for a read; afterwards [data() + begin, data() + limit()) may be written.
    std::size_t prepare();
    std::byte* data() { return data_; }
    std::size_t limit() const { return size_; }
    void taken(std::size_t end) { used_ = end; }
    const base::Blob& block() const { return block_; }

  private:
    std::size_t size_;
    base::Blob block_;
    std::byte* data_ = nullptr;
    std::size_t used_ = 0;
};

class LocalLink {
  public:
    enum class Got : std::uint8_t {
        Bytes,
        Nothing,
        End,
    };

    LocalLink(UniqueFd fd, ConnId id, int epoll, const LocalLimits& limits, std::string principal);

    /// Reads once. REQUIRES: no unread bytes of another link are left in `buffer`.
    Got read(ReadBuffer& buffer);
    /// The next message of what read() got.
    FrameReader::Step next(ReadBuffer& buffer, base::Message& out) {
        return reader_.next(buffer.block(), begin_, end_, out);
    }

    Sent send(const base::Message& message, SmallBytes& small);
    /// Writes what is queued, as far as the kernel takes it.
    void write();

    ConnId id() const { return id_; }
    bool unsent() const { return !queue_.empty() && !deaf_; }
    const std::string& principal() const { return principal_; }
    /// Why it ended or broke.
    std::string reason() const;

    bool dirty = false;  ///< Stands in the transport's list of links to flush.

  private:
    void watch_writable(bool on);

    UniqueFd fd_;
    ConnId id_;
    int epoll_;
    std::string principal_;
    FrameReader reader_;
    SendQueue queue_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    bool watching_ = false;
    bool deaf_ = false;  ///< The peer reads no more; what it said may still be read.
    int error_ = 0;
};

/// Readies an adopted or accepted fd: non-blocking, closed on exec, large buffers.
void tune_local_socket(int fd);

}  // namespace forkmill::net
