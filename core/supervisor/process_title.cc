// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/process_title.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <optional>
#include <sstream>

namespace forkmill::supervisor {

namespace {

/// Where the kernel looks for what `ps` shows: the arguments and, behind them, the environment.
struct Area {
    char* begin = nullptr;
    char* end = nullptr;

    bool holds(const char* text) const { return text >= begin && text < end; }
    std::size_t size() const { return static_cast<std::size_t>(end - begin); }
};

struct Title {
    Area area;
    std::vector<std::string> words;
    std::deque<std::string> copies;  ///< Of the arguments and the environment; none ever moves.
    std::vector<char*> environment;  ///< What environ leads to, until somebody sets a variable.
    std::size_t written = 0;         ///< Bytes of the area that may differ from NUL.
    std::string name;                ///< As the kernel was told last.
};

/// Lives as long as the process: the environment is used until the very end.
Title*& title_of_process() {
    static Title* title = nullptr;
    return title;
}

std::vector<std::string> read_command_line() {
    std::ifstream file{"/proc/self/cmdline", std::ios::binary};
    std::vector<std::string> words;
    for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
    return words;
}

/// proc(5): fields 48 to 51 of /proc/self/stat are arg_start, arg_end, env_start and env_end.
std::optional<Area> find_area() {
    std::ifstream file{"/proc/self/stat"};
    std::string text;
    if (!std::getline(file, text)) return std::nullopt;
    // The second field is a name in parentheses, which may hold anything.
    const std::size_t name_end = text.rfind(')');
    if (name_end == std::string::npos) return std::nullopt;
    std::istringstream fields{text.substr(name_end + 1)};
    std::string skipped;
    for (int field = 3; field < 48; ++field) fields >> skipped;
    std::array<std::uintptr_t, 4> at{};
    for (std::uintptr_t& address : at) fields >> address;
    if (!fields || at[0] == 0 || at[1] <= at[0]) return std::nullopt;
    // A title runs on from the arguments into the environment only where the two touch.
    const std::uintptr_t end = at[2] == at[1] && at[3] > at[2] ? at[3] : at[1];
    return Area{reinterpret_cast<char*>(at[0]), reinterpret_cast<char*>(end)};
}

void move_environment(Title& title) {
    for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
        char* text = *variable;
        if (title.area.holds(text)) text = title.copies.emplace_back(text).data();
        title.environment.push_back(text);
    }
    title.environment.push_back(nullptr);
    environ = title.environment.data();
}

}  // namespace

void init_process_title(int argc, char** argv) {
    if (title_of_process() != nullptr || argc < 1 || argv == nullptr) return;
    const std::optional<Area> area = find_area();
    // An emulator's process may have the emulator's area: then there is none to write to.
    if (!area || !area->holds(argv[0])) return;
    auto* title = new Title;
    title->area = *area;
    title->words = read_command_line();
    title->written = area->size();
    const auto move = [&](char*& text) {
        if (title->area.holds(text)) text = title->copies.emplace_back(text).data();
    };
    for (int i = 0; i < argc; ++i) move(argv[i]);
    // The C library names the program by these in its messages.
    move(program_invocation_name);
    move(program_invocation_short_name);
    move_environment(*title);
    title_of_process() = title;
}

void set_process_title(std::string_view text, std::string_view name) {
    Title* title = title_of_process();
    if (title == nullptr) return;
    const auto printable = [](char c) {
        return static_cast<unsigned char>(c) < 0x20U || c == 0x7f ? '?' : c;
    };
    // The last byte stays NUL: it is where the kernel stops reading.
    const std::size_t size = std::min(text.size(), title->area.size() - 1);
    std::transform(text.begin(),
                   text.begin() + static_cast<std::ptrdiff_t>(size),
                   title->area.begin,
                   printable);
    if (title->written > size)
        std::memset(
            title->area.begin + size, 0, std::min(title->written, title->area.size()) - size);
    title->written = size;

    constexpr std::size_t kNameMax = 15;
    if (name.empty()) name = text.substr(0, text.find(':'));
    std::string short_name{name.substr(0, kNameMax)};
    std::transform(short_name.begin(), short_name.end(), short_name.begin(), printable);
    if (short_name == title->name) return;
    ::prctl(PR_SET_NAME, short_name.c_str());
    title->name = std::move(short_name);
}

std::vector<std::string> original_command_line() {
    const Title* title = title_of_process();
    return title == nullptr ? read_command_line() : title->words;
}

}  // namespace forkmill::supervisor
