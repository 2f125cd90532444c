// SPDX-License-Identifier: Apache-2.0
// From a typed call to the seam: one task, one item of a map, a range that is fed item by item.
#pragma once

#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "forkmill/detail/arguments.h"
#include "forkmill/detail/submitter.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

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
        state->range = std::make_shared<std::remove_reference_t<In>>(std::forward<In>(inputs));
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
