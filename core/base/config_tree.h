// SPDX-License-Identifier: Apache-2.0
// The config before it has a meaning: a tree of texts, each with its place. Private to the config
// reader.
//
// Invariants: (1) a tree is at most kDepth deep and has at most kNodes nodes, whatever the file
// says; (2) no mapping has a key twice: a second one is a fault and dropped; (3) nodes do not move
// once parsed. Threading: one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/config_reader.h"
#include "core/base/result.h"

namespace forkmill::base {

inline constexpr std::size_t kConfigBytes = 1 << 20;
inline constexpr std::size_t kConfigDepth = 16;
inline constexpr std::size_t kConfigNodes = 1 << 16;
inline constexpr std::size_t kConfigKeys =
    1024;  ///< Of one mapping; keeps the search for a key cheap.
inline constexpr std::size_t kConfigFaults =
    100;  ///< Told in one run; a reader of more would be none.

inline constexpr int kEnvironmentRank = 1 << 20;        ///< After every file …
inline constexpr int kFlagRank = kEnvironmentRank + 1;  ///< … and after that the flags.

/// Where a text stands: file, line and column from 1, or the variable or flag (line 0).
struct ConfigPlace {
    int rank = 0;  ///< Order of the sources, by which faults are told.
    std::string source = {};
    int line = 0;
    int column = 0;

    std::string text() const;   ///< "broker.yaml:3:5" or "--workers".
    std::string brief() const;  ///< "line 3" or "--workers".
};

struct ConfigFault {
    ConfigPlace place;
    std::string what;
    bool no_file = false;  ///< There is no file to find faults in.
};

struct ConfigNode;

struct ConfigEntry {
    std::string key;
    ConfigPlace place;
    std::unique_ptr<ConfigNode> value;
};

struct ConfigNode {
    enum class Kind {
        Null,
        Scalar,
        List,
        Map,
        Broken,  ///< Its fault has been told; readers use the fallback and say nothing more.
    };
    Kind kind = Kind::Null;
    std::string text = {};
    bool quoted = false;
    bool loose = false;     ///< From a variable or flag: a list may be comma-separated.
    bool optional = false;  ///< From a variable without `__`: no fault when nobody knows it.
    ConfigPlace place = {};
    std::vector<ConfigEntry> entries = {};
    std::vector<std::unique_ptr<ConfigNode>> items = {};

    bool asked = false;                   ///< Somebody read it as a mapping …
    bool any_key = false;                 ///< … of the user's own names.
    std::vector<std::string> known = {};  ///< Keys somebody asked for.

    ConfigNode* get(std::string_view key) const;
};

/// The bytes of a regular file of at most kConfigBytes; never blocks on a FIFO or a device.
Result<std::string> read_config_file(const std::string& path);

/// The one document in `text`, or null after a fault that leaves nothing to read.
std::unique_ptr<ConfigNode> parse_config(std::string_view text,
                                         const std::string& source,
                                         int rank,
                                         std::vector<ConfigFault>& faults);

/// Everything of `input`, in order of precedence, as one mapping (empty if there is nothing). Its
/// kind is Broken when a file could not be read to its end.
std::unique_ptr<ConfigNode> load_config(const ConfigInput& input, std::vector<ConfigFault>& faults);

}  // namespace forkmill::base
