// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/shared_tasks.h"

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
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
