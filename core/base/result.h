// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value or a Failure. Errors are values inside Forkmill; exceptions live at the SDK's
// surface only.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/base/check.h"

namespace forkmill::base {

/// Why something was not done: one sentence for a reader, with the limit or the cure where there is
/// one.
struct Failure {
    std::string text;
    int error_number = 0;  ///< errno where the system said no, else 0.
};

/// Of the system call that just failed: `what`, and errno in words.
Failure system_failure(std::string_view what);

template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value)
        : state_(std::in_place_index<0>, std::move(value)) {
    }  // NOLINT(google-explicit-constructor): a value is a result
    Result(Failure failure)
        : state_(std::in_place_index<1>, std::move(failure)) {
    }  // NOLINT(google-explicit-constructor)

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    /// REQUIRES: ok()
    T& value() & {
        FORKMILL_CHECK(ok());
        return std::get<0>(state_);
    }
    const T& value() const& {
        FORKMILL_CHECK(ok());
        return std::get<0>(state_);
    }
    T&& value() && {
        FORKMILL_CHECK(ok());
        return std::get<0>(std::move(state_));
    }
    /// REQUIRES: !ok()
    const Failure& failure() const {
        FORKMILL_CHECK(!ok());
        return std::get<1>(state_);
    }

  private:
    std::variant<T, Failure> state_;
};

struct Done {};
/// The result of something that yields nothing but success.
using Status = Result<Done>;

}  // namespace forkmill::base
