// SPDX-License-Identifier: Apache-2.0
// Codec: what goes in comes out, bit for bit; what does not fit is a PackError that says why.
#include "forkmill/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace forkmill {
namespace {

using detail::Buffer;
using testing::HasSubstr;
using testing::ThrowsMessage;

enum class Colour : std::uint8_t { Red = 1, Blue = 200 };

struct Point {
    std::int32_t x = 0;
    std::int32_t y = 0;
    FORKMILL_FIELDS(x, y)
    bool operator==(const Point&) const = default;
};
/// Point, as a later program has it.
struct LaterPoint {
    std::int32_t x = 0;
    std::int32_t y = 0;
    std::string name = "unnamed";
    std::vector<Point> trail = {{7, 7}};
    FORKMILL_FIELDS(x, y, name, trail)
    bool operator==(const LaterPoint&) const = default;
};
/// Whatever a struct may hold.
struct Everything {
    bool flag = false;
    Colour colour = Colour::Red;
    std::vector<double> block;
    std::vector<std::string> names;
    std::map<std::string, std::vector<Point>> points;
    std::optional<std::pair<int, std::string>> maybe;
    std::variant<std::monostate, int, std::string> choice;
    std::array<std::set<int>, 2> sets;
    std::chrono::milliseconds wait{};
    FORKMILL_FIELDS(flag, colour, block, names, points, maybe, choice, sets, wait)
    bool operator==(const Everything&) const = default;
};

template <class T>
Buffer packed(const T& value) {
    Buffer out;
    Packer packer{out};
    detail::encode_value<T>(packer, value);
    return out;
}
template <class T>
T unpacked(const Buffer& bytes) {
    Unpacker unpacker{bytes};
    T value = detail::decode_value<T>(unpacker);
    unpacker.end();
    return value;
}
template <class T>
void expect_same(const T& value) {
    EXPECT_TRUE(unpacked<T>(packed(value)) == value) << detail::signature_of<T>();
}

Everything sample() {
    return {true,
            Colour::Blue,
            {1.5, -0.0, 1e308},
            {"", "a", std::string(70'000, 'x')},
            {{"left", {{1, 2}, {-3, 4}}}, {"right", {}}},
            std::pair{-7, std::string{"seven"}},
            std::string{"chosen"},
            {std::set<int>{3, 1, 2}, std::set<int>{}},
            std::chrono::milliseconds{1500}};
}

TEST(Codec, EveryTypeOfTheListComesBackAsItWas) {
    expect_same(true);
    for (const std::int64_t n : {INT64_MIN,
                                 std::int64_t{-1} << 31,
                                 std::int64_t{-129},
                                 std::int64_t{-33},
                                 std::int64_t{-1},
                                 std::int64_t{0},
                                 std::int64_t{127},
                                 std::int64_t{128},
                                 std::int64_t{1} << 32,
                                 INT64_MAX})
        expect_same(n);
    expect_same(std::uint64_t{UINT64_MAX});
    expect_same(std::int8_t{-128});
    expect_same('c');
    expect_same(1.25F);
    expect_same(Colour::Blue);
    expect_same(std::string(300, 'z') + '\0');
    expect_same(std::filesystem::path{"/tmp/a b"});
    expect_same(std::chrono::hours{-3});
    expect_same(std::complex<float>{1, -2});
    expect_same(std::vector<bool>{true, false, true});
    expect_same(std::vector<std::byte>{std::byte{0}, std::byte{255}});
    expect_same(std::vector<std::int16_t>{-1, 0, 32767});
    expect_same(std::array<double, 3>{1, 2, 3});
    expect_same(std::array<std::string, 2>{"a", "b"});
    expect_same(std::deque<int>{1, 2});
    expect_same(std::list<std::string>{"a"});
    expect_same(std::unordered_set<std::string>{"a", "b"});
    expect_same(std::unordered_map<int, std::string>{{1, "a"}, {2, "b"}});
    expect_same(std::tuple<int, std::string, double>{1, "b", 3});
    expect_same(std::optional<int>{});
    expect_same(std::optional<std::optional<int>>{std::optional<int>{}});
    expect_same(std::variant<int, std::string>{"b"});
    expect_same(std::variant<int, int>{std::in_place_index<1>, 5});
    expect_same(std::variant<double, bool>{true});
    expect_same(sample());
    expect_same(std::vector<int>{});
}

TEST(Codec, Case33FloatingNumbersAreBitExact) {
    for (const std::uint64_t bits : {std::uint64_t{0x7ff8'0000'0000'0001},
                                     std::uint64_t{0xfff0'0000'0000'0000},
                                     std::uint64_t{0x8000'0000'0000'0000},
                                     std::uint64_t{1}}) {
        const auto value = std::bit_cast<double>(bits);
        EXPECT_EQ(std::bit_cast<std::uint64_t>(unpacked<double>(packed(value))), bits);
        const std::vector<double> block{value};
        EXPECT_EQ(std::bit_cast<std::uint64_t>(unpacked<std::vector<double>>(packed(block))[0]),
                  bits);
    }
    EXPECT_TRUE(std::isnan(unpacked<float>(packed(std::nanf("")))));
}

TEST(Codec, SignaturesSayWhatTravels) {
    EXPECT_EQ(detail::signature_of<Point>(), "{x:i32,y:i32}");
    EXPECT_EQ(detail::signature_of<std::vector<double>>(), "[f64]");
    EXPECT_EQ(detail::signature_of<std::vector<std::uint8_t>>(), "bin");
    EXPECT_EQ(detail::signature_of<Everything>(),
              "{flag:bool,colour:u8,block:[f64],names:[str],points:{str:[{x:i32,y:i32}]},"
              "maybe:(i32,str)?,choice:<nil|i32|str>,sets:[[i32]],wait:ns}");
}

TEST(Codec, Case31NumbersAreNotNarrowed) {
    EXPECT_THAT([] { unpacked<std::uint8_t>(packed(300)); },
                ThrowsMessage<PackError>(HasSubstr("from 0 to 255, got 300")));
    EXPECT_THAT([] { unpacked<unsigned>(packed(-1)); },
                ThrowsMessage<PackError>(HasSubstr("got -1")));
    EXPECT_THAT([] { unpacked<int>(packed(1.9)); }, ThrowsMessage<PackError>(HasSubstr("got 1.9")));
    EXPECT_THAT([] { unpacked<int>(packed(std::string{"a"})); },
                ThrowsMessage<PackError>(HasSubstr("got a text")));
    EXPECT_THAT([] { unpacked<std::int64_t>(packed(UINT64_MAX)); },
                ThrowsMessage<PackError>(HasSubstr("got 18446744073709551615")));
    EXPECT_THROW(unpacked<bool>(packed(1)), PackError);
}

TEST(Codec, Case32WhatADoubleCannotHoldIsRefused) {
    EXPECT_EQ(unpacked<double>(packed(std::int64_t{1} << 53)), 9007199254740992.0);
    EXPECT_THROW(unpacked<double>(packed((std::int64_t{1} << 53) + 1)), PackError);
    EXPECT_THROW(unpacked<double>(packed(std::uint64_t{1} << 63)), PackError);
    EXPECT_EQ(unpacked<float>(packed(0.5)), 0.5F);
    EXPECT_THROW(unpacked<float>(packed(0.1)), PackError);
}

TEST(Codec, MembersMayBeAppendedLater) {
    EXPECT_EQ(unpacked<LaterPoint>(packed(Point{1, 2})), (LaterPoint{1, 2, "unnamed", {{7, 7}}}))
        << "an older writer: what it did not know has its initialiser";
    EXPECT_EQ(unpacked<Point>(packed(LaterPoint{3, 4, "named", {{1, 1}, {2, 2}}})), (Point{3, 4}))
        << "a newer writer: the rest is passed over";
    EXPECT_EQ(unpacked<std::vector<Point>>(packed(std::vector<LaterPoint>(3, {5, 6, "", {}}))),
              std::vector<Point>(3, {5, 6}));
    EXPECT_EQ(unpacked<Point>(packed(std::tuple<int, int, Everything>{8, 9, sample()})),
              (Point{8, 9}))
        << "whatever kind of value it is";
}

template <class To, class From>
void expect_as(const From& from, const To& to) {
    ASSERT_EQ(detail::signature_of<From>(), detail::signature_of<To>());
    EXPECT_EQ(unpacked<To>(packed(from)), to);
}

TEST(Codec, OneSignatureIsOneKindOfBytes) {
    const std::vector<std::int32_t> block{3, -1, 2};
    const std::deque<std::int32_t> list{3, -1, 2};
    expect_as(block, list);
    expect_as(list, block);
    expect_as(block, std::set<std::int32_t>{-1, 2, 3});
    expect_as(std::set<std::int32_t>{-1, 2, 3}, std::vector<std::int32_t>{-1, 2, 3});
    expect_as(list, std::array<std::int32_t, 3>{3, -1, 2});
    expect_as(std::array<std::int32_t, 3>{3, -1, 2}, list);
    enum class Sign : std::int32_t { Minus = -1, Two = 2, Three = 3 };
    expect_as(block, std::vector<Sign>{Sign::Three, Sign::Minus, Sign::Two});
    expect_as(std::vector<Sign>{Sign::Three, Sign::Minus, Sign::Two}, block);
    expect_as(std::deque<std::string>{"a"}, std::vector<std::string>{"a"});
    EXPECT_THROW((unpacked<std::array<std::int32_t, 3>>(packed(std::vector<std::int32_t>{}))),
                 PackError);
    EXPECT_THROW((unpacked<std::array<std::int32_t, 0>>(packed(block))), PackError);
}

TEST(Codec, FaultsNameTheField) {
    const auto wrong = packed(std::tuple<int, std::string>{1, "two"});
    EXPECT_THAT([&] { unpacked<Point>(wrong); },
                ThrowsMessage<PackError>(HasSubstr("field y: expected an integer")));
}

TEST(Codec, WhatIsTooLongTooShortOrTwiceIsRefused) {
    EXPECT_THROW((unpacked<std::array<int, 3>>(packed(std::array<int, 2>{1, 2}))), PackError);
    EXPECT_THROW((unpacked<std::tuple<int, int>>(packed(std::tuple<int>{1}))), PackError);
    EXPECT_THROW(unpacked<std::vector<std::int32_t>>(packed(std::vector<std::uint8_t>{1, 2, 3})),
                 PackError)
        << "no whole number of elements";
    EXPECT_THROW((unpacked<std::variant<int, int>>(packed(std::tuple<int, int>{2, 0}))), PackError);
    Buffer twice;
    Packer packer{twice};
    packer.map(2);
    for (int i = 0; i < 2; ++i) {
        packer.text("key");
        packer.signed_integer(i);
    }
    EXPECT_THROW((unpacked<std::map<std::string, int>>(twice)), PackError);
    Buffer trailing = packed(1);
    trailing.push_back(std::byte{0});
    EXPECT_THROW(unpacked<int>(trailing), PackError);
}

TEST(Codec, LengthsAreBelievedAsFarAsThereAreBytes) {
    for (const int tag : {0xc6, 0xdb, 0xdd, 0xdf}) {
        const Buffer bomb{static_cast<std::byte>(tag),
                          std::byte{0xff},
                          std::byte{0xff},
                          std::byte{0xff},
                          std::byte{0xff},
                          std::byte{0}};
        EXPECT_THROW(unpacked<std::vector<std::byte>>(bomb), PackError);
        EXPECT_THROW(unpacked<std::string>(bomb), PackError);
        EXPECT_THROW(unpacked<std::vector<std::string>>(bomb), PackError);
        EXPECT_THROW((unpacked<std::map<int, int>>(bomb)), PackError);
        Unpacker unpacker{bomb};
        EXPECT_THROW(unpacker.skip(), PackError);
    }
}

TEST(Codec, NestingCostsTheReaderNoStack) {
    Buffer deep(10'000'000, std::byte{0x91});
    deep.push_back(std::byte{0xc0});
    Unpacker unpacker{deep};
    unpacker.skip();
    EXPECT_EQ(unpacker.left(), 0U);
}

TEST(Codec, DamagedBytesAreAValueOrAPackError) {
    const Buffer good = packed(sample());
    std::mt19937 random{1};
    for (int round = 0; round < 2'000; ++round) {
        Buffer bytes{good.begin(), good.begin() + 70};  // Without the long text.
        bytes.insert(bytes.end(), good.end() - 60, good.end());
        for (int i = static_cast<int>(random() % 4); i >= 0; --i)
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        bytes.resize(random() % bytes.size() + 1);
        try {
            static_cast<void>(unpacked<Everything>(bytes));
        } catch (const PackError&) {
        }
        try {
            Unpacker unpacker{bytes};
            while (unpacker.left() > 0) unpacker.skip();
        } catch (const PackError&) {
        }
    }
}

}  // namespace
}  // namespace forkmill
