// SPDX-License-Identifier: Apache-2.0
// JSON to the bytes of a task's arguments and back, by the text of its signature, as in
// "i64(str,[f64])".
//
// Beyond what JSON has: `bin` is a text (its UTF-8) or {"base64":"…"}, `ns` an integer, a map with
// keys that are no texts a list of [key, value], `T?` null or a T, `<A|B>` the first alternative
// that fits, a struct an object or a list of its fields. Invariants: (1) both are pure; (2) nothing
// is narrowed in silence. Threading: any.
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace forkmill::cli {

/// Says which argument does not fit, and what was expected.
class JsonError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The packed array of `arguments`, each a JSON text.
std::vector<std::byte> pack_arguments(std::string_view signature,
                                      const std::vector<std::string>& arguments);

/// The JSON text of a packed result; "null" for void.
std::string unpack_result(std::string_view signature, std::span<const std::byte> packed);

/// The JSON text of a result whose signature nobody knows any more.
std::string unpack_anything(std::span<const std::byte> packed);

}  // namespace forkmill::cli
