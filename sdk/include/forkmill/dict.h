// SPDX-License-Identifier: Apache-2.0
// Dict<K, V>: values by key, shared; Python's Manager().dict().
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

    std::optional<V> get(const K& key) const { return get_async(key).get(); }
    Operation<std::optional<V>> get_async(const K& key) const {
        return {detail::ask(shared_, of(Verb::Read, key)), detail::finish_found<V>};
    }
    /// Throws NotFound.
    V at(const K& key) const { return at_async(key).get(); }
    Operation<V> at_async(const K& key) const {
        return {detail::ask(shared_, of(Verb::Read, key)), detail::finish_value<V>};
    }
    void set(const K& key, const V& value) { set_async(key, value).get(); }
    Operation<void> set_async(const K& key, const V& value) {
        return {detail::ask(shared_, pair(key, value)), detail::finish_done};
    }
    /// What is there, or `value`, which is there from now on.
    V setdefault(const K& key, const V& value) { return setdefault_async(key, value).get(); }
    Operation<V> setdefault_async(const K& key, const V& value) {
        return {detail::ask(shared_, pair(key, value, detail::kIfAbsent)), [](detail::Ask& ask) {
                    detail::finish_done(ask);
                    return detail::read_answer(ask, [&](const detail::Answer& answer) {
                        return detail::unpack<V>(answer.items.empty() ? detail::sent_item(ask).body
                                                                      : answer.items.front().body);
                    });
                }};
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
            const detail::AskPtr read = detail::ask(shared_, of(Verb::Read, key));
            const detail::Answer& answer = detail::await_answer(read);
            if (detail::finish_there(*read)) before = detail::first_value<V>(*read);
            const bool there = before.has_value();
            V after = change(std::move(before));
            detail::Request write = pair(key, after, detail::kIfVersion);
            if (there) write.version = answer.version;
            const detail::AskPtr ask = detail::ask(shared_, std::move(write));
            if (detail::await_answer(ask).told == detail::Told::Changed) continue;
            detail::finish_done(*ask);
            return after;
        }
    }
    /// Takes it out. Throws NotFound.
    V pop(const K& key) { return pop_async(key).get(); }
    Operation<V> pop_async(const K& key) {
        return {detail::ask(shared_, of(Verb::Erase, key, detail::kOld)), detail::finish_value<V>};
    }
    /// False: it is not there.
    bool erase(const K& key) { return erase_async(key).get(); }
    Operation<bool> erase_async(const K& key) {
        return {detail::ask(shared_, of(Verb::Erase, key)), detail::finish_there};
    }
    void clear() { clear_async().get(); }
    Operation<void> clear_async() {
        return {detail::ask(shared_, {.verb = Verb::Erase, .flags = detail::kAll}),
                detail::finish_done};
    }

    bool contains(const K& key) const { return contains_async(key).get(); }
    Operation<bool> contains_async(const K& key) const {
        return {detail::ask(shared_, of(Verb::Read, key, detail::kKeysOnly)), detail::finish_there};
    }
    std::size_t size() const { return size_async().get(); }
    Operation<std::size_t> size_async() const { return count_async(); }
    bool empty() const { return size() == 0; }

    // Snapshots; one message. Items and values above the broker's limits.payload are read in parts,
    // by whoever takes them: on the callback thread, if they are awaited.
    std::vector<K> keys() const { return keys_async().get(); }
    Operation<std::vector<K>> keys_async() const {
        return {detail::ask_keys(shared_), [](detail::Ask& ask) {
                    std::vector<K> all;
                    detail::take_keys(ask, [&](const detail::ItemView& item) {
                        all.push_back(detail::unpack<K>(item.key));
                    });
                    return all;
                }};
    }
    std::vector<std::pair<K, V>> items() const { return items_async().get(); }
    Operation<std::vector<std::pair<K, V>>> items_async() const {
        return {detail::ask_pairs(shared_), [](detail::Ask& ask) {
                    std::vector<std::pair<K, V>> all;
                    detail::take_pairs(ask, [&](const detail::ItemView& item) {
                        all.emplace_back(detail::unpack<K>(item.key), detail::unpack<V>(item.body));
                    });
                    return all;
                }};
    }
    std::vector<V> values() const { return values_async().get(); }
    Operation<std::vector<V>> values_async() const {
        return {detail::ask_pairs(shared_), [](detail::Ask& ask) {
                    std::vector<V> all;
                    detail::take_pairs(ask, [&](const detail::ItemView& item) {
                        all.push_back(detail::unpack<V>(item.body));
                    });
                    return all;
                }};
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
    static detail::Request of(Verb verb, const K& key, std::uint32_t flags = 0) {
        detail::Request request{.verb = verb, .flags = flags};
        request.items.push_back({.key = detail::pack_key(key)});
        return request;
    }
    static detail::Request pair(const K& key, const V& value, std::uint32_t flags = 0) {
        detail::Request request{.verb = Verb::Write, .flags = flags};
        request.items.push_back(detail::pack_pair(key, value));
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

}  // namespace v0
}  // namespace forkmill
