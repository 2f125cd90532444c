// SPDX-License-Identifier: Apache-2.0
// How the arguments of a call fit the task's parameters and are packed; pending results among them.
#pragma once

#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "forkmill/async_result.h"
#include "forkmill/task.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// The number is the same as a To.
template <class To, class From>
constexpr bool fits(From value) {
    if constexpr (std::is_integral_v<From> && std::is_integral_v<To>) {
        const auto converted = static_cast<To>(value);
        if constexpr (std::is_signed_v<From> && !std::is_signed_v<To>) {
            if (value < 0) return false;
        } else if constexpr (!std::is_signed_v<From> && std::is_signed_v<To>) {
            if (converted < 0) return false;
        }
        return static_cast<From>(converted) == value;
    } else if constexpr (std::is_integral_v<To>) {
        // The bounds are powers of two, exact in every floating type; beyond them a cast is
        // undefined.
        constexpr To half = std::numeric_limits<To>::max() / 2 + 1;
        constexpr From above = static_cast<From>(half) * 2;
        constexpr auto lowest = static_cast<From>(std::numeric_limits<To>::min());
        return value >= lowest && value < above &&
               static_cast<From>(static_cast<To>(value)) == value;
    } else if constexpr (std::is_integral_v<From>) {
        return static_cast<long double>(static_cast<To>(value)) == static_cast<long double>(value);
    } else {
        return static_cast<From>(static_cast<To>(value)) == value || value != value;
    }
}

/// Converts to the parameter's type where that is another; a view of the same bytes is packed as it
/// is.
template <class Parameter, class B>
void pack_argument(Packer& packer, const B& argument) {
    if constexpr (std::is_same_v<Parameter, B>) {
        encode_value<Parameter>(packer, argument);
    } else if constexpr (std::is_same_v<Parameter, std::string> &&
                         std::is_convertible_v<const B&, std::string_view>) {
        packer.text(std::string_view{argument});
    } else if constexpr (std::is_arithmetic_v<Parameter> && std::is_arithmetic_v<B>) {
        if (!fits<Parameter>(argument))
            throw PackError(std::to_string(argument) + " does not fit its parameter of type " +
                            Codec<Parameter>::signature());
        encode_value<Parameter>(packer, static_cast<Parameter>(argument));
    } else if constexpr (std::is_convertible_v<const B&, Parameter>) {
        encode_value<Parameter>(packer, static_cast<Parameter>(argument));
    } else {
        encode_value<Parameter>(
            packer, Parameter(std::begin(argument), std::end(argument)));  // span and the like
    }
}
template <class Parameter, class B>
inline constexpr bool takes_argument = std::is_convertible_v<const B&, Parameter> ||
                                       (is_view<B> && !std::is_arithmetic_v<Parameter>);
template <class Parameter, class T>
inline constexpr bool takes_argument<Parameter, AsyncResult<T>> = std::is_same_v<Parameter, T>;

inline Buffer& packing_buffer() {
    thread_local Buffer buffer;
    buffer.clear();
    return buffer;
}

/// The ticket inside a pending result, for submit_one.
struct PendingAccess {
    template <class T>
    static Ticket ticket(Client& client, const AsyncResult<T>& result) {
        if (result.client_.get() != &client || !result.ticket_)
            throw UsageError(
                "a pending result can be an argument only in the pool that made it, and no map's "
                "result can");
        return result.ticket_;
    }
};

template <class Tuple, class... B>
struct Fit {
    template <std::size_t... I>
    static consteval bool all(std::index_sequence<I...>) {
        return (takes_argument<std::tuple_element_t<I, Tuple>, std::decay_t<B>> && ...);
    }
    static constexpr bool count = std::tuple_size_v<Tuple> == sizeof...(B);
    static consteval bool types() {
        if constexpr (count) return all(std::index_sequence_for<B...>{});
        return true;
    }
};

template <class Parameter, class B>
void pack_one([[maybe_unused]] Client* client,
              Packer& packer,
              [[maybe_unused]] std::uint32_t position,
              [[maybe_unused]] std::vector<Dependency>& pending,
              const B& argument) {
    if constexpr (is_async<B>) {
        packer.nil();
        pending.push_back({position, PendingAccess::ticket(*client, argument)});
    } else {
        pack_argument<Parameter>(packer, argument);
    }
}

template <class Tuple, std::size_t... I, class... B>
void pack_all([[maybe_unused]] Client* client,
              Packer& packer,
              [[maybe_unused]] std::vector<Dependency>& pending,
              std::index_sequence<I...>,
              const B&... arguments) {
    packer.array(sizeof...(I));
    (pack_one<std::tuple_element_t<I, Tuple>>(
         client, packer, static_cast<std::uint32_t>(I), pending, arguments),
     ...);
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
