// SPDX-License-Identifier: Apache-2.0
// Suspended: a coroutine whose frame is in the caller's hands once it waits.
#pragma once

#include <coroutine>
#include <exception>

namespace forkmill::test {

struct Suspended {
    struct promise_type {
        Suspended get_return_object() {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
    std::coroutine_handle<promise_type> handle;
};

}  // namespace forkmill::test
