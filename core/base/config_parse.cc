// SPDX-License-Identifier: Apache-2.0
// YAML text to ConfigNode, by yaml-cpp's events: its Node would hide duplicate keys, places and
// aliases.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "core/base/config_tree.h"
#include "core/base/config_values.h"

namespace forkmill::base {
namespace {

/// Thrown through yaml-cpp when a limit is reached and reading on is pointless; its fault is told.
struct Enough {};

/// True when the quoted text that opens at `at` has its closing quote.
bool is_closed(std::string_view text, std::size_t at) {
    const char quote = text[at];
    for (std::size_t i = at + 1; i < text.size(); ++i) {
        if (text[i] == '\\' && quote == '"') {
            ++i;
        } else if (text[i] == quote) {
            // In single quotes a doubled one stands for itself.
            if (quote == '"' || i + 1 == text.size() || text[i + 1] != quote) return true;
            ++i;
        }
    }
    return false;
}

class TreeBuilder final : public YAML::EventHandler {
  public:
    TreeBuilder(std::string_view text,
                const std::string& source,
                int rank,
                std::vector<ConfigFault>& faults)
        : text_(text), source_(source), rank_(rank), faults_(faults) {}

    std::unique_ptr<ConfigNode> take_root() { return std::move(root_); }

    ConfigPlace place(const YAML::Mark& mark) const {
        if (mark.is_null()) return {rank_, source_, 1, 1};
        return {rank_, source_, mark.line + 1, mark.column + 1};
    }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (documents_++ == 0) return;
        fault(mark, "a second document; expected one per file");
        throw Enough{};
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        refuse_anchor(mark, anchor);
        add(make(ConfigNode::Kind::Null, mark));
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
        fault(mark, "an alias (*name); expected the value itself");
        add(make(ConfigNode::Kind::Broken, mark));
    }
    void OnScalar(const YAML::Mark& mark,
                  const std::string& tag,
                  YAML::anchor_t anchor,
                  const std::string& value) override {
        refuse_anchor(mark, anchor);
        refuse_tag(mark, tag);
        auto node = make(ConfigNode::Kind::Scalar, mark);
        node->text = value;
        node->quoted = tag == "!";
        if (node->quoted) refuse_open_quote(mark);
        add(std::move(node));
    }
    void OnSequenceStart(const YAML::Mark& mark,
                         const std::string& tag,
                         YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(ConfigNode::Kind::List, mark, tag, anchor);
    }
    void OnMapStart(const YAML::Mark& mark,
                    const std::string& tag,
                    YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(ConfigNode::Kind::Map, mark, tag, anchor);
    }
    void OnSequenceEnd() override { open_.pop_back(); }
    void OnMapEnd() override { open_.pop_back(); }

  private:
    struct Open {
        ConfigNode* node;
        bool has_key = false;
        std::string key = {};
        ConfigPlace key_place = {};
    };

    void fault(const YAML::Mark& mark, std::string what) {
        if (faults_.size() >= kConfigFaults) throw Enough{};
        faults_.push_back({place(mark), std::move(what)});
    }
    void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
        if (anchor != 0) fault(mark, "an anchor (&name); expected the value alone");
    }
    void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
        // "?" is a plain value and "!" a quoted one: what yaml-cpp says when there is no tag.
        if (!tag.empty() && tag != "?" && tag != "!") {
            fault(mark, "tag " + base::shown(tag) + "; expected the value alone");
        }
    }

    /// yaml-cpp 0.7 takes the rest of the file for the text when a quote is never closed.
    void refuse_open_quote(const YAML::Mark& mark) {
        const auto at = static_cast<std::size_t>(mark.pos);
        if (at >= text_.size() || (text_[at] != '"' && text_[at] != '\'')) return;
        if (is_closed(text_, at)) return;
        fault(mark, "a quote that is never closed; expected one more at its end");
        throw Enough{};
    }

    std::unique_ptr<ConfigNode> make(ConfigNode::Kind kind, const YAML::Mark& mark) {
        if (++nodes_ > kConfigNodes) {
            fault(mark, "too many values; expected at most " + std::to_string(kConfigNodes));
            throw Enough{};
        }
        auto node = std::make_unique<ConfigNode>();
        node->kind = kind;
        node->place = place(mark);
        return node;
    }

    void open(ConfigNode::Kind kind,
              const YAML::Mark& mark,
              const std::string& tag,
              YAML::anchor_t anchor) {
        refuse_anchor(mark, anchor);
        refuse_tag(mark, tag);
        if (open_.size() >= kConfigDepth) {
            fault(mark, "too deep; expected at most " + std::to_string(kConfigDepth) + " levels");
            throw Enough{};
        }
        ConfigNode* node = add(make(kind, mark));
        open_.push_back(Open{node});
    }

    ConfigNode* add(std::unique_ptr<ConfigNode> node) {
        ConfigNode* raw = node.get();
        if (open_.empty()) {
            root_ = std::move(node);
        } else if (open_.back().node->kind == ConfigNode::Kind::List) {
            open_.back().node->items.push_back(std::move(node));
        } else if (open_.back().has_key) {
            add_entry(open_.back(), std::move(node));
        } else {
            set_key(open_.back(), std::move(node));
        }
        return raw;
    }

    void set_key(Open& open, std::unique_ptr<ConfigNode> node) {
        if (node->kind != ConfigNode::Kind::Scalar) {
            faults_.push_back({node->place, "a key that is no plain word; expected a name"});
            set_aside_.push_back(std::move(node));
            throw Enough{};
        }
        open.has_key = true;
        open.key = node->text;
        open.key_place = node->place;
    }

    void add_entry(Open& open, std::unique_ptr<ConfigNode> node) {
        open.has_key = false;
        std::vector<ConfigEntry>& entries = open.node->entries;
        const auto first = std::find_if(entries.begin(), entries.end(), [&](const ConfigEntry& e) {
            return e.key == open.key;
        });
        if (first != entries.end()) {
            if (faults_.size() >= kConfigFaults) throw Enough{};
            faults_.push_back({open.key_place,
                               "duplicate key " + base::shown(open.key) + ", first on " +
                                   first->place.brief() + "; expected each key once"});
            set_aside_.push_back(std::move(node));
            return;
        }
        if (entries.size() >= kConfigKeys) {
            faults_.push_back(
                {open.key_place, "too many keys; expected at most " + std::to_string(kConfigKeys)});
            throw Enough{};
        }
        entries.push_back({std::move(open.key), open.key_place, std::move(node)});
    }

    std::string_view text_;
    const std::string& source_;
    int rank_;
    std::vector<ConfigFault>& faults_;
    std::unique_ptr<ConfigNode> root_;
    std::vector<Open> open_;
    std::vector<std::unique_ptr<ConfigNode>> set_aside_;  ///< Dropped values still being filled.
    std::size_t nodes_ = 0;
    int documents_ = 0;
};

