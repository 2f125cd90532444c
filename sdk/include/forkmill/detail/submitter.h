// SPDX-License-Identifier: Apache-2.0
// Submitter: which template number and options the tasks of one call travel under.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

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

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
