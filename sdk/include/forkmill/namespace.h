// SPDX-License-Identifier: Apache-2.0
// Namespace: shared attributes of any type; Python's Manager().Namespace().
//
// object.h says how handles are made, live and travel. One call is one message and its answer, and
// atomic.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "forkmill/detail/object_items.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {

/// Attributes by name, each with a type of its own, which its readers must name (TypeMismatch; the
/// value is kept).
class FORKMILL_API Namespace : public Object {
  public:
    Namespace() = default;
    explicit Namespace(Pool& pool, const ObjectOptions& options = {})
        : Object(open(pool, options, {.kind = detail::ObjectKind::Dict, .type = "namespace"})) {}

    template <class T>
    void set(std::string_view name, const T& value) {
        set_async(name, value).get();
    }
    template <class T>
    Operation<void> set_async(std::string_view name, const T& value) {
        detail::Item item;
        {
            const detail::Packing packing{item.refs};
            Packer packer{item.body};
            packer.array(2);
            packer.text(detail::signature_of<T>());
            Codec<T>::encode(packer, value);
        }
        return {write(name, std::move(item)), detail::finish_done};
    }
    /// Throws NotFound, TypeMismatch.
    template <class T>
    T get(std::string_view name) const {
        return get_async<T>(name).get();
    }
    template <class T>
    Operation<T> get_async(std::string_view name) const {
        return {read(name), [](detail::Ask& ask) {
                    const detail::Unpacking unpacking{ask};
                    Unpacker unpacker = value_of(ask, detail::signature_of<T>());
                    return detail::decode_value<T>(unpacker);
                }};
    }
    bool contains(std::string_view name) const { return contains_async(name).get(); }
    Operation<bool> contains_async(std::string_view name) const;
    bool erase(std::string_view name) { return erase_async(name).get(); }
    Operation<bool> erase_async(std::string_view name);
    std::vector<std::string> names() const { return names_async().get(); }
    Operation<std::vector<std::string>> names_async() const;

  private:
    friend struct Codec<Namespace>;
    detail::AskPtr write(std::string_view name, detail::Item item);
    detail::AskPtr read(std::string_view name) const;
    static Unpacker value_of(detail::Ask& ask, const std::string& signature);
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
