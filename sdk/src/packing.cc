// SPDX-License-Identifier: Apache-2.0
#include "forkmill/detail/packing.h"

#include <array>

#include "forkmill/codec.h"
#include "forkmill/errors.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

std::uint8_t Unpacker::next() {
    if (at_ >= bytes_.size()) throw PackError("expected more, but the bytes end here");
    return static_cast<std::uint8_t>(bytes_[at_++]);
}

Bytes Unpacker::take(std::size_t size) {
    if (size > left())
        throw PackError("expected " + std::to_string(size) + " bytes, got " +
                        std::to_string(left()));
    const Bytes part = bytes_.subspan(at_, size);
    at_ += size;
    return part;
}

std::uint64_t Unpacker::number(std::size_t width) {
    std::uint64_t value = 0;
    for (const std::byte b : take(width)) value = value << 8 | static_cast<std::uint64_t>(b);
    return value;
}

std::size_t Unpacker::counted(std::uint64_t count, std::size_t least) {
    if (count > left() / least)
        throw PackError("expected " + std::to_string(count) +
                        " elements, but the bytes end before");
    return static_cast<std::size_t>(count);
}

std::string Unpacker::describe_next() const {
    if (at_ >= bytes_.size()) return "nothing";
    const std::uint8_t tag = peek();
    Unpacker copy = *this;
    if (tag < 0x80 || (tag >= 0xcc && tag <= 0xcf))
        return std::to_string(copy.unsigned_integer(UINT64_MAX));
    if (tag >= 0xe0 || (tag >= 0xd0 && tag <= 0xd3))
        return std::to_string(copy.signed_integer(INT64_MIN, INT64_MAX));
    if (tag == 0xca || tag == 0xcb) return std::to_string(copy.real());
    if ((tag & 0xe0) == 0xa0 || (tag >= 0xd9 && tag <= 0xdb)) return "a text";
    if (tag >= 0xc4 && tag <= 0xc6) return "binary bytes";
    if ((tag & 0xf0) == 0x90 || tag == 0xdc || tag == 0xdd) return "an array";
    if ((tag & 0xf0) == 0x80 || tag == 0xde || tag == 0xdf) return "a map";
    if (tag == 0xc0) return "nil";
    if (tag == 0xc2 || tag == 0xc3) return "a boolean";
    return "something unknown";
}

void Unpacker::mismatch(const std::string& expected) const {
    throw PackError("expected " + expected + ", got " + describe_next());
}

void Unpacker::nil() {
    if (!at_nil()) mismatch("nil");
    ++at_;
}

bool Unpacker::boolean() {
    if (left() == 0 || (peek() != 0xc2 && peek() != 0xc3)) mismatch("bool");
    return next() == 0xc3;
}

std::uint64_t Unpacker::unsigned_integer(std::uint64_t max) {
    const std::size_t start = at_;
    const auto refuse = [&](const std::string& got) {
        throw PackError("expected an integer from 0 to " + std::to_string(max) + ", got " + got);
    };
    if (left() == 0) refuse("nothing");
    const std::uint8_t tag = next();
    std::uint64_t value = 0;
    if (tag < 0x80) {
        value = tag;
    } else if (tag >= 0xcc && tag <= 0xcf) {
        value = number(std::size_t{1} << (tag - 0xcc));
    } else {
        at_ = start;
        if (tag >= 0xe0 || (tag >= 0xd0 && tag <= 0xd3)) {
            const std::int64_t small = signed_integer(INT64_MIN, INT64_MAX);
            if (small < 0) refuse(std::to_string(small));
            value = static_cast<std::uint64_t>(small);
        } else {
            refuse(describe_next());
        }
    }
    if (value > max) refuse(std::to_string(value));
    return value;
}

std::int64_t Unpacker::signed_integer(std::int64_t min, std::int64_t max) {
    const std::size_t start = at_;
    const auto refuse = [&](const std::string& got) {
        throw PackError("expected an integer from " + std::to_string(min) + " to " +
                        std::to_string(max) + ", got " + got);
    };
    if (left() == 0) refuse("nothing");
    const std::uint8_t tag = next();
    std::int64_t value = 0;
    if (tag >= 0xe0) {
        value = static_cast<std::int8_t>(tag);
    } else if (tag == 0xd0) {
        value = static_cast<std::int8_t>(number(1));
    } else if (tag == 0xd1) {
        value = static_cast<std::int16_t>(number(2));
    } else if (tag == 0xd2) {
        value = static_cast<std::int32_t>(number(4));
    } else if (tag == 0xd3) {
        value = static_cast<std::int64_t>(number(8));
    } else if (tag < 0x80 || (tag >= 0xcc && tag <= 0xcf)) {
        at_ = start;
        const std::uint64_t wide = unsigned_integer(UINT64_MAX);
        if (wide > static_cast<std::uint64_t>(INT64_MAX)) refuse(std::to_string(wide));
        value = static_cast<std::int64_t>(wide);
    } else {
        at_ = start;
        refuse(describe_next());
    }
    if (value < min || value > max) refuse(std::to_string(value));
    return value;
}

