// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

namespace forkmill::cli {

using Json = nlohmann::json;

std::string cell(const Json& row, const std::string& column) {
    const auto found = row.find(column);
    if (found == row.end()) return "-";
    if (!found->is_string()) return found->dump();
    return found->get_ref<const std::string&>().empty() ? "-" : found->get<std::string>();
}

void print_rows(const Json& rows, const std::vector<std::string>& columns, std::ostream& out) {
    std::vector<std::size_t> widths;
    for (const std::string& column : columns) {
        std::size_t width = column.size();
        for (const Json& row : rows) width = std::max(width, cell(row, column).size());
        widths.push_back(width);
    }
    const auto line = [&](const auto& text) {
        std::string all;
        for (std::size_t i = 0; i < columns.size(); ++i) {
            const std::string one = text(columns[i]);
            all += one + std::string(widths[i] + 2 - one.size(), ' ');
        }
        all.resize(all.find_last_not_of(' ') + 1);
        out << all << '\n';
    };
    line([](std::string name) {
        std::transform(name.begin(), name.end(), name.begin(), [](char c) {
            return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        });
        return name;
    });
    for (const Json& row : rows) line([&](const std::string& name) { return cell(row, name); });
}

}  // namespace forkmill::cli
