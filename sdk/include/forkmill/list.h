// SPDX-License-Identifier: Apache-2.0
// List<T>: a shared sequence; Python's Manager().list().
//
// object.h says how handles are made, live and travel. One call is one message and its answer, but
// remove_value(), sort(), reverse() and modify() read the whole list and write it back, again when
// another changed it meanwhile. Each call is atomic. Indices below 0 count from the end; one that
// names no item throws OutOfRange.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "forkmill/detail/object_items.h"
#include "forkmill/detail/object_pages.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {

template <class T>
class List : public Object {
    using Verb = detail::Verb;
    using Index = std::int64_t;

  public:
    List() = default;
    explicit List(Pool& pool, const ObjectOptions& options = {})
        : Object(open(pool, options, {.kind = detail::ObjectKind::List, .type = type()})) {}

    T at(Index index) const { return at_async(index).get(); }
    Operation<T> at_async(Index index) const {
        return {detail::ask(shared_, {.verb = Verb::Read, .index = index, .count = 1}),
                detail::finish_value<T>};
    }
    void set(Index index, const T& value) { set_async(index, value).get(); }
    Operation<void> set_async(Index index, const T& value) { return splice(index, 1, &value); }
    std::size_t size() const { return size_async().get(); }
    Operation<std::size_t> size_async() const { return count_async(); }
    bool empty() const { return size() == 0; }

    void append(const T& value) { append_async(value).get(); }
    Operation<void> append_async(const T& value) { return splice(detail::kEndOfList, 0, &value); }
    /// Appends all values of a range; atomic up to 512 of them.
    template <class Values>
    void extend(const Values& values) {
        detail::Pages pages{shared_, Verb::Write, detail::kEndOfList};
        for (const T& value : values) pages.add(detail::pack_item(value));
        pages.finish();
    }
    /// Before the item at `index`.
    void insert(Index index, const T& value) { insert_async(index, value).get(); }
    Operation<void> insert_async(Index index, const T& value) { return splice(index, 0, &value); }
    /// Takes it out.
    T pop(Index index = -1) { return pop_async(index).get(); }
    Operation<T> pop_async(Index index = -1) {
        return {
            detail::ask(shared_,
                        {.verb = Verb::Write, .flags = detail::kOld, .index = index, .count = 1}),
            detail::finish_value<T>};
    }
    void erase(Index index) { erase_async(index).get(); }
    Operation<void> erase_async(Index index) { return splice(index, 1, nullptr); }
    void clear() { clear_async().get(); }
    Operation<void> clear_async() {
        return {detail::ask(shared_, {.verb = Verb::Write, .flags = detail::kAll}),
                detail::finish_done};
    }

    /// Items first … last - 1 of what is there, as Python slices: bounds beyond the ends are the
    /// ends, those below 0 count from the end.
    std::vector<T> slice(Index first, Index last = detail::kEndOfList) const {
        const std::vector<T> all = items();
        const auto place = [size = static_cast<Index>(all.size())](Index at) {
            return std::clamp<Index>(at < 0 ? at + size : at, 0, size);
        };
        const Index from = place(first);
        return {all.begin() + from, all.begin() + std::max(from, place(last))};
    }
    /// A snapshot; as Dict::items(). slice() and index() look at one.
    std::vector<T> items() const { return items_async().get(); }
    Operation<std::vector<T>> items_async() const {
        return {detail::ask_cells(shared_), [](detail::Ask& ask) {
                    std::vector<T> all;
                    detail::collect_cells(ask, detail::unpack<T>, all);
                    return all;
                }};
    }
    /// Of the first equal item.
    std::optional<std::size_t> index(const T& value) const {
        const std::vector<T> all = items();
        const auto found = std::find(all.begin(), all.end(), value);
        if (found == all.end()) return std::nullopt;
        return static_cast<std::size_t>(found - all.begin());
    }
    /// Takes the first equal item out. Throws NotFound.
    void remove_value(const T& value) {
        modify([&](std::vector<T>& all) {
            const auto found = std::find(all.begin(), all.end(), value);
            if (found == all.end()) throw NotFound("the list has no such item");
            all.erase(found);
        });
    }
    template <class Less = std::less<>>
    void sort(Less less = {}) {
        modify([&](std::vector<T>& all) { std::stable_sort(all.begin(), all.end(), less); });
    }
    void reverse() {
        modify([](std::vector<T>& all) { std::reverse(all.begin(), all.end()); });
    }
    /// Changes the whole of it: `change(std::vector<T>&)` is called again when another was faster.
    /// At most 512 items.
    template <class ChangeAll>
    void modify(ChangeAll change) {
        for (;;) {
            const detail::AskPtr read = detail::ask_cells(shared_);
            detail::await_answer(read);
            std::vector<T> all;
            detail::Request request{.verb = Verb::Write, .flags = detail::kIfVersion};
            request.version = detail::collect_cells(*read, detail::unpack<T>, all);
            request.count = all.size();
            change(all);
            for (const T& value : all) request.items.push_back(detail::pack_item(value));
            const detail::AskPtr ask = detail::ask(shared_, std::move(request));
            if (detail::await_answer(ask).told == detail::Told::Changed) continue;
            return detail::finish_done(*ask);
        }
    }

  private:
    friend struct Codec<List>;
    static std::string type() { return detail::signature_of<T>(); }
    /// `count` items from `index` on are replaced by `value`, or by nothing.
    Operation<void> splice(Index index, std::uint64_t count, const T* value) {
        detail::Request request{.verb = Verb::Write, .index = index, .count = count};
        if (value != nullptr) request.items.push_back(detail::pack_item(*value));
        return {detail::ask(shared_, std::move(request)), detail::finish_done};
    }
};

template <class T>
struct Codec<List<T>> {
    static std::string signature() { return "list<" + List<T>::type() + ">"; }
    static void encode(Packer& packer, const List<T>& value) {
        packer.unsigned_integer(detail::object_leaves(value.shared_));
    }
    static void decode(Unpacker& unpacker, List<T>& value) {
        value.shared_ = detail::object_arrived(
            unpacker.unsigned_integer(UINT64_MAX), detail::ObjectKind::List, List<T>::type(), 0);
    }
};

}  // namespace v0
}  // namespace forkmill
