// SPDX-License-Identifier: Apache-2.0
#include "core/base/config_reader.h"

#include <sysexits.h>

#include <algorithm>
#include <tuple>

#include "core/base/config_tree.h"
#include "core/base/config_values.h"

namespace forkmill::base {

/// One value as it is in force, or a mapping of them.
struct ConfigValue {
    std::string key;
    std::string shown;  ///< As YAML; empty for a mapping.
    std::string origin;
    std::vector<std::unique_ptr<ConfigValue>> children;

    ConfigValue& child(std::string_view name) {
        for (const auto& one : children) {
            if (one->key == name) return *one;
        }
        children.push_back(std::make_unique<ConfigValue>());
        children.back()->key = name;
        return *children.back();
    }
};

struct ConfigReader::State {
    std::unique_ptr<ConfigNode> root;
    ConfigValue values;
    std::vector<ConfigFault> faults;
    bool unreadable = false;  ///< What a broken file lacks is not worth telling.

    std::vector<ConfigFault> all_faults() const;
};

namespace {

using Kind = ConfigNode::Kind;

std::string_view name_of(Kind kind) {
    switch (kind) {
        case Kind::Null:
            return "no value";
        case Kind::Scalar:
            return "a plain value";
        case Kind::List:
            return "a list";
        case Kind::Map:
            return "a mapping";
        case Kind::Broken:
            break;
    }
    return "a faulty value";
}

bool has_control(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f;
    });
}

/// A text as YAML: bare where that is safe, else in double quotes.
std::string as_yaml(std::string_view text) {
    constexpr std::string_view kBare =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:+@-";
    const bool bare = !text.empty() && text.find_first_not_of(kBare) == std::string_view::npos &&
                      text.back() != ':' && text.front() != '-' && text.front() != ':' &&
                      text.front() != '@' && text != "null" && text != "Null" && text != "NULL";
    if (bare) return std::string{text};
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20 || byte == 0x7f) {
            out += "\\x";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string list_as_yaml(const std::vector<std::string>& items) {
    std::string out = "[";
    for (const std::string& item : items) {
        if (out.size() > 1) out += ", ";
        out += as_yaml(item);
    }
    return out + "]";
}

std::vector<std::string> split_at_commas(std::string_view text) {
    std::vector<std::string> items;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        std::string_view item = text.substr(0, comma);
        while (item.starts_with(' ')) item.remove_prefix(1);
        while (item.ends_with(' ')) item.remove_suffix(1);
        if (!item.empty()) items.emplace_back(item);
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return items;
}

template <class T>
std::string range_text(T min, T max, std::string (*show)(T)) {
    if (max == std::numeric_limits<T>::max()) return "at least " + show(min);
    return show(min) + " to " + show(max);
}
std::string show_integer(std::int64_t value) {
    return std::to_string(value);
}
std::string show_nanos(std::int64_t value) {
    return format_duration(Duration{value});
}

std::string unknown_key(const ConfigNode& map, const ConfigEntry& entry, const std::string& path) {
    std::string what = "unknown key " + shown(entry.key);
    if (!path.empty()) what += " in " + path;
    what += "; expected ";
    for (std::size_t i = 0; i < map.known.size(); ++i) {
        what += (i == 0 ? "" : ", ") + map.known[i];
    }
    if (map.known.empty()) what += "no keys";
    const std::string_view meant = nearest(entry.key, map.known);
    if (!meant.empty()) what += "; did you mean " + std::string{meant};
    return what;
}

void find_unknown(const ConfigNode& map,
                  const std::string& path,
                  std::vector<ConfigFault>& faults) {
    if (!map.asked) return;
    for (const ConfigEntry& entry : map.entries) {
        const bool known =
            map.any_key ||
            std::find(map.known.begin(), map.known.end(), entry.key) != map.known.end();
        if (known) {
            const std::string below = path.empty() ? entry.key : path + "." + entry.key;
            if (entry.value->kind == Kind::Map) find_unknown(*entry.value, below, faults);
        } else if (!entry.value->optional && faults.size() < kConfigFaults) {
            faults.push_back({entry.place, unknown_key(map, entry, path)});
        }
    }
}

void dump_values(const ConfigValue& map, std::size_t depth, std::string& out) {
    for (const auto& value : map.children) {
        out.append(depth * 2, ' ');
        out += as_yaml(value->key) + ":";
        if (value->shown.empty() && !value->children.empty()) {
            out += "\n";
            dump_values(*value, depth + 1, out);
        } else {
            out += " " + (value->shown.empty() ? "{}" : value->shown);
            if (!value->origin.empty()) out += "  # " + value->origin;
            out += "\n";
        }
    }
}

}  // namespace

