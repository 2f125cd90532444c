// SPDX-License-Identifier: Apache-2.0
// Writer: msgpack bytes into one buffer that grows and is re-used.
//
// Invariants: (1) after reserve(n) the next n bytes are written without a check; (2) lengths that
// are unknown in advance take five bytes (0xdd) and are patched. Threading: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "core/base/bytes.h"

namespace forkmill::wire {

class Writer {
  public:
    std::size_t size() const { return size_; }
    base::ByteView view() const { return {data_.get(), size_}; }
    /// Keeps the first `size` bytes; the buffer stays.
    void truncate(std::size_t size) { size_ = size; }

    void put_uint(std::uint64_t value) {
        reserve(9);
        if (value <= 0x7f) {
            raw(static_cast<std::uint8_t>(value));
        } else if (value <= 0xff) {
            raw(0xcc);
            raw(static_cast<std::uint8_t>(value));
        } else if (value <= 0xffff) {
            raw(0xcd);
            raw_big_endian(__builtin_bswap16(static_cast<std::uint16_t>(value)));
        } else if (value <= 0xffffffff) {
            raw(0xce);
            raw_big_endian(__builtin_bswap32(static_cast<std::uint32_t>(value)));
        } else {
            raw(0xcf);
            raw_big_endian(__builtin_bswap64(value));
        }
    }
    /// Nine bytes whatever the value, so that it can be patched.
    void put_wide_uint(std::uint64_t value) {
        reserve(9);
        raw(0xcf);
        raw_big_endian(__builtin_bswap64(value));
    }
    void put_int(std::int64_t value);
    void put_bool(bool value) {
        reserve(1);
        raw(value ? 0xc3 : 0xc2);
    }
    void put_double(double value);
    /// The shortest head.
    void put_array(std::uint32_t count);
    /// A head of five bytes to be patched; returns where it stands.
    std::size_t put_open_array() {
        reserve(5);
        const std::size_t at = size_;
        raw(0xdd);
        raw_big_endian(std::uint32_t{0});
        return at;
    }
    void patch_array(std::size_t at, std::uint32_t count) {
        const std::uint32_t swapped = __builtin_bswap32(count);
        std::memcpy(data_.get() + at + 1, &swapped, sizeof(swapped));
    }
    void patch_wide_uint(std::size_t at, std::uint64_t value) {
        const std::uint64_t swapped = __builtin_bswap64(value);
        std::memcpy(data_.get() + at + 1, &swapped, sizeof(swapped));
    }
    void patch_byte(std::size_t at, std::uint8_t value) { data_[at] = std::byte{value}; }
    void put_bin(base::ByteView bytes) {
        reserve(5 + bytes.size());
        if (bytes.size() <= 0xff) {
            raw(0xc4);
            raw(static_cast<std::uint8_t>(bytes.size()));
        } else if (bytes.size() <= 0xffff) {
            raw(0xc5);
            raw_big_endian(__builtin_bswap16(static_cast<std::uint16_t>(bytes.size())));
        } else {
            raw(0xc6);
            raw_big_endian(__builtin_bswap32(static_cast<std::uint32_t>(bytes.size())));
        }
        raw_bytes(bytes.data(), bytes.size());
    }
    /// str if the text is UTF-8, else bin: readers take either for text.
    void put_text(std::string_view text);
    /// The same, cut to `max` bytes at a character's boundary.
    void put_text(std::string_view text, std::size_t max);
    /// What was written, leaving the writer empty: up to `copy_max` bytes are copied and the buffer
    /// stays, beyond that the buffer itself goes along.
    base::Blob release(std::size_t copy_max);
    void put_raw(base::ByteView bytes) {
        reserve(bytes.size());
        raw_bytes(bytes.data(), bytes.size());
    }

  private:
    void reserve(std::size_t more) {
        if (capacity_ - size_ < more) [[unlikely]]
            grow(more);
    }
    void grow(std::size_t more);
    void raw(std::uint8_t value) { data_[size_++] = std::byte{value}; }
    template <class T>
    void raw_big_endian(T swapped) {
        std::memcpy(data_.get() + size_, &swapped, sizeof(T));
        size_ += sizeof(T);
    }
    void raw_bytes(const std::byte* bytes, std::size_t size) {
        if (size != 0) std::memcpy(data_.get() + size_, bytes, size);
        size_ += size;
    }

    std::unique_ptr<std::byte[]> data_;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace forkmill::wire
