// SPDX-License-Identifier: Apache-2.0
#include "tests/style/laws.h"

#include <gtest/gtest.h>

#include <map>

namespace forkmill::style {
namespace {

class Tree : public testing::TestWithParam<Law> {
  protected:
    static const std::vector<Source>& sources() {
        static const std::vector<Source> kSources = tree();
        return kSources;
    }
};

TEST_P(Tree, ObeysTheLaw) {
    for (const Source& source : sources()) {
        for (const std::string& violation : GetParam().check(source)) ADD_FAILURE() << violation;
    }
}

TEST_F(Tree, IsSeenWhole) {
    // A law over files that are not found would hold for ever.
    std::map<std::string, int> folders;
    for (const Source& source : sources()) ++folders[source.path.substr(0, source.path.find('/'))];
    for (const char* folder : {"core", "broker", "worker", "sdk", "tests", "cmake"}) {
        EXPECT_GT(folders[folder], 0) << folder;
    }
    EXPECT_GT(sources().size(), 50U);
}

std::string law_name(const testing::TestParamInfo<Law>& info) {
    std::string name = info.param.name;
    for (char& c : name) {
        if (c == ' ') c = '_';
    }
    return name;
}

INSTANTIATE_TEST_SUITE_P(Law, Tree, testing::ValuesIn(all_laws()), law_name);

}  // namespace
}  // namespace forkmill::style
