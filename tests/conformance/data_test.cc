// SPDX-License-Identifier: Apache-2.0
// Shared dicts, lists, values, arrays and namespaces (M01-M09).
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <mutex>

#include "forkmill/shared.h"
#include "tests/conformance/cluster.h"
#include "tests/conformance/shared_tasks.h"
#include "tests/conformance/tasks.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;
using forkmill::Dict;
using forkmill::List;
using forkmill::Value;

namespace {

using Numbers = Dict<std::string, int>;

int count_words(Numbers counts, std::vector<std::string> words) {
    for (const std::string& word : words)
        counts.update(word, [](std::optional<int> count) { return count.value_or(0) + 1; });
    return ::getpid();
}

int append_to_list(List<std::string> list, std::string text) {
    list.append(text);
    return ::getpid();
}

int add_many(Value<std::int64_t> value, int times) {
    std::vector<forkmill::Operation<std::int64_t>> under_way;
    for (int i = 0; i < times; ++i) {
        under_way.push_back(value.fetch_add_async(1));
        if (under_way.size() < 256) continue;
        for (auto& add : under_way) add.get();
        under_way.clear();
    }
    for (auto& add : under_way) add.get();
    return ::getpid();
}

/// Opens a name, tells so by a file and waits to be killed.
int keep_name(std::string name, std::string file) {
    const List<int> list{forkmill::context().pool(), {.name = name}};
    std::ofstream{file} << ::getpid() << std::flush;
    do_not_return();
    return 0;
}

/// A dict that a list has, and what is in it.
std::vector<std::string> keys_of_first(List<Numbers> dicts) {
    std::vector<std::string> keys = dicts.at(0).keys();
    std::sort(keys.begin(), keys.end());
    return keys;
}

}  // namespace

CONFORMANCE(M01, ADictIsOneForAll, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    Numbers dict{pool};
    EXPECT_TRUE(dict.empty());
    dict.set("a", 1);
    EXPECT_EQ(dict.get("a"), 1);
    EXPECT_EQ(dict.get("b"), std::nullopt);
    EXPECT_THROW(dict.at("b"), forkmill::NotFound);
    EXPECT_EQ(dict.setdefault("a", 9), 1);
    EXPECT_EQ(dict.setdefault("b", 2), 2);
    EXPECT_EQ(dict.at("b"), 2);
    EXPECT_TRUE(dict.contains("a"));
    EXPECT_FALSE(dict.contains("z"));
    dict.update(std::map<std::string, int>{{"c", 3}, {"a", 10}});
    EXPECT_EQ(dict.size(), 3U);
    auto items = dict.items();
    std::sort(items.begin(), items.end());
    EXPECT_EQ(items, (std::vector<std::pair<std::string, int>>{{"a", 10}, {"b", 2}, {"c", 3}}));
    auto keys = dict.keys();
    std::sort(keys.begin(), keys.end());
    EXPECT_EQ(keys, (std::vector<std::string>{"a", "b", "c"}));
    auto values = dict.values();
    std::sort(values.begin(), values.end());
    EXPECT_EQ(values, (std::vector<int>{2, 3, 10}));
    EXPECT_EQ(dict.pop("a"), 10);
    EXPECT_THROW(dict.pop("a"), forkmill::NotFound);
    EXPECT_TRUE(dict.erase("b"));
    EXPECT_FALSE(dict.erase("b"));
    dict.clear();
    EXPECT_EQ(dict.size(), 0U);
    auto one = pool.apply_async(count_words, dict, std::vector<std::string>(40, "x"));
    auto two = pool.apply_async(count_words, dict, std::vector<std::string>(40, "x"));
    one.get(60s);
    two.get(60s);
    EXPECT_EQ(dict.at("x"), 80) << "update() by a function loses nothing";

    Dict<int, std::string> large{pool};
    std::map<int, std::string> pairs;
    for (int i = 0; i < 2000; ++i) pairs.emplace(i, std::string(50, 'a'));
    large.update(pairs);
    EXPECT_EQ(large.size(), 2000U);
    EXPECT_EQ(large.items().size(), 2000U);
}

