// SPDX-License-Identifier: Apache-2.0
// File, conf.d, environment and flags, laid over each other to one tree.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/config_tree.h"
#include "core/base/config_values.h"

namespace forkmill::base {
namespace {

constexpr std::string_view kPrefix = "FORKMILL_";

/// Maps merge key by key; everything else is replaced whole.
void lay_over(ConfigNode& base, std::unique_ptr<ConfigNode> over) {
    if (base.kind != ConfigNode::Kind::Map || over->kind != ConfigNode::Kind::Map) {
        base = std::move(*over);
        return;
    }
    for (ConfigEntry& entry : over->entries) {
        if (ConfigNode* existing = base.get(entry.key)) {
            lay_over(*existing, std::move(entry.value));
        } else {
            base.entries.push_back(std::move(entry));
        }
    }
}

/// `POOLS` and `my_pool` as a variable can spell the keys `pools` and `my-pool`.
std::string as_variable(std::string_view key) {
    std::string out{key};
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        if (c == '-' || c == '.') c = '_';
    }
    return out;
}

ConfigNode* get_as_variable(const ConfigNode& map, std::string_view segment) {
    for (const ConfigEntry& entry : map.entries) {
        if (as_variable(entry.key) == segment) return entry.value.get();
    }
    return nullptr;
}

std::unique_ptr<ConfigNode> loose_scalar(std::string text, ConfigPlace place) {
    auto node = std::make_unique<ConfigNode>();
    node->kind = ConfigNode::Kind::Scalar;
    node->text = std::move(text);
    node->loose = true;
    node->place = std::move(place);
    return node;
}

/// The mapping `key` of `map`, made if absent; null when something else stands there (whose reader
/// will say so).
ConfigNode* step_into(ConfigNode& map,
                      ConfigNode* existing,
                      std::string key,
                      const ConfigPlace& place) {
    if (existing != nullptr) {
        if (existing->kind == ConfigNode::Kind::Null) existing->kind = ConfigNode::Kind::Map;
        return existing->kind == ConfigNode::Kind::Map ? existing : nullptr;
    }
    auto node = std::make_unique<ConfigNode>();
    node->kind = ConfigNode::Kind::Map;
    node->place = place;
    map.entries.push_back({std::move(key), place, std::move(node)});
    return map.entries.back().value.get();
}

void set_leaf(ConfigNode& map,
              ConfigNode* existing,
              std::string key,
              std::unique_ptr<ConfigNode> leaf) {
    if (existing != nullptr) {
        // A stray variable (FORKMILL_LOG) must not wipe out a whole mapping of the file.
        if (!(leaf->optional && existing->kind == ConfigNode::Kind::Map))
            *existing = std::move(*leaf);
        return;
    }
    const ConfigPlace place = leaf->place;
    map.entries.push_back({std::move(key), place, std::move(leaf)});
}

void apply_variable(ConfigNode& root, std::string_view setting) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string_view::npos || !setting.starts_with(kPrefix)) return;
    const std::string_view name = setting.substr(0, equals);
    const ConfigPlace place{kEnvironmentRank, "environment " + std::string{name}};
    std::string rest = as_variable(name.substr(kPrefix.size()));
    auto leaf = loose_scalar(std::string{setting.substr(equals + 1)}, place);
    leaf->optional = rest.find("__") == std::string::npos;

    ConfigNode* map = &root;
    for (std::size_t cut = rest.find("__"); cut != std::string::npos; cut = rest.find("__")) {
        std::string segment = rest.substr(0, cut);
        rest.erase(0, cut + 2);
        ConfigNode* existing = get_as_variable(*map, segment);
        map = step_into(*map, existing, std::move(segment), place);
        if (map == nullptr) return;
    }
    ConfigNode* existing = get_as_variable(*map, rest);
    set_leaf(*map, existing, std::move(rest), std::move(leaf));
}

/// The first key of a dotted path: the longest one that exists (names may hold dots), else up to
/// the first dot.
std::string_view first_key(const ConfigNode& map, std::string_view path) {
    std::string_view best = path.substr(0, path.find('.'));
    for (const ConfigEntry& entry : map.entries) {
        const bool fits = path.starts_with(entry.key) &&
                          (path.size() == entry.key.size() || path[entry.key.size()] == '.');
        if (fits && entry.key.size() > best.size()) best = path.substr(0, entry.key.size());
    }
    return best;
}

