// SPDX-License-Identifier: Apache-2.0
#include "cli/json_codec.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <variant>

#include "forkmill/codec.h"

namespace {

using forkmill::cli::JsonError;
using forkmill::cli::pack_arguments;
using forkmill::cli::unpack_result;

struct Point {
    std::int32_t x = 0;
    std::string label;
    FORKMILL_FIELDS(x, label)
};

template <class T>
std::vector<std::byte> packed(const T& value) {
    std::vector<std::byte> bytes;
    forkmill::Packer packer{bytes};
    forkmill::Codec<T>::encode(packer, value);
    return bytes;
}

/// What the SDK of a worker makes of one JSON argument.
template <class T>
T argument(const std::string& json) {
    const auto bytes = pack_arguments("void(" + forkmill::Codec<T>::signature() + ")", {json});
    forkmill::Unpacker unpacker{bytes};
    EXPECT_EQ(unpacker.array(), 1U);
    T value{};
    forkmill::Codec<T>::decode(unpacker, value);
    unpacker.end();
    return value;
}

template <class T>
std::string result(const T& value) {
    return unpack_result(forkmill::Codec<T>::signature() + "()", packed(value));
}

TEST(JsonCodec, PacksWhatTheSdkUnpacks) {
    EXPECT_EQ(argument<std::int8_t>("-128"), -128);
    EXPECT_EQ(argument<std::uint64_t>("18446744073709551615"), UINT64_MAX);
    EXPECT_EQ(argument<double>("1"), 1.0);
    EXPECT_EQ(argument<float>("0.1"), 0.1F);
    EXPECT_EQ(argument<std::string>("\"é\""), "é");
    EXPECT_EQ(argument<std::vector<std::uint8_t>>("\"ab\""), (std::vector<std::uint8_t>{'a', 'b'}));
    EXPECT_EQ(argument<std::vector<std::uint8_t>>(R"({"base64":"/wAB"})"),
              (std::vector<std::uint8_t>{255, 0, 1}));
    EXPECT_EQ(argument<std::vector<std::int32_t>>("[1,-2]"), (std::vector<std::int32_t>{1, -2}));
    EXPECT_EQ(argument<std::vector<std::string>>(R"(["a"])"), std::vector<std::string>{"a"});
    EXPECT_EQ((argument<std::map<std::string, int>>(R"({"a":1})")),
              (std::map<std::string, int>{{"a", 1}}));
    EXPECT_EQ((argument<std::map<int, bool>>("[[1,true]]")), (std::map<int, bool>{{1, true}}));
    EXPECT_EQ(argument<std::optional<int>>("null"), std::nullopt);
    EXPECT_EQ(argument<std::optional<int>>("5"), 5);
    EXPECT_EQ((argument<std::variant<int, std::string>>("\"x\"")),
              (std::variant<int, std::string>{"x"}));
    EXPECT_EQ(argument<Point>(R"({"label":"p","x":3})").x, 3);
    EXPECT_EQ(argument<Point>(R"([3,"p"])").label, "p");
}

TEST(JsonCodec, UnpacksWhatTheSdkPacks) {
    EXPECT_EQ(result(std::int64_t{49}), "49");
    EXPECT_EQ(result(std::vector<std::uint8_t>{'a'}), "\"a\"");
    EXPECT_EQ(result(std::vector<std::uint8_t>{255, 0, 1}), R"({"base64":"/wAB"})");
    EXPECT_EQ(result(std::vector<std::uint8_t>{255}), R"({"base64":"/w=="})");
    EXPECT_EQ(result(std::vector<std::int16_t>{1, -2}), "[1,-2]");
    EXPECT_EQ(result(std::set<int>{1, 2}), "[1,2]");
    EXPECT_EQ(result(std::tuple<int, std::string>{1, "a"}), R"([1,"a"])");
    EXPECT_EQ(result(std::map<int, bool>{{1, true}}), "[[1,true]]");
    EXPECT_EQ(result(std::optional<int>{}), "null");
    EXPECT_EQ(result(Point{3, "p"}), R"({"label":"p","x":3})");
    EXPECT_EQ(unpack_result("void()", {}), "null");
}

TEST(JsonCodec, RefusesWhatDoesNotFit) {
    const auto refused = [](const std::string& type, const std::string& json) {
        EXPECT_THROW(pack_arguments("void(" + type + ")", {json}), JsonError) << type << json;
    };
    refused("i8", "128");
    refused("i64", "9223372036854775808");
    refused("u8", "-1");
    refused("u16", "65536");
    refused("i32", "1.5");
    refused("f32", "1e39");
    refused("str", "1");
    refused("bin", R"({"base64":"a"})");
    refused("[i16]", "[40000]");
    refused("(i32,i32)", "[1]");
    refused("{x:i32}", R"({"y":1})");
    refused("<i32|str>", "true");
    refused("i32", "nonsense");
    EXPECT_THROW(pack_arguments("void(i32)", {}), JsonError);
}

TEST(JsonCodec, RefusesSignaturesAndResultsThatAreNone) {
    for (const std::string text : {"", "i32", "i33()", "i32(", "[i32()", "i32()x", "{a}()"})
        EXPECT_THROW(pack_arguments(text, {}), JsonError) << text;
    EXPECT_THROW(pack_arguments(std::string(100'000, '['), {}), JsonError);
    EXPECT_THROW(pack_arguments(std::string(100'000, '{'), {}), JsonError);
    EXPECT_THROW(unpack_result("i32()", {}), JsonError);
    EXPECT_THROW(unpack_result("i8()", packed(std::int64_t{1000})), JsonError);
}

}  // namespace
