// SPDX-License-Identifier: Apache-2.0
#include "tests/support/bad_configs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

namespace forkmill::test {

std::vector<BadConfig> bad_configs(std::string_view folder) {
    constexpr std::string_view kMark = "# expect: ";
    std::vector<BadConfig> configs;
    const auto root =
        std::filesystem::path{FORKMILL_TEST_SOURCE_DIR} / "tests/bad_configs" / folder;
    for (const auto& entry : std::filesystem::directory_iterator{root}) {
        BadConfig config{entry.path(), {}};
        std::ifstream in{entry.path()};
        for (std::string line; std::getline(in, line) && line.starts_with(kMark);) {
            config.expected.push_back(entry.path().string() + ":" + line.substr(kMark.size()));
        }
        EXPECT_FALSE(config.expected.empty()) << entry.path() << " has no `# expect:` line";
        configs.push_back(std::move(config));
    }
    std::sort(configs.begin(), configs.end(), [](const BadConfig& a, const BadConfig& b) {
        return a.file < b.file;
    });
    EXPECT_FALSE(configs.empty()) << "no bad configs in " << root;
    return configs;
}

}  // namespace forkmill::test
