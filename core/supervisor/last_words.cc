// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/last_words.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

#include "core/supervisor/stack_dump.h"

namespace forkmill::supervisor {

namespace {

constexpr std::size_t kMangledMax = 1024;
constexpr std::size_t kDemangledMax = 1024 * 1024;
constexpr std::size_t kBeforeMax = 256;  ///< Of what was written before a report.

bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '$';
}

/// The middle is dropped: a name begins with its type or namespace and ends with its arguments.
std::string shortened(const std::string& name) {
    constexpr std::string_view kDots = "...";
    constexpr std::size_t kEnd = kShownNameMax / 3;
    if (name.size() <= kShownNameMax) return name;
    const std::size_t begin = kShownNameMax - kEnd - kDots.size();
    return name.substr(0, begin).append(kDots).append(name, name.size() - kEnd, kEnd);
}

/// False: its demangled name could fill the memory. Each reference to an earlier part can repeat
/// all before it, so n of them make a name up to 3^(n/3) times as long; a pack is repeated for
/// every argument. Hostile names of 300 bytes reach gigabytes, real ones hardly ever this bound.
bool stays_small(std::string_view mangled) {
    std::size_t size = mangled.size();
    std::size_t references = 0;
    for (std::size_t at = 0; at + 1 < mangled.size() && size <= kDemangledMax; ++at) {
        const char kind = mangled[at];
        const char next = mangled[at + 1];
        const bool numbered = next == '_' || (next >= '0' && next <= '9') ||
                              (kind == 'S' && next >= 'A' && next <= 'Z');
        if (kind == 'D' && next == 'p') size *= mangled.size();
        if ((kind == 'S' || kind == 'T') && numbered && ++references % 3 == 0) size *= 3;
    }
    return size <= kDemangledMax;
}

std::string shown(std::string_view word) {
    std::string mangled{word};
    if (!word.starts_with("_Z") || word.size() > kMangledMax || !stays_small(word)) return mangled;
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> name{
        abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free};
    return status == 0 && name ? shortened(name.get()) : mangled;
}

/// Where the last line that opens with `mark` begins.
std::size_t find_last_line(std::string_view text, std::string_view mark) {
    std::size_t at = text.rfind(mark);
    while (at != std::string_view::npos && at > 0 && text[at - 1] != '\n')
        at = text.rfind(mark, at - 1);
    return at;
}

/// The end of `text`, in whole lines and without frames of other threads.
std::string_view words_before_report(std::string_view text) {
    std::size_t begin = text.size();
    while (begin > 0) {
        const std::size_t end = begin < 2 ? std::string_view::npos : text.rfind('\n', begin - 2);
        const std::size_t line = end == std::string_view::npos ? 0 : end + 1;
        const std::string_view more = text.substr(line);
        if (more.size() > kBeforeMax || more.starts_with(kFrameMark) ||
            more.starts_with(kThreadHead))
            break;
        begin = line;
    }
    return text.substr(begin);
}

}  // namespace

std::string demangle_stack(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = at;
        while (end < text.size() && is_word(text[end])) ++end;
        out += shown(text.substr(at, end - at));
        if (end < text.size()) out += text[end++];
        at = end;
    }
    return out;
}

std::string last_words(std::string_view tail, std::size_t most) {
    const std::size_t report = find_last_line(tail, kCrashedBy);
    if (report == std::string_view::npos) {
        const std::string text = demangle_stack(tail);
        return text.size() > most ? text.substr(text.size() - most) : text;
    }
    std::string text{words_before_report(tail.substr(0, report))};
    text += demangle_stack(tail.substr(report));
    if (text.size() <= most) return text;
    text.resize(most);
    const std::size_t line = text.rfind('\n');
    if (line != std::string::npos) text.resize(line + 1);
    return text;
}

}  // namespace forkmill::supervisor
