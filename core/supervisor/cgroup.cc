// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#include "core/base/identity.h"
#include "core/base/log.h"

namespace forkmill::supervisor {

namespace fs = std::filesystem;
using base::LogLevel;

namespace {

constexpr base::Duration kFirstTry = std::chrono::milliseconds{10};
constexpr base::Duration kLastTry = std::chrono::seconds{1};
constexpr std::string_view kOutlives = ".finish";
constexpr int kDepthMax = 8;  ///< Of groups that tasks made in their worker's.

std::string content(const std::string& path) {
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// A kernel's file takes a word whole or not at all.
bool write_word(const std::string& path, std::string_view word) {
    const OwnedFd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    return file &&
           ::write(file.get(), word.data(), word.size()) == static_cast<ssize_t>(word.size());
}

/// mountinfo writes blanks and backslashes as \ooo.
std::string unescaped(std::string_view text) {
    const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const std::string_view code = text.substr(i + 1, 3);
        if (text[i] != '\\' || code.size() != 3 ||
            !std::all_of(code.begin(), code.end(), is_octal)) {
            out += text[i];
            continue;
        }
        out += static_cast<char>((code[0] - '0') * 64 + (code[1] - '0') * 8 + (code[2] - '0'));
        i += 3;
    }
    return out;
}

struct Mount {
    std::string root;   ///< The group that it shows.
    std::string point;  ///< Where.
};

std::optional<Mount> cgroup2_mount(const std::string& line) {
    std::istringstream words{line};
    std::string word;
    Mount mount;
    words >> word >> word >> word >> mount.root >> mount.point;
    // After options, and optional fields: " - " and the type.
    while (words >> word && word != "-") {
    }
    if (!(words >> word) || word != "cgroup2") return std::nullopt;
    return Mount{unescaped(mount.root), unescaped(mount.point)};
}

std::string parent_of(const std::string& directory) {
    return fs::path{directory}.parent_path().string();
}

bool is_marked(const std::string& directory) {
    for (const char* name : {"trusted.delegate", "user.delegate"}) {
        std::array<char, 8> value{};
        const ssize_t size = ::getxattr(directory.c_str(), name, value.data(), value.size());
        if (size == 1 && value[0] == '1') return true;
    }
    return false;
}

std::optional<uid_t> owner_of(const std::string& path) {
    struct stat about {};
    if (::stat(path.c_str(), &about) != 0) return std::nullopt;
    return about.st_uid;
}

/// What systemd made for a unit is that unit's; what Delegate= hands out has other names.
bool is_unit(const std::string& directory) {
    return std::ranges::any_of(std::array{".service", ".scope", ".slice", ".socket", ".mount"},
                               [&](const char* end) { return directory.ends_with(end); });
}

/// Why nobody can make groups there; empty: this process can.
std::string unusable(const std::string& directory) {
    struct statfs about {};
    if (::statfs(directory.c_str(), &about) != 0)
        return "'" + directory + "': " + std::strerror(errno);
    if (about.f_type != CGROUP2_SUPER_MAGIC)
        return "'" + directory + "' is no directory of a cgroup v2 file system";
    for (const std::string& path : {directory, directory + "/cgroup.procs"})
        if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) != 0)
            return "cannot write to '" + path + "': " + std::strerror(errno);
    return {};
}

template <class Visit>
void for_each_below(const std::string& directory, const Visit& visit) {
    std::error_code error;
    for (auto entry = fs::directory_iterator{directory, error};
         !error && entry != fs::directory_iterator{};
         entry.increment(error)) {
        std::error_code ignored;
        if (entry->is_directory(ignored) && !entry->is_symlink(ignored))
            visit(entry->path().string());
    }
}

bool remove_tree(const std::string& directory, int depth = kDepthMax) {
    if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return true;
    if (depth == 0) return false;
    for_each_below(directory, [&](const std::string& below) { remove_tree(below, depth - 1); });
    return ::rmdir(directory.c_str()) == 0 || errno == ENOENT;
}

/// Kills whom `known` does not hold yet; false: there was nobody new.
bool kill_once(const std::string& directory, std::set<pid_t>& known, int depth) {
    bool fresh = false;
    std::istringstream pids{content(directory + "/cgroup.procs")};
    for (pid_t pid = 0; pids >> pid;) {
        if (pid <= 0 || pid == ::getpid()) continue;  // 0: of another pid namespace.
        fresh = known.insert(pid).second || fresh;
        ::kill(pid, SIGKILL);
    }
    if (depth > 0)
        for_each_below(directory, [&](const std::string& below) {
            fresh = kill_once(below, known, depth - 1) || fresh;
        });
    return fresh;
}

}  // namespace