ConfigNode* ConfigSection::find(std::string_view key, bool required, std::string_view expected) {
    ConfigNode* node = nullptr;
    if (node_ != nullptr) {
        if (std::find(node_->known.begin(), node_->known.end(), key) == node_->known.end()) {
            node_->known.emplace_back(key);
        }
        node = node_->get(key);
    }
    if (node == nullptr && required) {
        const ConfigNode& place = node_ != nullptr ? *node_ : *reader_->state_->root;
        fault(place, key, "is missing; expected " + std::string{expected});
    }
    return node == nullptr || node->kind == Kind::Broken ? nullptr : node;
}

ConfigNode* ConfigSection::find_scalar(std::string_view key,
                                       bool required,
                                       std::string_view expected) {
    ConfigNode* node = find(key, required, expected);
    if (node == nullptr || node->kind == Kind::Scalar) return node;
    fault(*node, key, std::string{name_of(node->kind)} + "; expected " + std::string{expected});
    return nullptr;
}

void ConfigSection::fault(const ConfigNode& node, std::string_view key, std::string_view what) {
    std::vector<ConfigFault>& faults = reader_->state_->faults;
    if (faults.size() >= kConfigFaults || reader_->state_->unreadable) return;
    const std::string path = path_of(key);
    faults.push_back(
        {node.place, path.empty() ? std::string{what} : path + ": " + std::string{what}});
}

void ConfigSection::keep(std::string_view key, std::string shown, const ConfigNode* node) {
    ConfigValue& value = values_->child(key);
    value.shown = std::move(shown);
    value.origin = node == nullptr ? "default" : node->place.text();
}

std::string ConfigSection::path_of(std::string_view key) const {
    if (path_.empty() || key.empty()) return path_ + std::string{key};
    return path_ + "." + std::string{key};
}

std::int64_t ConfigSection::read_integer(std::string_view key, const IntegerRule& rule) {
    const std::string range = range_text<std::int64_t>(rule.min, rule.max, show_integer);
    std::int64_t value = rule.fallback;
    ConfigNode* node = find_scalar(key, rule.required, "a decimal integer, " + range);
    if (node != nullptr) {
        Result<std::int64_t> parsed = parse_integer(node->text);
        if (node->quoted) {
            fault(
                *node, key, "quoted " + shown(node->text) + "; expected a bare integer, " + range);
        } else if (!parsed) {
            fault(*node, key, parsed.failure().text + ", " + range);
        } else if (parsed.value() < rule.min || parsed.value() > rule.max) {
            fault(*node, key, shown(node->text) + "; expected " + range);
        } else {
            value = parsed.value();
        }
    }
    keep(key, std::to_string(value), node);
    return value;
}

bool ConfigSection::boolean(std::string_view key, bool fallback) {
    bool value = fallback;
    ConfigNode* node = find_scalar(key, false, "true or false");
    if (node != nullptr) {
        Result<bool> parsed = parse_boolean(node->text);
        if (node->quoted) {
            fault(*node, key, "quoted " + shown(node->text) + "; expected a bare true or false");
        } else if (!parsed) {
            fault(*node, key, parsed.failure().text);
        } else {
            value = parsed.value();
        }
    }
    keep(key, value ? "true" : "false", node);
    return value;
}

Duration ConfigSection::duration(std::string_view key, const DurationRule& rule) {
    Duration value = rule.fallback;
    ConfigNode* node = find_scalar(key, rule.required, "a duration with its unit, as in 30s");
    if (node != nullptr) {
        Result<Duration> parsed = parse_duration(node->text);
        if (!parsed) {
            fault(*node, key, parsed.failure().text);
        } else if (parsed.value() < rule.min || parsed.value() > rule.max) {
            fault(*node,
                  key,
                  shown(node->text) + "; expected " +
                      range_text<std::int64_t>(rule.min.count(), rule.max.count(), show_nanos));
        } else {
            value = parsed.value();
        }
    }
    keep(key, format_duration(value), node);
    return value;
}

