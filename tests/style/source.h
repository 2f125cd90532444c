// SPDX-License-Identifier: Apache-2.0
// Source: one file as the laws see it: its lines, and the same lines without comments and literals.
//
// Invariant: lines and code have the same number of lines and each line the same number of bytes,
// so a place in one is the place in the other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace forkmill::style {

struct Include {
    int line;
    std::string path;  ///< "core/base/time.h" or "vector".
    bool angled;
};

struct Source {
    std::string path;  ///< From the root of the tree: "core/base/time.h".
    std::vector<std::string> lines;
    std::vector<std::string> code;  ///< Comments and the insides of literals are blanks.

    bool is_header() const { return path.ends_with(".h"); }
    bool is_cpp() const { return is_header() || path.ends_with(".cc"); }
    bool is_below(std::string_view folder) const { return path.starts_with(folder); }
    std::vector<Include> includes() const;
};

/// A file of the given name and text, which needs not exist.
Source make_source(std::string path, std::string_view text);

/// Every text file of the tree that is ours, in name order.
std::vector<Source> tree();

/// "path:line: what", the form of every violation.
std::string at(const Source& source, int line, std::string_view what);

}  // namespace forkmill::style