CONFORMANCE(M02, AListIsOneForAll, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    List<int> list{pool};
    list.append(3);
    list.extend(std::vector<int>{1, 2});
    list.insert(0, 9);
    EXPECT_EQ(list.items(), (std::vector<int>{9, 3, 1, 2}));
    EXPECT_EQ(list.at(-1), 2);
    EXPECT_EQ(list.pop(), 2);
    EXPECT_EQ(list.pop(0), 9);
    EXPECT_EQ(list.size(), 2U);
    EXPECT_THROW(list.at(2), forkmill::OutOfRange);
    EXPECT_THROW(list.set(7, 1), forkmill::OutOfRange);
    list.set(-1, 5);
    list.extend(std::vector<int>{4, 4});
    EXPECT_EQ(list.index(5), 1U);
    EXPECT_EQ(list.index(77), std::nullopt);
    EXPECT_EQ(list.slice(1, 3), (std::vector<int>{5, 4}));
    EXPECT_EQ(list.slice(-2), (std::vector<int>{4, 4}));
    list.sort();
    EXPECT_EQ(list.items(), (std::vector<int>{3, 4, 4, 5}));
    list.reverse();
    EXPECT_EQ(list.items(), (std::vector<int>{5, 4, 4, 3}));
    list.remove_value(4);
    EXPECT_EQ(list.items(), (std::vector<int>{5, 4, 3}));
    EXPECT_THROW(list.remove_value(8), forkmill::NotFound);
    list.erase(1);
    EXPECT_EQ(list.items(), (std::vector<int>{5, 3}));
    list.clear();
    EXPECT_TRUE(list.empty());
    EXPECT_THROW(list.pop(), forkmill::OutOfRange);

    List<std::string> texts{pool};
    pool.apply(append_to_list, texts, "from a task");
    EXPECT_EQ(texts.items(), std::vector<std::string>{"from a task"});
}

CONFORMANCE(M03, ValuesAndArraysAreAtomic, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    Value<int> value{pool, 5};
    EXPECT_EQ(value.get(), 5);
    EXPECT_EQ(value.fetch_add(3), 5);
    EXPECT_EQ(value.exchange(-1), 8);
    int expected = 0;
    EXPECT_FALSE(value.compare_exchange(expected, 1));
    EXPECT_EQ(expected, -1);
    EXPECT_TRUE(value.compare_exchange(expected, 1));
    EXPECT_EQ(value.update([](int now) { return now * 10; }), 10);
    value.set(7);
    EXPECT_EQ(value.get(), 7);
    Value<double> real{pool, 1.5};
    EXPECT_EQ(real.fetch_add(0.25), 1.5);
    EXPECT_EQ(real.get(), 1.75);
    Value<std::string> text{pool, "a"};
    std::string was = "b";
    EXPECT_FALSE(text.compare_exchange(was, "c"));
    EXPECT_TRUE(text.compare_exchange(was, "c"));
    EXPECT_EQ(text.get(), "c");
    Value<bool> flag{pool};
    EXPECT_FALSE(flag.exchange(true));
    EXPECT_TRUE(flag.get());

    forkmill::Array<std::uint64_t> array{pool, 4};
    EXPECT_EQ(array.size(), 4U);
    EXPECT_EQ(array.fetch_add(3, 2), 0U);
    array.set(0, UINT64_MAX);
    EXPECT_EQ(array.values(), (std::vector<std::uint64_t>{UINT64_MAX, 0, 0, 2}));
    EXPECT_THROW(array.get(4), forkmill::OutOfRange);
    EXPECT_THROW(array.fetch_add(4, 1), forkmill::OutOfRange);
    forkmill::Array<std::string> texts{pool, std::vector<std::string>{"x", "y"}};
    EXPECT_EQ(texts.exchange(1, "z"), "y");
    EXPECT_EQ(texts.values(), (std::vector<std::string>{"x", "z"}));
    forkmill::Array<std::string> many{pool, 700};
    EXPECT_EQ(many.get(699), "");
}

CONFORMANCE(M04, ANamespaceHasAttributesOfAnyType, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Namespace space{pool};
    space.set("count", 3);
    space.set("text", std::string{"t"});
    space.set("list", std::vector<int>{1, 2});
    EXPECT_EQ(space.get<int>("count"), 3);
    EXPECT_EQ(space.get<std::string>("text"), "t");
    EXPECT_EQ(space.get<std::vector<int>>("list"), (std::vector<int>{1, 2}));
    EXPECT_THROW(space.get<int>("absent"), forkmill::NotFound);
    EXPECT_THROW(space.get<std::string>("count"), forkmill::TypeMismatch);
    EXPECT_EQ(space.get<int>("count"), 3) << "the value is kept";
    space.set("count", std::string{"now a text"});
    EXPECT_EQ(space.get<std::string>("count"), "now a text");
    EXPECT_TRUE(space.contains("list"));
    EXPECT_TRUE(space.erase("list"));
    EXPECT_FALSE(space.contains("list"));
    auto names = space.names();
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"count", "text"}));
}

CONFORMANCE(M05, HandlesTravelInsideOthersAndStayLive, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    Dict<std::string, List<int>> lists{pool};
    {
        List<int> inner{pool};
        inner.append(1);
        lists.set("inner", inner);
    }
    lists.at("inner").append(2);
    EXPECT_EQ(lists.at("inner").items(), (std::vector<int>{1, 2}))
        << "the dict keeps it when no handle does";
    List<Numbers> dicts{pool};
    {
        Numbers dict{pool};
        dict.set("k", 1);
        dicts.append(dict);
    }
    EXPECT_EQ(pool.apply(keys_of_first, dicts), std::vector<std::string>{"k"});
    List<forkmill::Queue<int>> queues{pool};
    queues.append(forkmill::Queue<int>{pool});
    queues.at(0).put(5);
    EXPECT_EQ(queues.pop().get_for(5s), 5);
    const List<int> kept = lists.at("inner");
    const std::uint64_t id = kept.id();
    lists.clear();
    EXPECT_EQ(kept.size(), 2U) << "our handle keeps it now";
    EXPECT_EQ(kept.id(), id);
}