std::uint64_t ConfigSection::size(std::string_view key, const SizeRule& rule) {
    std::uint64_t value = rule.fallback;
    ConfigNode* node = find_scalar(key, rule.required, "a size with its unit, as in 64MiB");
    if (node != nullptr) {
        Result<std::uint64_t> parsed = parse_size(node->text);
        if (!parsed) {
            fault(*node, key, parsed.failure().text);
        } else if (parsed.value() < rule.min || parsed.value() > rule.max) {
            fault(*node,
                  key,
                  shown(node->text) + "; expected " +
                      range_text<std::uint64_t>(rule.min, rule.max, format_size));
        } else {
            value = parsed.value();
        }
    }
    keep(key, format_size(value), node);
    return value;
}

std::string ConfigSection::text(std::string_view key, const TextRule& rule) {
    std::string value = rule.fallback;
    ConfigNode* node = find_scalar(key, rule.required, "a text");
    if (node != nullptr) {
        if (has_control(node->text)) {
            fault(*node, key, shown(node->text) + "; expected a text without control characters");
        } else if (node->text.size() > rule.max_bytes) {
            fault(*node,
                  key,
                  shown(node->text) + "; expected at most " + std::to_string(rule.max_bytes) +
                      " bytes");
        } else if (rule.required && node->text.empty()) {
            fault(*node, key, "an empty text; expected one that is not");
        } else {
            value = node->text;
        }
    }
    keep(key, as_yaml(value), node);
    return value;
}

std::ptrdiff_t ConfigSection::read_choice(std::string_view key,
                                          const std::vector<std::string_view>& names,
                                          std::size_t fallback) {
    std::size_t index = fallback;
    std::string expected;
    for (const std::string_view name : names) {
        expected += (expected.empty() ? "" : ", ") + std::string{name};
    }
    ConfigNode* node = find_scalar(key, false, "one of " + expected);
    if (node != nullptr) {
        const auto found = std::find(names.begin(), names.end(), node->text);
        if (found != names.end()) {
            index = static_cast<std::size_t>(found - names.begin());
        } else {
            const std::vector<std::string> known{names.begin(), names.end()};
            const std::string_view meant = nearest(node->text, known);
            fault(*node,
                  key,
                  shown(node->text) + "; expected one of " + expected +
                      (meant.empty() ? "" : "; did you mean " + std::string{meant}));
        }
    }
    keep(key, as_yaml(names[index]), node);
    return static_cast<std::ptrdiff_t>(index);
}

std::vector<std::string> ConfigSection::texts(std::string_view key, const ListRule& rule) {
    std::vector<std::string> value = rule.fallback;
    ConfigNode* node = find(key, rule.required, "a list");
    if (node != nullptr && node->loose && node->kind == Kind::Scalar) {
        value = split_at_commas(node->text);
    } else if (node != nullptr && node->kind == Kind::List) {
        value.clear();
        for (const auto& item : node->items) {
            if (item->kind == Kind::Broken) continue;
            if (item->kind != Kind::Scalar) {
                fault(*item, key, std::string{name_of(item->kind)} + "; expected a text");
            } else if (has_control(item->text)) {
                fault(*item, key, shown(item->text) + "; expected no control characters");
            } else {
                value.push_back(item->text);
            }
        }
    } else if (node != nullptr) {
        fault(*node, key, std::string{name_of(node->kind)} + "; expected a list, as in [a, b]");
    }
    if (node != nullptr && (value.size() < rule.min_items || value.size() > rule.max_items)) {
        fault(*node,
              key,
              std::to_string(value.size()) + " items; expected " + std::to_string(rule.min_items) +
                  " to " + std::to_string(rule.max_items));
        value = rule.fallback;
    }
    keep(key, list_as_yaml(value), node);
    return value;
}

std::vector<std::pair<std::string, std::string>> ConfigSection::text_map(std::string_view key,
                                                                         std::size_t max_items) {
    std::vector<std::pair<std::string, std::string>> value;
    ConfigSection inner = section(key);
    if (inner.node_ == nullptr) return value;
    inner.node_->any_key = true;
    for (const ConfigEntry& entry : inner.node_->entries) {
        const ConfigNode& item = *entry.value;
        if (item.kind == Kind::Broken) continue;
        if (item.kind != Kind::Scalar || item.text.find('\0') != std::string::npos ||
            has_control(entry.key)) {
            inner.fault(item, entry.key, std::string{name_of(item.kind)} + "; expected a text");
        } else if (value.size() >= max_items) {
            inner.fault(item, entry.key, "expected at most " + std::to_string(max_items) + " keys");
            break;
        } else {
            value.emplace_back(entry.key, item.text);
            inner.keep(entry.key, as_yaml(item.text), &item);
        }
    }
    return value;
}

