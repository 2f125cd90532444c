// SPDX-License-Identifier: Apache-2.0
#include "core/net/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/net/unique_fd.h"

namespace forkmill::net {

namespace {

constexpr std::size_t kFileMax = std::size_t{16} << 20;  ///< More than AllowList::kKeysMax lines.

base::Failure failure_of(const std::string& path, const std::string& what) {
    return base::Failure{path + ": " + what};
}
base::Failure system_failure(const std::string& path, const std::string& what) {
    return base::system_failure(path + ": " + what);
}

enum class Guard { Secret, List };

/// Why a file of that mode and owner is not to be trusted; empty: it is.
std::string distrust(const struct stat& status, Guard guard) {
    if (!S_ISREG(status.st_mode)) return "not a regular file";
    const bool ours = status.st_uid == ::geteuid() || status.st_uid == 0;
    if (!ours) return "belongs to another user; cure: chown it";
    if (guard == Guard::Secret && (status.st_mode & 077) != 0)
        return "other users may read it; cure: chmod 600";
    if ((status.st_mode & 022) != 0) return "other users may write to it; cure: chmod go-w";
    if (status.st_size > static_cast<off_t>(kFileMax)) return "too large to be a file of keys";
    return {};
}

base::Result<std::string> read_guarded(const std::string& path, Guard guard) {
    // A link could be turned to another file between this look and the next.
    const int no_links = guard == Guard::Secret ? O_NOFOLLOW : 0;
    const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | no_links)};
    if (!fd) {
        if (errno == ELOOP && no_links != 0)
            return failure_of(path, "a symbolic link; expected the key file itself");
        return system_failure(path, "cannot be opened");
    }
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return system_failure(path, "cannot be examined");
    if (const std::string reason = distrust(status, guard); !reason.empty())
        return failure_of(path, reason);
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    std::size_t filled = 0;
    while (filled < text.size()) {
        const ssize_t got = ::read(fd.get(), text.data() + filled, text.size() - filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_failure(path, "cannot be read");
        if (got == 0) break;
        filled += static_cast<std::size_t>(got);
    }
    text.resize(filled);
    return text;
}

/// The words of a line, its comment left out. No key begins with #: in Z85 that is 84 × 85⁴, more
/// than four bytes hold.
std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    while (true) {
        const std::size_t begin = line.find_first_not_of(" \t\r");
        if (begin == std::string_view::npos) return words;
        line.remove_prefix(begin);
        const std::size_t end = std::min(line.find_first_of(" \t\r"), line.size());
        const std::string_view word = line.substr(0, end);
        if (word.front() == '#') return words;
        words.push_back(word);
        line.remove_prefix(end);
    }
}

/// Calls `each(number, words)` for every line that has words, until it says why it stops.
template <class Each>
base::Status for_lines(const std::string& path, std::string_view text, Each each) {
    for (int number = 1; !text.empty(); ++number) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::vector<std::string_view> words = words_of(text.substr(0, end));
        if (!words.empty()) {
            if (const std::string reason = each(words); !reason.empty())
                return failure_of(path + ":" + std::to_string(number), reason);
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return base::Done{};
}

bool is_peer_name(std::string_view name) {
    constexpr std::string_view kLetters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-@";
    // "local" and "uid:N" are how the broker calls peers without a key.
    return !name.empty() && name.size() <= 128 && name != "local" &&
           name.find_first_not_of(kLetters) == std::string_view::npos;
}

/// Empty, or what is wrong with the roles.
std::string read_roles(std::string_view text, std::vector<std::string>& roles) {
    constexpr std::array<std::string_view, 3> kRoles{"submit", "work", "admin"};
    while (true) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const std::string_view role = text.substr(0, comma);
        if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
            return "unknown role; expected submit, work or admin, joined with commas";
        roles.emplace_back(role);
        if (comma == text.size()) return {};
        text.remove_prefix(comma + 1);
    }
}

base::Status write_new(const std::string& path, const std::string& text, mode_t mode) {
    const UniqueFd fd{
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)};
    if (!fd) return system_failure(path, "cannot be made");
    if (::fchmod(fd.get(), mode) != 0 ||
        ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::fsync(fd.get()) != 0)
        return system_failure(path, "cannot be written");
    return base::Done{};
}

}  // namespace

