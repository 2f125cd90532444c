// SPDX-License-Identifier: Apache-2.0
#include "core/wire/writer.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/wire/names.h"

namespace forkmill::wire {

namespace {

constexpr std::size_t kFirstCapacity = 4096;

}  // namespace

void Writer::grow(std::size_t more) {
    const std::size_t capacity = std::max({kFirstCapacity, capacity_ * 2, size_ + more});
    // Not value-initialised: whatever is read was written before.
    std::unique_ptr<std::byte[]> data{new std::byte[capacity]};
    if (size_ != 0) std::memcpy(data.get(), data_.get(), size_);
    data_ = std::move(data);
    capacity_ = capacity;
}

base::Blob Writer::release(std::size_t copy_max) {
    const std::size_t size = std::exchange(size_, 0);
    if (size <= copy_max) return base::Blob::copy({data_.get(), size});
    capacity_ = 0;
    std::byte* const bytes = data_.get();
    return base::Blob::adopt(std::move(data_), bytes, size);
}

void Writer::put_int(std::int64_t value) {
    if (value >= 0) return put_uint(static_cast<std::uint64_t>(value));
    reserve(9);
    if (value >= -32) {
        raw(static_cast<std::uint8_t>(value));
    } else {
        raw(0xd3);
        raw_big_endian(__builtin_bswap64(static_cast<std::uint64_t>(value)));
    }
}

void Writer::put_double(double value) {
    reserve(9);
    raw(0xcb);
    raw_big_endian(__builtin_bswap64(std::bit_cast<std::uint64_t>(value)));
}

void Writer::put_array(std::uint32_t count) {
    reserve(5);
    if (count <= 15) {
        raw(static_cast<std::uint8_t>(0x90 | count));
    } else if (count <= 0xffff) {
        raw(0xdc);
        raw_big_endian(__builtin_bswap16(static_cast<std::uint16_t>(count)));
    } else {
        raw(0xdd);
        raw_big_endian(__builtin_bswap32(count));
    }
}

void Writer::put_text(std::string_view text) {
    if (!valid_utf8(text)) return put_bin(base::bytes_of(text));
    reserve(5 + text.size());
    if (text.size() <= 31) {
        raw(static_cast<std::uint8_t>(0xa0 | text.size()));
    } else if (text.size() <= 0xff) {
        raw(0xd9);
        raw(static_cast<std::uint8_t>(text.size()));
    } else if (text.size() <= 0xffff) {
        raw(0xda);
        raw_big_endian(__builtin_bswap16(static_cast<std::uint16_t>(text.size())));
    } else {
        raw(0xdb);
        raw_big_endian(__builtin_bswap32(static_cast<std::uint32_t>(text.size())));
    }
    raw_bytes(reinterpret_cast<const std::byte*>(text.data()), text.size());
}

void Writer::put_text(std::string_view text, std::size_t max) {
    put_text(cut_text(text, max));
}

}  // namespace forkmill::wire
