// SPDX-License-Identifier: Apache-2.0
// The Codecs of types made of a fixed number of others: tuples, optional, variant, structs;
// included by codec.h.
#pragma once

#include "forkmill/codec.h"

namespace forkmill {
inline namespace v0 {

namespace detail {

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
        choose(unpacker, value, index, std::index_sequence_for<T...>{});
    }

  private:
    template <std::size_t... I>
    static void choose(Unpacker& unpacker,
                       std::variant<T...>& value,
                       std::size_t index,
                       std::index_sequence<I...>) {
        ((I == index ? void(value.template emplace<I>(detail::decode_value<T>(unpacker))) : void()),
         ...);
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
        std::size_t index = 0;
        const auto one = [&](auto& each) {
            if (index < count) field(unpacker, each, index);
            ++index;
        };
        std::apply([&](auto&... each) { (one(each), ...); }, value.forkmill_tie());
        for (; index < count; ++index) unpacker.skip();
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
