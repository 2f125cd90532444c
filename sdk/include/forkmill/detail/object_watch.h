// SPDX-License-Identifier: Apache-2.0
// Watches of typed values. Nothing here is promised to users.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "forkmill/detail/object_items.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// `decode` makes a T of the bytes that are there now.
template <class T, class OnChange>
Watch watch_value(const SharedPtr& object,
                  Request request,
                  OnChange on_change,
                  T (*decode)(Bytes bytes)) {
    request.verb = Verb::Watch;
    return Watch{watch(object,
                       std::move(request),
                       [call = std::move(on_change), decode](const Change& change) mutable {
                           if (change.erased || change.gone) {
                               call(std::optional<T>{});
                           } else {
                               call(read_answer(*change.brought, [&](const Answer&) {
                                   return std::optional<T>{decode(change.body)};
                               }));
                           }
                       })};
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
