// SPDX-License-Identifier: Apache-2.0
// Task: the typed contract of something a worker can run, shared by client and worker.
//
//     inline constexpr forkmill::Task<"thumb.resize", Image(Image, int)> resize;
//     pool.apply(resize, photo, 128);      pool.apply_async(resize.with({.queue = "gpu"}), photo,
//     128);
//
// The name is the task's for ever: ≤ 128 characters of A-Z a-z 0-9 _ . -. A plain function is a
// task too, wherever the same program runs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "forkmill/codec.h"
#include "forkmill/detail/seam.h"
#include "forkmill/options.h"

namespace forkmill {
inline namespace v0 {

namespace detail {

template <std::size_t N>
struct FixedString {
    char data[N]{};
    consteval FixedString(const char (&text)[N]) {
        std::copy_n(text, N, data);
    }  // NOLINT(google-explicit-constructor): a name is a string
    constexpr std::string_view view() const { return {data, N - 1}; }
};

constexpr bool is_name(std::string_view name) {
    if (name.empty() || name.size() > 128) return false;
    for (const char c : name) {
        if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '.' && c != '-')
            return false;
    }
    return true;
}

/// What R(A...) says, decayed: R, its arguments, its signature text.
template <class Signature>
struct Contract;
template <class R, class... A>
struct Contract<R(A...)> {
    using Result = R;
    using Arguments = std::tuple<std::decay_t<A>...>;
    static constexpr std::size_t arity = sizeof...(A);
    static std::string signature() {
        std::string text;
        if constexpr (std::is_void_v<R>) {
            text = "void";
        } else {
            text = signature_of<std::decay_t<R>>();
        }
        std::string arguments;
        ((arguments += (arguments.empty() ? "" : ",") + signature_of<std::decay_t<A>>()), ...);
        return text + "(" + arguments + ")";
    }
    /// Unpacks, calls, packs the result. `function` is called with the arguments as values.
    template <class F>
    static void invoke(F&& function, const detail::Arguments& packed, Buffer& result);
};

}  // namespace detail

/// A task with options; made by Task::with() or function().
template <class Signature>
struct Call {
    using Contract = detail::Contract<Signature>;
    std::string name;
    TaskOptions options;
};

template <detail::FixedString N, class Signature>
struct Task;
template <detail::FixedString N, class R, class... A>
struct Task<N, R(A...)> {
    static_assert(detail::is_name(N.view()),
                  "forkmill: a task's name is 1 to 128 characters of A-Z a-z 0-9 _ . -");
    using Signature = R(A...);
    using Contract = detail::Contract<R(A...)>;
    static constexpr std::string_view name = N.view();
    Call<R(A...)> with(TaskOptions options) const {
        return {std::string{name}, std::move(options)};
    }
};

namespace detail {

/// Takes the packed arguments apart; PackErrors name the argument.
template <class Tuple, std::size_t... I>
Tuple unpack_arguments(const Arguments& packed, std::index_sequence<I...>) {
    Unpacker unpacker{packed.body};
    const std::size_t count = unpacker.array();
    if (count != sizeof...(I))
        throw PackError("expected " + std::to_string(sizeof...(I)) + " arguments, got " +
                        std::to_string(count));
    Tuple values{};
    [[maybe_unused]] const auto one = [&]<std::size_t At>(std::integral_constant<std::size_t, At>) {
        using Value = std::tuple_element_t<At, Tuple>;
        try {
            for (const auto& [argument, bytes] : packed.dependencies) {
                if (argument != At) continue;
                unpacker.nil();  // The placeholder.
                Unpacker whole{bytes};
                Codec<Value>::decode(whole, std::get<At>(values));
                whole.end();
                return;
            }
            Codec<Value>::decode(unpacker, std::get<At>(values));
        } catch (const PackError& error) {
            rethrow_in("argument " + std::to_string(At + 1), error);
        }
    };
    (one(std::integral_constant<std::size_t, I>{}), ...);
    unpacker.end();
    return values;
}

template <class R, class... A>
template <class F>
void Contract<R(A...)>::invoke(F&& function, const detail::Arguments& packed, Buffer& result) {
    auto values =
        unpack_arguments<typename Contract::Arguments>(packed, std::index_sequence_for<A...>{});
    const auto call = [&](auto&... each) -> decltype(auto) { return function(std::move(each)...); };
    Packer packer{result};
    if constexpr (std::is_void_v<R>) {
        std::apply(call, values);
        packer.nil();
    } else {
        const std::decay_t<R> value = std::apply(call, values);
        try {
            encode_value<std::decay_t<R>>(packer, value);
        } catch (...) {
            throw_result_not_packed();
        }
    }
}

/// Runs a bare function whose address travels beside it.
template <class R, class... A>
void run_function(const void* function, const Arguments& arguments, Buffer& result) {
    Contract<R(A...)>::invoke(
        reinterpret_cast<R (*)(A...)>(const_cast<void*>(function)), arguments, result);
}

template <class T>
struct FunctionOf;
template <class R, class... A>
struct FunctionOf<R (*)(A...)> {
    using Signature = R(A...);
    static std::string name(R (*function)(A...)) {
        return function_name(reinterpret_cast<const void*>(function),
                             reinterpret_cast<const void*>(&run_function<R, A...>));
    }
};
template <class R, class... A>
struct FunctionOf<R (*)(A...) noexcept> : FunctionOf<R (*)(A...)> {};

template <class T>
inline constexpr bool is_task = false;
template <FixedString N, class S>
inline constexpr bool is_task<Task<N, S>> = true;
template <class T>
inline constexpr bool is_call = false;
template <class S>
inline constexpr bool is_call<Call<S>> = true;
template <class T>
concept PlainFunction = std::is_function_v<std::remove_pointer_t<std::decay_t<T>>>;
/// A lambda without captures: its code has an address, like a function's.
template <class T>
concept Captureless = std::is_class_v<std::decay_t<T>> && !is_task<std::decay_t<T>> &&
                      !is_call<std::decay_t<T>> && requires(const std::decay_t<T>& f) {
    +f;
};
template <class T>
concept Runnable =
    is_task<std::decay_t<T>> || is_call<std::decay_t<T>> || PlainFunction<T> || Captureless<T>;

template <class T>
struct ContractOf {
    static_assert(
        Runnable<T>,
        "forkmill: this is no task: pass a forkmill::Task, a plain function, or a lambda without "
        "captures (captured values cannot reach another process; make them arguments)");
    using type = Contract<void()>;
};
template <class T>
requires(is_task<T> || is_call<T>) struct ContractOf<T> {
    using type = typename T::Contract;
};
template <class T>
requires std::is_pointer_v<T>
struct ContractOf<T> {
    using type = Contract<typename FunctionOf<T>::Signature>;
};
template <Captureless T>
struct ContractOf<T> : ContractOf<decltype(+std::declval<T>())> {};

template <class T>
using ContractFor = typename ContractOf<std::decay_t<T>>::type;
template <class T>
using ResultOf = typename ContractFor<T>::Result;

}  // namespace detail

/// A plain function with options. The function must be in this program or one of its libraries.
template <class R, class... A>
Call<R(A...)> function(R (*function)(A...), TaskOptions options = {}) {
    return {detail::FunctionOf<R (*)(A...)>::name(function), std::move(options)};
}

}  // namespace v0
}  // namespace forkmill