ConfigSection ConfigSection::nested(std::string_view key, ConfigNode* node) {
    ConfigValue& values = values_->child(key);
    if (node != nullptr && node->kind == Kind::Scalar && node->optional) node = nullptr;
    if (node != nullptr && node->kind == Kind::Null) node->kind = Kind::Map;  // `default:` alone.
    if (node != nullptr && node->kind != Kind::Map) {
        fault(*node, key, std::string{name_of(node->kind)} + "; expected a mapping");
        node = nullptr;
    }
    if (node != nullptr) node->asked = true;
    return {reader_, node, &values, path_of(key)};
}

ConfigSection ConfigSection::section(std::string_view key) {
    return nested(key, find(key, false, "a mapping"));
}

std::vector<std::pair<std::string, ConfigSection>> ConfigSection::named_sections(
    std::string_view key,
    std::size_t max_items) {
    std::vector<std::pair<std::string, ConfigSection>> value;
    ConfigSection outer = section(key);
    if (outer.node_ == nullptr) return value;
    outer.node_->any_key = true;
    for (ConfigEntry& entry : outer.node_->entries) {
        if (!is_config_name(entry.key)) {
            outer.fault(
                *entry.value,
                "",
                "name " + shown(entry.key) + "; expected letters, digits, _ - and ., at most 64");
        } else if (value.size() >= max_items) {
            outer.fault(*entry.value,
                        entry.key,
                        "expected at most " + std::to_string(max_items) + " of them");
            break;
        } else if (entry.value->kind != Kind::Broken) {
            value.emplace_back(entry.key, outer.nested(entry.key, entry.value.get()));
        }
    }
    return value;
}

bool ConfigSection::is_mapping(std::string_view key) const {
    const ConfigNode* node = node_ == nullptr ? nullptr : node_->get(key);
    return node != nullptr && node->kind == Kind::Map;
}

bool ConfigSection::has(std::string_view key) const {
    return node_ != nullptr && node_->get(key) != nullptr;
}

std::string ConfigSection::origin(std::string_view key) const {
    const ConfigNode* node = node_ == nullptr ? nullptr : node_->get(key);
    return node == nullptr ? "default" : node->place.brief();
}

void ConfigSection::problem(std::string_view key, std::string_view what) {
    const ConfigNode* node = node_ == nullptr ? nullptr : node_->get(key);
    if (node == nullptr) node = node_ != nullptr ? node_ : reader_->state_->root.get();
    fault(*node, key, what);
}

ConfigReader::ConfigReader(const ConfigInput& input) : state_(std::make_unique<State>()) {
    state_->root = load_config(input, state_->faults);
    state_->unreadable = state_->root->kind == Kind::Broken;
    state_->root->kind = Kind::Map;
    state_->root->asked = true;
}

ConfigReader::~ConfigReader() = default;

ConfigSection ConfigReader::root() {
    return {this, state_->root.get(), &state_->values, ""};
}

std::vector<ConfigFault> ConfigReader::State::all_faults() const {
    std::vector<ConfigFault> all = faults;
    if (!unreadable) find_unknown(*root, "", all);
    return all;
}

int ConfigReader::exit_code() const {
    const std::vector<ConfigFault> faults = state_->all_faults();
    const auto by_flag = [](const ConfigFault& fault) { return fault.place.rank == kFlagRank; };
    const auto no_file = [](const ConfigFault& fault) { return fault.no_file; };
    if (faults.empty()) return 0;
    if (std::any_of(faults.begin(), faults.end(), no_file)) return EX_NOINPUT;
    return std::all_of(faults.begin(), faults.end(), by_flag) ? EX_USAGE : EX_CONFIG;
}

std::vector<std::string> ConfigReader::finish() {
    std::vector<ConfigFault> faults = state_->all_faults();
    std::stable_sort(faults.begin(), faults.end(), [](const ConfigFault& a, const ConfigFault& b) {
        return std::tie(a.place.rank, a.place.line, a.place.column) <
               std::tie(b.place.rank, b.place.line, b.place.column);
    });
    std::vector<std::string> lines;
    lines.reserve(faults.size() + 1);
    for (const ConfigFault& fault : faults) lines.push_back(fault.place.text() + ": " + fault.what);
    if (lines.size() >= kConfigFaults) {
        lines.push_back(state_->root->place.source +
                        ": more faults than are told; mend these first");
    }
    return lines;
}

std::string ConfigReader::dump() const {
    std::string out;
    dump_values(state_->values, 0, out);
    return out;
}

}  // namespace forkmill::base
