// SPDX-License-Identifier: Apache-2.0
// ConfigReader: strict reading of YAML, conf.d, environment and flags against the schema that its
// callers speak.
//
// A caller asks for every key it knows, with its range and its default, and gets a usable value
// whatever the file said; faults are collected. finish() adds every key nobody asked for, and
// returns all faults of the run at once. Invariants: (1) nothing is accepted silently: an unknown
// or duplicate key, a missing unit, an alias, a tag or a second document is a fault with its place;
// (2) every fault is one line `file:line:col: what; expected …; did you mean …`; (3) precedence is
// flag > environment > conf.d (in name order) > file > default. Threading: one thread, no locks.
//
//     ConfigReader config{{.file = "broker.yaml", .environment = forkmill_environment()}};
//     ConfigSection sessions = config.root().section("sessions");
//     int max = sessions.integer("max", {.min = 1, .max = 100'000, .fallback = 4096});
//     for (auto& [name, pool] : config.root().named_sections("pools")) { … }
//     if (gone < 3 * ping) sessions.problem("gone_after", "…; expected at least 3 × ping_after");
//     std::vector<std::string> faults = config.finish();  // Print them all, end with exit_code().
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/time.h"

namespace forkmill::base {

struct ConfigNode;
struct ConfigValue;
class ConfigReader;

/// A flag that sets a key: `{"pools.default.workers", "8", "--workers"}`. Lists are
/// comma-separated.
struct ConfigOverride {
    std::string path;
    std::string value;
    std::string flag;
};

struct ConfigInput {
    std::string file = {};       ///< Empty: none, everything has its default.
    std::string fragments = {};  ///< Directory of *.yaml that come after the file; may be missing.
    std::vector<std::string> environment =
        {};  ///< "FORKMILL_A__B=value" sets a.b; see forkmill_environment().
    std::vector<ConfigOverride> overrides = {};  ///< In order; the last one wins.
};

/// The FORKMILL_… variables of this process, as ConfigInput takes them. One with `__` in it must
/// name a known key; one without (FORKMILL_ENDPOINT) is left alone when no top-level key has its
/// name.
std::vector<std::string> forkmill_environment();

struct IntegerRule {
    std::int64_t min = 0;
    std::int64_t max = std::numeric_limits<std::int64_t>::max();
    std::int64_t fallback = 0;
    bool required = false;
};
struct DurationRule {
    Duration min = Duration::zero();
    Duration max = std::chrono::hours{24 * 365};
    Duration fallback = Duration::zero();
    bool required = false;
};
struct SizeRule {
    std::uint64_t min = 0;
    std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t fallback = 0;
    bool required = false;
};
struct TextRule {
    std::string fallback = {};
    std::size_t max_bytes = 4096;
    bool required = false;  ///< Also: must not be empty.
};
struct ListRule {
    std::vector<std::string> fallback = {};
    std::size_t min_items = 0;
    std::size_t max_items = 1024;
    bool required = false;
};

/// One mapping of the config, or the place where it would be. A cheap handle, valid while its
/// ConfigReader lives. Every getter marks its key as known, records the effective value for dump(),
/// and returns the fallback after a fault.
class ConfigSection {
  public:
    template <class T = int>
    T integer(std::string_view key, IntegerRule rule) {
        if (std::cmp_less(std::numeric_limits<T>::max(), rule.max)) {
            rule.max = static_cast<std::int64_t>(std::numeric_limits<T>::max());
        }
        return static_cast<T>(read_integer(key, rule));
    }
    bool boolean(std::string_view key, bool fallback);
    Duration duration(std::string_view key, const DurationRule& rule);
    /// Bytes.
    std::uint64_t size(std::string_view key, const SizeRule& rule);
    std::string text(std::string_view key, const TextRule& rule = {});
    /// One of a few words, as a value of an enum.
    template <class E>
    E choice(std::string_view key,
             std::initializer_list<std::pair<std::string_view, E>> words,
             E fallback) {
        std::vector<std::string_view> names;
        std::size_t fallback_index = 0;
        for (const auto& [name, value] : words) {
            if (value == fallback) fallback_index = names.size();
            names.push_back(name);
        }
        return (words.begin() + read_choice(key, names, fallback_index))->second;
    }
    /// A list of texts; in a file it must be written as a list.
    std::vector<std::string> texts(std::string_view key, const ListRule& rule = {});
    /// A mapping of free names to texts (an environment), in file order.
    std::vector<std::pair<std::string, std::string>> text_map(std::string_view key,
                                                              std::size_t max_items = 1024);

    /// A nested mapping with keys of its own; an absent one reads as empty.
    ConfigSection section(std::string_view key);
    /// A mapping of the user's names to sections (pools, queues), in file order; empty when absent.
    std::vector<std::pair<std::string, ConfigSection>> named_sections(std::string_view key,
                                                                      std::size_t max_items = 256);

    /// True when the key is there and holds a mapping: for values that may be written short.
    bool is_mapping(std::string_view key) const;
    /// True when file, environment or flag gives the key.
    bool has(std::string_view key) const;
    /// Where the key's value comes from, for messages that name two keys: "line 12", "--workers" or
    /// "default".
    std::string origin(std::string_view key) const;
    /// Records a fault at the key (or at this section, when the key is absent or empty): "what;
    /// expected …".
    void problem(std::string_view key, std::string_view what);
    /// Dotted, as in "pools.default"; empty for the root.
    const std::string& path() const { return path_; }

  private:
    friend class ConfigReader;
    ConfigSection(ConfigReader* reader, ConfigNode* node, ConfigValue* values, std::string path)
        : reader_(reader), node_(node), values_(values), path_(std::move(path)) {}

    std::int64_t read_integer(std::string_view key, const IntegerRule& rule);
    std::ptrdiff_t read_choice(std::string_view key,
                               const std::vector<std::string_view>& names,
                               std::size_t fallback);
    ConfigNode* find(std::string_view key, bool required, std::string_view expected);
    ConfigNode* find_scalar(std::string_view key, bool required, std::string_view expected);
    ConfigSection nested(std::string_view key, ConfigNode* node);
    void fault(const ConfigNode& node, std::string_view key, std::string_view what);
    void keep(std::string_view key, std::string shown, const ConfigNode* node);
    std::string path_of(std::string_view key) const;

    ConfigReader* reader_;
    ConfigNode* node_;     ///< Null when the mapping is absent.
    ConfigValue* values_;  ///< What was read from it, for dump().
    std::string path_;
};

class ConfigReader {
  public:
    explicit ConfigReader(const ConfigInput& input);
    ~ConfigReader();
    ConfigReader(const ConfigReader&) = delete;
    ConfigReader& operator=(const ConfigReader&) = delete;

    ConfigSection root();

    /// Call when every key was asked for: all faults, in the order of their places; empty when the
    /// config is good.
    std::vector<std::string> finish();

    /// What a program that was given this config ends with, in sysexits' words: 0 for a good one,
    /// 66 (EX_NOINPUT) when a file cannot be read, 64 (EX_USAGE) when only flags are at fault, else
    /// 78 (EX_CONFIG).
    int exit_code() const;

    /// Every value that was asked for, as YAML that reads back to the same, each with where it
    /// comes from.
    std::string dump() const;

  private:
    friend class ConfigSection;
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace forkmill::base
