// SPDX-License-Identifier: Apache-2.0
#include "tests/style/functions.h"

#include <algorithm>
#include <regex>
#include <string>

namespace forkmill::style {
namespace {

enum class Scope { Outer, Function, Inner };  // Namespace or type; body; anything in braces.

class Finder {
  public:
    std::vector<Function> find(const Source& source) {
        for (std::size_t i = 0; i < source.code.size(); ++i) {
            line_ = static_cast<int>(i) + 1;
            if (source.code[i].starts_with("#")) continue;  // Directives have braces of their own.
            for (const char c : source.code[i]) step(c);
            statement_ += ' ';
        }
        return std::move(found_);
    }

  private:
    struct Open {
        Scope scope;
        int line;
        std::string statement;
    };

    void step(char c) {
        if (c == '{') {
            const Scope scope = judge();
            open_.push_back({scope, line_, std::move(statement_)});
            statement_.clear();
        } else if (c == '}' && !open_.empty()) {
            close();
        } else if (c == ';') {
            statement_.clear();
        } else {
            statement_ += c;
        }
    }

    void close() {
        Open open = std::move(open_.back());
        open_.pop_back();
        statement_.clear();
        if (open.scope == Scope::Function) found_.push_back({open.line, line_});
        // `Foo() : a_{1} {`: the braces of an initializer belong to the statement.
        if (open.scope == Scope::Inner) statement_ = std::move(open.statement) + "{}";
    }

    Scope judge() const {
        static const std::regex kOuter{
            R"(^\s*(\[\[[^\]]*\]\]\s*|FORKMILL_API\s+|inline\s+|typedef\s+|)"
            R"((public|private|protected)\s*:\s*)*)"
            R"((namespace|class|struct|union|enum|extern)\b)"};
        const bool outside = std::all_of(
            open_.begin(), open_.end(), [](const Open& one) { return one.scope == Scope::Outer; });
        if (!outside) return Scope::Inner;
        std::string head = statement_;
        const std::size_t angle = head.find("template");
        if (angle != std::string::npos) head = after_template(head, angle);
        if (std::regex_search(head, kOuter)) return Scope::Outer;
        const std::size_t end = head.find_last_not_of(' ');
        if (end == std::string::npos || head[end] == '=' || head[end] == '(') return Scope::Inner;
        // The formatter puts a blank before a body and none before an initializer.
        if (head.back() != ' ' || head.find('(') == std::string::npos) return Scope::Inner;
        return Scope::Function;
    }

    static std::string after_template(const std::string& head, std::size_t at) {
        int depth = 0;
        for (std::size_t i = head.find('<', at); i < head.size(); ++i) {
            if (head[i] == '<') ++depth;
            if (head[i] == '>' && --depth == 0) return head.substr(i + 1);
        }
        return head;
    }

    int line_ = 0;
    std::string statement_;
    std::vector<Open> open_;
    std::vector<Function> found_;
};

}  // namespace

std::vector<Function> functions_of(const Source& source) {
    return Finder{}.find(source);
}

}  // namespace forkmill::style
