// SPDX-License-Identifier: Apache-2.0
// Contents that do not fit one message: written and read in parts. Nothing here is promised to
// users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

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

// What is read whole is asked for in one message; if it is too big for that, whoever takes the
// answer reads it in parts, and waits for them.
using OnItem = std::function<void(const ItemView&)>;
/// All keys of a dict; these are never read in parts.
FORKMILL_API AskPtr ask_keys(const SharedPtr& dict);
FORKMILL_API void take_keys(Ask& ask, const OnItem& on_item);
/// All pairs. In parts, keys that went away meanwhile are left out.
FORKMILL_API AskPtr ask_pairs(const SharedPtr& dict);
FORKMILL_API void take_pairs(Ask& ask, const OnItem& on_item);
/// All items of a list or array, and their version. In parts, it begins again when they were
/// changed meanwhile: `begin` is called before the first item of each try.
FORKMILL_API AskPtr ask_cells(const SharedPtr& object);
FORKMILL_API std::uint64_t take_cells(Ask& ask,
                                      const std::function<void()>& begin,
                                      const OnItem& on_item);
/// All of them, each read by `read`.
template <class T>
std::uint64_t collect_cells(Ask& ask, T (*read)(Bytes), std::vector<T>& all) {
    return take_cells(
        ask, [&] { all.clear(); }, [&](const ItemView& item) { all.push_back(read(item.body)); });
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
