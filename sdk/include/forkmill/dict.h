// SPDX-License-Identifier: Apache-2.0
// Dict<K, V> and Namespace: values by key, shared; Python's Manager().dict() and Namespace().
//
// object.h says how handles are made, live and travel. One call is one message and its answer,
// whatever it does to how many keys (512 in one message; more are split, then not atomic as a
// whole). Each call is atomic; to change what you read, use update(key, change). Keys are compared
// by their packed bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "forkmill/detail/object_items.h"
#include "forkmill/detail/object_pages.h"
#include "forkmill/detail/object_watch.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {

template <class K, class V>
class Dict : public Object {
    using Verb = detail::Verb;

  public:
    Dict() = default;
    explicit Dict(Pool& pool, const ObjectOptions& options = {})
        : Object(open(pool, options, {.kind = detail::ObjectKind::Dict, .type = type()})) {}

    std::optional<V> get(const K& key) const {
        const detail::AskPtr ask = detail::ask(shared_, of(Verb::Read, key));
        if (detail::await_answer(ask).told == detail::Told::Absent) return std::nullopt;
        detail::finish_done(*ask);
        return detail::first_value<V>(*ask);
    }
    /// Throws NotFound.
    V at(const K& key) const {
        return detail::first_value<V>(*detail::perform(shared_, of(Verb::Read, key)));
    }
    void set(const K& key, const V& value) {
        detail::perform(shared_, pairs(detail::pack_pair(key, value)));
    }
    /// What is there, or `value`, which is there from now on.
    V setdefault(const K& key, const V& value) {
        detail::Request request = pairs(detail::pack_pair(key, value));
        request.flags = detail::kIfAbsent;
        const detail::AskPtr ask = detail::perform(shared_, std::move(request));
        if (detail::answer_of(*ask).items.empty()) return value;
        return detail::first_value<V>(*ask);
    }
    /// Sets all pairs of a range.
    template <class Pairs>
    void update(const Pairs& values) {
        detail::Pages pages{shared_, Verb::Write};
        for (const auto& [key, value] : values) pages.add(detail::pack_pair(key, value));
        pages.finish();
    }
    /// Sets what `change(std::optional<V>)` makes of what is there; it is called again when another
    /// was faster. Returns what was set. Two messages at least.
    template <class ChangeValue>
    V update(const K& key, ChangeValue change) {
        for (;;) {
            std::optional<V> before;
            detail::Request write;
            const detail::AskPtr read = detail::ask(shared_, of(Verb::Read, key));
            if (detail::await_answer(read).told != detail::Told::Absent) {
                detail::finish_done(*read);
                before = detail::first_value<V>(*read);
                write.version = detail::answer_of(*read).version;
            }
            V after = change(std::move(before));
            write.verb = Verb::Write;
            write.flags = detail::kIfVersion;
            write.items.push_back(detail::pack_pair(key, after));
            const detail::AskPtr ask = detail::ask(shared_, std::move(write));
            if (detail::await_answer(ask).told == detail::Told::Changed) continue;
            detail::finish_done(*ask);
            return after;
        }
    }
    /// Takes it out. Throws NotFound.
    V pop(const K& key) {
        detail::Request request = of(Verb::Erase, key);
        request.flags = detail::kOld;
        return detail::first_value<V>(*detail::perform(shared_, std::move(request)));
    }
    /// False: it is not there.
    bool erase(const K& key) {
        const detail::AskPtr ask = detail::ask(shared_, of(Verb::Erase, key));
        if (detail::await_answer(ask).told == detail::Told::Absent) return false;
        detail::finish_done(*ask);
        return true;
    }
    void clear() { detail::perform(shared_, {.verb = Verb::Erase, .flags = detail::kAll}); }

    bool contains(const K& key) const {
        detail::Request request = of(Verb::Read, key);
        request.flags = detail::kKeysOnly;
        const detail::AskPtr ask = detail::ask(shared_, std::move(request));
        if (detail::await_answer(ask).told == detail::Told::Absent) return false;
        detail::finish_done(*ask);
        return true;
    }
    std::size_t size() const { return static_cast<std::size_t>(info_value()); }
    bool empty() const { return size() == 0; }

