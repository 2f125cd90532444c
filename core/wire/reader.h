// SPDX-License-Identifier: Apache-2.0
// Cursor: one pull parser over the msgpack bytes of a control frame, for bytes that a stranger
// wrote.
//
// Invariants: (1) no byte is read before it is known to be there; (2) nothing is allocated for a
// length that the frame only claims; (3) the first error stays, with its offset, and every later
// read fails; (4) at most kElementsMax elements are promised by all array heads together, and no
// value that is skipped nests deeper than kDepthMax. Maps and extension types do not occur in a
// control frame: they are Code::BadType. Threading: none; a Cursor is a value.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/wire/codes.h"
#include "core/wire/limits.h"

namespace forkmill::wire {

class Cursor {
  public:
    Cursor() = default;
    /// REQUIRES: start ≤ bytes.size()
    explicit Cursor(base::ByteView bytes, std::size_t start = 0)
        : begin_(bytes.data()), at_(bytes.data() + start), end_(bytes.data() + bytes.size()) {}

    Code code() const { return code_; }
    bool ok() const { return code_ == Code::None; }
    /// Where the next byte stands, or where the first error was found.
    std::size_t offset() const { return static_cast<std::size_t>(at_ - begin_); }
    bool at_end() const { return at_ == end_; }
    /// Elements of the outermost array that were not read yet.
    std::uint32_t fields_left() const { return fields_left_; }

    /// Notes `code` unless an error is known already; always false.
    bool fail(Code code);

    bool read_uint(std::uint64_t& out);
    bool read_uint32(std::uint32_t& out);
    bool read_uint8(std::uint8_t& out);
    bool read_int(std::int64_t& out);
    bool read_int32(std::int32_t& out);
    bool read_bool(bool& out);
    bool read_double(double& out);
    /// The head of an array; its elements are charged to the frame's budget.
    bool read_array(std::uint32_t& count);
    /// msgpack bin.
    bool read_bin(base::ByteView& out);
    /// msgpack str or bin of at most `max` bytes: text of whatever encoding.
    bool read_text(std::string_view& out, std::size_t max);
    /// Steps over one value of any kind but maps and extensions.
    bool skip();

    /// The outermost array: reads its head, then each field is announced by next_field().
    bool open_fields() { return read_array(fields_left_); }
    /// True when another field follows; counts it as read.
    bool next_field() {
        if (fields_left_ == 0 || !ok()) return false;
        --fields_left_;
        return true;
    }
    /// Ignores what a newer peer appended and insists on the exact end of the frame.
    Code finish();

    /// The first byte of the next value, 0xc1 (never used by msgpack) at the end.
    std::uint8_t peek() const { return at_ == end_ ? 0xc1 : std::to_integer<std::uint8_t>(*at_); }

  private:
    std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

    template <class T>
    bool read_big_endian(std::uint64_t& out) {
        if (left() < 1 + sizeof(T)) return fail(Code::Decode);
        T value;
        std::memcpy(&value, at_ + 1, sizeof(T));
        if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
        if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
        if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
        out = value;
        at_ += 1 + sizeof(T);
        return true;
    }
    bool read_wide_uint(std::uint8_t tag, std::uint64_t& out);
    bool read_length(std::uint8_t tag, std::uint64_t& length);
    bool take(std::uint64_t length, base::ByteView& out) {
        if (length > left()) return fail(Code::Decode);
        out = {at_, static_cast<std::size_t>(length)};
        at_ += length;
        return true;
    }
    bool skip_scalar(std::uint8_t tag);

    const std::byte* begin_ = nullptr;
    const std::byte* at_ = nullptr;
    const std::byte* end_ = nullptr;
    std::size_t elements_left_ = kElementsMax;
    std::uint32_t fields_left_ = 0;
    Code code_ = Code::None;
};
/// An array inside a field: its elements are optional from some point on, and newer ones are
/// ignored.
class Nested {
  public:
    explicit Nested(Cursor& cursor) : cursor_(cursor) { cursor_.read_array(left_); }
    /// True when another element follows; counts it as read.
    bool next() {
        if (left_ == 0 || !cursor_.ok()) return false;
        --left_;
        return true;
    }
    /// The same for an element that must be there.
    bool require() { return next() || cursor_.fail(Code::Decode); }
    /// Steps over what is left.
    bool close() {
        while (next()) cursor_.skip();
        return cursor_.ok();
    }

  private:
    Cursor& cursor_;
    std::uint32_t left_ = 0;
};

static_assert(std::endian::native == std::endian::little,
              "msgpack is big-endian, the fast paths swap");

inline bool Cursor::read_uint(std::uint64_t& out) {
    if (code_ != Code::None) return false;
    const std::uint8_t tag = peek();
    if (tag <= 0x7f) {
        out = tag;
        ++at_;
        return true;
    }
    return read_wide_uint(tag, out);
}

inline bool Cursor::read_wide_uint(std::uint8_t tag, std::uint64_t& out) {
    switch (tag) {
        case 0xcc:
            return read_big_endian<std::uint8_t>(out);
        case 0xcd:
            return read_big_endian<std::uint16_t>(out);
        case 0xce:
            return read_big_endian<std::uint32_t>(out);
        case 0xcf:
            return read_big_endian<std::uint64_t>(out);
        default:
            return fail(at_end() ? Code::Decode : Code::BadType);
    }
}

inline bool Cursor::read_bin(base::ByteView& out) {
    if (code_ != Code::None) return false;
    const std::uint8_t tag = peek();
    if (tag == 0xc4) {  // Small bodies are nearly all of them.
        if (left() < 2) return fail(Code::Decode);
        const auto length = std::to_integer<std::size_t>(at_[1]);
        at_ += 2;
        return take(length, out);
    }
    if (tag != 0xc5 && tag != 0xc6) return fail(at_end() ? Code::Decode : Code::BadType);
    std::uint64_t length = 0;
    return read_length(tag, length) && take(length, out);
}

}  // namespace forkmill::wire