base::Result<CurvePair> read_key_file(const std::string& path) {
    const base::Result<std::string> text = read_guarded(path, Guard::Secret);
    if (!text.ok()) return text.failure();
    CurvePair pair;
    const base::Status lines =
        for_lines(path, text.value(), [&](const std::vector<std::string_view>& words) {
            std::string* half = words[0] == "public"   ? &pair.public_key
                                : words[0] == "secret" ? &pair.secret_key
                                                       : nullptr;
            if (half == nullptr || words.size() != 2)
                return std::string{"expected `public KEY` or `secret KEY`"};
            if (!half->empty()) return std::string{"a second key of this kind"};
            if (!is_curve_key(words[1])) return std::string{"expected 40 characters of Z85"};
            *half = words[1];
            return std::string{};
        });
    if (!lines.ok()) return lines.failure();
    if (pair.secret_key.empty())
        return failure_of(path, "has no secret key; expected a file made by `forkmill keygen`");
    const base::Result<std::string> open = public_of(pair.secret_key);
    if (!open.ok()) return failure_of(path, open.failure().text);
    if (open.value() != pair.public_key)
        return failure_of(path, "its public key is not that of its secret key");
    return pair;
}

base::Status write_key_file(const std::string& path, const CurvePair& pair) {
    const std::string open = "public " + pair.public_key + "\n";
    base::Status written = write_new(
        path,
        "# A Forkmill key. Keep it to yourself.\n" + open + "secret " + pair.secret_key + "\n",
        0600);
    if (!written.ok()) return written;
    return write_new(path + ".pub", open, 0644);
}

base::Result<std::vector<AllowedKey>> read_authorized_keys(const std::string& path) {
    const base::Result<std::string> text = read_guarded(path, Guard::List);
    if (!text.ok()) return text.failure();
    std::vector<AllowedKey> keys;
    const base::Status lines =
        for_lines(path, text.value(), [&](const std::vector<std::string_view>& words) {
            if (words.size() != 3)
                return std::string{"expected `KEY NAME ROLES`, as in `… ann submit,work`"};
            if (!is_curve_key(words[0]))
                return std::string{"expected a public key: 40 characters of Z85"};
            if (!is_peer_name(words[1]))
                return std::string{
                    "expected a name of 1 to 128 letters, digits, _ . - and @, and not `local`"};
            AllowedKey key{std::string{words[0]}, std::string{words[1]}, {}};
            std::string reason = read_roles(words[2], key.roles);
            if (reason.empty()) keys.push_back(std::move(key));
            return reason;
        });
    if (!lines.ok()) return lines.failure();
    if (keys.empty()) return failure_of(path, "allows nobody; expected a line `KEY NAME ROLES`");
    AllowList list;
    if (const base::Status checked = list.replace(keys); !checked.ok())
        return failure_of(path, checked.failure().text);
    return keys;
}

KeyNames or_environment(KeyNames given) {
    const auto fill = [](std::string& text, const char* name) {
        const char* set = std::getenv(name);
        if (text.empty() && set != nullptr) text = set;
    };
    fill(given.server_key, "FORKMILL_SERVER_KEY");
    fill(given.key_file, "FORKMILL_KEY_FILE");
    return given;
}

base::Result<std::optional<CurveClient>> client_keys(const KeyNames& names) {
    if (names.server_key.empty() && names.key_file.empty()) return std::optional<CurveClient>{};
    if (names.server_key.empty() || names.key_file.empty())
        return base::Failure{
            "server_key and key_file go together: the broker's public key, and our own key file"};
    if (!is_curve_key(names.server_key))
        return base::Failure{"server_key: expected a public key, 40 characters of Z85"};
    base::Result<CurvePair> own = read_key_file(names.key_file);
    if (!own.ok()) return own.failure();
    return std::optional{
        CurveClient{names.server_key, own.value().public_key, own.value().secret_key}};
}

}  // namespace forkmill::net
