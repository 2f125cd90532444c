// SPDX-License-Identifier: Apache-2.0
// Errors: one tree, each a std::exception by one path; a task's own exceptions arrive as
// themselves, whatever they say.
#include "forkmill/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "forkmill/detail/context_seam.h"
#include "forkmill/detail/seam.h"

namespace forkmill {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

const detail::ThrownBy kThrower{.host = "host", .pid = 7, .task = "a.task", .attempt = 2};

/// Throws what its client sees when a task throws `thrown`.
template <class E>
[[noreturn]] void across(const E& thrown) {
    const detail::PackedException packed =
        detail::pack_exception(std::make_exception_ptr(thrown), kThrower);
    detail::throw_error({packed.outcome, packed.body});
}
template <class E>
class AsItself : public testing::Test {};
using Standard = testing::Types<std::runtime_error,
                                std::logic_error,
                                std::out_of_range,
                                std::invalid_argument,
                                std::length_error,
                                std::domain_error,
                                std::range_error,
                                std::overflow_error,
                                std::underflow_error>;
TYPED_TEST_SUITE(AsItself, Standard);

TYPED_TEST(AsItself, AStandardExceptionIsBothItselfAndATaskError) {
    try {
        across(TypeParam{"the text"});
    } catch (const TypeParam& error) {
        const auto* task_error = dynamic_cast<const TaskError*>(&error);
        ASSERT_NE(task_error, nullptr);
        EXPECT_STREQ(
            error.what(),
            ("the text [" + task_error->type() + " in a.task on host:7, attempt 2]").c_str());
        EXPECT_EQ(task_error->origin().host, "host");
        EXPECT_EQ(task_error->origin().pid, 7);
        EXPECT_EQ(task_error->origin().task, "a.task");
        EXPECT_EQ(task_error->origin().attempt, 2);
        EXPECT_EQ(task_error->ran(), Ran::yes);
    }
}

/// Every error can be caught as the most general thing of both trees.
template <class E>
void expect_catchable(const E& error) {
    EXPECT_THROW(throw error, std::exception);
    EXPECT_THROW(throw error, Error);
    EXPECT_THROW(throw error, E);
}

TEST(Errors, EachIsAnErrorAndAnException) {
    expect_catchable(UsageError{"x"});
    expect_catchable(TimeoutError{"x"});
    expect_catchable(PackError{"x"});
    expect_catchable(Rejected{"x"});
    expect_catchable(TooBig{"x"});
    expect_catchable(Busy{"x"});
    expect_catchable(Disconnected{"x"});
    expect_catchable(BrokerLost{"x"});
    expect_catchable(TaskTimeout{"x"});
    expect_catchable(Cancelled{"x"});
    expect_catchable(Expired{"x"});
    expect_catchable(ResultExpired{"x"});
    expect_catchable(PoolBroken{"x"});
    expect_catchable(WouldDeadlock{"x"});
    expect_catchable(ForkedContextError{"x"});
    expect_catchable(ProtocolError{"x"});
    expect_catchable(ConfigError{"x"});
    expect_catchable(WorkerLost{"x", Ran::maybe, "signal", 9, "last words"});
    EXPECT_THROW(across(std::bad_alloc{}), std::bad_alloc);
    EXPECT_THROW(across(std::bad_alloc{}), TaskError);
}

TEST(Errors, SystemErrorsKeepTheirCodeAndSayItOnce) {
    const std::system_error thrown{std::make_error_code(std::errc::no_such_file_or_directory),
                                   "reading"};
    try {
        across(thrown);
    } catch (const std::system_error& error) {
        EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
        EXPECT_THAT(error.what(), HasSubstr("reading"));
    }
    EXPECT_THROW(across(std::filesystem::filesystem_error{"x", thrown.code()}), std::system_error);
}

struct Unheard : std::runtime_error {
    using std::runtime_error::runtime_error;
};

TEST(Errors, Case36AnUnknownTypeIsARuntimeErrorThatNamesIt) {
    try {
        across(Unheard{"mine"});
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), testing::StartsWith("mine ["));
        EXPECT_THAT(dynamic_cast<const TaskError&>(error).type(), HasSubstr("Unheard"));
    }
}

TEST(Errors, Case36LongTextsAreCutWithAMark) {
    const std::string huge(8'000'000, 'x');
    try {
        across(std::runtime_error{huge});
    } catch (const std::runtime_error& error) {
        const std::string text = error.what();
        EXPECT_LT(text.size(), 8192U + 100) << "the text and where it comes from";
        EXPECT_NE(text.find("(cut)"), std::string::npos);
    }
    try {
        try {
            throw std::runtime_error{huge};
        } catch (...) {
            std::throw_with_nested(std::logic_error{"outer"});
        }
    } catch (...) {
        const auto packed = detail::pack_exception(std::current_exception(), kThrower);
        try {
            detail::throw_error({packed.outcome, packed.body});
        } catch (const TaskError& error) {
            ASSERT_THAT(error.nested(), SizeIs(1));
            EXPECT_EQ(error.nested()[0].first, "std::runtime_error");
            EXPECT_LE(error.nested()[0].second.size(), 8192U);
        }
    }
    try {
        across(TaskFailure{3, huge});
    } catch (const TaskError& error) {
        EXPECT_EQ(error.code(), 3);
        EXPECT_LE(error.detail().size(), 65536U);
    }
}

TEST(Errors, TextsOfAnyBytesArrive) {
    const std::string bytes = "\xff\n\x1b[31m\xc3";
    try {
        across(std::runtime_error{bytes});
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr("[31m"));
    }
}

TEST(Errors, Case37WhatIsNoExceptionIsATypedError) {
    EXPECT_THROW(across(42), TaskError);
    EXPECT_THROW(across(nullptr), TaskError);
    try {
        across(42);
    } catch (const TaskError& error) {
        EXPECT_EQ(error.type(), "int");
        EXPECT_THAT(error.what(), HasSubstr("no std::exception"));
    }
}

TEST(Errors, AFailureCarriesCodeAndPayload) {
    try {
        across(TaskFailure{17, "payload", "why"});
    } catch (const TaskError& error) {
        EXPECT_EQ(error.code(), 17);
        EXPECT_EQ(error.detail(), "payload");
        EXPECT_THAT(error.what(), testing::StartsWith("why ["));
    }
}

TEST(Errors, ATaskThatFoundItselfCancelledIsCancelled) {
    EXPECT_THROW(across(Cancelled{"stopped"}), Cancelled);
}

TEST(Errors, RubbishInPlaceOfAnErrorIsAProtocolError) {
    const std::vector<std::byte> rubbish(40, std::byte{0xc1});
    EXPECT_THROW(detail::throw_error({2, rubbish}), ProtocolError);
    EXPECT_THROW(detail::throw_error({2, {}}), ProtocolError);
}

}  // namespace
}  // namespace forkmill
