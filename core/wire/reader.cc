// SPDX-License-Identifier: Apache-2.0
#include "core/wire/reader.h"

#include <array>
#include <limits>

namespace forkmill::wire {

bool Cursor::fail(Code code) {
    if (code_ == Code::None) code_ = code;
    return false;
}

bool Cursor::read_uint32(std::uint32_t& out) {
    std::uint64_t wide = 0;
    const std::byte* const start = at_;
    if (!read_uint(wide)) return false;
    if (wide > std::numeric_limits<std::uint32_t>::max()) {
        at_ = start;  // The offset of an error is that of the value.
        return fail(Code::InvalidRange);
    }
    out = static_cast<std::uint32_t>(wide);
    return true;
}

bool Cursor::read_uint8(std::uint8_t& out) {
    std::uint32_t wide = 0;
    const std::byte* const start = at_;
    if (!read_uint32(wide)) return false;
    if (wide > std::numeric_limits<std::uint8_t>::max()) {
        at_ = start;
        return fail(Code::InvalidRange);
    }
    out = static_cast<std::uint8_t>(wide);
    return true;
}

bool Cursor::read_int(std::int64_t& out) {
    if (!ok()) return false;
    const std::uint8_t tag = peek();
    std::uint64_t bits = 0;
    if (tag >= 0xe0) {
        out = static_cast<std::int8_t>(tag);
        ++at_;
        return true;
    }
    switch (tag) {
        case 0xd0:
            if (!read_big_endian<std::uint8_t>(bits)) return false;
            out = static_cast<std::int8_t>(bits);
            return true;
        case 0xd1:
            if (!read_big_endian<std::uint16_t>(bits)) return false;
            out = static_cast<std::int16_t>(bits);
            return true;
        case 0xd2:
            if (!read_big_endian<std::uint32_t>(bits)) return false;
            out = static_cast<std::int32_t>(bits);
            return true;
        case 0xd3:
            if (!read_big_endian<std::uint64_t>(bits)) return false;
            out = static_cast<std::int64_t>(bits);
            return true;
        default:
            break;
    }
    const std::byte* const start = at_;
    if (!read_uint(bits)) return false;
    if (bits > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        at_ = start;
        return fail(Code::InvalidRange);
    }
    out = static_cast<std::int64_t>(bits);
    return true;
}

bool Cursor::read_int32(std::int32_t& out) {
    std::int64_t wide = 0;
    const std::byte* const start = at_;
    if (!read_int(wide)) return false;
    if (wide < std::numeric_limits<std::int32_t>::min() ||
        wide > std::numeric_limits<std::int32_t>::max()) {
        at_ = start;
        return fail(Code::InvalidRange);
    }
    out = static_cast<std::int32_t>(wide);
    return true;
}

bool Cursor::read_bool(bool& out) {
    if (!ok()) return false;
    const std::uint8_t tag = peek();
    if (tag != 0xc2 && tag != 0xc3) return fail(at_end() ? Code::Decode : Code::BadType);
    out = tag == 0xc3;
    ++at_;
    return true;
}

bool Cursor::read_double(double& out) {
    if (!ok()) return false;
    std::uint64_t bits = 0;
    switch (peek()) {
        case 0xca:
            if (!read_big_endian<std::uint32_t>(bits)) return false;
            out = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
            return true;
        case 0xcb:
            if (!read_big_endian<std::uint64_t>(bits)) return false;
            out = std::bit_cast<double>(bits);
            return true;
        default:
            return fail(at_end() ? Code::Decode : Code::BadType);
    }
}

bool Cursor::read_array(std::uint32_t& count) {
    if (!ok()) return false;
    const std::uint8_t tag = peek();
    const std::byte* const start = at_;
    std::uint64_t claimed = 0;
    if (tag >= 0x90 && tag <= 0x9f) {
        claimed = tag & 0x0fU;
        ++at_;
    } else if (tag == 0xdc) {
        if (!read_big_endian<std::uint16_t>(claimed)) return false;
    } else if (tag == 0xdd) {
        if (!read_big_endian<std::uint32_t>(claimed)) return false;
    } else {
        return fail(at_end() ? Code::Decode : Code::BadType);
    }
    // A head promises more than it costs to send: judged before anything believes it.
    const bool too_many = claimed > elements_left_;
    if (too_many || claimed > left()) {
        at_ = start;
        return fail(too_many ? Code::LimitElements : Code::Decode);
    }
    elements_left_ -= static_cast<std::size_t>(claimed);
    count = static_cast<std::uint32_t>(claimed);
    return true;
}

/// Reads the length behind the tag of a str or bin.
bool Cursor::read_length(std::uint8_t tag, std::uint64_t& length) {
    switch (tag) {
        case 0xc4:
        case 0xd9:
            return read_big_endian<std::uint8_t>(length);
        case 0xc5:
        case 0xda:
            return read_big_endian<std::uint16_t>(length);
        case 0xc6:
        case 0xdb:
            return read_big_endian<std::uint32_t>(length);
        default:
            break;
    }
    if ((tag & 0xe0) != 0xa0) return fail(at_end() ? Code::Decode : Code::BadType);
    length = tag & 0x1fU;
    ++at_;
    return true;
}

bool Cursor::read_text(std::string_view& out, std::size_t max) {
    if (!ok()) return false;
    const std::byte* const start = at_;
    std::uint64_t length = 0;
    base::ByteView bytes;
    if (!read_length(peek(), length)) return false;
    if (length > max) {
        at_ = start;
        return fail(Code::LimitText);
    }
    if (!take(length, bytes)) return false;
    out = base::text_of(bytes);
    return true;
}

bool Cursor::skip_scalar(std::uint8_t tag) {
    std::uint64_t length = 0;
    base::ByteView bytes;
    switch (tag) {
        case 0xc0:
        case 0xc2:
        case 0xc3:
            return take(1, bytes);
        case 0xcc:
        case 0xd0:
            return take(2, bytes);
        case 0xcd:
        case 0xd1:
            return take(3, bytes);
        case 0xca:
        case 0xce:
        case 0xd2:
            return take(5, bytes);
        case 0xcb:
        case 0xcf:
        case 0xd3:
            return take(9, bytes);
        default:
            break;
    }
    if (tag <= 0x7f || tag >= 0xe0) return take(1, bytes);
    return read_length(tag, length) && take(length, bytes);
}

bool Cursor::skip() {
    // A tail element stands inside the outermost array: depth 1 is taken.
    std::array<std::uint32_t, kDepthMax - 1> open{};
    std::size_t depth = 0;
    if (!ok()) return false;
    while (true) {
        const std::uint8_t tag = peek();
        const bool array = (tag >= 0x90 && tag <= 0x9f) || tag == 0xdc || tag == 0xdd;
        if (array) {
            if (depth == open.size()) return fail(Code::LimitDepth);
            if (!read_array(open[depth])) return false;
            ++depth;
        } else if (at_end()) {
            return fail(Code::Decode);
        } else if (!skip_scalar(tag)) {
            return false;
        }
        while (depth > 0 && open[depth - 1] == 0) --depth;
        if (depth == 0) return true;
        --open[depth - 1];
    }
}

Code Cursor::finish() {
    while (next_field()) {
        if (!skip()) return code_;
    }
    if (ok() && !at_end()) fail(Code::DecodeTrailing);
    return code_;
}

}  // namespace forkmill::wire
