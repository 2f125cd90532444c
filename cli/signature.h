// SPDX-License-Identifier: Apache-2.0
// Signature: the text of a task's signature, taken apart.
//
// Invariants: (1) nesting is bounded, because the text comes from a peer; (2) `names` is as long as
// `parts` for a Struct and empty otherwise. Threading: values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace forkmill::cli {

struct Type {
    enum class Kind : std::uint8_t {
        Void,
        Nil,
        Bool,
        Signed,
        Unsigned,
        Float,
        Text,
        Binary,
        Nanoseconds,
        List,
        Tuple,
        Map,
        Struct,
        Optional,
        Variant,
    };
    Kind kind = Kind::Void;
    unsigned bits = 0;                    ///< Signed, Unsigned, Float.
    std::vector<Type> parts = {};         ///< What it is made of; Map: key and value.
    std::vector<std::string> names = {};  ///< Fields of a Struct.
    std::string text = {};                ///< As it stood in the signature.
};

struct Signature {
    Type result;
    std::vector<Type> arguments;
};

/// Throws JsonError (json_codec.h) for a text that is no signature this program understands.
Signature parse_signature(std::string_view text);

}  // namespace forkmill::cli
