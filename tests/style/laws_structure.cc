// SPDX-License-Identifier: Apache-2.0
// The laws about what may see what.
#include <algorithm>
#include <array>
#include <string_view>

#include "tests/style/laws.h"

namespace forkmill::style {
namespace {

struct Direction {
    std::string_view folder;                ///< The longest that fits a source rules it.
    std::vector<std::string_view> allowed;  ///< Prefixes of what it may include of ours.
};

const std::vector<Direction>& directions() {
    static const std::vector<Direction> kDirections{
        {"core/base/", {"core/base/"}},
        {"core/wire/", {"core/base/", "core/wire/"}},
        // A session speaks over any Transport, so it may see that interface but no socket.
        {"core/session/", {"core/base/", "core/wire/", "core/session/", "core/net/transport.h"}},
        {"core/net/", {"core/base/", "core/wire/", "core/net/"}},
        {"core/supervisor/", {"core/base/", "core/supervisor/"}},
        {"broker/engine/", {"core/base/", "core/wire/", "broker/engine/"}},
        {"broker/", {"core/", "broker/"}},
        {"worker/", {"core/", "worker/", "forkmill/"}},
        {"sdk/include/", {"forkmill/"}},
        {"sdk/src/", {"core/", "sdk/", "forkmill/"}},
        {"sdk/local/", {"core/", "broker/", "worker/", "sdk/", "forkmill/"}},
        {"cli/", {"core/", "cli/", "forkmill/"}},
        {"examples/", {"forkmill/", "examples/"}},
        {"tests/conformance/", {"forkmill/", "tests/"}},
        {"tests/docs/", {"forkmill/", "tests/"}},
    };
    return kDirections;
}

struct Cage {
    std::string_view header;  ///< Prefix of the include's path.
    std::string_view only;
    std::vector<std::string_view> inside;
};

const std::vector<Cage>& cages() {
    static const std::vector<Cage> kCages{
        {"zmq", "core/net", {"core/net/", "tests/unit/", "tests/e2e/", "tests/support/", "bench/"}},
        {"msgpack",
         "core/wire and sdk's pack header",
         {"core/wire/", "sdk/include/forkmill/pack.h", "tests/unit/", "tests/fuzz/"}},
        {"yaml-cpp/", "core/base/config_parse.cc", {"core/base/config_parse.cc"}},
        {"spdlog/", "core/base/log.cc", {"core/base/log.cc"}},
        // Never on a task's way: what operators read, and what the command line takes.
        {"nlohmann/",
         "cli, broker's status and admin, tests and bench",
         {"cli/", "broker/status.cc", "broker/admin/", "tests/", "bench/"}},
        {"sys/wait.h", "core/supervisor", {"core/supervisor/", "tests/", "bench/"}},
        {"spawn.h", "core/supervisor", {"core/supervisor/", "tests/", "bench/"}},
    };
    return kCages;
}

bool is_ours(const Include& include) {
    constexpr std::array kRoots{"core/",
                                "broker/",
                                "worker/",
                                "sdk/",
                                "cli/",
                                "tests/",
                                "bench/",
                                "examples/",
                                "forkmill/"};
    return std::any_of(kRoots.begin(), kRoots.end(), [&](const char* root) {
        return include.path.starts_with(root);
    });
}

bool starts_with_any(std::string_view text, const std::vector<std::string_view>& prefixes) {
    return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view prefix) {
        return text.starts_with(prefix);
    });
}

bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool call_takes_pid(const std::string& code, std::size_t open) {
    const std::string_view arguments = std::string_view{code}.substr(open);
    return arguments.find("pid") != std::string_view::npos ||
           arguments.find("SIG") != std::string_view::npos || arguments.starts_with("()");
}

/// True when the word at `at` calls the C library: no method, no other namespace's function, no
/// declaration.
bool is_system_call(const std::string& code, std::size_t at, std::size_t length) {
    std::size_t after = at + length;
    while (after < code.size() && code[after] == ' ') ++after;
    if (after >= code.size() || code[after] != '(') return false;
    std::string_view before = std::string_view{code}.substr(0, at);
    if (before.ends_with("::")) {
        before.remove_suffix(2);
        return before.empty() || !(is_word(before.back()) || before.back() == '>');
    }
    const std::size_t end = before.find_last_not_of(' ');
    if (end == std::string_view::npos) return true;  // A statement of its own.
    // `return kill(effect)` in a class is its own; what takes a signal is not.
    if (before.ends_with("return ")) return call_takes_pid(code, after);
    const char previous = before[end];
    return !is_word(previous) && previous != '.' && previous != '>' && previous != '*' &&
           previous != '&' && previous != ':' && previous != '~';
}

bool is_sans_io(const Source& source) {
    constexpr std::array kPure{"broker/engine/",
                               "core/session/",
                               "core/wire/",
                               "broker/gateway",
                               "worker/worker_core",
                               "sdk/src/client_core"};
    return std::any_of(
        kPure.begin(), kPure.end(), [&](const char* path) { return source.is_below(path); });
}

}  // namespace

