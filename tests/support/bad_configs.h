// SPDX-License-Identifier: Apache-2.0
// Bad configs as files: each tests/bad_configs/<folder>/x.yaml opens with what a reader must say of
// it.
//
//     # expect: 4:14: pools.default.workers: '012'; expected a decimal integer, 1 to 1024
//
// One line per fault, in the order in which they are told, without the file's name.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace forkmill::test {

struct BadConfig {
    std::filesystem::path file;
    std::vector<std::string> expected;  ///< Whole lines, "<file>:4:14: …".
};

/// Every file of tests/bad_configs/<folder>, in name order. Fails the test when there is none.
std::vector<BadConfig> bad_configs(std::string_view folder);

}  // namespace forkmill::test
