// SPDX-License-Identifier: Apache-2.0
// Contents that do not fit one message: written and read in parts. Nothing here is promised to
// users.
#pragma once

#include <cstddef>
#include <functional>
#include <utility>

#include "forkmill/detail/object_seam.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// Collects items and sends them in messages of at most kItemsMax items and some MiB.
class FORKMILL_API Pages {
  public:
    explicit Pages(SharedPtr object, Verb verb, std::int64_t index = 0)
        : object_(std::move(object)), verb_(verb), index_(index) {}
    void add(Item item);
    /// Waits until everything is written. Throws the first refusal.
    void finish();

  private:
    void send();

    SharedPtr object_;
    Verb verb_;
    std::int64_t index_;
    std::vector<Item> items_;
    std::size_t bytes_ = 0;
    std::vector<AskPtr> asks_;
};

using OnItem = std::function<void(const ItemView&)>;
/// All keys of a dict, in one message.
FORKMILL_API void read_keys(const SharedPtr& dict, const OnItem& on_item);
/// All pairs: in one message, or in parts if it is too big for that; then keys that went away
/// meanwhile are left out.
FORKMILL_API void read_pairs(const SharedPtr& dict, const OnItem& on_item);
/// Items from `index` on, `count` of them or to the end for 0, and their version: in one message,
/// or in parts, again from the start if it was changed meanwhile. `begin` is called before the
/// first item of each try.
FORKMILL_API std::uint64_t read_cells(const SharedPtr& object,
                                      std::int64_t index,
                                      std::uint64_t count,
                                      const std::function<void()>& begin,
                                      const OnItem& on_item);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