/// Length of the UTF-8 character at `at`, or 0 when there is none (overlong and surrogate forms
/// too).
std::size_t utf8_length(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const auto tail = [&](std::size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
    const unsigned first = byte(at);
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first < 0xe0) return tail(at + 1) ? 2 : 0;
    const unsigned second = byte(at + 1);
    if (first >= 0xe0 && first < 0xf0) {
        const bool legal = !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second >= 0xa0);
        return legal && tail(at + 1) && tail(at + 2) ? 3 : 0;
    }
    if (first >= 0xf0 && first < 0xf5) {
        const bool legal = !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second >= 0x90);
        return legal && tail(at + 1) && tail(at + 2) && tail(at + 3) ? 4 : 0;
    }
    return 0;
}

/// The first byte that makes the text no plain UTF-8, as a fault.
std::optional<ConfigFault> judge_bytes(std::string_view text, const std::string& source, int rank) {
    ConfigPlace place{rank, source, 1, 1};
    constexpr std::string_view kBom = "\xef\xbb\xbf";
    constexpr std::string_view kExpected = "; expected UTF-8 text without a byte order mark";
    if (text.starts_with(kBom)) {
        return ConfigFault{place, "a byte order mark" + std::string{kExpected}};
    }
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = utf8_length(text, at);
        if (length == 0) return ConfigFault{place, "not UTF-8" + std::string{kExpected}};
        if (text[at] == '\0') return ConfigFault{place, "a NUL byte" + std::string{kExpected}};
        ++place.column;
        if (text[at] == '\n') {
            ++place.line;
            place.column = 1;
        }
        at += length;
    }
    return std::nullopt;
}

/// yaml-cpp answers a tab in the indentation with riddles; this finds one in the line or the next.
bool tab_indents(std::string_view text, int line) {
    std::istringstream lines{std::string{text}};
    std::string one;
    for (int i = 1; std::getline(lines, one) && i <= line + 1; ++i) {
        const std::size_t end = std::min(one.find_first_not_of(" \t"), one.size());
        if (i >= line && one.substr(0, end).find('\t') != std::string::npos) return true;
    }
    return false;
}

ConfigFault syntax_fault(const TreeBuilder& builder,
                         const YAML::Exception& error,
                         std::string_view text) {
    const ConfigPlace place = builder.place(error.mark);
    if (tab_indents(text, place.line)) {
        return {place, "a tab in the indentation; expected spaces"};
    }
    return {place,
            "no valid YAML here (" + error.msg + "); expected a closed quote, bracket or key"};
}

}  // namespace

std::unique_ptr<ConfigNode> parse_config(std::string_view text,
                                         const std::string& source,
                                         int rank,
                                         std::vector<ConfigFault>& faults) {
    if (std::optional<ConfigFault> bad = judge_bytes(text, source, rank)) {
        faults.push_back(std::move(*bad));
        return nullptr;
    }
    TreeBuilder builder{text, source, rank, faults};
    try {
        std::istringstream stream{std::string{text}};
        YAML::Parser parser{stream};
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const Enough&) {
        return nullptr;
    } catch (const YAML::Exception& error) {
        faults.push_back(syntax_fault(builder, error, text));
        return nullptr;
    }
    std::unique_ptr<ConfigNode> root = builder.take_root();
    const bool empty = !root || root->kind == ConfigNode::Kind::Null;
    if (empty && rank > 0) {  // A fragment may be all comments; the file itself is a mistake then.
        root = std::make_unique<ConfigNode>();
        root->kind = ConfigNode::Kind::Map;
        return root;
    }
    if (empty || root->kind != ConfigNode::Kind::Map) {
        faults.push_back({{rank, source, 1, 1},
                          empty ? "an empty config; expected a mapping of keys to values"
                                : "no mapping; expected `key: value` lines"});
        return nullptr;
    }
    return root;
}

}  // namespace forkmill::base
