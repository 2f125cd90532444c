// SPDX-License-Identifier: Apache-2.0
#include "core/wire/signatures.h"

#include <cstddef>

namespace forkmill::wire {

namespace {

bool opens(char c) {
    return c == '{' || c == '(' || c == '[' || c == '<';
}
bool closes(char c) {
    return c == '}' || c == ')' || c == ']' || c == '>';
}

/// From the comma before a struct's first unknown member: its closing brace, or the end of a text
/// that has none.
std::size_t end_of_members(std::string_view text, std::size_t at) {
    for (std::size_t depth = 0; at < text.size(); ++at) {
        if (opens(text[at])) ++depth;
        if (!closes(text[at])) continue;
        if (depth == 0) return at;
        --depth;
    }
    return at;
}

}  // namespace

bool signatures_agree(std::string_view a, std::string_view b) {
    std::size_t i = 0;
    std::size_t k = 0;
    while (i < a.size() && k < b.size()) {
        // A comma opposite a closing brace: the texts were the same so far, so this brace closes
        // the struct whose next member the other text has.
        if (a[i] == ',' && b[k] == '}')
            i = end_of_members(a, i);
        else if (a[i] == '}' && b[k] == ',')
            k = end_of_members(b, k);
        if (i == a.size() || k == b.size() || a[i] != b[k]) return false;
        ++i;
        ++k;
    }
    return i == a.size() && k == b.size();
}

}  // namespace forkmill::wire
