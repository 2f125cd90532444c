// SPDX-License-Identifier: Apache-2.0
// Many tasks at once: map, starmap, imap and their errors (P06-P08, P18-P23, P37).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <tuple>

#include "tests/conformance/cluster.h"
#include "tests/conformance/tasks.h"

namespace conformance {

using namespace std::chrono_literals;

namespace {

std::vector<int> count_to(int n) {
    std::vector<int> values(static_cast<std::size_t>(n));
    std::iota(values.begin(), values.end(), 0);
    return values;
}

/// An input range whose iterator throws at item `throws_at`; endless when negative. Counts how far
/// it was read.
struct Source {
    int throws_at = -1;
    int* read = nullptr;

    struct Iterator {
        using value_type = int;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;
        const Source* source = nullptr;
        int at = 0;
        int operator*() const {
            if (at == source->throws_at) throw std::domain_error("the input refuses");
            if (source->read != nullptr) *source->read = std::max(*source->read, at + 1);
            return at;
        }
        Iterator& operator++() {
            ++at;
            return *this;
        }
        void operator++(int) { ++at; }
        bool operator==(std::default_sentinel_t) const { return false; }
    };
    Iterator begin() const { return {this, 0}; }
    std::default_sentinel_t end() const { return {}; }
};

}  // namespace

CONFORMANCE(P06, MapKeepsInputOrder, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    for (const int n : {0, 1, 10, 1000}) {
        const std::vector<int> inputs = count_to(n);
        for (const std::size_t chunksize : {0U, 1U, 20U, 5000U}) {
            const std::vector<int> results = pool.map(square, inputs, {.chunksize = chunksize});
            ASSERT_EQ(results.size(), inputs.size());
            for (int i = 0; i < n; ++i) ASSERT_EQ(results[static_cast<std::size_t>(i)], i * i);
        }
    }
}

CONFORMANCE(P07, StarmapUnpacksTuples, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    const std::vector<std::tuple<int, int>> inputs{{1, 2}, {3, 4}, {5, 6}};
    EXPECT_EQ(pool.starmap(add, inputs), (std::vector<int>{3, 7, 11}));
    EXPECT_EQ(pool.starmap_async(add, inputs).get(10s), (std::vector<int>{3, 7, 11}));
}

CONFORMANCE(P08, EmptyInputsReturnAtOnce, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    const std::vector<int> none;
    EXPECT_TRUE(pool.map(square, none).empty());
    EXPECT_TRUE(pool.map_async(square, none).get(5s).empty());
    int yielded = 0;
    for (const int value : pool.imap(square, none)) yielded += 1 + 0 * value;
    for (const int value : pool.imap_unordered(square, none)) yielded += 1 + 0 * value;
    EXPECT_EQ(yielded, 0);
}

CONFORMANCE(P18, OneFailureReachesTheCallerAfterTheOthersRan, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    const std::string path = cluster.directory() + "/ran";
    std::vector<std::tuple<std::string, std::string>> inputs;
    for (int i = 0; i < 20; ++i)
        inputs.emplace_back(i == 7 ? "/nowhere/at/all" : path, std::to_string(i));
    EXPECT_THROW(pool.starmap(append_line, inputs), forkmill::TaskError);
    std::ifstream file{path};
    const auto lines = std::count(std::istreambuf_iterator<char>{file}, {}, '\n');
    EXPECT_EQ(lines, 19);
    pool.close();
    pool.join(10s);
}

CONFORMANCE(P19, InputThatThrowsUnderMapReachesTheCallerUnwrapped, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    EXPECT_THROW(pool.map(square, Source{.throws_at = 3}), std::domain_error);
    expect_alive(pool);
}

CONFORMANCE(P20, InputThatThrowsUnderImapDeliversWhatCameBefore, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    std::vector<int> got;
    bool threw = false;
    auto results = pool.imap(square, Source{.throws_at = 3});
    try {
        for (const int value : results) got.push_back(value);
    } catch (const std::domain_error&) {
        threw = true;
    }
    EXPECT_TRUE(threw);
    EXPECT_EQ(got, (std::vector<int>{0, 1, 4}));
    expect_alive(pool);
}

CONFORMANCE(P21, ImapOverAnEndlessInputIsLazy, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    int read = 0;
    {
        auto results = pool.imap(square, Source{.throws_at = -1, .read = &read}, {.window = 64});
        int i = 0;
        for (const int value : results) {
            EXPECT_EQ(value, i * i);
            if (++i == 500) break;
        }
    }
    EXPECT_GE(read, 500);
    EXPECT_LE(read, 500 + 64 + 1) << "the input is read a window ahead, not more";
    expect_alive(pool);
}

CONFORMANCE(P22, ImapWithChunksYieldsAll, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    const std::vector<int> inputs = count_to(1000);
    std::vector<int> ordered;
    for (const int value : pool.imap(square, inputs, {.chunksize = 100})) ordered.push_back(value);
    std::vector<int> expected;
    for (const int i : inputs) expected.push_back(i * i);
    EXPECT_EQ(ordered, expected);
    std::vector<int> unordered;
    for (const int value : pool.imap_unordered(square, inputs, {.chunksize = 100}))
        unordered.push_back(value);
    std::sort(unordered.begin(), unordered.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(unordered, expected);
}

CONFORMANCE(P23, NextWithTimeoutCanBeContinued, "EIT") {
    Cluster cluster{size};
    forkmill::Pool pool{cluster.options()};
    // A broker that has not answered yet would be told of as that, not as a timeout.
    EXPECT_EQ(pool.apply(square, 3), 9);
    const std::string gate = cluster.directory() + "/gate";
    const std::vector<std::string> inputs{gate};
    auto results = pool.imap(wait_file, inputs);
    EXPECT_THROW(results.next(100ms), forkmill::TimeoutError);
    std::ofstream{gate} << "open";
    EXPECT_TRUE(results.next(10s).has_value());
    EXPECT_FALSE(results.next(10s).has_value()) << "the end is no timeout";
}

CONFORMANCE(P37, ArgumentsAndResultsAreReleased, "EIT") {
    Cluster cluster{size, {.workers = 1}};
    forkmill::Pool pool{cluster.options()};
    {
        std::vector<forkmill::AsyncResult<Counted>> results;
        for (int i = 0; i < 50; ++i) {
            Counted value;
            value.data.assign(100, i);
            results.push_back(pool.apply_async(counted, value));
        }
        for (auto& result : results) EXPECT_EQ(std::move(result).get(10s).data.size(), 100U);
    }
    EXPECT_EQ(Counted::alive(), 0);
    EXPECT_EQ(pool.apply(counted_alive), 0);
}

}  // namespace conformance
