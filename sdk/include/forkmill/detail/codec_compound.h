// SPDX-License-Identifier: Apache-2.0
// The Codecs of types made of other types; included by codec.h.
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
        for (std::size_t left = unpacker.array(); left > 0; --left)
            value.insert(value.end(), decode_value<V>(unpacker));
    }
};
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
template <class Tuple>
struct TupleCodec;
template <class... T>
struct TupleCodec<std::tuple<T...>> {
    static std::string signature() {
        std::string text = "(";
        ((text += (text.size() > 1 ? "," : "") + signature_of<T>()), ...);
        return text + ")";
    }
    template <class Tuple>
    static void encode(Packer& packer, const Tuple& value) {
        packer.array(sizeof...(T));
        std::apply([&](const auto&... each) { (encode_value<T>(packer, each), ...); }, value);
    }
    template <class Tuple>
    static void decode(Unpacker& unpacker, Tuple& value) {
        const std::size_t count = unpacker.array();
        if (count != sizeof...(T))
            throw PackError("expected " + std::to_string(sizeof...(T)) + " elements, got " +
                            std::to_string(count));
        std::apply([&](auto&... each) { (Codec<T>::decode(unpacker, each), ...); }, value);
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
        const detail::Bytes bytes = unpacker.binary();
        if (detail::block_count<T>(bytes) != N)
            throw PackError("expected " + std::to_string(N) + " elements, got " +
                            std::to_string(bytes.size() / sizeof(T)));
        if constexpr (N > 0) std::memcpy(value.data(), bytes.data(), bytes.size());
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
        const std::size_t count = unpacker.array();
        if (count != N)
            throw PackError("expected " + std::to_string(N) + " elements, got " +
                            std::to_string(count));
        for (T& each : value) Codec<T>::decode(unpacker, each);
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
template <class A, class B>
struct Codec<std::pair<A, B>> : detail::TupleCodec<std::tuple<A, B>> {};
template <class... T>
struct Codec<std::tuple<T...>> : detail::TupleCodec<std::tuple<T...>> {};

template <class T>
struct Codec<std::complex<T>> {
    static std::string signature() {
        return "(" + detail::signature_of<T>() + "," + detail::signature_of<T>() + ")";
    }
    static void encode(Packer& packer, const std::complex<T>& value) {
        detail::TupleCodec<std::tuple<T, T>>::encode(packer,
                                                     std::tuple{value.real(), value.imag()});
    }
    static void decode(Unpacker& unpacker, std::complex<T>& value) {
        std::tuple<T, T> parts;
        detail::TupleCodec<std::tuple<T, T>>::decode(unpacker, parts);
        value = {std::get<0>(parts), std::get<1>(parts)};
    }
};
template <class T>
struct Codec<std::optional<T>> {
    static std::string signature() { return detail::signature_of<T>() + "?"; }
    static void encode(Packer& packer, const std::optional<T>& value) {
        if (!value) return packer.nil();
        packer.array(1);
        detail::encode_value<T>(packer, *value);
    }
    static void decode(Unpacker& unpacker, std::optional<T>& value) {
        value.reset();
        if (unpacker.at_nil()) return unpacker.nil();
        if (unpacker.array() != 1) throw PackError("expected nil or an array of one");
        value = detail::decode_value<T>(unpacker);
    }
};
template <>
struct Codec<std::monostate> {
    static std::string signature() { return "nil"; }
    static void encode(Packer& packer, std::monostate) { packer.nil(); }
    static void decode(Unpacker& unpacker, std::monostate&) { unpacker.nil(); }
};
template <class... T>
struct Codec<std::variant<T...>> {
    static std::string signature() {
        std::string text;
        ((text += (text.empty() ? "" : "|") + detail::signature_of<T>()), ...);
        return "<" + text + ">";
    }
    static void encode(Packer& packer, const std::variant<T...>& value) {
        packer.array(2);
        packer.unsigned_integer(value.index());
        std::visit(
            [&](const auto& each) {
                detail::encode_value<std::decay_t<decltype(each)>>(packer, each);
            },
            value);
    }
    static void decode(Unpacker& unpacker, std::variant<T...>& value) {
        if (unpacker.array() != 2) throw PackError("expected an array of alternative and value");
        const std::size_t index = unpacker.unsigned_integer(sizeof...(T) - 1);
        std::size_t at = 0;
        ((at++ == index ? void(value = detail::decode_value<T>(unpacker)) : void()), ...);
    }
};

template <detail::HasFields T>
struct Codec<T> {
    using Tie = decltype(std::declval<T&>().forkmill_tie());
    static constexpr std::size_t kCount = std::tuple_size_v<Tie>;

    static std::string signature() { return text(std::make_index_sequence<kCount>{}); }
    static void encode(Packer& packer, const T& value) {
        packer.array(kCount);
        std::apply(
            [&](const auto&... each) {
                (detail::encode_value<std::decay_t<decltype(each)>>(packer, each), ...);
            },
            value.forkmill_tie());
    }
    static void decode(Unpacker& unpacker, T& value) {
        const std::size_t count = unpacker.array();
        if (count != kCount)
            throw PackError("expected " + std::to_string(kCount) + " fields, got " +
                            std::to_string(count));
        std::size_t index = 0;
        std::apply([&](auto&... each) { (field(unpacker, each, index++), ...); },
                   value.forkmill_tie());
    }

  private:
    template <std::size_t... I>
    static std::string text(std::index_sequence<I...>) {
        std::string all = "{";
        ((all += (I == 0 ? "" : ",") + detail::field_name(T::forkmill_names(), I) + ":" +
                 detail::signature_of<std::decay_t<std::tuple_element_t<I, Tie>>>()),
         ...);
        return all + "}";
    }
    template <class F>
    static void field(Unpacker& unpacker, F& into, std::size_t index) {
        try {
            Codec<F>::decode(unpacker, into);
        } catch (const PackError& error) {
            detail::rethrow_in("field " + detail::field_name(T::forkmill_names(), index), error);
        }
    }
};

}  // namespace v0
}  // namespace forkmill
