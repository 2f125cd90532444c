// SPDX-License-Identifier: Apache-2.0
// The programs in docs/tutorial do what stands beneath them: each cpp block is compiled against
// this build and its output compared with the text block.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace {

struct Example {
    std::string program;
    std::string output;
};

std::vector<Example> examples_of(const std::string& path) {
    std::ifstream file{path};
    std::vector<Example> examples;
    std::string* into = nullptr;
    for (std::string line; std::getline(file, line);) {
        if (into != nullptr && line == "```") {
            into = nullptr;
        } else if (into != nullptr) {
            *into += line + "\n";
        } else if (line == "```cpp") {
            into = &examples.emplace_back().program;
        } else if (line == "```text" && !examples.empty()) {
            into = &examples.back().output;
        }
    }
    return examples;
}

std::pair<int, std::string> run(const std::string& command) {
    std::string output;
    std::FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return {-1, "cannot run " + command};
    std::array<char, 4096> buffer{};
    for (std::size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
        output.append(buffer.data(), got);
    return {::pclose(pipe), output};
}

/// Without the blanks at line ends, which a document cannot show.
std::string trimmed(const std::string& text) {
    std::string out;
    for (const char c : text) {
        while (c == '\n' && !out.empty() && out.back() == ' ') out.pop_back();
        out += c;
    }
    return out;
}

TEST(Tutorial, EveryProgramPrintsWhatStandsBeneathIt) {
    const std::string source = FORKMILL_TEST_SOURCE_DIR;
    const std::string library = FORKMILL_TEST_LIB_DIR;
    const std::vector<Example> examples = examples_of(source + "/docs/tutorial/README.md");
    ASSERT_GE(examples.size(), 6U);
    const std::string directory = std::filesystem::temp_directory_path() /
                                  ("forkmill-tutorial-" + std::to_string(::getpid()));
    std::filesystem::create_directories(directory);
    for (std::size_t i = 0; i < examples.size(); ++i) {
        SCOPED_TRACE("block " + std::to_string(i + 1));
        const std::string program = directory + "/block" + std::to_string(i + 1);
        std::ofstream{program + ".cc"} << examples[i].program;
        const auto [compiled, messages] = run(
            "g++ -std=c++20 -Wall -Wextra -Werror -I" + source + "/sdk/include " + program +
            ".cc -L" + library + " -lforkmill -Wl,-rpath," + library + " -o " + program + " 2>&1");
        ASSERT_EQ(compiled, 0) << messages;
        const auto [code, output] = run("timeout 30 " + program);
        EXPECT_EQ(code, 0);
        EXPECT_EQ(trimmed(output), examples[i].output);
    }
    std::filesystem::remove_all(directory);
}

}  // namespace
