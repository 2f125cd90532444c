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
#include <optional>
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

    T get(std::size_t index) const { return get_async(index).get(); }
    Operation<T> get_async(std::size_t index) const { return {ask_cell(index), finish_cell}; }
    void set(std::size_t index, const T& value) { set_async(index, value).get(); }
    Operation<void> set_async(std::size_t index, const T& value) {
        return {detail::ask(shared_, of(Verb::Write, index, value)), detail::finish_done};
    }
    /// Returns what was there.
    T exchange(std::size_t index, const T& value) { return exchange_async(index, value).get(); }
    Operation<T> exchange_async(std::size_t index, const T& value) {
        return {detail::ask(shared_, of(Verb::Swap, index, value)), finish_cell};
    }
    /// Sets it to `desired` if it is `expected` (by its bytes, at most 1,024); else false, and
    /// `expected` is what is there.
    bool compare_exchange(std::size_t index, T& expected, const T& desired) {
        std::optional<T> other = compare_exchange_async(index, expected, desired).get();
        if (other) expected = std::move(*other);
        return !other;
    }
    /// Nothing: it was set; else what is there instead.
    Operation<std::optional<T>> compare_exchange_async(std::size_t index,
                                                       const T& expected,
                                                       const T& desired) {
        detail::Request request = of(Verb::Swap, index, desired);
        request.flags = detail::kIfEqual;
        request.items.front().key = detail::pack_cell(expected).body;
        return {detail::ask(shared_, std::move(request)), [](detail::Ask& ask) {
                    std::optional<T> other;
                    if (detail::answer_of(ask).told == detail::Told::Changed)
                        other = cell(ask);
                    else
                        detail::finish_done(ask);
                    return other;
                }};
    }
    /// Adds to it; returns what was there before.
    T fetch_add(std::size_t index, const T& amount) requires detail::Countable<T> {
        return fetch_add_async(index, amount).get();
    }
    Operation<T> fetch_add_async(std::size_t index, const T& amount) requires detail::Countable<T> {
        return {detail::ask(shared_, of(Verb::Add, index, amount)), finish_cell};
    }
    /// Sets what `change(T)` makes of what is there; called again when another was faster. Returns
    /// what was set.
    template <class ChangeValue>
    T update(std::size_t index, ChangeValue change) {
        for (;;) {
            const detail::AskPtr read = ask_cell(index);
            const detail::Answer& answer = detail::await_answer(read);
            T after = change(finish_cell(*read));
            detail::Request write = of(Verb::Write, index, after);
            write.flags = detail::kIfVersion;
            write.version = answer.version;
            const detail::AskPtr ask = detail::ask(shared_, std::move(write));
            if (detail::await_answer(ask).told == detail::Told::Changed) continue;
            detail::finish_done(*ask);
            return after;
        }
    }
    std::size_t size() const { return size_async().get(); }
    Operation<std::size_t> size_async() const { return count_async(); }
    /// A snapshot; one above the broker's limits.payload is read in parts, by whoever takes it.
    std::vector<T> values() const { return values_async().get(); }
    Operation<std::vector<T>> values_async() const {
        return {detail::ask_cells(shared_), [](detail::Ask& ask) {
                    std::vector<T> all;
                    detail::collect_cells(ask, detail::unpack_cell<T>, all);
                    return all;
                }};
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
    detail::AskPtr ask_cell(std::size_t index) const {
        return detail::ask(
            shared_, {.verb = Verb::Read, .index = static_cast<std::int64_t>(index), .count = 1});
    }
    static T finish_cell(detail::Ask& ask) {
        detail::finish_done(ask);
        return cell(ask);
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
    using Base::remove_async;
    using Base::operator bool;
    T get() const { return Base::get(0); }
    Operation<T> get_async() const { return Base::get_async(0); }
    void set(const T& value) { Base::set(0, value); }
    Operation<void> set_async(const T& value) { return Base::set_async(0, value); }
    T exchange(const T& value) { return Base::exchange(0, value); }
    Operation<T> exchange_async(const T& value) { return Base::exchange_async(0, value); }
    bool compare_exchange(T& expected, const T& desired) {
        return Base::compare_exchange(0, expected, desired);
    }
    Operation<std::optional<T>> compare_exchange_async(const T& expected, const T& desired) {
        return Base::compare_exchange_async(0, expected, desired);
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