std::string read_cgroup(base::ConfigSection root) {
    std::string place = root.text("cgroup", {.fallback = "auto", .max_bytes = 1024});
    if (place == "auto" || place == "off") return place;
    std::string why;
    if (!place.starts_with('/'))
        why = "'" + place + "' is no place of control groups";
    else
        why = unusable(place);
    if (!why.empty())
        root.problem("cgroup",
                     why +
                         "; expected auto, off or the path of a cgroup v2 directory that this "
                         "process may write to");
    while (place.size() > 1 && place.ends_with('/')) place.pop_back();
    return place;
}

std::string cgroup_name(const std::string& state_dir) {
    // Pids alone meet again where containers share a place, and a name is a right to kill.
    static const std::uint64_t number = base::random_number();
    struct stat about {};
    std::array<char, 64> name{};
    if (!state_dir.empty() && ::stat(state_dir.c_str(), &about) == 0)
        std::snprintf(name.data(),
                      name.size(),
                      "forkmill-%llx-%llx",
                      static_cast<unsigned long long>(about.st_dev),
                      static_cast<unsigned long long>(about.st_ino));
    else
        std::snprintf(
            name.data(), name.size(), "forkmill-%llx", static_cast<unsigned long long>(number));
    return name.data();
}

std::optional<std::string> cgroup_directory(std::string_view cgroup, std::string_view mountinfo) {
    std::istringstream groups{std::string{cgroup}};
    std::string own;
    for (std::string line; own.empty() && std::getline(groups, line);)
        if (line.starts_with("0::/")) own = line.substr(3);
    if (own.empty()) return std::nullopt;
    if (own == "/") own.clear();
    std::istringstream mounts{std::string{mountinfo}};
    for (std::string line; std::getline(mounts, line);) {
        const std::optional<Mount> mount = cgroup2_mount(line);
        if (!mount) continue;
        if (mount->root == "/") return mount->point + own;
        if (own == mount->root || own.starts_with(mount->root + "/"))
            return mount->point + own.substr(mount->root.size());
    }
    return std::nullopt;
}

bool is_delegated(const std::string& directory) {
    if (is_marked(directory)) return true;
    const uid_t self = ::geteuid();
    return self != 0 && owner_of(directory) == self &&
           owner_of(directory + "/cgroup.procs") == self && owner_of(parent_of(directory)) != self;
}

base::Result<std::string> find_delegated() {
    const std::optional<std::string> own =
        cgroup_directory(content("/proc/self/cgroup"), content("/proc/self/mountinfo"));
    if (!own) return base::Failure{"no cgroup v2 file system shows this process's control group"};
    std::string found = *own;
    if (!is_delegated(found)) {
        if (is_unit(*own) || !is_marked(parent_of(*own)))
            return base::Failure{"the control group " + *own +
                                 " is not delegated to this process (Delegate=yes)"};
        found = parent_of(*own);
    }
    if (const std::string why = unusable(found); !why.empty()) return base::Failure{why};
    return found;
}

void kill_cgroup(const std::string& directory) {
    if (!write_word(directory + "/cgroup.kill", "1")) kill_members(directory);
}

void kill_members(const std::string& directory) {
    // Whoever forks meanwhile is found by the next round, and then by the next try.
    constexpr int kRounds = 32;
    std::set<pid_t> known;
    for (int round = 0; round < kRounds && kill_once(directory, known, kDepthMax); ++round) {
    }
}

std::optional<std::uint64_t> oom_kills(const std::string& directory) {
    if (directory.empty()) return std::nullopt;
    std::ifstream events{directory + "/memory.events"};
    std::string name;
    for (std::uint64_t count = 0; events >> name >> count;)
        if (name == "oom_kill") return count;
    return std::nullopt;
}

