// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/shared_tasks.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace conformance {

namespace {

std::string text_of(const std::filesystem::path& path) {
    std::ifstream file{path};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace

std::int64_t messages_in(const std::string& endpoint) {
    const std::string command =
        std::string{FORKMILL_TEST_BIN_DIR "/forkmill --endpoint '"} + endpoint + "' -o json status";
    std::FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return -1;
    std::string text;
    std::array<char, 4096> buffer{};
    for (std::size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
        text.append(buffer.data(), got);
    ::pclose(pipe);
    const auto status = nlohmann::json::parse(text, nullptr, false);
    if (!status.is_object() || !status.contains("counters")) return -1;
    return status["counters"].value("messages_in", std::int64_t{-1});
}

void do_not_return() {
    for (;;) ::pause();
}

bool kill_router(pid_t master) {
    for (const auto& entry : std::filesystem::directory_iterator{"/proc"}) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        if (text_of(entry.path() / "status").find("\nPPid:\t" + std::to_string(master) + "\n") ==
            std::string::npos)
            continue;
        if (text_of(entry.path() / "cmdline").find("router") == std::string::npos) continue;
        return ::kill(static_cast<pid_t>(std::stol(name)), SIGKILL) == 0;
    }
    return false;
}

}  // namespace conformance
