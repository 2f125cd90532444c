// SPDX-License-Identifier: Apache-2.0
#include "cli/signature.h"

#include <array>
#include <utility>

#include "cli/json_codec.h"

namespace forkmill::cli {

namespace {

using Kind = Type::Kind;

constexpr int kDepthMax = 32;
constexpr int kStepsMax = 100'000;

struct Word {
    std::string_view text;
    Kind kind;
    unsigned bits;
};
constexpr std::array kWords{
    Word{"void", Kind::Void, 0},
    Word{"nil", Kind::Nil, 0},
    Word{"bool", Kind::Bool, 0},
    Word{"i8", Kind::Signed, 8},
    Word{"i16", Kind::Signed, 16},
    Word{"i32", Kind::Signed, 32},
    Word{"i64", Kind::Signed, 64},
    Word{"u8", Kind::Unsigned, 8},
    Word{"u16", Kind::Unsigned, 16},
    Word{"u32", Kind::Unsigned, 32},
    Word{"u64", Kind::Unsigned, 64},
    Word{"f32", Kind::Float, 32},
    Word{"f64", Kind::Float, 64},
    Word{"str", Kind::Text, 0},
    Word{"bin", Kind::Binary, 0},
    Word{"ns", Kind::Nanoseconds, 0},
};

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    Signature signature() {
        Signature all;
        all.result = type(0);
        expect('(');
        if (!take(')')) {
            do {
                all.arguments.push_back(type(0));
            } while (take(','));
            expect(')');
        }
        if (at_ != text_.size()) fail();
        return all;
    }

  private:
    [[noreturn]] void fail() const {
        throw JsonError{"no signature that this program understands: " + std::string{text_}};
    }
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char c) {
        if (peek() != c) return false;
        ++at_;
        return true;
    }
    void expect(char c) {
        if (!take(c)) fail();
    }
    std::string_view word() {
        const std::size_t from = at_;
        while (at_ < text_.size() &&
               std::string_view{",:()[]{}<>|?"}.find(text_[at_]) == std::string_view::npos)
            ++at_;
        if (at_ == from) fail();
        return text_.substr(from, at_ - from);
    }

    Type type(int depth) {
        // Telling a map from a struct looks ahead, so that depth alone does not bound the work.
        if (depth > kDepthMax || ++steps_ > kStepsMax) fail();
        const std::size_t from = at_;
        Type made = plain(depth);
        made.text = text_.substr(from, at_ - from);
        while (take('?')) {
            Type outer;
            outer.kind = Kind::Optional;
            outer.parts.push_back(std::move(made));
            outer.text = text_.substr(from, at_ - from);
            made = std::move(outer);
        }
        return made;
    }

    Type plain(int depth) {
        if (take('[')) return sequence(Kind::List, '\0', ']', depth);
        if (take('(')) return sequence(Kind::Tuple, ',', ')', depth);
        if (take('<')) return sequence(Kind::Variant, '|', '>', depth);
        if (take('{')) return braces(depth);
        const std::string_view name = word();
        for (const Word& each : kWords) {
            if (each.text == name) return Type{each.kind, each.bits};
        }
        fail();
    }

    Type sequence(Kind kind, char between, char end, int depth) {
        Type made{kind};
        if (kind == Kind::Tuple && take(end)) return made;
        do {
            made.parts.push_back(type(depth + 1));
        } while (between != '\0' && take(between));
        expect(end);
        return made;
    }

    /// {K:V} when that is what it can be, else {field:T,…}.
    Type braces(int depth) {
        const std::size_t from = at_;
        try {
            Type map{Kind::Map};
            map.parts.push_back(type(depth + 1));
            expect(':');
            map.parts.push_back(type(depth + 1));
            expect('}');
            return map;
        } catch (const JsonError&) {
            at_ = from;
        }
        Type made{Kind::Struct};
        if (take('}')) return made;
        do {
            made.names.emplace_back(word());
            expect(':');
            made.parts.push_back(type(depth + 1));
        } while (take(','));
        expect('}');
        return made;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int steps_ = 0;
};

}  // namespace

Signature parse_signature(std::string_view text) {
    return Parser{text}.signature();
}

}  // namespace forkmill::cli