void apply_flag(ConfigNode& root, const ConfigOverride& change) {
    const ConfigPlace place{kFlagRank, change.flag};
    ConfigNode* map = &root;
    std::string_view rest = change.path;
    for (;;) {
        const std::string_view key = first_key(*map, rest);
        ConfigNode* existing = map->get(key);
        if (key.size() == rest.size()) {
            set_leaf(*map, existing, std::string{key}, loose_scalar(change.value, place));
            return;
        }
        map = step_into(*map, existing, std::string{key}, place);
        if (map == nullptr) return;
        rest.remove_prefix(key.size() + 1);
    }
}

/// *.yaml of a directory in name order; a missing directory has none.
std::vector<std::string> fragments_in(const std::string& directory,
                                      std::vector<ConfigFault>& faults) {
    std::vector<std::string> files;
    DIR* dir = ::opendir(directory.c_str());
    if (dir == nullptr) {
        if (errno != ENOENT) {
            faults.push_back({{1, directory}, system_failure("cannot be listed").text});
        }
        return files;
    }
    while (const dirent* entry = ::readdir(dir)) {
        const std::string_view name = entry->d_name;
        if (name.ends_with(".yaml") && !name.starts_with('.')) {
            files.push_back(directory + "/" + std::string{name});
        }
    }
    ::closedir(dir);
    std::sort(files.begin(), files.end());
    return files;
}

void load_file(ConfigNode& root,
               const std::string& path,
               int rank,
               std::vector<ConfigFault>& faults) {
    Result<std::string> text = read_config_file(path);
    if (!text) {
        faults.push_back({{rank, path}, text.failure().text, true});
        root.kind = ConfigNode::Kind::Broken;
        return;
    }
    std::unique_ptr<ConfigNode> tree = parse_config(text.value(), path, rank, faults);
    if (!tree) {
        root.kind = ConfigNode::Kind::Broken;
        return;
    }
    if (root.kind == ConfigNode::Kind::Broken) return;
    if (rank == 0) root.place = tree->place;
    lay_over(root, std::move(tree));
}

}  // namespace

ConfigNode* ConfigNode::get(std::string_view key) const {
    for (const ConfigEntry& entry : entries) {
        if (entry.key == key) return entry.value.get();
    }
    return nullptr;
}

std::string ConfigPlace::text() const {
    if (line == 0) return source;
    return source + ":" + std::to_string(line) + ":" + std::to_string(column);
}

std::string ConfigPlace::brief() const {
    return line == 0 ? source : "line " + std::to_string(line);
}

Result<std::string> read_config_file(const std::string& path) {
    // O_NONBLOCK: a FIFO named by mistake must not hang the start.
    const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return system_failure("cannot be opened");
    struct stat status {};
    std::string text;
    Failure failure;
    if (::fstat(fd, &status) != 0) {
        failure = system_failure("cannot be examined");
    } else if (!S_ISREG(status.st_mode)) {
        failure.text = "not a regular file; expected a YAML file";
    } else {
        text.resize(kConfigBytes +
                    1);  // One more than allowed tells a full file from a larger one.
        std::size_t filled = 0;
        while (filled < text.size()) {
            const ssize_t got = ::read(fd, text.data() + filled, text.size() - filled);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) failure = system_failure("cannot be read");
            if (got <= 0) break;
            filled += static_cast<std::size_t>(got);
        }
        text.resize(filled);
        if (filled > kConfigBytes) failure.text = "too large; expected at most 1MiB";
    }
    ::close(fd);
    if (!failure.text.empty()) return failure;
    return text;
}

std::unique_ptr<ConfigNode> load_config(const ConfigInput& input,
                                        std::vector<ConfigFault>& faults) {
    auto root = std::make_unique<ConfigNode>();
    root->kind = ConfigNode::Kind::Map;
    root->place = {0, input.file.empty() ? "config" : input.file, input.file.empty() ? 0 : 1, 1};
    if (!input.file.empty()) load_file(*root, input.file, 0, faults);
    if (!input.fragments.empty()) {
        int rank = 1;
        for (const std::string& file : fragments_in(input.fragments, faults)) {
            load_file(*root, file, rank++, faults);
        }
    }
    for (const std::string& setting : input.environment) apply_variable(*root, setting);
    for (const ConfigOverride& change : input.overrides) apply_flag(*root, change);
    return root;
}

std::vector<std::string> forkmill_environment() {
    std::vector<std::string> settings;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        if (std::string_view{*entry}.starts_with(kPrefix)) settings.emplace_back(*entry);
    }
    std::sort(settings.begin(), settings.end());  // One order of faults on every run.
    return settings;
}

}  // namespace forkmill::base