    // Snapshots; one message unless they are above the broker's limits.payload.
    std::vector<K> keys() const {
        std::vector<K> all;
        detail::read_keys(shared_, [&](const detail::ItemView& item) {
            all.push_back(detail::unpack<K>(item.key));
        });
        return all;
    }
    std::vector<std::pair<K, V>> items() const {
        std::vector<std::pair<K, V>> all;
        detail::read_pairs(shared_, [&](const detail::ItemView& item) {
            all.emplace_back(detail::unpack<K>(item.key), detail::unpack<V>(item.body));
        });
        return all;
    }
    std::vector<V> values() const {
        std::vector<V> all;
        detail::read_pairs(shared_, [&](const detail::ItemView& item) {
            all.push_back(detail::unpack<V>(item.body));
        });
        return all;
    }

    /// Calls `on_change(std::optional<V>)` with what is there after a change, nothing if that is
    /// nothing; of changes in quick succession only the last may be told. On the callback thread or
    /// the dispatcher.
    template <class OnChange>
    Watch watch(const K& key, OnChange on_change) const {
        return detail::watch_value<V>(
            shared_, of(Verb::Watch, key), std::move(on_change), &detail::unpack<V>);
    }

  private:
    friend struct Codec<Dict>;
    static std::string type() {
        return detail::signature_of<K>() + "->" + detail::signature_of<V>();
    }
    static detail::Request of(Verb verb, const K& key) {
        detail::Request request{.verb = verb};
        request.items.push_back({.key = detail::pack_key(key)});
        return request;
    }
    static detail::Request pairs(detail::Item item) {
        detail::Request request{.verb = Verb::Write};
        request.items.push_back(std::move(item));
        return request;
    }
};

template <class K, class V>
struct Codec<Dict<K, V>> {
    static std::string signature() { return "dict<" + Dict<K, V>::type() + ">"; }
    static void encode(Packer& packer, const Dict<K, V>& value) {
        packer.unsigned_integer(detail::object_leaves(value.shared_));
    }
    static void decode(Unpacker& unpacker, Dict<K, V>& value) {
        value.shared_ = detail::object_arrived(
            unpacker.unsigned_integer(UINT64_MAX), detail::ObjectKind::Dict, Dict<K, V>::type(), 0);
    }
};

/// Attributes by name, each with a type of its own, which its readers must name (TypeMismatch; the
/// value is kept).
class FORKMILL_API Namespace : public Object {
  public:
    Namespace() = default;
    explicit Namespace(Pool& pool, const ObjectOptions& options = {})
        : Object(open(pool, options, {.kind = detail::ObjectKind::Dict, .type = "namespace"})) {}

    template <class T>
    void set(std::string_view name, const T& value) {
        detail::Item item;
        {
            const detail::Packing packing{item.refs};
            Packer packer{item.body};
            packer.array(2);
            packer.text(detail::signature_of<T>());
            Codec<T>::encode(packer, value);
        }
        set_item(name, std::move(item));
    }
    /// Throws NotFound, TypeMismatch.
    template <class T>
    T get(std::string_view name) const {
        const detail::AskPtr ask = read(name);
        return detail::read_answer(*ask, [&](const detail::Answer& answer) {
            Unpacker unpacker = value_of(answer, name, detail::signature_of<T>());
            return detail::decode_value<T>(unpacker);
        });
    }
    bool contains(std::string_view name) const;
    bool erase(std::string_view name);
    std::vector<std::string> names() const;

  private:
    friend struct Codec<Namespace>;
    void set_item(std::string_view name, detail::Item item);
    detail::AskPtr read(std::string_view name) const;
    static Unpacker value_of(const detail::Answer& answer,
                             std::string_view name,
                             const std::string& signature);
};

template <>
struct Codec<Namespace> {
    static std::string signature() { return "namespace"; }
    static void encode(Packer& packer, const Namespace& value) {
        packer.unsigned_integer(detail::object_leaves(value.shared_));
    }
    static void decode(Unpacker& unpacker, Namespace& value) {
        value.shared_ = detail::object_arrived(
            unpacker.unsigned_integer(UINT64_MAX), detail::ObjectKind::Dict, "namespace", 0);
    }
};

}  // namespace v0
}  // namespace forkmill
