// SPDX-License-Identifier: Apache-2.0
// The laws about form: license, columns, sizes, words and comments.
#include <algorithm>
#include <array>
#include <cctype>
#include <regex>
#include <string_view>

#include "tests/style/functions.h"
#include "tests/style/laws.h"

namespace forkmill::style {
namespace {

constexpr int kColumns = 100;
constexpr int kFunctionLines = 70;

std::string_view trimmed(std::string_view line) {
    const std::size_t start = line.find_first_not_of(" \t");
    return start == std::string_view::npos ? std::string_view{} : line.substr(start);
}

/// Characters, not bytes: a … takes one column.
int columns(std::string_view line) {
    return static_cast<int>(std::count_if(line.begin(), line.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
    }));
}

bool is_style_itself(const Source& source) {
    return source.is_below("tests/style/");
}

}  // namespace

Violations check_license(const Source& source) {
    const bool exempt = source.path.ends_with(".md") || source.path.ends_with(".json") ||
                        source.path.ends_with(".in") || source.path.ends_with(".supp") ||
                        source.path.ends_with(".txt") || source.path.ends_with(".yaml") ||
                        source.path == "LICENSE" || source.path == ".gitignore";
    const bool must = !exempt || source.path.ends_with("CMakeLists.txt");
    if (!must) return {};
    // A script's first line belongs to the kernel.
    for (std::size_t i = 0; i < std::min<std::size_t>(2, source.lines.size()); ++i) {
        if (source.lines[i].find("SPDX-License-Identifier: Apache-2.0") != std::string::npos) {
            return {};
        }
        if (!source.lines[i].starts_with("#!")) break;
    }
    return {at(source, 1, "expected `SPDX-License-Identifier: Apache-2.0` first")};
}

Violations check_columns(const Source& source) {
    Violations violations;
    const bool ruled = source.is_cpp() || source.path.ends_with(".cmake") ||
                       source.path.ends_with("CMakeLists.txt") || source.path.ends_with(".sh");
    if (!ruled) return violations;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
        const std::string& line = source.lines[i];
        const int number = static_cast<int>(i) + 1;
        if (columns(line) > kColumns) {
            violations.push_back(at(source, number, std::to_string(columns(line)) + " columns"));
        }
        if (line.find('\t') != std::string::npos) violations.push_back(at(source, number, "a tab"));
        if (line.ends_with(' ')) violations.push_back(at(source, number, "blanks at the end"));
    }
    return violations;
}

Violations check_sizes(const Source& source) {
    if (!source.is_cpp()) return {};
    const bool lax = source.is_below("tests/") || source.is_below("bench/");
    std::size_t limit = source.is_header() ? 200 : 600;
    if (lax) limit = source.is_header() ? 400 : 1000;
    if (source.path.ends_with("/main.cc") && !lax) limit = 120;
    // A header that explains itself well is not too long for it: only its code counts.
    std::size_t count = source.lines.size();
    if (source.is_header()) {
        count = static_cast<std::size_t>(
            std::count_if(source.code.begin(), source.code.end(), [](const std::string& line) {
                return !trimmed(line).empty();
            }));
    }
    if (count <= limit) return {};
    return {
        at(source, 1, std::to_string(count) + " lines; expected at most " + std::to_string(limit))};
}

Violations check_functions(const Source& source) {
    Violations violations;
    if (!source.is_cpp()) return violations;
    for (const Function& function : functions_of(source)) {
        const int length = function.last_line - function.first_line + 1;
        if (length > kFunctionLines) {
            violations.push_back(at(
                source, function.first_line, "a function of " + std::to_string(length) + " lines"));
        }
    }
    return violations;
}

Violations check_headers(const Source& source) {
    Violations violations;
    if (!source.is_header()) return violations;
    const auto once = std::find(source.lines.begin(), source.lines.end(), "#pragma once");
    if (once == source.lines.end()) violations.push_back(at(source, 1, "no `#pragma once`"));
    if (source.lines.size() < 2 || !source.lines[1].starts_with("// ")) {
        violations.push_back(at(source, 2, "a header opens with what it owns"));
    }
    for (std::size_t i = 0; i < source.code.size(); ++i) {
        if (trimmed(source.code[i]).starts_with("using namespace")) {
            // One that ends with a function's body reaches nobody else.
            if (!source.code[i].starts_with("    ") && !source.is_below("tests/")) {
                violations.push_back(at(source, static_cast<int>(i) + 1, "using namespace"));
            }
        }
        const std::string_view line = trimmed(source.code[i]);
        if (line.starts_with("#define ") && !line.starts_with("#define FORKMILL_") &&
            source.is_below("sdk/include/")) {
            violations.push_back(at(source, static_cast<int>(i) + 1, "a macro not FORKMILL_…"));
        }
    }
    return violations;
}

