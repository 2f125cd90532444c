// SPDX-License-Identifier: Apache-2.0
// What a worker does with packed arguments: strict, and a fault names the argument.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "forkmill/detail/context_seam.h"
#include "forkmill/forkmill.h"

namespace forkmill {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Moody {
    bool throws = true;
};

}  // namespace
}  // namespace forkmill

template <>
struct forkmill::Codec<forkmill::Moody> {
    static std::string signature() { return "moody"; }
    static void encode(Packer& packer, const Moody& value) {
        if (value.throws) throw PackError("not today");
        packer.nil();
    }
    static void decode(Unpacker& unpacker, Moody&) { unpacker.nil(); }
};

namespace forkmill {
namespace {

using detail::Buffer;

template <class... A>
Buffer arguments_of(const A&... values) {
    Buffer out;
    Packer packer{out};
    packer.array(sizeof...(A));
    (detail::encode_value<A>(packer, values), ...);
    return out;
}

template <class S, class F>
Buffer call(F function, const Buffer& packed) {
    Buffer result;
    detail::Contract<S>::invoke(function, detail::Arguments{packed, {}}, result);
    return result;
}

int subtract(int a, int b) {
    return a - b;
}
using Subtract = int(int, int);

TEST(Contract, ArgumentsComeInOrder) {
    const Buffer result = call<Subtract>(&subtract, arguments_of(7, 5));
    EXPECT_EQ(result, (Buffer{std::byte{2}}));
}

TEST(Contract, Case30AnotherNumberOfArgumentsIsRefused) {
    EXPECT_THAT([] { call<Subtract>(&subtract, arguments_of(1)); },
                ThrowsMessage<PackError>(HasSubstr("expected 2 arguments, got 1")));
    EXPECT_THAT([] { call<Subtract>(&subtract, arguments_of(1, 2, 3)); },
                ThrowsMessage<PackError>(HasSubstr("expected 2 arguments, got 3")));
}

TEST(Contract, Case31AFaultNamesItsArgument) {
    EXPECT_THAT([] { call<Subtract>(&subtract, arguments_of(1, std::string{"two"})); },
                ThrowsMessage<PackError>(HasSubstr("argument 2: expected an integer")));
    const auto small = [](std::uint8_t value) { return int{value}; };
    EXPECT_THAT(
        [&] { call<int(std::uint8_t)>(small, arguments_of(300)); },
        ThrowsMessage<PackError>(HasSubstr("argument 1: expected an integer from 0 to 255")));
}

TEST(Contract, Case31ValuesThatDoNotFitAreRefusedBeforeTheyAreSent) {
    Buffer out;
    Packer packer{out};
    EXPECT_THROW(detail::pack_argument<std::uint8_t>(packer, 300), PackError);
    EXPECT_THROW(detail::pack_argument<unsigned>(packer, -1), PackError);
    EXPECT_THROW(detail::pack_argument<int>(packer, 1.9), PackError);
    EXPECT_THROW(detail::pack_argument<float>(packer, 0.1), PackError);
    EXPECT_THROW(detail::pack_argument<int>(packer, 1e300), PackError);
    EXPECT_THROW(detail::pack_argument<int>(packer, std::nan("")), PackError);
    EXPECT_THROW(detail::pack_argument<std::int64_t>(packer, 0x1p63), PackError);
    EXPECT_THROW(detail::pack_argument<int>(packer, UINT32_MAX), PackError);
    EXPECT_THROW(detail::pack_argument<double>(packer, (std::int64_t{1} << 53) + 1), PackError);
    EXPECT_THROW(detail::pack_argument<double>(packer, INT64_MAX), PackError);
    EXPECT_THROW(detail::pack_argument<bool>(packer, 2), PackError);
    EXPECT_THROW(detail::pack_argument<bool>(packer, 0.5), PackError);
    EXPECT_TRUE(out.empty());
    detail::pack_argument<std::uint8_t>(packer, 255L);
    EXPECT_EQ(out.size(), 2U);
    detail::pack_argument<std::int64_t>(packer, -0x1p63);
    detail::pack_argument<std::uint64_t>(packer, 0x1p63);
    detail::pack_argument<bool>(packer, 1.0);
    detail::pack_argument<float>(packer, std::nan(""));
}

TEST(Contract, Case35AResultThatCannotBePackedIsTheTasksErrorNotTheArguments) {
    const auto moody = [] { return Moody{}; };
    try {
        call<Moody()>(moody, arguments_of());
        FAIL() << "it was packed";
    } catch (const PackError&) {
        FAIL() << "told as if the arguments were at fault";
    } catch (const std::exception&) {
        const auto packed = detail::pack_exception(std::current_exception(), {});
        EXPECT_THAT(
            [&] {
                detail::throw_error(detail::SettledView{packed.outcome, packed.body});
            },
            testing::Throws<TaskError>(testing::Property(
                &TaskError::what, HasSubstr("the result cannot be packed: not today"))));
    }
}

TEST(Contract, NoBytesReachTheTaskBrokenOff) {
    bool ran = false;
    const auto note = [&](std::string, int) { return ran = true; };
    const Buffer whole = arguments_of(std::string{"text"}, 70'000);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const Buffer part{whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)};
        EXPECT_THROW((call<bool(std::string, int)>(note, part)), PackError);
    }
    EXPECT_FALSE(ran);
    call<bool(std::string, int)>(note, whole);
    EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace forkmill
