// SPDX-License-Identifier: Apache-2.0
// Value<T> and Array<T>: one value, or a fixed number of them, shared; Python's Value and Array.
//
// object.h says how handles are made, live and travel. One call is one message and its answer, and
// atomic; update() is two or more. Numbers (but not bool) are kept as 64-bit numbers that the
// broker adds to: integers wrap there, and what comes back is converted to T. Other values start as
// T{} unless said otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "forkmill/detail/object_items.h"
#include "forkmill/detail/object_pages.h"
#include "forkmill/detail/object_watch.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {

/// Indices 0 … size - 1; others throw OutOfRange.
template <class T>
class Array : public Object {
    using Verb = detail::Verb;

  public:
    Array() = default;
    /// Of `size` values T{}.
    Array(Pool& pool, std::size_t size, const ObjectOptions& options = {})
        : Object(open(pool, options, opening(size))) {}
    /// Of these values, at most 512.
    Array(Pool& pool, const std::vector<T>& values, const ObjectOptions& options = {})
        : Object(open(pool, options, opening(values.size(), &values))) {}

    T get(std::size_t index) const {
        return cell(*detail::perform(
            shared_, {.verb = Verb::Read, .index = static_cast<std::int64_t>(index), .count = 1}));
    }
    void set(std::size_t index, const T& value) {
        detail::perform(shared_, of(Verb::Write, index, value));
    }
    /// Returns what was there.
    T exchange(std::size_t index, const T& value) {
        return cell(*detail::perform(shared_, of(Verb::Swap, index, value)));
    }
    /// Sets it to `desired` if it is `expected` (by its bytes, at most 1,024); else false, and
    /// `expected` is what is there.
    bool compare_exchange(std::size_t index, T& expected, const T& desired) {
        detail::Request request = of(Verb::Swap, index, desired);
        request.flags = detail::kIfEqual;
        request.items.front().key = detail::pack_cell(expected).body;
        const detail::AskPtr ask = detail::ask(shared_, std::move(request));
        if (detail::await_answer(ask).told != detail::Told::Changed) {
            detail::finish_done(*ask);
            return true;
        }
        expected = cell(*ask);
        return false;
    }
    /// Adds to it; returns what was there before.
    T fetch_add(std::size_t index, const T& amount) requires detail::Countable<T> {
        return fetch_add_async(index, amount).get();
    }
    Operation<T> fetch_add_async(std::size_t index, const T& amount) requires detail::Countable<T> {
        return {detail::ask(shared_, of(Verb::Add, index, amount)), [](detail::Ask& ask) {
                    detail::finish_done(ask);
                    return cell(ask);
                }};
    }
    /// Sets what `change(T)` makes of what is there; called again when another was faster. Returns
    /// what was set.
    template <class ChangeValue>
    T update(std::size_t index, ChangeValue change) {
        for (;;) {
            const detail::AskPtr read = detail::perform(
                shared_,
                {.verb = Verb::Read, .index = static_cast<std::int64_t>(index), .count = 1});
            T after = change(cell(*read));
            detail::Request write = of(Verb::Write, index, after);
            write.flags = detail::kIfVersion;
            write.version = detail::answer_of(*read).version;
            const detail::AskPtr ask = detail::ask(shared_, std::move(write));
            if (detail::await_answer(ask).told == detail::Told::Changed) continue;
            detail::finish_done(*ask);
            return after;
        }
    }
    std::size_t size() const { return static_cast<std::size_t>(info_value()); }
    /// A snapshot.
    std::vector<T> values() const {
        std::vector<T> all;
        detail::read_cells(
            shared_,
            0,
            0,
            [&] { all.clear(); },
            [&](const detail::ItemView& item) {
                all.push_back(detail::unpack_cell<T>(item.body));
            });
        return all;
    }
    /// As Dict::watch.
    template <class OnChange>
    Watch watch(std::size_t index, OnChange on_change) const {
        return detail::watch_value<T>(shared_,
                                      {.index = static_cast<std::int64_t>(index)},
                                      std::move(on_change),
                                      &detail::unpack_cell<T>);
    }

  protected:
    static std::string type() { return detail::signature_of<T>(); }

  private:
    friend struct Codec<Array>;
    static detail::Opening opening(std::size_t size, const std::vector<T>* values = nullptr) {
        detail::Opening opening{
            .kind = detail::ObjectKind::Array,
            .type = type(),
            .capacity = size,
            .cell = detail::Countable<T> ? detail::cell_of<T> : detail::Cell::Opaque};
        if (values == nullptr && detail::Countable<T>) return opening;
        for (std::size_t i = 0; i < size; ++i)
            opening.items.push_back(detail::pack_cell(values != nullptr ? T((*values)[i]) : T{}));
        return opening;
    }
    static detail::Request of(Verb verb, std::size_t index, const T& value) {
        detail::Request request{.verb = verb, .index = static_cast<std::int64_t>(index)};
        request.items.push_back(detail::pack_cell(value));
        return request;
    }
    static T cell(detail::Ask& ask) {
        return detail::read_answer(ask, [](const detail::Answer& answer) {
            if (answer.items.empty()) throw ProtocolError{"an answer without its cell"};
            return detail::unpack_cell<T>(answer.items.front().body);
        });
    }
};

/// An Array of one.
template <class T>
class Value : private Array<T> {
    using Base = Array<T>;

  public:
    Value() = default;
    explicit Value(Pool& pool, const T& initial = T{}, const ObjectOptions& options = {})
        : Base(pool, std::vector<T>{initial}, options) {}

    using Base::id;
    using Base::remove;
    using Base::operator bool;
    T get() const { return Base::get(0); }
    void set(const T& value) { Base::set(0, value); }
    T exchange(const T& value) { return Base::exchange(0, value); }
    bool compare_exchange(T& expected, const T& desired) {
        return Base::compare_exchange(0, expected, desired);
    }
    T fetch_add(const T& amount) requires detail::Countable<T> {
        return Base::fetch_add(0, amount);
    }
    Operation<T> fetch_add_async(const T& amount) requires detail::Countable<T> {
        return Base::fetch_add_async(0, amount);
    }
    template <class ChangeValue>
    T update(ChangeValue change) {
        return Base::update(0, std::move(change));
    }
    template <class OnChange>
    Watch watch(OnChange on_change) const {
        return Base::watch(0, std::move(on_change));
    }

  private:
    friend struct Codec<Value>;
};

template <class T>
struct Codec<Array<T>> {
    static std::string signature() { return "array<" + detail::signature_of<T>() + ">"; }
    static void encode(Packer& packer, const Array<T>& value) {
        packer.unsigned_integer(detail::object_leaves(value.shared_));
    }
    static void decode(Unpacker& unpacker, Array<T>& value) {
        value.shared_ = detail::object_arrived(
            unpacker.unsigned_integer(UINT64_MAX), detail::ObjectKind::Array, Array<T>::type(), 0);
    }
};
template <class T>
struct Codec<Value<T>> {
    static std::string signature() { return "value<" + detail::signature_of<T>() + ">"; }
    static void encode(Packer& packer, const Value<T>& value) {
        Codec<Array<T>>::encode(packer, value);
    }
    static void decode(Unpacker& unpacker, Value<T>& value) {
        Codec<Array<T>>::decode(unpacker, value);
    }
};

}  // namespace v0
}  // namespace forkmill
