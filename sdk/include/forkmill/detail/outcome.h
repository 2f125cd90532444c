// SPDX-License-Identifier: Apache-2.0
// From a settled task to what its caller gets: its value decoded, its error thrown, a callback run.
#pragma once

#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "forkmill/codec.h"
#include "forkmill/detail/seam.h"
#include "forkmill/errors.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

template <class T>
using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
Stored<T> decode_result(const SettledView& view) {
    if (view.outcome != 0) throw_error(view);
    Stored<T> value{};
    if constexpr (!std::is_void_v<T>) {
        Unpacker unpacker{view.body};
        Codec<T>::decode(unpacker, value);
        unpacker.end();
    }
    return value;
}

template <class T>
inline constexpr bool is_list = false;
template <class T, class A>
inline constexpr bool is_list<std::vector<T, A>> = true;

/// Results of a settled group in input order; throws the error of the lowest failed index.
template <class T>
Stored<T> collect(Group& group) {
    const std::size_t count = group_settled(group);
    Stored<T> all{};
    for (std::size_t i = 0; i < count; ++i) {
        const SettledView view = group_view(group, i);
        if (view.outcome != 0) throw_error(view);
        if constexpr (is_list<Stored<T>>) {
            if (i == 0) all.reserve(count);
            all.push_back(decode_result<typename Stored<T>::value_type>(view));
        }
    }
    return all;
}

template <class T, class OnValue, class OnError>
class CallbackPair final : public Completion {
  public:
    CallbackPair(OnValue on_value, OnError on_error)
        : on_value_(std::move(on_value)), on_error_(std::move(on_error)) {}
    void run(const SettledView& view) override {
        std::optional<Stored<T>> value;
        try {
            value.emplace(decode_result<T>(view));
        } catch (const Error& error) {
            return on_error_(error);
        }
        call(on_value_, *value);
    }
    static void call(OnValue& on_value, Stored<T>& value) {
        if constexpr (std::is_void_v<T>) {
            on_value();
        } else {
            on_value(std::move(value));
        }
    }

  private:
    OnValue on_value_;
    OnError on_error_;
};

/// Resumes a coroutine that waits; not one whose frame was destroyed, and what is in it.
class Resume final : public Completion {
  public:
    Resume(std::coroutine_handle<> waiting, std::weak_ptr<void> in_frame)
        : waiting_(waiting), in_frame_(std::move(in_frame)) {}
    void run(const SettledView&) override { (*this)(); }
    void operator()() const {
        if (!in_frame_.expired()) waiting_.resume();
    }

  private:
    std::coroutine_handle<> waiting_;
    std::weak_ptr<void> in_frame_;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
