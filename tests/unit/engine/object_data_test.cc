// SPDX-License-Identifier: Apache-2.0
// Shared dicts, lists, arrays, and those who watch them.
#include <cstring>

#include "tests/unit/engine/sharing.h"

namespace forkmill::engine::test {

namespace {

using Items = std::vector<std::pair<std::string, std::string>>;

template <class T>
std::string number(T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

}  // namespace

struct WithDict : Sharing {
    SessionIx a = client();
    ObjectId dict = open(a, {.kind = Kind::Dict, .capacity = 3});
    std::uint64_t write(Items items, std::uint32_t flags = 0, std::uint64_t version = 0) {
        return ask(a,
                   {.verb = Verb::Write,
                    .object = dict,
                    .flags = flags,
                    .version = version,
                    .items = std::move(items)});
    }
    std::uint64_t read(std::string key) {
        return ask(a, {.verb = Verb::Read, .object = dict, .items = {{std::move(key), ""}}});
    }
    std::uint64_t erase(std::string key, std::uint32_t flags = 0) {
        return ask(
            a,
            {.verb = Verb::Erase, .object = dict, .flags = flags, .items = {{std::move(key), ""}}});
    }
};

TEST(ObjectDict, KeepsWhatIsWritten) {
    WithDict d;
    EXPECT_EQ(d.code(d.read("k")), Code::NotFound);
    EXPECT_EQ(d.answer(d.write({{"k", "1"}, {"l", "2"}})).value, 2);
    EXPECT_EQ(d.value(d.read("k")), "1");
    d.write({{"k", "3"}});
    EXPECT_EQ(d.value(d.read("k")), "3");
    EXPECT_EQ(d.value(d.erase("k", wire::kOpOld)), "3");
    EXPECT_EQ(d.code(d.erase("k")), Code::NotFound);
    EXPECT_EQ(d.answer(d.ask(d.a, {.verb = Verb::Info, .object = d.dict})).value, 1);
}

TEST(ObjectDict, ASnapshotIsOfOneMoment) {
    WithDict d;
    d.write({{"b", "2"}, {"a", "1"}});
    const auto all = d.ask(d.a, {.verb = Verb::Read, .object = d.dict, .flags = wire::kOpAll});
    EXPECT_EQ(d.values(all), (std::vector<std::string>{"1", "2"}));
    EXPECT_EQ(d.answer(all).items[0].key, "a");
    const auto keys = d.ask(
        d.a, {.verb = Verb::Read, .object = d.dict, .flags = wire::kOpAll | wire::kOpKeysOnly});
    EXPECT_EQ(d.values(keys), (std::vector<std::string>{"", ""}));
    const auto part = d.ask(
        d.a, {.verb = Verb::Read, .object = d.dict, .flags = wire::kOpAll, .index = 1, .count = 5});
    EXPECT_EQ(d.values(part), std::vector<std::string>{"2"});
    d.ask(d.a, {.verb = Verb::Erase, .object = d.dict, .flags = wire::kOpAll});
    EXPECT_EQ(d.code(d.read("a")), Code::NotFound);
}

TEST(ObjectDict, VersionsMakeUpdatesAtomic) {
    WithDict d;
    const auto made = d.write({{"k", "1"}}, wire::kOpIfVersion, 0);
    EXPECT_EQ(d.code(made), Code::None);
    const auto again = d.write({{"k", "2"}}, wire::kOpIfVersion, 0);
    EXPECT_EQ(d.code(again), Code::ValueChanged);
    EXPECT_EQ(d.value(again), "1");
    EXPECT_EQ(d.answer(again).version, d.answer(made).version);
    EXPECT_EQ(d.code(d.write({{"k", "2"}}, wire::kOpIfVersion, d.answer(made).version)),
              Code::None);
    EXPECT_EQ(d.value(d.read("k")), "2");
}

TEST(ObjectDict, IfAbsentLeavesWhatIsThere) {
    WithDict d;
    EXPECT_EQ(d.values(d.write({{"k", "1"}}, wire::kOpIfAbsent)), std::vector<std::string>{});
    EXPECT_EQ(d.value(d.write({{"k", "2"}}, wire::kOpIfAbsent)), "1");
    EXPECT_EQ(d.value(d.read("k")), "1");
}

TEST(ObjectDict, WhatIsAnsweredIsNoLargerThanAPayload) {
    Config config;
    config.payload_max = 1000;
    Sharing s{config};
    const auto a = s.client();
    const auto dict = s.open(a, {.kind = Kind::Dict, .capacity = 9});
    const std::string big(600, 'x');
    for (const char* key : {"1", "2"})
        s.ask(a, {.verb = Verb::Write, .object = dict, .items = {{key, big}}});
    const Items both{{"1", "new"}, {"2", "new"}};
    for (const std::uint32_t flag : {wire::kOpOld, wire::kOpIfAbsent})
        EXPECT_EQ(s.code_of(a, {.verb = Verb::Write, .object = dict, .flags = flag, .items = both}),
                  Code::ResultTooBig);
    for (const std::uint32_t more : {0U, std::uint32_t{wire::kOpAll}})
        EXPECT_EQ(
            s.code_of(
                a,
                {.verb = Verb::Erase, .object = dict, .flags = wire::kOpOld | more, .items = both}),
            Code::ResultTooBig);
    const auto left = s.ask(a, {.verb = Verb::Read, .object = dict, .items = {{"2", ""}}});
    EXPECT_EQ(s.value(left), big) << "what was refused changed nothing";
    const auto list = s.open(a, {.kind = Kind::List, .capacity = 9});
    const auto cells = s.open(a, {.kind = Kind::Array, .capacity = 2});
    for (const ObjectId object : {list, cells}) {
        for (int i = 0; i < 2; ++i)
            s.ask(a, {.verb = Verb::Write, .object = object, .index = i, .items = {{"", big}}});
        EXPECT_EQ(s.code_of(a,
                            {.verb = Verb::Write,
                             .object = object,
                             .flags = wire::kOpOld,
                             .count = 2,
                             .items = both}),
                  Code::ResultTooBig);
        EXPECT_EQ(s.value(s.ask(a, {.verb = Verb::Read, .object = object, .count = 1})), big);
    }
}

TEST(ObjectList, ManySmallItemsAreMoreThanTheirBytes) {
    Config config;
    config.payload_max = 10'000;
    Sharing s{config};
    const auto a = s.client();
    const auto list = s.open(a, {.kind = Kind::List, .capacity = 1000});
    for (int i = 0; i < 200; ++i)
        s.ask(a, {.verb = Verb::Write, .object = list, .index = 0, .items = {{"", ""}}});
    const auto read = [&](std::uint64_t count) {
        return s.code_of(a, {.verb = Verb::Read, .object = list, .count = count});
    };
    EXPECT_EQ(read(0), Code::ResultTooBig);
    EXPECT_EQ(read(100), Code::None);
    const auto largest = s.ask(a,
                               {.verb = Verb::Write,
                                .object = list,
                                .items = {{"", std::string(config.payload_max, 'x')}}});
    EXPECT_EQ(s.code(largest), Code::None);
    EXPECT_EQ(read(1), Code::None) << "what can be written can be read";
}

TEST(ObjectList, MuchInOneTurnIsReadOverSeveral) {
    Sharing s;
    const auto a = s.client();
    const auto list = s.open(a, {.kind = Kind::List, .capacity = 100'000});
    const Items some(500, {"", ""});
    for (int i = 0; i < 100; ++i)
        s.ask(a, {.verb = Verb::Write, .object = list, .index = 0, .items = some});
    s.automatic = false;
    std::vector<std::uint64_t> reads;
    for (int i = 0; i < 4; ++i) reads.push_back(s.ask(a, {.verb = Verb::Read, .object = list}));
    EXPECT_FALSE(s.waiting(reads[0]));
    EXPECT_TRUE(s.waiting(reads[1])) << "fifty thousand values of no bytes are megabytes";
    for (int i = 0; i < 4; ++i) s.schedule();
    EXPECT_EQ(s.code(reads[3]), Code::None);
}

TEST(ObjectDict, HoldsNoMoreThanItsCapacity) {
    WithDict d;
    d.write({{"1", ""}, {"2", ""}, {"3", ""}});
    EXPECT_EQ(d.code(d.write({{"4", ""}})), Code::ObjectLimit);
    EXPECT_EQ(d.code(d.write({{"3", "new"}})), Code::None);
}

struct WithList : Sharing {
    SessionIx a = client();
    ObjectId list = open(a, {.kind = Kind::List, .capacity = 100});
    std::uint64_t splice(std::int64_t index,
                         std::uint64_t count,
                         std::vector<std::string> values,
                         std::uint32_t flags = wire::kOpOld,
                         std::uint64_t version = 0) {
        Ask ask{.verb = Verb::Write,
                .object = list,
                .flags = flags,
                .version = version,
                .index = index,
                .count = count};
        for (std::string& value : values) ask.items.emplace_back("", std::move(value));
        return Sharing::ask(a, ask);
    }
    std::vector<std::string> all(std::int64_t index = 0, std::uint64_t count = 0) {
        return values(ask(a, {.verb = Verb::Read, .object = list, .index = index, .count = count}));
    }
};

TEST(ObjectList, GrowsShrinksAndIsSliced) {
    using Values = std::vector<std::string>;
    WithList l;
    l.splice(wire::kListEnd, 0, {"a", "b", "c"});
    l.splice(1, 0, {"x"});
    EXPECT_EQ(l.all(), (Values{"a", "x", "b", "c"}));
    EXPECT_EQ(l.values(l.splice(-1, 1, {})), Values{"c"}) << "pop";
    EXPECT_EQ(l.values(l.splice(0, 2, {"y"})), (Values{"a", "x"}));
    EXPECT_EQ(l.all(), (Values{"y", "b"}));
    EXPECT_EQ(l.all(-1, 1), Values{"b"});
    EXPECT_EQ(l.code(l.splice(2, 1, {})), Code::InvalidRange);
    EXPECT_EQ(l.code(l.splice(-3, 1, {})), Code::InvalidRange);
    EXPECT_EQ(l.code_of(l.a, {.verb = Verb::Read, .object = l.list, .index = 1, .count = 2}),
              Code::InvalidRange);
}

TEST(ObjectList, IsReplacedWholeOnlyIfNobodyChangedIt) {
    WithList l;
    const auto made = l.splice(wire::kListEnd, 0, {"b", "a"});
    const std::uint64_t version = l.answer(made).version;
    l.splice(wire::kListEnd, 0, {"c"});
    EXPECT_EQ(l.code(l.splice(0, 2, {"a", "b"}, wire::kOpIfVersion, version)), Code::ValueChanged);
    EXPECT_EQ(l.all().size(), 3U);
}

TEST(ObjectList, AChangeOfWhatShrankMeanwhileIsToldSo) {
    WithList l;
    const auto made = l.splice(wire::kListEnd, 0, {"c", "b", "a"});
    const std::uint64_t version = l.answer(made).version;
    l.splice(-1, 1, {});
    EXPECT_EQ(l.code(l.splice(0, 3, {"a", "b", "c"}, wire::kOpIfVersion, version)),
              Code::ValueChanged)
        << "whoever read it reads it again, and is not told that its index is wrong";
    EXPECT_EQ(l.all().size(), 2U);
}

TEST(ObjectArray, TheVersionOfARangeIsTheWholes) {
    Sharing s;
    const auto a = s.client();
    const auto cells = s.open(a, {.kind = Kind::Array, .capacity = 3});
    const auto read = [&](std::uint64_t count, std::uint32_t flags, std::uint64_t version) {
        return s.ask(a,
                     {.verb = Verb::Read,
                      .object = cells,
                      .flags = flags,
                      .version = version,
                      .count = count});
    };
    const std::uint64_t before = s.answer(read(0, 0, 0)).version;
    s.ask(a, {.verb = Verb::Write, .object = cells, .index = 2, .items = {{"", "x"}}});
    EXPECT_EQ(s.code(read(0, wire::kOpIfVersion, before)), Code::ValueChanged);
    EXPECT_EQ(s.code(read(1, wire::kOpIfVersion, before)), Code::None) << "that cell is as it was";
}

TEST(ObjectArray, SwapsKeepItsBytes) {
    Sharing s;
    const auto a = s.client();
    const auto cells = s.open(a, {.kind = Kind::Array, .capacity = 2, .bytes = 3000});
    const auto swap = [&](std::size_t bytes) {
        return s.code_of(
            a, {.verb = Verb::Swap, .object = cells, .items = {{"", std::string(bytes, 'x')}}});
    };
    EXPECT_EQ(swap(5000), Code::ObjectLimit);
    EXPECT_EQ(swap(1000), Code::None);
}

TEST(ObjectList, IsReplacedWholeWhateverItHas) {
    WithList l;
    l.splice(wire::kListEnd, 0, {"a", "b", "c"});
    EXPECT_EQ(l.values(l.splice(0, 0, {"x"}, wire::kOpAll | wire::kOpOld)),
              (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_EQ(l.all(), std::vector<std::string>{"x"});
    EXPECT_EQ(l.code(l.splice(1, 0, {}, wire::kOpAll)), Code::InvalidRange);
    EXPECT_EQ(l.answer(l.splice(0, 0, {}, wire::kOpAll)).value, 0);
    EXPECT_EQ(l.code(l.splice(0, 0, {}, wire::kOpAll)), Code::None) << "also when it is empty";
}

TEST(ObjectArray, NumbersAreAddedInTheBroker) {
    Sharing s;
    const auto a = s.client();
    const auto ints =
        s.open(a, {.kind = Kind::Array, .capacity = 2, .cell = wire::CellKind::I64}, 0, {}, "i64");
    const auto add = [&](ObjectId to, std::string bytes) {
        return s.ask(
            a, {.verb = Verb::Add, .object = to, .index = 1, .items = {{"", std::move(bytes)}}});
    };
    EXPECT_EQ(s.value(add(ints, number<std::int64_t>(7))), number<std::int64_t>(0));
    EXPECT_EQ(s.value(add(ints, number<std::int64_t>(-9))), number<std::int64_t>(7));
    EXPECT_EQ(s.value(s.ask(a, {.verb = Verb::Read, .object = ints, .index = 1, .count = 1})),
              number<std::int64_t>(-2));
    EXPECT_EQ(s.code(add(ints, "short")), Code::TypeMismatch);
    const auto reals = s.open(a, {.kind = Kind::Array, .capacity = 2, .cell = wire::CellKind::F64});
    add(reals, number(0.5));
    EXPECT_EQ(s.value(add(reals, number(0.25))), number(0.5));
    EXPECT_EQ(s.value(add(reals, number(0.0))), number(0.75));
    const auto opaque = s.open(a, {.kind = Kind::Array, .capacity = 2});
    EXPECT_EQ(s.code(add(opaque, number(0.5))), Code::TypeMismatch);
}

TEST(ObjectArray, CellsAreSwappedAndComparedByTheirBytes) {
    Sharing s;
    const auto a = s.client();
    const auto cell = s.open(a, {.kind = Kind::Array, .capacity = 1});
    const auto swap = [&](std::string expected, std::string value, std::uint32_t flags) {
        return s.ask(a,
                     {.verb = Verb::Swap,
                      .object = cell,
                      .flags = flags,
                      .items = {{std::move(expected), std::move(value)}}});
    };
    EXPECT_EQ(s.value(swap("", "1", 0)), "");
    EXPECT_EQ(s.value(swap("1", "2", wire::kOpIfEqual)), "1");
    const auto refused = swap("1", "3", wire::kOpIfEqual);
    EXPECT_EQ(s.code(refused), Code::ValueChanged);
    EXPECT_EQ(s.value(refused), "2");
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Swap, .object = cell, .index = 1, .items = {{"", ""}}}),
              Code::InvalidRange);
    EXPECT_EQ(
        s.value(s.ask(
            a, {.verb = Verb::Write, .object = cell, .flags = wire::kOpOld, .items = {{"", "4"}}})),
        "2");
}

TEST(ObjectWatch, TheNewestStateIsToldOncePerTurn) {
    WithDict d;
    const auto watch = d.ask(d.a, {.verb = Verb::Watch, .object = d.dict, .items = {{"k", ""}}});
    d.automatic = false;
    d.write({{"k", "1"}});
    d.write({{"k", "2"}});
    d.write({{"other", "3"}});
    d.schedule();
    d.schedule();
    ASSERT_EQ(d.events.size(), 1U);
    EXPECT_EQ(d.events[0].second.watch, watch);
    EXPECT_EQ(d.events[0].second.change, wire::ObjectChange::Written);
    EXPECT_EQ(base::text_of(d.events[0].second.items.at(0).body.body.view), "2");
    d.erase("k");
    d.schedule();
    ASSERT_EQ(d.events.size(), 2U);
    EXPECT_EQ(d.events[1].second.change, wire::ObjectChange::Erased);
    d.ask(d.a, {.verb = Verb::Unwatch, .object = d.dict, .token = watch});
    d.write({{"k", "3"}});
    d.schedule();
    EXPECT_EQ(d.events.size(), 2U);
}

TEST(ObjectWatch, ASlowWatcherHearsOfTheNewestWhenItCan) {
    WithDict d;
    const auto b = d.client();
    d.share(b, d.dict);
    d.ask(b, {.verb = Verb::Watch, .object = d.dict, .flags = wire::kOpAll});
    d.writable(b, false);
    for (int i = 0; i < 1000; ++i) d.write({{"k", std::to_string(i)}});
    EXPECT_TRUE(d.events.empty());
    d.writable(b, true);
    ASSERT_EQ(d.events.size(), 1U);
    EXPECT_EQ(d.events[0].second.change, wire::ObjectChange::Changed);
    d.ask(d.a, {.verb = Verb::Remove, .object = d.dict});
    ASSERT_EQ(d.events.size(), 2U);
    EXPECT_EQ(d.events[1].second.change, wire::ObjectChange::Gone);
}

TEST(ObjectWatch, WhoIsOnlyToldOfChangesHearsThemAll) {
    WithDict d;
    const auto b = d.client();
    d.share(b, d.dict);
    d.ask(b, {.verb = Verb::Watch, .object = d.dict, .items = {{"k", ""}}});
    const std::string big(1 << 20, 'x');
    for (std::size_t i = 1; i <= 9; ++i) {
        d.write({{"k", big}});
        d.schedule();
        EXPECT_EQ(d.events.size(), i) << "more than one turn's bytes were told in many turns";
    }
    const auto read = d.ask(b, {.verb = Verb::Read, .object = d.dict, .items = {{"k", ""}}});
    EXPECT_EQ(d.code(read), Code::None);
}

TEST(ObjectWatch, MuchInOneTurnIsToldOverSeveral) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto cells = s.open(a, {.kind = Kind::Array, .capacity = 12});
    s.share(b, cells);
    for (int i = 0; i < 12; ++i) s.ask(b, {.verb = Verb::Watch, .object = cells, .index = i});
    s.automatic = false;
    for (int i = 0; i < 12; ++i)
        s.ask(a,
              {.verb = Verb::Write,
               .object = cells,
               .index = i,
               .items = {{"", std::string(1 << 20, 'x')}}});
    s.schedule();
    EXPECT_LT(s.events.size(), 12U);
    for (int i = 0; i < 4; ++i) {
        EXPECT_TRUE(s.events.size() == 12 || s.engine->next_timer() <= s.now) << "who goes on?";
        s.schedule();
    }
    EXPECT_EQ(s.events.size(), 12U);
    EXPECT_EQ(s.engine->next_timer(), base::kNever) << "no turn for nothing";
}

TEST(ObjectWatch, ArraysAndEventsAreWatchedToo) {
    Sharing s;
    const auto a = s.client();
    const auto cells = s.open(a, {.kind = Kind::Array, .capacity = 12});
    s.ask(a, {.verb = Verb::Watch, .object = cells, .index = -1});
    s.ask(a, {.verb = Verb::Write, .object = cells, .index = 1, .items = {{"", "x"}}});
    EXPECT_TRUE(s.events.empty());
    s.ask(a, {.verb = Verb::Write, .object = cells, .index = 11, .items = {{"", "y"}}});
    ASSERT_EQ(s.events.size(), 1U);
    const auto event = s.open(a, {.kind = Kind::Event});
    s.ask(a, {.verb = Verb::Watch, .object = event});
    s.ask(a, {.verb = Verb::Notify, .object = event});
    EXPECT_EQ(s.events.size(), 2U);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Watch, .object = s.lock(a)}), Code::TypeMismatch);
}

}  // namespace forkmill::engine::test
