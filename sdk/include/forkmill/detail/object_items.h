// SPDX-License-Identifier: Apache-2.0
// Values of shared objects, packed and unpacked by their Codec. Nothing here is promised to users.
#pragma once

#include <concepts>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "forkmill/codec.h"
#include "forkmill/detail/object_seam.h"
#include "forkmill/errors.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

template <class T>
Item pack_item(const T& value) {
    check_codec<T>();
    Item item;
    const Packing packing{item.refs};
    Packer packer{item.body};
    Codec<T>::encode(packer, value);
    return item;
}
template <class K>
Buffer pack_key(const K& key) {
    Buffer bytes;
    Packer packer{bytes};
    Codec<K>::encode(packer, key);
    return bytes;
}
template <class K, class V>
Item pack_pair(const K& key, const V& value) {
    Item item = pack_item(value);
    item.key = pack_key(key);
    return item;
}
template <class T>
T unpack(Bytes bytes) {
    Unpacker unpacker{bytes};
    T value = decode_value<T>(unpacker);
    unpacker.end();
    return value;
}
/// The answer of `ask`, its handles adopted by what `read` makes of it.
template <class Read>
auto read_answer(Ask& ask, Read read) {
    const Unpacking unpacking{ask};
    return read(answer_of(ask));
}
template <class T>
T first_value(Ask& ask) {
    return read_answer(ask, [](const Answer& answer) {
        if (answer.items.empty()) throw ProtocolError{"an answer without its item"};
        return unpack<T>(answer.items.front().body);
    });
}
template <class T>
T finish_value(Ask& ask) {
    finish_done(ask);
    return first_value<T>(ask);
}
/// Nothing at the timeout.
template <class T>
std::optional<T> finish_got(Ask& ask) {
    if (!finish_in_time(ask)) return std::nullopt;
    return first_value<T>(ask);
}
/// Nothing: what was named is not there.
template <class T>
std::optional<T> finish_found(Ask& ask) {
    if (!finish_there(ask)) return std::nullopt;
    return first_value<T>(ask);
}

/// What a cell of an array holds: numbers as eight bytes, on which the broker can add.
template <class T>
inline constexpr Cell cell_of = std::is_same_v<T, bool>       ? Cell::Opaque
                                : std::is_floating_point_v<T> ? Cell::Real
                                : !std::is_integral_v<T>      ? Cell::Opaque
                                : std::is_signed_v<T>         ? Cell::Signed
                                                              : Cell::Unsigned;
template <class T>
concept Countable = cell_of<T>
!= Cell::Opaque && sizeof(T) <= 8;

template <class T>
using Wide =
    std::conditional_t<cell_of<T> == Cell::Real,
                       double,
                       std::conditional_t<cell_of<T> == Cell::Signed, std::int64_t, std::uint64_t>>;
template <class T>
Item pack_cell(const T& value) {
    if constexpr (Countable<T>) {
        const Wide<T> wide = static_cast<Wide<T>>(value);
        Item item;
        item.body.resize(sizeof wide);
        std::memcpy(item.body.data(), &wide, sizeof wide);
        return item;
    } else {
        return pack_item(value);
    }
}
template <class T>
T unpack_cell(Bytes bytes) {
    if constexpr (Countable<T>) {
        Wide<T> wide{};
        if (bytes.size() != sizeof wide) throw ProtocolError{"a number is not of eight bytes"};
        std::memcpy(&wide, bytes.data(), sizeof wide);
        return static_cast<T>(wide);
    } else {
        return unpack<T>(bytes);
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