double Unpacker::real() {
    if (left() == 0) mismatch("a number");
    const std::uint8_t tag = peek();
    if (tag == 0xca) {
        ++at_;
        return std::bit_cast<float>(static_cast<std::uint32_t>(number(4)));
    }
    if (tag == 0xcb) {
        ++at_;
        return std::bit_cast<double>(number(8));
    }
    constexpr std::int64_t kExact = std::int64_t{1} << 53;  // Beyond it a double skips integers.
    if (tag < 0x80 || tag >= 0xe0 || (tag >= 0xcc && tag <= 0xd3))
        return static_cast<double>(signed_integer(-kExact, kExact));
    mismatch("a number");
}

std::string_view Unpacker::text() {
    if (left() == 0) mismatch("str");
    const std::uint8_t tag = peek();
    std::size_t size = 0;
    if ((tag & 0xe0) == 0xa0) {
        ++at_;
        size = tag & 0x1f;
    } else if (tag >= 0xd9 && tag <= 0xdb) {
        ++at_;
        size = static_cast<std::size_t>(number(std::size_t{1} << (tag - 0xd9)));
    } else {
        mismatch("str");
    }
    const Bytes bytes = take(size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Bytes Unpacker::binary() {
    if (left() == 0 || peek() < 0xc4 || peek() > 0xc6) mismatch("bin");
    const std::uint8_t tag = next();
    return take(static_cast<std::size_t>(number(std::size_t{1} << (tag - 0xc4))));
}

std::size_t Unpacker::array() {
    if (left() == 0) mismatch("an array");
    const std::uint8_t tag = peek();
    if ((tag & 0xf0) == 0x90) {
        ++at_;
        return counted(tag & 0x0f, 1);
    }
    if (tag != 0xdc && tag != 0xdd) mismatch("an array");
    ++at_;
    return counted(number(tag == 0xdc ? 2 : 4), 1);
}

std::size_t Unpacker::map() {
    if (left() == 0) mismatch("a map");
    const std::uint8_t tag = peek();
    if ((tag & 0xf0) == 0x80) {
        ++at_;
        return counted(tag & 0x0f, 2);
    }
    if (tag != 0xde && tag != 0xdf) mismatch("a map");
    ++at_;
    return counted(number(tag == 0xde ? 2 : 4), 2);
}

void Unpacker::skip() {
    // Counted, not called again: what is nested deep costs no stack.
    for (std::size_t values = 1; values > 0; --values) {
        if (left() == 0) mismatch("a value");
        const std::uint8_t tag = peek();
        if ((tag & 0xf0) == 0x90 || tag == 0xdc || tag == 0xdd) {
            values += array();
        } else if ((tag & 0xf0) == 0x80 || tag == 0xde || tag == 0xdf) {
            values += 2 * map();
        } else if ((tag & 0xe0) == 0xa0 || (tag >= 0xd9 && tag <= 0xdb)) {
            text();
        } else if (tag >= 0xc4 && tag <= 0xc6) {
            binary();
        } else if (tag < 0x80 || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3) {
            ++at_;
        } else if (tag >= 0xca && tag <= 0xd3) {
            constexpr std::array<std::uint8_t, 10> kWidths{4, 8, 1, 2, 4, 8, 1, 2, 4, 8};
            ++at_;
            take(kWidths[tag - 0xca]);
        } else {
            mismatch("a value");
        }
    }
}

void Unpacker::end() const {
    if (left() != 0)
        throw PackError("expected the end, got " + std::to_string(left()) + " more bytes");
}

std::string field_name(std::string_view names, std::size_t index) {
    std::size_t at = 0;
    for (; index > 0; --index) at = names.find(',', at) + 1;
    std::string_view name = names.substr(at, names.find(',', at) - at);
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    return std::string{name};
}

void rethrow_in(const std::string& where, const PackError& error) {
    throw PackError(where + ": " + error.what());
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
