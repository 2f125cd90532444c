// SPDX-License-Identifier: Apache-2.0
// Tasks: what a worker can run; Initializer: what each worker does before its first task. Both are
// copyable values.
#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "forkmill/detail/seam.h"
#include "forkmill/task.h"

namespace forkmill {
inline namespace v0 {

namespace detail {

template <class Contract, class F>
class BoundRunner final : public Runner {
  public:
    explicit BoundRunner(F function) : function_(std::move(function)) {}
    void run(const Arguments& arguments, Buffer& result) const override {
        Contract::invoke(function_, arguments, result);
    }

  private:
    F function_;
};

template <class F, class Tuple>
inline constexpr bool accepts = false;
template <class F, class... A>
inline constexpr bool accepts<F, std::tuple<A...>> = std::is_invocable_v<F&, A&&...>;
template <class R, class F, class Tuple>
inline constexpr bool yields = false;
template <class R, class F, class... A>
inline constexpr bool yields<R, F, std::tuple<A...>> =
    std::is_void_v<R> || std::is_convertible_v<std::invoke_result_t<F&, A&&...>, R>;

template <class C, class F>
struct ThunkFor;
template <class R, class... A, class F>
struct ThunkFor<Contract<R(A...)>, F> {
    /// The callable is a function pointer: its address travels beside the thunk.
    static void run(const void* function, const Arguments& arguments, Buffer& result) {
        Contract<R(A...)>::invoke(
            reinterpret_cast<F>(const_cast<void*>(function)), arguments, result);
    }
};

}  // namespace detail

struct Tasks {
    /// Binds the code of a task; a second bind of the same name replaces the first. Function
    /// pointers and lambdas without captures are known in every process of this program; callables
    /// with state only in workers that were forked after the bind (an embedded pool's snapshot).
    template <class T, class F>
    Tasks& bind(const T& task, F&& code) {
        using C = detail::ContractFor<T>;
        using Code = std::decay_t<F>;
        static_assert(detail::is_task<std::decay_t<T>>,
                      "forkmill: bind() takes a forkmill::Task and the code that runs it");
        static_assert(
            detail::accepts<const Code, typename C::Arguments>,
            "forkmill: this code does not take the task's arguments (by value, in this order)");
        if constexpr (detail::accepts<const Code, typename C::Arguments>) {
            static_assert(detail::yields<typename C::Result, const Code, typename C::Arguments>,
                          "forkmill: this code does not return the task's result");
        }
        static_cast<void>(task);
        detail::TaskEntry entry;
        entry.name = std::decay_t<T>::name;
        entry.signature = C::signature();
        if constexpr (std::is_pointer_v<Code>) {
            entry.thunk = &detail::ThunkFor<C, Code>::run;
            entry.function = reinterpret_cast<const void*>(static_cast<Code>(code));
        } else if constexpr (detail::Captureless<Code>) {
            using Pointer = decltype(+code);
            entry.thunk = &detail::ThunkFor<C, Pointer>::run;
            entry.function = reinterpret_cast<const void*>(+code);
        } else {
            entry.runner = std::make_shared<detail::BoundRunner<C, Code>>(std::forward<F>(code));
        }
        for (detail::TaskEntry& known : entries_) {
            if (known.name == entry.name) {
                known = std::move(entry);
                return *this;
            }
        }
        entries_.push_back(std::move(entry));
        return *this;
    }
    bool empty() const { return entries_.empty(); }

  private:
    friend const std::vector<detail::TaskEntry>& task_entries(const Tasks& tasks);
    std::vector<detail::TaskEntry> entries_;
};

inline const std::vector<detail::TaskEntry>& task_entries(const Tasks& tasks) {
    return tasks.entries_;
}

/// Runs once in each worker before its first task. Made by initializer().
struct Initializer {
    explicit operator bool() const { return thunk != nullptr; }

    // For the library: the function, what runs it, and its packed arguments.
    detail::Thunk thunk = nullptr;
    const void* function = nullptr;
    detail::Buffer arguments;
};

/// `initializer(load_model, "weights.bin")`: the function and the arguments it is called with,
/// packed now.
template <class... A, class... B>
Initializer initializer(void (*function)(A...), B&&... initargs) {
    static_assert(sizeof...(A) == sizeof...(B),
                  "forkmill: an initializer's arguments must match its function");
    static_assert((std::is_convertible_v<B, std::decay_t<A>> && ...),
                  "forkmill: an initializer's arguments must match its function");
    Initializer made;
    made.thunk = &detail::run_function<void, A...>;
    made.function = reinterpret_cast<const void*>(function);
    detail::Packer packer{made.arguments};
    packer.array(sizeof...(A));
    (detail::encode_value<std::decay_t<A>>(packer, std::decay_t<A>(std::forward<B>(initargs))),
     ...);
    return made;
}

}  // namespace v0
}  // namespace forkmill
