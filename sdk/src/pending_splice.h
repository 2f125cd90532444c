// SPDX-License-Identifier: Apache-2.0
// splice: puts packed values in the place of placeholders of a packed array of arguments
// (semantics.md 18b).
//
// Owns nothing. The arguments were packed by this program's own codec, so an array that does not
// parse is a user's broken Codec: nullopt. Threading: any.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/bytes.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// `values` sorted by position.
std::optional<base::Blob> splice(
    base::ByteView arguments,
    const std::vector<std::pair<std::uint32_t, base::ByteView>>& values);

/// Bytes of the msgpack object at the start of `bytes`; 0 if there is no whole one. Bounded by the
/// bytes, without recursion.
std::size_t packed_size(base::ByteView bytes);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
