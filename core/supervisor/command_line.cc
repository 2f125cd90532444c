// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/command_line.h"

#include <fstream>

namespace forkmill::supervisor {

std::vector<std::string> own_command_line() {
    std::ifstream file{"/proc/self/cmdline", std::ios::binary};
    std::vector<std::string> words;
    for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
    return words;
}

}  // namespace forkmill::supervisor