OwnedFd open_cgroup(const std::string& directory) {
    if (directory.empty()) return {};
    return OwnedFd{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
}

void Cgroups::open(const CgroupSpec& spec) {
    if (spec == spec_) return;
    close();
    spec_ = spec;
    told_ = false;
    if (spec.place == "off") return;
    base::Result<std::string> around =
        spec.place == "auto" ? find_delegated() : base::Result<std::string>{spec.place};
    std::string why = around ? std::string{} : around.failure().text;
    if (around) {
        root_ = around.value() + "/" + spec.name;
        if (::mkdir(root_.c_str(), 0755) != 0 && errno != EEXIST) {
            why = "cannot make " + root_ + ": " + std::strerror(errno);
            root_.clear();
        }
    }
    if (root_.empty()) {
        base::log_line(spec.place == "auto" ? LogLevel::Info : LogLevel::Error,
                       "workers have no control groups: what leaves their process group stays",
                       {{"why", why}});
        return;
    }
    // Where somebody enabled it up to here it counts for each worker; elsewhere this is refused.
    write_word(root_ + "/cgroup.subtree_control", "+memory");
    base::log_line(LogLevel::Info, "each worker has a control group", {{"path", root_}});
}

std::string Cgroups::make(const CgroupBirth& birth) {
    if (root_.empty()) return {};
    constexpr int kNames = 100;
    const std::string name = root_ + "/" + birth.pool + "-" + std::to_string(birth.slot) + "-" +
                             std::to_string(birth.generation);
    for (int i = 1; i <= kNames; ++i) {  // An orphan of the last master may have the first.
        std::string path = name + (i == 1 ? "" : "~" + std::to_string(i));
        if (birth.outlives_master) path += kOutlives;
        if (::mkdir(path.c_str(), 0755) == 0) return path;
        if (errno != EEXIST) break;
    }
    const int number = errno;
    if (!std::exchange(told_, true))
        base::log_line(LogLevel::Error,
                       "cannot make a control group: workers are born without",
                       {{"path", name}, {"why", std::strerror(number)}});
    return {};
}

std::string Cgroups::find(pid_t worker) const {
    const std::optional<std::string> directory = cgroup_directory(
        content("/proc/" + std::to_string(worker) + "/cgroup"), content("/proc/self/mountinfo"));
    const std::string below = "/" + spec_.name + "/";
    if (!directory || spec_.name.empty()) return {};
    const std::size_t at = directory->find(below);
    if (at == std::string::npos) return {};
    // It may have gone to a group that it made in its own.
    const std::string found = directory->substr(0, directory->find('/', at + below.size()));
    const std::string here = root_ + found.substr(at + below.size() - 1);
    std::error_code ignored;
    return fs::equivalent(here, found, ignored) ? here : found;  // A config may name it otherwise.
}

void Cgroups::sweep(const std::function<bool(const std::string&)>& is_kept, base::Time now) {
    if (root_.empty()) return;
    for_each_below(root_, [&](const std::string& directory) {
        if (!is_kept(directory)) leave(directory, !directory.ends_with(kOutlives), now);
    });
}

void Cgroups::retire(const std::string& directory, base::Time now) {
    if (!directory.empty()) leave(directory, true, now);
}

/// True: nothing is left of it, nor of a former sub-tree that it was the last of.
bool Cgroups::gone(const Going& group) const {
    if (group.kills) kill_cgroup(group.directory);
    if (!remove_tree(group.directory)) return false;
    if (const std::string root = parent_of(group.directory); root != root_) ::rmdir(root.c_str());
    return true;
}

void Cgroups::leave(const std::string& directory, bool kills, base::Time now) {
    Going group{directory, now, now + kFirstTry, kFirstTry, kills, false};
    if (!gone(group) && going_.size() < kGoingMax) going_.push_back(std::move(group));
}

void Cgroups::settle(base::Time now) {
    for (auto group = going_.begin(); group != going_.end();) {
        if (group->at <= now && gone(*group)) {
            group = going_.erase(group);
            continue;
        }
        if (group->at <= now) {
            group->wait = std::min(2 * group->wait, kLastTry);
            group->at = now + group->wait;
            const bool survives = group->kills && now - group->since >= kPatience;
            if (survives && !std::exchange(group->hopeless, true))
                base::log_line(LogLevel::Error,
                               "a dead worker's processes survive SIGKILL",
                               {{"cgroup", group->directory}});
        }
        ++group;
    }
}

base::Time Cgroups::next_try() const {
    base::Time next = base::kNever;
    for (const Going& group : going_) next = std::min(next, group.at);
    return next;
}

bool Cgroups::settled() const {
    return std::ranges::none_of(going_,
                                [](const Going& group) { return group.kills && !group.hopeless; });
}

void Cgroups::close() {
    if (!root_.empty()) ::rmdir(root_.c_str());
    root_.clear();
}

}  // namespace forkmill::supervisor
