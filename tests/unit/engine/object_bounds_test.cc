// SPDX-License-Identifier: Apache-2.0
// The bounds of shared objects, each by the name of its key: what is beyond one is refused with a
// typed error that names it, and changes nothing.
#include "tests/unit/engine/sharing.h"

namespace forkmill::engine::test {

namespace {

/// A broker with such bounds, and what is refused there.
struct Bounded : Sharing {
    using Sharing::Sharing;
    SessionIx a = client();
    SessionIx b = client();

    /// `what` is answered with object_limit, names `key`, and leaves everything as it was.
    void expect_refused(SessionIx session, const Ask& what, const std::string& key) {
        const Engine::Snapshot before = engine->snapshot(now);
        const std::uint64_t op = ask(session, what);
        EXPECT_EQ(code(op), Code::ObjectLimit);
        EXPECT_NE((answer(op).text + " ").find("limits." + key + " "), std::string::npos)
            << answer(op).text;
        const Engine::Snapshot after = engine->snapshot(now);
        EXPECT_EQ(after.objects, before.objects);
        EXPECT_EQ(after.object_waits, before.object_waits);
        EXPECT_EQ(after.object_bytes, before.object_bytes);
    }
    std::uint64_t version_of(ObjectId object) {
        return answer(ask(a, {.verb = Verb::Info, .object = object})).version;
    }
    std::uint64_t watch(SessionIx session, ObjectId object) {
        return ask(session, {.verb = Verb::Watch, .object = object, .flags = wire::kOpAll});
    }
    static Ask making(wire::ObjectShape shape) {
        return {.verb = Verb::Open, .flags = wire::kOpCreate, .shape = shape};
    }
};

const Ask kMakingALock = Bounded::making({.kind = Kind::Lock});
const std::string kLarge(100'000, 'x');

}  // namespace

TEST(ObjectBounds, ObjectsAreCounted) {
    Config config;
    config.objects_max = 2;
    Bounded s{config};
    const auto lock = s.lock(s.a);
    s.queue(s.b);
    s.expect_refused(s.a, kMakingALock, "objects");
    EXPECT_EQ(s.share(s.b, lock), lock) << "what is there can be had";
    s.ask(s.a, {.verb = Verb::Remove, .object = lock});
    EXPECT_NE(s.lock(s.a), 0U) << "one is gone";
}

TEST(ObjectBounds, ZeroObjectsMeansNone) {
    Config config;
    config.objects_max = 0;
    Bounded s{config};
    s.expect_refused(s.a, kMakingALock, "objects");
}

TEST(ObjectBounds, ASessionsOperationsThatWaitAreCounted) {
    Config config;
    config.object_waits_per_session_max = 3;
    Bounded s{config};
    const auto q = s.queue(s.a);
    s.share(s.b, q);
    const auto first = s.get(s.a, q);
    for (int i = 0; i < 2; ++i) s.get(s.a, q);
    s.expect_refused(s.a, {.verb = Verb::Get, .object = q}, "object_waits_per_session");
    EXPECT_TRUE(s.waiting(s.get(s.b, q))) << "another session has its own";
    s.put(s.b, q, "x");
    EXPECT_EQ(s.value(first), "x") << "who waits is served as before";
    EXPECT_TRUE(s.waiting(s.get(s.a, q))) << "there is room for one again";
}

TEST(ObjectBounds, WhatIsPutOffCountsAsWaiting) {
    Config config;
    config.object_waits_per_session_max = 2;
    Bounded s{config};
    const auto q = s.queue(s.a);
    s.put(s.a, q, "x");
    s.writable(s.a, false);
    const auto first = s.get(s.a, q);
    s.get(s.a, q);
    s.expect_refused(s.a, {.verb = Verb::Get, .object = q}, "object_waits_per_session");
    s.writable(s.a, true);
    EXPECT_EQ(s.value(first), "x");
}

TEST(ObjectBounds, OperationsThatWaitAreCountedTogether) {
    Config config;
    config.object_waits_max = 3;
    Bounded s{config};
    const auto q = s.queue(s.a);
    s.share(s.b, q);
    const auto first = s.get(s.a, q);
    s.get(s.a, q);
    s.get(s.b, q);
    s.expect_refused(s.a, {.verb = Verb::Get, .object = q}, "object_waits");
    s.expect_refused(s.b, {.verb = Verb::Get, .object = q}, "object_waits");
    s.put(s.a, q, "x");
    EXPECT_EQ(s.value(first), "x");
    EXPECT_TRUE(s.waiting(s.get(s.b, q)));
}

TEST(ObjectBounds, WatchesAreCountedAsWaitsAre) {
    Config config;
    config.object_waits_per_session_max = 2;
    config.object_waits_max = 3;
    Bounded s{config};
    const auto dict = s.open(s.a, {.kind = Kind::Dict, .capacity = 9});
    s.share(s.b, dict);
    const auto first = s.watch(s.a, dict);
    s.watch(s.a, dict);
    const Ask more{.verb = Verb::Watch, .object = dict, .flags = wire::kOpAll};
    s.expect_refused(s.a, more, "object_waits_per_session");
    s.watch(s.b, dict);
    s.expect_refused(s.b, more, "object_waits");
    s.ask(s.a, {.verb = Verb::Unwatch, .object = dict, .token = first});
    EXPECT_EQ(s.code(s.watch(s.b, dict)), Code::None);
}

TEST(ObjectBounds, WhatObjectsHoldIsBounded) {
    Config config;
    config.object_memory_max = 64 << 10;
    Bounded s{config};
    const auto q = s.queue(s.a);
    const auto dict = s.open(s.a, {.kind = Kind::Dict, .capacity = 9});
    const auto list = s.open(s.a, {.kind = Kind::List, .capacity = 9});
    const auto array = s.open(s.a, {.kind = Kind::Array, .capacity = 2});
    for (const ObjectId each : {dict, list, array}) {
        const std::uint64_t version = s.version_of(each);
        s.expect_refused(
            s.a,
            {.verb = Verb::Write, .object = each, .index = 0, .items = {{"k", kLarge}}},
            "object_memory");
        EXPECT_EQ(s.version_of(each), version);
    }
    s.expect_refused(
        s.a, {.verb = Verb::Swap, .object = array, .items = {{"", kLarge}}}, "object_memory");
    s.expect_refused(
        s.a, {.verb = Verb::Put, .object = q, .items = {{"", kLarge}}}, "object_memory");
    s.expect_refused(
        s.a, Bounded::making({.kind = Kind::Array, .capacity = 10'000}), "object_memory");
    // Full of what fits: one more is refused, and accepted once something is gone.
    int there = 0;
    while (s.code(s.put(s.a, q, std::string(1000, 'x'))) == Code::None) ++there;
    EXPECT_GE(there, 40);
    EXPECT_LE(s.engine->snapshot(s.now).object_bytes, 64U << 10);
    s.get(s.a, q);
    EXPECT_EQ(s.code(s.put(s.a, q, "x")), Code::None);
}

TEST(ObjectBounds, HalfOfTheMemoryUnlessItIsSaid) {
    Config config;
    config.memory_max = 1 << 20;
    EXPECT_EQ(config.object_memory(), 1U << 19);
    Bounded s{config};
    const auto q = s.queue(s.a, wire::kObjectCapacityMax);
    while (s.code(s.put(s.a, q, std::string(10'000, 'x'))) == Code::None) {
    }
    const std::uint64_t bytes = s.engine->snapshot(s.now).object_bytes;
    EXPECT_LE(bytes, 1U << 19);
    EXPECT_GT(bytes, (1U << 19) - 20'000);
}

TEST(ObjectBounds, TheBrokersOwnMemoryBindsToo) {
    Config config;
    config.memory_max = 1 << 20;
    config.object_memory_max = 1 << 20;
    Bounded s{config};
    s.submit_many(8, "x", {.body = std::string(100'000, 'b')});
    const auto q = s.queue(s.a);
    s.expect_refused(
        s.a, {.verb = Verb::Put, .object = q, .items = {{"", kLarge + kLarge}}}, "memory");
}

}  // namespace forkmill::engine::test
