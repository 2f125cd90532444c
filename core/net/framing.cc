// SPDX-License-Identifier: Apache-2.0
#include "core/net/framing.h"

#include <endian.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace forkmill::net {

namespace {

std::uint32_t read_u32(const std::byte* from) {
    std::uint32_t value = 0;
    std::memcpy(&value, from, sizeof value);
    return le32toh(value);
}

void write_u32(std::byte* to, std::size_t value) {
    const std::uint32_t little = htole32(static_cast<std::uint32_t>(value));
    std::memcpy(to, &little, sizeof little);
}

}  // namespace

FrameReader::Header FrameReader::read_header(const base::Blob& chunk,
                                             std::size_t& begin,
                                             std::size_t end) {
    const auto have = [&](std::size_t needed) {
        const std::size_t count = std::min(needed - header_have_, end - begin);
        if (count > 0) std::memcpy(header_.data() + header_have_, chunk.data() + begin, count);
        header_have_ += count;
        begin += count;
        return header_have_ == needed;
    };
    if (frames_ == 0) {
        if (!have(4)) return Header::Partial;
        frames_ = read_u32(header_.data());
        if (frames_ == 0 || frames_ > wire::kMessageFramesMax) {
            reason_ = "a message of " + std::to_string(frames_) + " frames; expected 1 to " +
                      std::to_string(wire::kMessageFramesMax);
            return Header::Bad;
        }
    }
    if (!have(4 + 4 * frames_)) return Header::Partial;
    std::size_t sum = 0;
    for (std::size_t i = 0; i < frames_; ++i) {
        sizes_[i] = read_u32(header_.data() + 4 + 4 * i);
        sum += sizes_[i];
        if (sizes_[i] > wire::kFrameMax || sum > wire::kMessageBytesMax) {
            reason_ = "a frame of " + std::to_string(sizes_[i]) +
                      " bytes in a message of at least " + std::to_string(sum) +
                      "; expected at most " + std::to_string(wire::kFrameMax) + " and " +
                      std::to_string(wire::kMessageBytesMax);
            return Header::Bad;
        }
    }
    message_.payloads.reserve(frames_ - 1);
    return Header::Whole;
}

void FrameReader::take(base::Blob frame) {
    if (at_++ == 0) {
        message_.control = std::move(frame);
    } else {
        message_.payloads.push_back(std::move(frame));
    }
}

/// False when the chunk ends before the frame does.
bool FrameReader::read_frame(const base::Blob& chunk, std::size_t& begin, std::size_t end) {
    const std::size_t size = sizes_[at_];
    if (!filling_) {
        if (size <= end - begin && (size < kOwnBlock || at_ == 0)) {
            take(chunk.slice(begin, size));
            begin += size;
            return true;
        }
        frame_ = base::Blob::allocate(size);
        frame_data_ = frame_.mutable_data();
        frame_have_ = 0;
        filling_ = true;
    }
    const std::size_t count = std::min(size - frame_have_, end - begin);
    if (count > 0) std::memcpy(frame_data_ + frame_have_, chunk.data() + begin, count);
    frame_have_ += count;
    begin += count;
    if (frame_have_ < size) return false;
    filling_ = false;
    frame_data_ = nullptr;
    frame_have_ = 0;
    take(std::exchange(frame_, base::Blob{}));
    return true;
}

FrameReader::Step FrameReader::next(const base::Blob& chunk,
                                    std::size_t& begin,
                                    std::size_t end,
                                    base::Message& out) {
    if (!reason_.empty()) return Step::Broken;
    if (frames_ == 0 || header_have_ < 4 + 4 * frames_) {
        switch (read_header(chunk, begin, end)) {
            case Header::Whole:
                break;
            case Header::Partial:
                return Step::More;
            case Header::Bad:
                return Step::Broken;
        }
    }
    while (at_ < frames_) {
        if (!read_frame(chunk, begin, end)) return Step::More;
    }
    out = std::exchange(message_, base::Message{});
    header_have_ = frames_ = at_ = 0;
    return Step::Message;
}

std::size_t write_header(const base::Message& message, std::byte* to) {
    write_u32(to, 1 + message.payloads.size());
    write_u32(to + 4, message.control.size());
    std::size_t at = 8;
    for (const base::Blob& payload : message.payloads) {
        write_u32(to + at, payload.size());
        at += 4;
    }
    return at;
}

bool fits_framing(const base::Message& message) {
    if (1 + message.payloads.size() > wire::kMessageFramesMax ||
        message.control.size() > wire::kFrameMax)
        return false;
    std::size_t sum = message.control.size();
    for (const base::Blob& payload : message.payloads) {
        if (payload.size() > wire::kFrameMax) return false;
        sum += payload.size();
    }
    return sum <= wire::kMessageBytesMax;
}

}  // namespace forkmill::net