Violations check_words(const Source& source) {
    // Written in halves, so that this file obeys itself.
    static const std::array<std::string, 9> kEverywhere{std::string{"TO"} + "DO",
                                                        std::string{"FIX"} + "ME",
                                                        std::string{"XX"} + "X:",
                                                        std::string{"HA"} + "CK:",
                                                        std::string{"/wo"} + "rk/",
                                                        std::string{"/ho"} + "me/",
                                                        std::string{"for n"} + "ow,",
                                                        std::string{"/ro"} + "ot/",
                                                        std::string{"DISABLED"} + "_"};
    static const std::array<std::string, 5> kInCode{std::string{"std::vi"} + "ews",
                                                    std::string{"assert"} + "(",
                                                    std::string{"GTEST_"} + "SKIP",
                                                    std::string{"std::for"} + "mat(",
                                                    std::string{"using namespace s"} + "td;"};
    Violations violations;
    if (is_style_itself(source) || source.path == "LICENSE") return violations;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
        const int number = static_cast<int>(i) + 1;
        for (const std::string& word : kEverywhere) {
            if (source.lines[i].find(word) != std::string::npos) {
                violations.push_back(at(source, number, "found `" + word + "`"));
            }
        }
        if (!source.is_cpp()) continue;
        for (const std::string& word : kInCode) {
            const std::size_t found = source.code[i].find(word);
            const bool own =
                found != std::string::npos &&
                (found == 0 ||
                 (source.code[i][found - 1] != '_' &&
                  !std::isalnum(static_cast<unsigned char>(source.code[i][found - 1]))));
            if (own) violations.push_back(at(source, number, "found `" + word + "`"));
        }
    }
    return violations;
}

Violations check_comments(const Source& source) {
    Violations violations;
    if (!source.is_cpp()) return violations;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
        const int number = static_cast<int>(i) + 1;
        const std::string_view line = trimmed(source.lines[i]);
        if (line.starts_with("//--") || line.starts_with("// --") || line.starts_with("//==") ||
            line.starts_with("// ==") || line.starts_with("/////") || line.starts_with("// **")) {
            violations.push_back(at(source, number, "a banner"));
        }
        // In a comment that opens a header, or a /// one, code is an example.
        static const std::regex kCode{
            R"(// ((return|auto|const|int|if|for|while)\b.*|[A-Za-z_][\w:.>-]*\(.*\));)"};
        if (std::regex_match(line.begin(), line.end(), kCode)) {
            violations.push_back(at(source, number, "commented-out code"));
        }
        const std::size_t nolint = line.find("NOLINT");
        if (nolint != std::string_view::npos && !is_style_itself(source) &&
            line.substr(nolint).find(')') == std::string_view::npos) {
            violations.push_back(at(source, number, "NOLINT names its check in parentheses"));
        }
    }
    return violations;
}

Violations check_sleeps(const Source& source) {
    Violations violations;
    const bool ruled = source.is_below("tests/unit/") || source.is_below("tests/sim/") ||
                       source.is_below("core/") || source.is_below("broker/");
    if (!ruled || !source.is_cpp()) return violations;
    for (std::size_t i = 0; i < source.code.size(); ++i) {
        for (const std::string_view call :
             {"sleep_for(", "usleep(", "sleep_until(", "nanosleep("}) {
            if (source.code[i].find(call) != std::string::npos) {
                violations.push_back(at(source,
                                        static_cast<int>(i) + 1,
                                        "time is not slept for; wait_until a condition"));
            }
        }
    }
    return violations;
}

const std::vector<Law>& all_laws() {
    static const std::vector<Law> kLaws{{"directions", check_directions},
                                        {"cages", check_cages},
                                        {"process calls", check_process_calls},
                                        {"purity", check_purity},
                                        {"bodies", check_bodies},
                                        {"assertions", check_assertions},
                                        {"license", check_license},
                                        {"columns", check_columns},
                                        {"sizes", check_sizes},
                                        {"functions", check_functions},
                                        {"headers", check_headers},
                                        {"words", check_words},
                                        {"comments", check_comments},
                                        {"sleeps", check_sleeps}};
    return kLaws;
}

}  // namespace forkmill::style
