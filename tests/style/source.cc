// SPDX-License-Identifier: Apache-2.0
#include "tests/style/source.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>

#include "tests/support/temp_dir.h"

namespace forkmill::style {
namespace {

constexpr std::array kFolders{"core",
                              "broker",
                              "worker",
                              "sdk",
                              "cli",
                              "tests",
                              "bench",
                              "examples",
                              "cmake",
                              "tools",
                              "configs",
                              "docs",
                              "deploy",
                              ".ci"};

/// Blanks comments and the insides of string and character literals, line by line.
class Stripper {
  public:
    std::string strip(const std::string& line) {
        std::string out = line;
        for (std::size_t i = 0; i < line.size();) i = step(line, i, out);
        if (state_ == State::Text || state_ == State::Char) state_ = State::Code;
        return out;
    }

  private:
    enum class State { Code, Comment, Text, Char, Raw };

    std::size_t step(const std::string& line, std::size_t i, std::string& out) {
        switch (state_) {
            case State::Code:
                return code(line, i, out);
            case State::Comment:
                return until(line, i, out, "*/");
            case State::Raw:
                return until(line, i, out, raw_end_);
            case State::Text:
            case State::Char:
                return literal(line, i, out);
        }
        return line.size();
    }

    std::size_t code(const std::string& line, std::size_t i, std::string& out) {
        const std::string_view rest = std::string_view{line}.substr(i);
        if (rest.starts_with("//")) {
            std::fill(out.begin() + static_cast<std::ptrdiff_t>(i), out.end(), ' ');
            return line.size();
        }
        if (rest.starts_with("/*")) {
            state_ = State::Comment;
            out[i] = out[i + 1] = ' ';
            return i + 2;
        }
        if (rest.starts_with("R\"") && (i == 0 || !is_word(line[i - 1]))) {
            const std::size_t open = std::min(line.find('(', i), line.size() - 1);
            raw_end_ = ")" + line.substr(i + 2, open - i - 2) + "\"";
            state_ = State::Raw;
            return open + 1;
        }
        if (rest.front() == '"') state_ = State::Text;
        // A quote between digits separates them: 1'000.
        if (rest.front() == '\'' && (i == 0 || !is_word(line[i - 1]))) state_ = State::Char;
        return i + 1;
    }

    std::size_t literal(const std::string& line, std::size_t i, std::string& out) {
        const char end = state_ == State::Text ? '"' : '\'';
        if (line[i] == end) {
            state_ = State::Code;
            return i + 1;
        }
        out[i] = ' ';
        if (line[i] == '\\' && i + 1 < line.size()) out[++i] = ' ';
        return i + 1;
    }

    std::size_t until(const std::string& line,
                      std::size_t i,
                      std::string& out,
                      const std::string& end) {
        if (line.compare(i, end.size(), end) == 0) {
            for (std::size_t k = 0; k < end.size(); ++k) out[i + k] = ' ';
            state_ = State::Code;
            return i + end.size();
        }
        out[i] = ' ';
        return i + 1;
    }

    static bool is_word(char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '_';
    }

    State state_ = State::Code;
    std::string raw_end_;
};

bool is_text_of_ours(const std::filesystem::path& path) {
    if (path.string().find("/corpus/") != std::string::npos) return false;
    constexpr std::array kEndings{".h",
                                  ".cc",
                                  ".cmake",
                                  ".txt",
                                  ".md",
                                  ".yaml",
                                  ".yml",
                                  ".json",
                                  ".in",
                                  ".supp",
                                  ".sh",
                                  ".py"};
    const std::string ending = path.extension().string();
    if (ending.empty()) return true;  // tools/test and its like.
    return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

}  // namespace

std::vector<Include> Source::includes() const {
    std::vector<Include> found;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        // The path is a literal and so is blank in `code`; a commented-out include is blank as a
        // whole.
        if (code[i].find("#include") == std::string::npos) continue;
        const std::string& line = lines[i];
        const std::size_t open = line.find_first_of("\"<");
        const std::size_t close = line.find_first_of("\">", open + 1);
        if (open == std::string::npos || close == std::string::npos) continue;
        found.push_back(
            {static_cast<int>(i) + 1, line.substr(open + 1, close - open - 1), line[open] == '<'});
    }
    return found;
}

Source make_source(std::string path, std::string_view text) {
    Source source;
    source.path = std::move(path);
    Stripper stripper;
    std::istringstream in{std::string{text}};
    for (std::string line; std::getline(in, line);) {
        source.code.push_back(source.is_cpp() ? stripper.strip(line) : line);
        source.lines.push_back(std::move(line));
    }
    return source;
}

std::vector<Source> tree() {
    namespace fs = std::filesystem;
    const fs::path root = FORKMILL_TEST_SOURCE_DIR;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator{root}) {
        if (entry.is_regular_file() && is_text_of_ours(entry.path())) files.push_back(entry.path());
    }
    for (const char* folder : kFolders) {
        if (!fs::is_directory(root / folder)) continue;
        for (const auto& entry : fs::recursive_directory_iterator{root / folder}) {
            if (entry.is_regular_file() && is_text_of_ours(entry.path())) {
                files.push_back(entry.path());
            }
        }
    }
    std::sort(files.begin(), files.end());
    std::vector<Source> sources;
    for (const fs::path& file : files) {
        sources.push_back(make_source(fs::relative(file, root).string(), test::read_text(file)));
    }
    return sources;
}

std::string at(const Source& source, int line, std::string_view what) {
    return source.path + ":" + std::to_string(line) + ": " + std::string{what};
}

}  // namespace forkmill::style
