// SPDX-License-Identifier: Apache-2.0
// Packer and Unpacker: the msgpack of arguments and results, written and read strictly and without
// msgpack.hpp.
//
// Unpacker throws PackError for whatever does not fit: ranges are checked, nothing is narrowed in
// silence, and a length is believed only as far as there are bytes. Threading: values.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "forkmill/detail/export.h"
#include "forkmill/detail/seam.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

static_assert(std::endian::native == std::endian::little,
              "forkmill: raw blocks are little-endian, and so must be this machine");

class Packer {
  public:
    explicit Packer(Buffer& out) : out_(out) {}

    void nil() { byte(0xc0); }
    void boolean(bool value) { byte(value ? 0xc3 : 0xc2); }
    void unsigned_integer(std::uint64_t value) {
        if (value < 0x80) return byte(static_cast<std::uint8_t>(value));
        if (value <= 0xff) return tagged(0xcc, static_cast<std::uint8_t>(value));
        if (value <= 0xffff)
            return tagged(0xcd, __builtin_bswap16(static_cast<std::uint16_t>(value)));
        if (value <= 0xffffffff)
            return tagged(0xce, __builtin_bswap32(static_cast<std::uint32_t>(value)));
        tagged(0xcf, __builtin_bswap64(value));
    }
    void signed_integer(std::int64_t value) {
        if (value >= 0) return unsigned_integer(static_cast<std::uint64_t>(value));
        if (value >= -32) return byte(static_cast<std::uint8_t>(value));
        if (value >= INT8_MIN) return tagged(0xd0, static_cast<std::uint8_t>(value));
        if (value >= INT16_MIN)
            return tagged(0xd1, __builtin_bswap16(static_cast<std::uint16_t>(value)));
        if (value >= INT32_MIN)
            return tagged(0xd2, __builtin_bswap32(static_cast<std::uint32_t>(value)));
        tagged(0xd3, __builtin_bswap64(static_cast<std::uint64_t>(value)));
    }
    void single(float value) {
        tagged(0xca, __builtin_bswap32(std::bit_cast<std::uint32_t>(value)));
    }
    void real(double value) {
        tagged(0xcb, __builtin_bswap64(std::bit_cast<std::uint64_t>(value)));
    }
    void text(std::string_view value) {
        if (value.size() < 32) {
            byte(static_cast<std::uint8_t>(0xa0 | value.size()));
        } else {
            length(value.size(), 0xd9, 0xda, 0xdb);
        }
        raw(value.data(), value.size());
    }
    void binary(const void* data, std::size_t size) {
        length(size, 0xc4, 0xc5, 0xc6);
        raw(data, size);
    }
    void array(std::size_t size) {
        if (size < 16) return byte(static_cast<std::uint8_t>(0x90 | size));
        if (size <= 0xffff)
            return tagged(0xdc, __builtin_bswap16(static_cast<std::uint16_t>(size)));
        tagged(0xdd, __builtin_bswap32(static_cast<std::uint32_t>(size)));
    }
    void map(std::size_t size) {
        if (size < 16) return byte(static_cast<std::uint8_t>(0x80 | size));
        if (size <= 0xffff)
            return tagged(0xde, __builtin_bswap16(static_cast<std::uint16_t>(size)));
        tagged(0xdf, __builtin_bswap32(static_cast<std::uint32_t>(size)));
    }
    Buffer& buffer() { return out_; }

  private:
    void byte(std::uint8_t value) { out_.push_back(static_cast<std::byte>(value)); }
    void raw(const void* data, std::size_t size) {
        const auto* bytes = static_cast<const std::byte*>(data);
        out_.insert(out_.end(), bytes, bytes + size);
    }
    template <class T>
    void tagged(std::uint8_t tag, T big_endian) {
        byte(tag);
        raw(&big_endian, sizeof big_endian);
    }
    void length(std::size_t size, std::uint8_t one, std::uint8_t two, std::uint8_t four) {
        if (size <= 0xff) return tagged(one, static_cast<std::uint8_t>(size));
        if (size <= 0xffff) return tagged(two, __builtin_bswap16(static_cast<std::uint16_t>(size)));
        tagged(four, __builtin_bswap32(static_cast<std::uint32_t>(size)));
    }

    Buffer& out_;
};

class FORKMILL_API Unpacker {
  public:
    explicit Unpacker(Bytes bytes) : bytes_(bytes) {}

    bool at_nil() const { return at_ < bytes_.size() && peek() == 0xc0; }
    bool at_binary() const { return at_ < bytes_.size() && peek() >= 0xc4 && peek() <= 0xc6; }
    void nil();
    bool boolean();
    std::uint64_t unsigned_integer(std::uint64_t max);
    std::int64_t signed_integer(std::int64_t min, std::int64_t max);
    double real();
    std::string_view text();
    Bytes binary();
    /// Number of elements; never more than there are bytes left.
    std::size_t array();
    std::size_t map();
    /// Passes over one whole value, whatever it is.
    void skip();
    void end() const;
    std::size_t left() const { return bytes_.size() - at_; }

    /// What follows, in words, for an error: "300", "a text", "an array of 3".
    std::string describe_next() const;
    [[noreturn]] void mismatch(const std::string& expected) const;

  private:
    std::uint8_t peek() const { return static_cast<std::uint8_t>(bytes_[at_]); }
    std::uint8_t next();
    Bytes take(std::size_t size);
    std::uint64_t number(std::size_t width);
    std::size_t counted(std::uint64_t count, std::size_t least);

    Bytes bytes_;
    std::size_t at_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