CONFORMANCE(M06, AtomicUpdatesLoseNothing, "EIT") {
    Cluster cluster{size, {.workers = 2}};
    forkmill::Pool pool{cluster.options()};
    Value<std::int64_t> value{pool};
    const int each = forkmill::test::full_or_twentieth(100'000);
    auto one = pool.apply_async(add_many, value, each);
    auto two = pool.apply_async(add_many, value, each);
    one.get(120s);
    two.get(120s);
    EXPECT_EQ(value.get(), 2 * each);
}

CONFORMANCE(M07, AnotherTypeIsRefusedAndTheValueKept, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    forkmill::Queue<int> queue{pool, {.name = "typed"}};
    queue.put(4);
    EXPECT_THROW((forkmill::Queue<std::string>{pool, {.name = "typed"}}), forkmill::TypeMismatch);
    EXPECT_THROW((List<int>{pool, {.name = "typed"}}), forkmill::TypeMismatch);
    EXPECT_EQ(queue.get_for(5s), 4);
    Value<int> value{pool, 3, {.name = "number"}};
    EXPECT_THROW((Value<std::string>{pool, "x", {.name = "number"}}), forkmill::TypeMismatch);
    Value<int> same{pool, 99, {.name = "number"}};
    EXPECT_EQ(same.get(), 3) << "it is there already: the initial value counts for nothing";
}

CONFORMANCE(M08, AnObjectDiesWithItsLastHandle, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    const auto is_there = [&](const std::string& name) {
        try {
            const List<int> there{pool, {.name = name, .create = false}};
            return true;
        } catch (const forkmill::NotFound&) {
            return false;
        }
    };
    {
        List<int> list{pool, {.name = "short"}};
        const List<int> copy = list;
        list = {};
        EXPECT_TRUE(is_there("short"));
    }
    EXPECT_TRUE(wait_until(10, [&] { return !is_there("short"); }));
    {
        List<int> list{pool, {.name = "long", .persistent = true}};
        list.append(1);
    }
    {
        List<int> list{pool, {.name = "long"}};
        EXPECT_EQ(list.size(), 1U);
        list.remove();
        EXPECT_THROW(list.size(), forkmill::ObjectLost);
    }
    EXPECT_FALSE(is_there("long"));

    const std::string file = cluster.directory() + "/kept";
    auto keeper = pool.apply_async(
        forkmill::function(keep_name, {.at_most_once = true}), "of.a.client", file);
    ASSERT_TRUE(wait_until(20, [&] { return std::ifstream{file}.peek() != EOF; }));
    EXPECT_TRUE(is_there("of.a.client"));
    keeper.cancel(forkmill::Cancel::kill);
    EXPECT_TRUE(wait_until(30, [&] { return !is_there("of.a.client"); }))
        << "a process that died has no handles";

    const int count = forkmill::test::full_or_twentieth(100'000);
    for (int i = 0; i < count; ++i) Value<int>{pool, i};
    EXPECT_NO_THROW(Value<int>(pool, 1)) << "nothing of them is left";
}

CONFORMANCE(M09, WatchesTellChanges, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    Value<std::int64_t> value{pool};
    std::mutex mutex;
    std::vector<std::optional<std::int64_t>> seen;
    const auto last = [&] {
        const std::lock_guard lock{mutex};
        return seen.empty() ? std::optional<std::int64_t>{} : seen.back();
    };
    {
        const forkmill::Watch watch = value.watch([&](std::optional<std::int64_t> now) {
            const std::lock_guard lock{mutex};
            seen.push_back(now);
        });
        pool.apply(add_many, value, 100);
        EXPECT_TRUE(wait_until(20, [&] { return last() == 100; })) << "the newest is told at last";
    }
    const std::size_t before = seen.size();
    value.set(7);
    Numbers dict{pool};
    std::atomic<int> set{0};
    std::atomic<int> erased{0};
    const forkmill::Watch watch =
        dict.watch("k", [&](std::optional<int> now) { now ? set = *now : ++erased; });
    dict.set("other", 1);
    dict.set("k", 5);
    EXPECT_TRUE(wait_until(20, [&] { return set == 5; }));
    dict.erase("k");
    EXPECT_TRUE(wait_until(20, [&] { return erased == 1; }));
    const std::lock_guard lock{mutex};
    EXPECT_EQ(seen.size(), before) << "a watch that is gone tells nothing";
}

}  // namespace conformance