Violations check_directions(const Source& source) {
    const Direction* rule = nullptr;
    for (const Direction& one : directions()) {
        if (source.is_below(one.folder)) {
            rule = &one;
            break;  // More special folders stand first.
        }
    }
    Violations violations;
    if (rule == nullptr || !source.is_cpp()) return violations;
    for (const Include& include : source.includes()) {
        if (is_ours(include) && !starts_with_any(include.path, rule->allowed)) {
            violations.push_back(
                at(source,
                   include.line,
                   std::string{rule->folder} + " must not include " + include.path));
        }
    }
    return violations;
}

Violations check_cages(const Source& source) {
    Violations violations;
    if (!source.is_cpp()) return violations;
    for (const Include& include : source.includes()) {
        for (const Cage& cage : cages()) {
            if (include.angled && include.path.starts_with(cage.header) &&
                !starts_with_any(source.path, cage.inside)) {
                violations.push_back(at(source,
                                        include.line,
                                        include.path + " belongs into " + std::string{cage.only}));
            }
        }
        const bool command_line = source.is_below("cli/") || source.is_below("bench/") ||
                                  (!source.is_header() && !source.is_below("broker/engine/") &&
                                   (source.is_below("broker/") || source.is_below("worker/")));
        if (include.angled && include.path.starts_with("CLI/") && !command_line) {
            violations.push_back(at(source, include.line, "CLI11 belongs into a program's source"));
        }
    }
    return violations;
}

Violations check_process_calls(const Source& source) {
    constexpr std::array<std::string_view, 13> kCalls{"fork",
                                                      "vfork",
                                                      "posix_spawn",
                                                      "posix_spawnp",
                                                      "waitpid",
                                                      "waitid",
                                                      "wait4",
                                                      "kill",
                                                      "killpg",
                                                      "tgkill",
                                                      "clone",
                                                      "clone3",
                                                      "system"};
    Violations violations;
    const bool ruled = source.is_cpp() && !source.is_below("core/supervisor/") &&
                       !source.is_below("tests/") && !source.is_below("bench/") &&
                       !source.is_below("examples/");
    if (!ruled) return violations;
    for (std::size_t i = 0; i < source.code.size(); ++i) {
        const std::string& code = source.code[i];
        for (const std::string_view call : kCalls) {
            for (std::size_t found = code.find(call); found != std::string::npos;
                 found = code.find(call, found + 1)) {
                if (found > 0 && is_word(code[found - 1])) continue;
                if (is_system_call(code, found, call.size())) {
                    violations.push_back(at(source,
                                            static_cast<int>(i) + 1,
                                            std::string{call} + "() belongs into core/supervisor"));
                }
            }
        }
    }
    return violations;
}

Violations check_purity(const Source& source) {
    constexpr std::array<std::string_view, 24> kIncludes{
        "thread",       "mutex",      "condition_variable",
        "shared_mutex", "future",     "semaphore",
        "fstream",      "filesystem", "iostream",
        "random",       "sys/",       "unistd.h",
        "fcntl.h",      "poll.h",     "netinet/",
        "arpa/",        "pthread.h",  "signal.h",
        "ctime",        "time.h",     "sched.h",
        "stop_token",   "core/net/z", "spdlog/"};
    constexpr std::array<std::string_view, 8> kWords{"monotonic_now",
                                                     "wall_now",
                                                     "steady_clock",
                                                     "system_clock",
                                                     "std::thread",
                                                     "std::jthread",
                                                     "random_device",
                                                     "getenv"};
    Violations violations;
    if (!source.is_cpp() || !is_sans_io(source)) return violations;
    for (const Include& include : source.includes()) {
        const bool banned =
            std::any_of(kIncludes.begin(), kIncludes.end(), [&](std::string_view one) {
                return one.ends_with('/') || one.starts_with("core/")
                           ? include.path.starts_with(one)
                           : include.path == one;
            });
        if (banned) {
            violations.push_back(
                at(source, include.line, include.path + " in a part that only thinks (law 4)"));
        }
    }
    for (std::size_t i = 0; i < source.code.size(); ++i) {
        for (const std::string_view word : kWords) {
            if (source.code[i].find(word) != std::string::npos) {
                violations.push_back(at(source,
                                        static_cast<int>(i) + 1,
                                        std::string{word} + " in a part that only thinks (law 4)"));
            }
        }
    }
    return violations;
}

Violations check_bodies(const Source& source) {
    Violations violations;
    if (!source.is_cpp() || !source.is_below("broker/")) return violations;
    for (const Include& include : source.includes()) {
        const bool opener = include.path.starts_with("msgpack") ||
                            include.path.starts_with("forkmill/") ||
                            include.path == "core/wire/reader.h";
        if (opener) {
            violations.push_back(
                at(source, include.line, "the broker never opens a body (law 5): " + include.path));
        }
    }
    return violations;
}

Violations check_assertions(const Source& source) {
    constexpr std::array kDecoders{"core/wire/reader", "core/wire/decode", "core/base/config_"};
    Violations violations;
    const bool decodes = std::any_of(kDecoders.begin(), kDecoders.end(), [&](const char* path) {
        return source.is_below(path);
    });
    if (!source.is_cpp() || !decodes) return violations;
    for (std::size_t i = 0; i < source.code.size(); ++i) {
        if (source.code[i].find("FORKMILL_CHECK") != std::string::npos) {
            violations.push_back(at(source,
                                    static_cast<int>(i) + 1,
                                    "a peer's or a file's bytes reach no assertion (law 7)"));
        }
    }
    return violations;
}

}  // namespace forkmill::style
