// SPDX-License-Identifier: Apache-2.0
// Tables: JSON rows as columns for people.
#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace forkmill::cli {

/// One value; `-` when it is not there or empty.
std::string cell(const nlohmann::json& row, const std::string& column);
/// A line of headings and one per row.
void print_rows(const nlohmann::json& rows,
                const std::vector<std::string>& columns,
                std::ostream& out);

}  // namespace forkmill::cli
