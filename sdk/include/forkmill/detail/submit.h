// SPDX-License-Identifier: Apache-2.0
// From a typed call to the seam: template numbers, packed arguments, pending results as arguments.
#pragma once

#include <atomic>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "forkmill/async_result.h"
#include "forkmill/task.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// A pool's default options, with the template numbers they gave.
class FORKMILL_API Defaults {
  public:
    explicit Defaults(TaskOptions options);
    ~Defaults();
    std::uint32_t number_of(std::string_view name, const std::function<std::string()>& signature);
    const TaskOptions& options() const { return options_; }

  private:
    struct Impl;
    TaskOptions options_;
    std::unique_ptr<Impl> impl_;
};

/// How the tasks of one call are to be sent.
struct Submitter {
    std::uint32_t number = 0;
    const TaskOptions* options =
        nullptr;  ///< For deadline and key; null when there are none. Lives as long as the call.
};

inline const TaskOptions* per_task(const TaskOptions& options) {
    return options.deadline || !options.key.empty() ? &options : nullptr;
}

template <class T>
Submitter submitter_for(const T& task, Defaults* defaults) {
    using Kind = std::decay_t<T>;
    using C = ContractFor<T>;
    if constexpr (is_call<Kind>) {
        return {intern_template(task.name, C::signature(), task.options), per_task(task.options)};
    } else if constexpr (is_task<Kind>) {
        if (defaults != nullptr)
            return {defaults->number_of(Kind::name, &C::signature), per_task(defaults->options())};
        static const std::uint32_t number =
            intern_template(Kind::name, C::signature(), TaskOptions{});
        return {number, nullptr};
    } else if constexpr (std::is_class_v<Kind>) {
        return submitter_for(+task, defaults);
    } else {
        using Pointer = std::decay_t<T>;
        const Pointer function = task;
        if (defaults == nullptr) {
            // The last function is nearly always the same again.
            thread_local Pointer last = nullptr;
            thread_local std::uint32_t number = 0;
            if (last != function) {
                number = intern_template(
                    FunctionOf<Pointer>::name(function), C::signature(), TaskOptions{});
                last = function;
            }
            return {number, nullptr};
        }
        return {defaults->number_of(FunctionOf<Pointer>::name(function), &C::signature),
                per_task(defaults->options())};
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
        const auto converted = static_cast<Parameter>(argument);
        if (static_cast<B>(converted) != argument && argument == argument)
            throw PackError("an argument does not fit its parameter of type " +
                            Codec<Parameter>::signature());
        encode_value<Parameter>(packer, converted);
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

inline SubmitExtra extra_of(const Submitter& submitter, const std::vector<Dependency>& pending) {
    SubmitExtra extra;
    if (submitter.options != nullptr) {
        extra.deadline = submitter.options->deadline;
        extra.key = submitter.options->key;
    }
    extra.dependencies = pending;
    return extra;
}

template <class T, class... B>
Ticket submit_one(Client& client, const Submitter& submitter, B&&... arguments) {
    using Tuple = typename ContractFor<T>::Arguments;
    using Fits = Fit<Tuple, B...>;
    static_assert(Fits::count,
                  "forkmill: these arguments do not match the task's signature: it takes another "
                  "number of them");
    static_assert(Fits::types(),
                  "forkmill: these arguments do not match the task's signature: one has a type "
                  "that does not convert to its parameter");
    if constexpr (Fits::count && Fits::types()) {
        Buffer& buffer = packing_buffer();
        Packer packer{buffer};
        std::vector<Dependency> pending;
        pack_all<Tuple>(&client, packer, pending, std::index_sequence_for<B...>{}, arguments...);
        if (submitter.options == nullptr && pending.empty())
            return submit(client, submitter.number, buffer, nullptr);
        const SubmitExtra extra = extra_of(submitter, pending);
        return submit(client, submitter.number, buffer, &extra);
    }
    return {};
}

/// One item of a map: itself the argument, or (Star) a tuple of all of them.
template <class T, bool Star, class Item>
void submit_item(Group& group, const Submitter& submitter, const Item& item) {
    using Tuple = typename ContractFor<T>::Arguments;
    Buffer& buffer = packing_buffer();
    Packer packer{buffer};
    std::vector<Dependency> none;
    if constexpr (Star) {
        std::apply(
            [&](const auto&... each) {
                using Fits = Fit<Tuple, decltype(each)...>;
                static_assert(Fits::count && Fits::types(),
                              "forkmill: these arguments do not match the task's signature: the "
                              "tuples do not fit it");
                if constexpr (Fits::count && Fits::types())
                    pack_all<Tuple>(nullptr,
                                    packer,
                                    none,
                                    std::make_index_sequence<sizeof...(each)>{},
                                    each...);
            },
            item);
    } else {
        static_assert(
            std::tuple_size_v<Tuple> == 1,
            "forkmill: map takes a task of one argument; pass tuples to starmap for more");
        if constexpr (std::tuple_size_v<Tuple> == 1) {
            using Fits = Fit<Tuple, Item>;
            static_assert(Fits::types(),
                          "forkmill: these arguments do not match the task's signature: the items "
                          "do not convert to its parameter");
            if constexpr (Fits::types())
                pack_all<Tuple>(nullptr, packer, none, std::index_sequence<0>{}, item);
        }
    }
    if (submitter.options == nullptr) return group_submit(group, buffer, nullptr);
    const SubmitExtra extra = extra_of(submitter, none);
    group_submit(group, buffer, &extra);
}

/// Reads an input range one item at a time; an lvalue is referred to, an rvalue moved in.
template <class T, class In>
std::function<bool(Group&)> make_feed(const Submitter& submitter, In&& inputs) {
    using Range = std::conditional_t<std::is_lvalue_reference_v<In>,
                                     std::remove_reference_t<In>*,
                                     std::shared_ptr<std::remove_reference_t<In>>>;
    struct State {
        Range range;
        Submitter submitter;
        TaskOptions options;
        std::optional<std::ranges::iterator_t<std::remove_reference_t<In>>> at;
    };
    auto state = std::make_shared<State>();
    if constexpr (std::is_lvalue_reference_v<In>) {
        state->range = &inputs;
    } else {
        state->range = std::make_shared<std::remove_reference_t<In>>(std::move(inputs));
    }
    state->submitter = submitter;
    if (submitter.options != nullptr) {
        state->options = *submitter.options;
        state->submitter.options = &state->options;
    }
    return [state](Group& group) {
        if (!state->at) {
            state->at.emplace(std::ranges::begin(*state->range));
        } else {
            ++*state->at;
        }
        if (*state->at == std::ranges::end(*state->range)) return false;
        submit_item<T, false>(group, state->submitter, **state->at);
        return true;
    };
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
