// SPDX-License-Identifier: Apache-2.0
// The Codecs of the standard containers; included by codec.h.
#pragma once

#include "forkmill/codec.h"

namespace forkmill {
inline namespace v0 {

namespace detail {

/// Numbers (not bool) in one piece: a raw little-endian block.
template <class T>
void encode_block(Packer& packer, const T* data, std::size_t count) {
    packer.binary(data, count * sizeof(T));
}
template <class T>
std::size_t block_count(Bytes bytes) {
    if (bytes.size() % sizeof(T) != 0)
        throw PackError("expected whole elements of " + std::to_string(sizeof(T)) + " bytes, got " +
                        std::to_string(bytes.size()) + " bytes");
    return bytes.size() / sizeof(T);
}
template <class T>
std::string list_signature() {
    if constexpr (sizeof(T) == 1 && std::is_same_v<T, std::uint8_t>) return "bin";
    return "[" + signature_of<T>() + "]";
}

/// The number that an element is on the wire: itself, or what an enum is made of.
template <class T>
struct NumberOf {
    using type = T;
};
template <class T>
requires std::is_enum_v<T>
struct NumberOf<T> {
    using type = std::underlying_type_t<T>;
};
/// Calls `each(value, count)` for every element of a list. A list of numbers may come as a block or
/// as an array, since one signature stands for both.
template <class V, class Each>
void decode_elements(Unpacker& unpacker, Each each) {
    using Raw = typename NumberOf<V>::type;
    if constexpr (Number<Raw>) {
        if (unpacker.at_binary()) {
            const Bytes bytes = unpacker.binary();
            const std::size_t count = block_count<Raw>(bytes);
            for (std::size_t i = 0; i < count; ++i) {
                Raw raw{};
                std::memcpy(&raw, bytes.data() + i * sizeof raw, sizeof raw);
                each(static_cast<V>(raw), count);
            }
            return;
        }
    }
    const std::size_t count = unpacker.array();
    for (std::size_t i = 0; i < count; ++i) each(decode_value<V>(unpacker), count);
}

/// Containers that are filled one by one.
template <class C, class V>
struct SequenceCodec {
    static std::string signature() { return "[" + signature_of<V>() + "]"; }
    static void encode(Packer& packer, const C& value) {
        packer.array(value.size());
        for (const V& each : value) encode_value<V>(packer, each);
    }
    static void decode(Unpacker& unpacker, C& value) {
        value.clear();
        decode_elements<V>(unpacker, [&](V&& element, std::size_t) {
            value.insert(value.end(), std::move(element));
        });
    }
};
template <class T, std::size_t N>
void decode_array(Unpacker& unpacker, std::array<T, N>& value) {
    std::size_t filled = 0;
    decode_elements<T>(unpacker, [&](T&& element, std::size_t count) {
        if (count != N)
            throw PackError("expected " + std::to_string(N) + " elements, got " +
                            std::to_string(count));
        value[filled++] = std::move(element);
    });
    if (filled != N) throw PackError("expected " + std::to_string(N) + " elements, got none");
}
template <class C, class K, class V>
struct MapCodec {
    static std::string signature() {
        return "{" + signature_of<K>() + ":" + signature_of<V>() + "}";
    }
    static void encode(Packer& packer, const C& value) {
        packer.map(value.size());
        for (const auto& [key, mapped] : value) {
            encode_value<K>(packer, key);
            encode_value<V>(packer, mapped);
        }
    }
    static void decode(Unpacker& unpacker, C& value) {
        value.clear();
        for (std::size_t left = unpacker.map(); left > 0; --left) {
            K key = decode_value<K>(unpacker);
            if (!value.emplace(std::move(key), decode_value<V>(unpacker)).second)
                throw PackError("expected every key once, got one twice");
        }
    }
};
}  // namespace detail

template <>
struct Codec<std::vector<std::byte>> {
    static std::string signature() { return "bin"; }
    static void encode(Packer& packer, const std::vector<std::byte>& value) {
        packer.binary(value.data(), value.size());
    }
    static void decode(Unpacker& unpacker, std::vector<std::byte>& value) {
        const detail::Bytes bytes = unpacker.binary();
        value.assign(bytes.begin(), bytes.end());
    }
};
template <detail::Number T, class A>
struct Codec<std::vector<T, A>> {
    static std::string signature() { return detail::list_signature<T>(); }
    static void encode(Packer& packer, const std::vector<T, A>& value) {
        detail::encode_block(packer, value.data(), value.size());
    }
    static void decode(Unpacker& unpacker, std::vector<T, A>& value) {
        if (!unpacker.at_binary())
            return detail::SequenceCodec<std::vector<T, A>, T>::decode(unpacker, value);
        const detail::Bytes bytes = unpacker.binary();
        value.resize(detail::block_count<T>(bytes));
        if (!bytes.empty()) std::memcpy(value.data(), bytes.data(), bytes.size());
    }
};
template <detail::Number T, std::size_t N>
struct Codec<std::array<T, N>> {
    static std::string signature() { return detail::list_signature<T>(); }
    static void encode(Packer& packer, const std::array<T, N>& value) {
        detail::encode_block(packer, value.data(), N);
    }
    static void decode(Unpacker& unpacker, std::array<T, N>& value) {
        detail::decode_array(unpacker, value);
    }
};
template <class T, std::size_t N>
struct Codec<std::array<T, N>> {
    static std::string signature() { return "[" + detail::signature_of<T>() + "]"; }
    static void encode(Packer& packer, const std::array<T, N>& value) {
        packer.array(N);
        for (const T& each : value) detail::encode_value<T>(packer, each);
    }
    static void decode(Unpacker& unpacker, std::array<T, N>& value) {
        detail::decode_array(unpacker, value);
    }
};
template <class A>
struct Codec<std::vector<bool, A>> {
    static std::string signature() { return "[bool]"; }
    static void encode(Packer& packer, const std::vector<bool, A>& value) {
        packer.array(value.size());
        for (const bool each : value) packer.boolean(each);
    }
    static void decode(Unpacker& unpacker, std::vector<bool, A>& value) {
        value.clear();
        for (std::size_t left = unpacker.array(); left > 0; --left)
            value.push_back(unpacker.boolean());
    }
};
template <class T, class A>
struct Codec<std::vector<T, A>> : detail::SequenceCodec<std::vector<T, A>, T> {};
template <class T, class A>
struct Codec<std::deque<T, A>> : detail::SequenceCodec<std::deque<T, A>, T> {};
template <class T, class A>
struct Codec<std::list<T, A>> : detail::SequenceCodec<std::list<T, A>, T> {};
template <class T, class C, class A>
struct Codec<std::set<T, C, A>> : detail::SequenceCodec<std::set<T, C, A>, T> {};
template <class T, class H, class E, class A>
struct Codec<std::unordered_set<T, H, E, A>>
    : detail::SequenceCodec<std::unordered_set<T, H, E, A>, T> {};
template <class K, class V, class C, class A>
struct Codec<std::map<K, V, C, A>> : detail::MapCodec<std::map<K, V, C, A>, K, V> {};
template <class K, class V, class H, class E, class A>
struct Codec<std::unordered_map<K, V, H, E, A>>
    : detail::MapCodec<std::unordered_map<K, V, H, E, A>, K, V> {};

}  // namespace v0
}  // namespace forkmill
