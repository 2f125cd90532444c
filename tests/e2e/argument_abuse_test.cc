// SPDX-License-Identifier: Apache-2.0
// Arguments and results that are not what the task's contract says, at every size: a typed error,
// and the worker lives on. Cases 30 to 38 of the bad inputs; those that need no broker are in
// tests/unit/sdk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/e2e/site.h"
#include "tests/e2e/tasks.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using forkmill::Pool;
using forkmill::test::wait_until;
using testing::HasSubstr;

enum class Size { Embedded, Ipc, Tcp };
constexpr std::size_t kMebibyte = std::size_t{1} << 20;

class ArgumentAbuse : public Site, public testing::WithParamInterface<Size> {
  protected:
    void SetUp() override {
        forkmill::PoolOptions options;
        if (GetParam() == Size::Embedded) {
            options.workers = 1;
            options.tasks = all_tasks();
        } else {
            options.endpoint =
                GetParam() == Size::Ipc ? ipc() : "tcp://127.0.0.1:" + std::to_string(free_port());
            start_broker(
                {.listen = options.endpoint, .workers = 1, .yaml = "limits: {payload: 1MiB}\n"});
        }
        pool_ = std::make_unique<Pool>(options);
        ASSERT_TRUE(wait_until([&] { return pool_->workers().size() == 1; }, kLimit));
        worker_ = pool_->apply(pid);
    }
    void TearDown() override {
        EXPECT_EQ(pool_->apply(pid), worker_) << "the worker did not live on";
        pool_.reset();
        Site::TearDown();
    }
    /// Embedded tasks do not cross a broker that has a config.
    bool has_config() const { return GetParam() != Size::Embedded; }

    std::unique_ptr<Pool> pool_;
    int worker_ = 0;
};

TEST_P(ArgumentAbuse, Case30ATaskOfAnotherSignatureIsRefusedWithBoth) {
    static constexpr forkmill::Task<"e2e.echo", int(int, int)> echo_of_another_mind;
    try {
        pool_->apply(echo_of_another_mind, 1, 2);
        FAIL() << "it ran";
    } catch (const forkmill::Rejected& error) {
        EXPECT_EQ(error.ran(), forkmill::Ran::no);
        EXPECT_THAT(error.what(), HasSubstr("i32(i32,i32)"));
        EXPECT_THAT(error.what(), HasSubstr("str(str)"));
    }
}

struct LaterBox {
    int width = 0;
    int height = 1;
    std::string label = "new";
    FORKMILL_FIELDS(width, height, label)
};

TEST_P(ArgumentAbuse, AMemberAppendedToAStructIsTheSameTask) {
    static constexpr forkmill::Task<"e2e.grow", LaterBox(LaterBox)> grow_later;
    const LaterBox grown = pool_->apply(grow_later, LaterBox{1, 2, "mine"});
    EXPECT_EQ(grown.width, 2);
    EXPECT_EQ(grown.height, 3);
    EXPECT_EQ(grown.label, "new") << "the worker knows no label";
    struct EarlierBox {
        int width = 0;
        FORKMILL_FIELDS(width)
    };
    static constexpr forkmill::Task<"e2e.grow", EarlierBox(EarlierBox)> grow_earlier;
    EXPECT_EQ(pool_->apply(grow_earlier, EarlierBox{5}).width, 6);
}

TEST_P(ArgumentAbuse, Case31WhatDoesNotFitIsToldBeforeItIsSent) {
    EXPECT_THROW(pool_->apply(text, -1), forkmill::PackError);
    EXPECT_THROW(pool_->apply(text, 1.5), forkmill::PackError);
}

TEST_P(ArgumentAbuse, Case34WhatIsTooBigIsToldWithItsSize) {
    if (!has_config()) return;
    try {
        pool_->apply(text, 2 * kMebibyte);
        FAIL() << "it came";
    } catch (const forkmill::TooBig& error) {
        EXPECT_EQ(error.ran(), forkmill::Ran::yes);
        EXPECT_THAT(error.what(), HasSubstr("limits.payload"));
    }
    try {
        pool_->apply(echo, std::string(2 * kMebibyte, 'x'));
        FAIL() << "it was sent";
    } catch (const forkmill::TooBig& error) {
        EXPECT_EQ(error.ran(), forkmill::Ran::no);
    }
}

TEST_P(ArgumentAbuse, Case36ALongTextIsCut) {
    try {
        pool_->apply(throw_text, 100 * kMebibyte);
        FAIL() << "it did not throw";
    } catch (const std::runtime_error& error) {
        const std::string what = error.what();
        EXPECT_LT(what.size(), 10'000U);
        EXPECT_NE(what.find("(cut)"), std::string::npos);
    }
}

TEST_P(ArgumentAbuse, Case38AResultIsNotTakenForWhatItIsNot) {
    if (!has_config()) return;
    const auto id = pool_->apply_async(echo.with({.detached = true}), "four").id();
    EXPECT_THROW(pool_->attach<int>(id).get(kLimit), forkmill::PackError);
    EXPECT_EQ(pool_->attach<std::string>(id).get(kLimit), "four") << "the result was kept";
}

std::string name_of(const testing::TestParamInfo<Size>& info) {
    constexpr const char* kNames[] = {"Embedded", "Ipc", "Tcp"};
    return kNames[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(EverySize,
                         ArgumentAbuse,
                         testing::Values(Size::Embedded, Size::Ipc, Size::Tcp),
                         name_of);

}  // namespace
