// SPDX-License-Identifier: Apache-2.0
// Fields: the two visitors behind encode() and decode(); each struct names its fields once, in
// order.
//
// Internal to core/wire. A description calls the visitor per field; after v.optional() a reader
// accepts that the frame ends. Invariant: what FieldWriter writes, FieldReader accepts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/wire/messages.h"
#include "core/wire/names.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace forkmill::wire {

/// A writer describes a const struct, a reader a mutable one.
template <class Visitor, class T>
using Described = std::conditional_t<Visitor::kReads, T&, const T&>;

using TextCheck = bool (*)(std::string_view);

class FieldWriter {
  public:
    static constexpr bool kReads = false;
    explicit FieldWriter(Writer& out) : out_(out) {}
    std::uint32_t count() const { return count_; }

    void optional() {}
    void operator()(std::uint64_t value) { next().put_uint(value); }
    void operator()(std::int32_t value) { next().put_int(value); }
    void operator()(std::int64_t value) { next().put_int(value); }
    void operator()(bool value) { next().put_bool(value); }
    void operator()(double value) { next().put_double(value); }
    void operator()(std::uint32_t value) { next().put_uint(value); }
    void operator()(std::uint8_t value) { next().put_uint(value); }
    template <class Enum>
    requires std::is_enum_v<Enum>
    void operator()(Enum value) { next().put_uint(static_cast<std::uint64_t>(value)); }
    template <class Enum>
    void bounded(Enum value, Enum /*first*/, Enum /*last*/) {
        (*this)(value);
    }
    void text(std::string_view text, std::size_t max) { next().put_text(text, max); }
    void name(std::string_view text, std::size_t max, TextCheck /*check*/) {
        next().put_text(text, max);
    }
    /// A list whose items are one value each.
    template <class T, class Each>
    void list(const std::vector<T>& items, std::size_t /*max*/, Each each) {
        next().put_array(static_cast<std::uint32_t>(items.size()));
        FieldWriter inner{out_};
        for (const T& item : items) each(inner, item);
    }
    /// A list whose items are an array each.
    template <class T, class Each>
    void records(const std::vector<T>& items, std::size_t max, std::uint32_t fields, Each each) {
        list(items, max, [&](FieldWriter& inner, const T& item) {
            inner.out_.put_array(fields);
            each(inner, item);
        });
    }
    /// Pairs of numbers, one after the other.
    template <class T>
    void pairs(const std::vector<T>& items,
               std::uint64_t T::*first,
               std::uint64_t T::*second,
               std::size_t /*max*/) {
        next().put_array(static_cast<std::uint32_t>(items.size() * 2));
        for (const T& item : items) {
            out_.put_uint(item.*first);
            out_.put_uint(item.*second);
        }
    }

  private:
    Writer& next() {
        ++count_;
        return out_;
    }

    Writer& out_;
    std::uint32_t count_ = 0;
};

class FieldReader {
  public:
    static constexpr bool kReads = true;
    explicit FieldReader(Cursor& in) : in_(in) {}
    FieldReader(Cursor& in, Nested& array) : in_(in), array_(&array) {}

    void optional() { optional_ = true; }
    void operator()(std::uint64_t& value) {
        if (next()) in_.read_uint(value);
    }
    void operator()(std::int32_t& value) {
        if (next()) in_.read_int32(value);
    }
    void operator()(std::int64_t& value) {
        if (next()) in_.read_int(value);
    }
    void operator()(bool& value) {
        if (next()) in_.read_bool(value);
    }
    void operator()(double& value) {
        if (next()) in_.read_double(value);
    }
    void operator()(std::uint32_t& value) {
        if (next()) in_.read_uint32(value);
    }
    void operator()(std::uint8_t& value) {
        if (next()) in_.read_uint8(value);
    }
    /// Any number that the enum's type can hold: a newer peer may know more of them.
    template <class Enum>
    requires std::is_enum_v<Enum>
    void operator()(Enum& value) {
        read_enum(value, 0, static_cast<std::underlying_type_t<Enum>>(-1));
    }
    template <class Enum>
    void bounded(Enum& value, Enum first, Enum last) {
        read_enum(value, static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(last));
    }
    void text(std::string& out, std::size_t max) {
        std::string_view view;
        if (next() && in_.read_text(view, max)) out = view;
    }
    void name(std::string& out, std::size_t max, TextCheck check) {
        std::string_view view;
        if (!next() || !in_.read_text(view, max)) return;
        if (!check(view)) {
            in_.fail(Code::InvalidName);
            return;
        }
        out = view;
    }
    template <class T, class Each>
    void list(std::vector<T>& items, std::size_t max, Each each) {
        std::uint32_t count = 0;
        if (!open_list(count, max)) return;
        // Never more than the bytes that are there: read_array() has compared them.
        items.reserve(count);
        FieldReader inner{in_, kUncounted};
        for (std::uint32_t i = 0; i < count && in_.ok(); ++i) {
            T item{};
            each(inner, item);
            if (in_.ok()) items.push_back(std::move(item));
        }
    }
    template <class T, class Each>
    void records(std::vector<T>& items, std::size_t max, std::uint32_t /*fields*/, Each each) {
        list(items, max, [&](FieldReader&, T& item) {
            Nested array{in_};
            FieldReader inner{in_, array};
            each(inner, item);
            array.close();
        });
    }
    template <class T>
    void pairs(std::vector<T>& items,
               std::uint64_t T::*first,
               std::uint64_t T::*second,
               std::size_t max) {
        std::uint32_t count = 0;
        if (!open_list(count, 2 * max)) return;
        if (count % 2 != 0) {
            in_.fail(Code::Decode);
            return;
        }
        items.reserve(count / 2);
        for (std::uint32_t i = 0; i < count && in_.ok(); i += 2) {
            T item{};
            if (in_.read_uint(item.*first) && in_.read_uint(item.*second)) items.push_back(item);
        }
    }

  private:
    enum Uncounted { kUncounted };
    FieldReader(Cursor& in, Uncounted) : in_(in), uncounted_(true) {}

    bool next() {
        if (uncounted_) return in_.ok();
        if (array_ != nullptr ? array_->next() : in_.next_field()) return true;
        if (!optional_) in_.fail(Code::Decode);
        return false;
    }
    bool open_list(std::uint32_t& count, std::size_t max) {
        if (!next() || !in_.read_array(count)) return false;
        return count <= max || in_.fail(Code::LimitElements);
    }
    template <class Enum>
    void read_enum(Enum& value, std::uint64_t first, std::uint64_t last) {
        std::uint64_t number = 0;
        if (!next() || !in_.read_uint(number)) return;
        if (number < first || number > last) {
            in_.fail(Code::InvalidRange);
            return;
        }
        value = static_cast<Enum>(number);
    }

    Cursor& in_;
    Nested* array_ = nullptr;  ///< Null: the fields of the frame itself.
    bool uncounted_ = false;   ///< Items of a list: its loop counts them.
    bool optional_ = false;
};

}  // namespace forkmill::wire
