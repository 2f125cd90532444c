// SPDX-License-Identifier: Apache-2.0
// Codec<T>: how values of T travel: the one customisation point for arguments and results.
//
// There is a Codec for arithmetic types, enums, strings, byte blocks, durations, paths, optional,
// variant, complex, pairs, tuples, arrays, the standard containers, and structs with
// FORKMILL_FIELDS(a, b) in them. For your own: specialise forkmill::Codec<T> with
//     static std::string signature();  static void encode(Packer&, const T&);  static void
//     decode(Unpacker&, T&);
// or include forkmill/pack.h for types with MSGPACK_DEFINE. Contiguous numbers travel as one raw
// block. Views (string_view, span) may be passed as arguments, never be parameter types. Decoding
// is strict and throws PackError.
#pragma once

#include <array>
#include <chrono>
#include <complex>
#include <concepts>
#include <deque>
#include <filesystem>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "forkmill/detail/packing.h"
#include "forkmill/errors.h"

namespace forkmill {
inline namespace v0 {

using detail::Packer;
using detail::Unpacker;

template <class T>
struct Codec;

namespace detail {

template <class T>
concept HasFields = requires(T& value) {
    value.forkmill_tie();
};
template <class T>
concept Number = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;
template <class T>
inline constexpr bool is_view = false;
template <class C, class Tr>
inline constexpr bool is_view<std::basic_string_view<C, Tr>> = true;
template <class T, std::size_t N>
inline constexpr bool is_view<std::span<T, N>> = true;
template <class T>
concept HasCodec = requires(Packer& packer, const T& value) {
    Codec<T>::encode(packer, value);
};

template <class T>
constexpr void check_codec() {
    static_assert(!is_view<T>,
                  "forkmill: a task cannot take or return a view (string_view, span): its bytes "
                  "live in another process; use std::string or std::vector");
    static_assert(!std::is_pointer_v<T>,
                  "forkmill: a pointer means nothing in another process; pass the value");
    static_assert(is_view<T> || std::is_pointer_v<T> || HasCodec<T>,
                  "forkmill: this type cannot travel: put FORKMILL_FIELDS(members…) into it, "
                  "include forkmill/pack.h for MSGPACK_DEFINE, or specialise forkmill::Codec");
}
template <class T>
std::string signature_of() {
    check_codec<T>();
    if constexpr (HasCodec<T>) return Codec<T>::signature();
    return {};
}
template <class T>
void encode_value(Packer& packer, const T& value) {
    Codec<T>::encode(packer, value);
}
template <class T>
T decode_value(Unpacker& unpacker) {
    T value{};
    Codec<T>::decode(unpacker, value);
    return value;
}
FORKMILL_API std::string field_name(std::string_view names, std::size_t index);
[[noreturn]] FORKMILL_API void rethrow_in(const std::string& where, const PackError& error);

}  // namespace detail

/// Inside a struct: its members travel in this order. Members may be appended later: a reader that
/// knows fewer passes over the rest, one that knows more leaves its own at their initialisers.
/// Whatever else changes needs a new task name.
#define FORKMILL_FIELDS(...)                             \
    auto forkmill_tie() {                                \
        return std::tie(__VA_ARGS__);                    \
    }                                                    \
    auto forkmill_tie() const {                          \
        return std::tie(__VA_ARGS__);                    \
    }                                                    \
    static constexpr std::string_view forkmill_names() { \
        return #__VA_ARGS__;                             \
    }

template <>
struct Codec<bool> {
    static std::string signature() { return "bool"; }
    static void encode(Packer& packer, bool value) { packer.boolean(value); }
    static void decode(Unpacker& unpacker, bool& value) { value = unpacker.boolean(); }
};

template <detail::Number T>
struct Codec<T> {
    static std::string signature() {
        const char kind = std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
        return kind + std::to_string(sizeof(T) * 8);
    }
    static void encode(Packer& packer, T value) {
        if constexpr (std::is_same_v<T, float>) {
            packer.single(value);
        } else if constexpr (std::is_floating_point_v<T>) {
            packer.real(static_cast<double>(value));
        } else if constexpr (std::is_signed_v<T>) {
            packer.signed_integer(value);
        } else {
            packer.unsigned_integer(value);
        }
    }
    static void decode(Unpacker& unpacker, T& value) {
        if constexpr (std::is_floating_point_v<T>) {
            const double wide = unpacker.real();
            value = static_cast<T>(wide);
            if (static_cast<double>(value) != wide && wide == wide)
                throw PackError("expected " + signature() + ", got " + std::to_string(wide) +
                                ", which it cannot hold exactly");
        } else if constexpr (std::is_signed_v<T>) {
            value = static_cast<T>(unpacker.signed_integer(std::numeric_limits<T>::min(),
                                                           std::numeric_limits<T>::max()));
        } else {
            value = static_cast<T>(unpacker.unsigned_integer(std::numeric_limits<T>::max()));
        }
    }
};

template <class T>
requires std::is_enum_v<T>
struct Codec<T> {
    using Number = std::underlying_type_t<T>;
    static std::string signature() { return Codec<Number>::signature(); }
    static void encode(Packer& packer, T value) {
        Codec<Number>::encode(packer, static_cast<Number>(value));
    }
    static void decode(Unpacker& unpacker, T& value) {
        Number number{};
        Codec<Number>::decode(unpacker, number);
        value = static_cast<T>(number);
    }
};

template <>
struct Codec<std::string> {
    static std::string signature() { return "str"; }
    static void encode(Packer& packer, std::string_view value) { packer.text(value); }
    static void decode(Unpacker& unpacker, std::string& value) { value = unpacker.text(); }
};

template <>
struct Codec<std::filesystem::path> {
    static std::string signature() { return "str"; }
    static void encode(Packer& packer, const std::filesystem::path& value) {
        packer.text(value.native());
    }
    static void decode(Unpacker& unpacker, std::filesystem::path& value) {
        value = std::string{unpacker.text()};
    }
};

template <class Rep, class Period>
struct Codec<std::chrono::duration<Rep, Period>> {
    using Value = std::chrono::duration<Rep, Period>;
    static std::string signature() { return "ns"; }
    static void encode(Packer& packer, Value value) {
        packer.signed_integer(std::chrono::duration_cast<std::chrono::nanoseconds>(value).count());
    }
    static void decode(Unpacker& unpacker, Value& value) {
        value = std::chrono::duration_cast<Value>(
            std::chrono::nanoseconds{unpacker.signed_integer(INT64_MIN, INT64_MAX)});
    }
};

}  // namespace v0
}  // namespace forkmill

#include "forkmill/detail/codec_compound.h"
#include "forkmill/detail/codec_containers.h"
