// SPDX-License-Identifier: Apache-2.0
#include "core/net/send_queue.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/net/framing.h"

namespace forkmill::net {

std::byte* SmallBytes::reserve(std::size_t size) {
    // Nobody refers to what was written before: the same, cache-warm bytes are used again.
    if (data_ != nullptr && used_ > 0 && chunk_.unique()) used_ = 0;
    if (data_ == nullptr || kChunk - used_ < size) {
        chunk_ = base::Blob::allocate(kChunk);
        data_ = chunk_.mutable_data();
        used_ = 0;
    }
    return data_ + used_;
}

void SendQueue::append_small(const std::byte* data, std::size_t size, SmallBytes& small) {
    if (size == 0) return;
    std::byte* to = small.reserve(size);
    std::memcpy(to, data, size);
    small.commit(size);
    bytes_ += size;
    if (!empty()) {
        Part& last = parts_.back();
        if (last.small && last.data + last.size == to) {
            last.size += size;
            return;
        }
    }
    parts_.push_back(Part{small.chunk(), to, size, 0, true});
}

bool SendQueue::push(const base::Message& message, SmallBytes& small) {
    if (!empty() && (messages_ >= messages_max_ || bytes_ + message.bytes() > bytes_max_))
        return false;
    std::array<std::byte, kHeaderMax> header;
    append_small(header.data(), write_header(message, header.data()), small);
    const auto append = [&](const base::Blob& frame) {
        if (frame.size() < kCopyBelow) {
            append_small(frame.data(), frame.size(), small);
        } else {
            parts_.push_back(Part{frame, frame.data(), frame.size(), 0, false});
            bytes_ += frame.size();
        }
    };
    append(message.control);
    for (const base::Blob& payload : message.payloads) append(payload);
    ++parts_.back().messages;
    ++messages_;
    return true;
}

void SendQueue::advance(std::size_t count) {
    bytes_ -= count;
    while (count > 0) {
        Part& part = parts_[head_];
        const std::size_t taken = std::min(count, part.size);
        part.data += taken;
        part.size -= taken;
        count -= taken;
        if (part.size > 0) return;
        messages_ -= part.messages;
        part.keep = base::Blob{};
        ++head_;
    }
    if (empty()) {
        parts_.clear();
        head_ = 0;
    }
}

/// Gives the rest bytes of its own, so that the small bytes of all queues are free again.
void SendQueue::detach() {
    parts_.erase(parts_.begin(), parts_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
    for (Part& part : parts_) {
        if (!part.small) continue;
        part.keep = base::Blob::copy({part.data, part.size});
        part.data = part.keep.data();
        part.small = false;
    }
}

SendQueue::Wrote SendQueue::write(int fd) {
    std::array<iovec, 256> pieces;
    while (!empty()) {
        std::size_t count = 0;
        std::size_t offered = 0;
        for (std::size_t i = head_; i < parts_.size() && count < pieces.size(); ++i, ++count) {
            // sendmsg only reads; its interface is older than const.
            pieces[count] = {const_cast<std::byte*>(parts_[i].data), parts_[i].size};
            offered += parts_[i].size;
        }
        msghdr header{};
        header.msg_iov = pieces.data();
        header.msg_iovlen = count;
        const ssize_t sent = ::sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS)
            return Wrote::Broken;
        if (sent > 0) advance(static_cast<std::size_t>(sent));
        if (sent < 0 || static_cast<std::size_t>(sent) < offered) {
            detach();
            return Wrote::Blocked;
        }
    }
    return Wrote::All;
}

}  // namespace forkmill::net
