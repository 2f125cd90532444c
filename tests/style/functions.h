// SPDX-License-Identifier: Apache-2.0
// Finds the functions of a source by its braces; close enough for counting lines, no parser.
#pragma once

#include <vector>

#include "tests/style/source.h"

namespace forkmill::style {

struct Function {
    int first_line;  ///< Of its opening brace.
    int last_line;   ///< Of its closing brace.
};

/// Functions outside of functions; a lambda counts as part of the one it stands in.
std::vector<Function> functions_of(const Source& source);

}  // namespace forkmill::style
