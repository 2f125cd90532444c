// SPDX-License-Identifier: Apache-2.0
// How objects come, are named, counted and bounded, and go; and a long run of anything at all.
#include <map>
#include <random>

#include "broker/engine/journal.h"
#include "tests/support/wait_until.h"
#include "tests/unit/engine/sharing.h"

namespace forkmill::engine::test {

namespace {

constexpr wire::ObjectShape kQueue{.kind = Kind::Queue, .capacity = 10};

}  // namespace

TEST(ObjectLife, ANamedObjectIsOneForAll) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client("bob");
    const auto made = s.ask(a,
                            {.verb = Verb::Open,
                             .flags = wire::kOpCreate,
                             .name = "jobs",
                             .type = "i32",
                             .shape = kQueue});
    EXPECT_NE(s.answer(made).flags & wire::kReplyCreated, 0U);
    const auto found = s.ask(b, {.verb = Verb::Open, .name = "jobs"});
    EXPECT_EQ(s.answer(found).token, s.answer(made).token);
    EXPECT_EQ(s.answer(found).flags & wire::kReplyCreated, 0U);
    EXPECT_EQ(s.answer(found).value, static_cast<std::int64_t>(Kind::Queue));
    EXPECT_EQ(s.answer(found).text, "i32");
    EXPECT_EQ(s.code_of(b, {.verb = Verb::Open, .name = "nothing"}), Code::NotFound);
    EXPECT_EQ(s.code_of(b, {.verb = Verb::Open, .name = "jobs", .type = "f64"}),
              Code::TypeMismatch);
    EXPECT_EQ(s.code_of(b, {.verb = Verb::Open, .name = "jobs", .shape = {.kind = Kind::Lock}}),
              Code::TypeMismatch);
    EXPECT_EQ(s.code_of(b,
                        {.verb = Verb::Open,
                         .flags = wire::kOpCreate | wire::kOpExclusive,
                         .name = "jobs",
                         .shape = kQueue}),
              Code::Conflict);
}

TEST(ObjectLife, WhatCannotBeMadeIsRefusedAndLeavesNothing) {
    Sharing s;
    const auto a = s.client();
    const auto make = [&](wire::ObjectShape shape, std::string name = {}, std::uint32_t flags = 0) {
        return s.code_of(a,
                         {.verb = Verb::Open,
                          .flags = flags | wire::kOpCreate,
                          .name = std::move(name),
                          .shape = shape});
    };
    EXPECT_EQ(make({.kind = Kind::Queue}), Code::InvalidRange);
    EXPECT_EQ(make({.kind = Kind::Queue, .capacity = wire::kObjectCapacityMax + 1}),
              Code::InvalidRange);
    EXPECT_EQ(make({.kind = Kind::Barrier, .capacity = 5000}), Code::InvalidRange);
    EXPECT_EQ(make({.kind = Kind::Semaphore, .capacity = 1, .initial = 2}), Code::InvalidRange);
    EXPECT_EQ(make({.kind = static_cast<Kind>(99), .capacity = 1}), Code::InvalidRange);
    EXPECT_EQ(make({}), Code::InvalidRange);
    EXPECT_EQ(make({.kind = Kind::Condition, .lock = 5}), Code::NotFound);
    EXPECT_EQ(make(kQueue, "a\nb"), Code::InvalidName);
    EXPECT_EQ(make(kQueue, std::string(129, 'n')), Code::InvalidName);
    EXPECT_EQ(make(kQueue, "", wire::kOpPersistent), Code::InvalidName);
    EXPECT_EQ(make({.kind = Kind::Array, .capacity = wire::kObjectCapacityMax}), Code::ObjectLimit);
    EXPECT_EQ(s.code_of(a,
                        {.verb = Verb::Open,
                         .flags = wire::kOpCreate,
                         .items = {{"", "1"}, {"", "2"}},
                         .shape = {.kind = Kind::Array, .capacity = 1}}),
              Code::InvalidRange);
    EXPECT_EQ(s.objects(), 0U);
    EXPECT_EQ(s.engine->snapshot(s.now).memory_used, 0U);
}

TEST(ObjectLife, FirstContentIsThereFromTheStart) {
    Sharing s;
    const auto a = s.client();
    const auto cell = s.answer(s.ask(a,
                                     {.verb = Verb::Open,
                                      .flags = wire::kOpCreate,
                                      .items = {{"", "5"}},
                                      .shape = {.kind = Kind::Array, .capacity = 1}}))
                          .token;
    EXPECT_EQ(s.value(s.ask(a, {.verb = Verb::Read, .object = cell})), "5");
    const auto dict = s.answer(s.ask(a,
                                     {.verb = Verb::Open,
                                      .flags = wire::kOpCreate,
                                      .items = {{"k", "1"}, {"k", "2"}},
                                      .shape = {.kind = Kind::Dict, .capacity = 5}}))
                          .token;
    EXPECT_EQ(s.value(s.ask(a, {.verb = Verb::Read, .object = dict, .items = {{"k", ""}}})), "2");
}

TEST(ObjectLife, AnObjectDiesWithItsLastHandle) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a);
    s.share(b, q);
    s.share(b, q);
    s.ask(a, {.verb = Verb::Close, .object = q});
    EXPECT_EQ(s.code(s.put(a, q, "x")), Code::ObjectClosed);
    EXPECT_EQ(s.code_of(b, {.verb = Verb::Close, .object = q, .count = 3}), Code::InvalidRange);
    EXPECT_EQ(s.answer(s.ask(b, {.verb = Verb::Close, .object = q})).value, 1);
    EXPECT_TRUE(s.alive(q));
    const auto get = s.get(b, q);
    s.ask(b, {.verb = Verb::Close, .object = q});
    EXPECT_EQ(s.code(get), Code::ObjectClosed);
    EXPECT_FALSE(s.alive(q));
    EXPECT_EQ(s.code(s.put(b, q, "x")), Code::ObjectLost);
}

TEST(ObjectLife, ASessionThatEndsDropsItsHandles) {
    Sharing s;
    const auto a = s.client();
    s.queue(a);
    s.lock(a);
    EXPECT_EQ(s.objects(), 2U);
    s.disconnect(a);
    s.pass(69s);
    EXPECT_EQ(s.objects(), 2U);
    s.pass(1s);
    EXPECT_EQ(s.objects(), 0U);
}

TEST(ObjectLife, ASessionThatIsAwayWithHandlesIsNotEvicted) {
    Config config;
    config.sessions_max = 2;
    Sharing s{config};
    const auto a = s.client();
    s.lock(a);
    const auto b = s.client();
    s.disconnect(a);
    SessionInfo third;
    third.key = {7, 7};
    SessionIx ix = 0;
    EXPECT_EQ(s.engine->open_session(third, s.now, s.effects, ix), Code::BrokerFull);
    s.disconnect(b);
    EXPECT_EQ(s.engine->open_session(third, s.now, s.effects, ix), Code::None);
    s.step("open");
    EXPECT_EQ(s.objects(), 1U);
}

TEST(ObjectLife, APersistentObjectStaysWithoutHandlesUntilItIsRemoved) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.open(a, kQueue, wire::kOpPersistent, "jobs");
    s.put(a, q, "1");
    s.close(a);
    const auto b = s.client();
    EXPECT_EQ(s.answer(s.ask(b, {.verb = Verb::Open, .name = "jobs"})).token, q);
    EXPECT_EQ(s.value(s.get(b, q)), "1");
    const auto get = s.get(b, q);
    EXPECT_EQ(s.code_of(b, {.verb = Verb::Remove, .object = q}), Code::None);
    EXPECT_EQ(s.code(get), Code::ObjectLost);
    EXPECT_EQ(s.objects(), 0U);
    EXPECT_NE(s.open(b, kQueue, 0, "jobs"), q) << "a name made again is another object";
}

TEST(ObjectLife, AnObjectThatAKeptValueNamesLives) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto list = s.open(a, {.kind = Kind::List, .capacity = 10});
    const auto q = s.queue(a);
    s.share(b, list);
    s.put(a, q, "inside");
    s.ask(a,
          {.verb = Verb::Write,
           .object = list,
           .index = wire::kListEnd,
           .items = {{"", "a queue"}},
           .refs = {q}});
    s.ask(a, {.verb = Verb::Close, .object = q});
    EXPECT_TRUE(s.alive(q));
    EXPECT_EQ(s.code(s.get(b, q)), Code::ObjectClosed);
    const auto read = s.ask(b, {.verb = Verb::Read, .object = list});
    EXPECT_EQ(s.answer(read).items.at(0).refs, std::vector<ObjectId>{q});
    EXPECT_EQ(s.value(s.get(b, q)), "inside") << "who reads it has a handle";
    s.ask(b, {.verb = Verb::Write, .object = list, .index = 0, .count = 1});
    EXPECT_TRUE(s.alive(q));
    s.ask(b, {.verb = Verb::Close, .object = q});
    EXPECT_FALSE(s.alive(q));
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Write, .object = list, .items = {{"", ""}}, .refs = {q}}),
              Code::NotFound);
}

TEST(ObjectLife, ItemsOnTheirWayKeepWhatTheyName) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a, 1, wire::kOpLeased);
    s.share(b, q);
    const auto inner = s.queue(a);
    const auto put = [&](std::string value) {
        return s.ask(
            a,
            {.verb = Verb::Put, .object = q, .items = {{"", std::move(value)}}, .refs = {inner}});
    };
    put("1");
    put("2");
    s.ask(a, {.verb = Verb::Close, .object = inner});
    EXPECT_EQ(s.value(s.get(b, q)), "1");
    s.close(b);
    EXPECT_TRUE(s.alive(inner));
    s.ask(a, {.verb = Verb::Remove, .object = q});
    EXPECT_FALSE(s.alive(inner));
}

TEST(ObjectLife, OperationsOfAnotherKindChangeNothing) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.queue(a);
    const auto lock = s.lock(a);
    s.put(a, q, "x");
    for (std::uint8_t verb = 1; verb <= static_cast<std::uint8_t>(Verb::Peek); ++verb) {
        const auto each = static_cast<Verb>(verb);
        if (each == Verb::Open || each == Verb::Close || each == Verb::Remove ||
            each == Verb::Info || each == Verb::Interrupt || each == Verb::Break)
            continue;
        const bool of_queue = (each >= Verb::Put && each <= Verb::Shut) || each == Verb::Peek;
        if (!of_queue) {
            const Code code = s.code_of(a, {.verb = each, .object = q, .items = {{"", ""}}});
            EXPECT_TRUE(code == Code::TypeMismatch || code == Code::NotFound)
                << wire::name_of(each) << " " << wire::name_of(code);
        }
        if (each == Verb::Acquire || each == Verb::Release) continue;
        const Code code = s.code_of(a, {.verb = each, .object = lock, .items = {{"", ""}}});
        EXPECT_TRUE(code == Code::TypeMismatch || code == Code::NotFound)
            << wire::name_of(each) << " " << wire::name_of(code);
    }
    EXPECT_EQ(s.code_of(a, {.verb = static_cast<Verb>(0), .object = q}), Code::InvalidRange);
    EXPECT_EQ(s.code_of(a, {.verb = static_cast<Verb>(99), .object = q}), Code::InvalidRange);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Pass, .object = q}), Code::InvalidRange)
        << "sessions are the gateway's";
    EXPECT_EQ(s.value(s.get(a, q)), "x");
}

TEST(ObjectLife, AThousandObjectsLeaveNothing) {
    Sharing s;
    const auto a = s.client();
    const std::uint64_t before = s.engine->snapshot(s.now).memory_used;
    for (int i = 0; i < 1000; ++i) {
        const auto q = s.queue(a);
        s.put(a, q, "x");
        s.get(a, q);
        s.get(a, q);
        s.ask(a, {.verb = Verb::Close, .object = q});
    }
    EXPECT_EQ(s.objects(), 0U);
    EXPECT_EQ(s.engine->snapshot(s.now).memory_used, before);
}

TEST(ObjectLife, ChangesOfNamedObjectsCarryTheirPosition) {
    class TestJournal : public Journal {
      public:
        std::uint64_t append(const JournalRecord& record) override {
            objects += record.fact == JournalRecord::Fact::Object ? 1 : 0;
            return ++position;
        }
        std::uint64_t position = 0;
        int objects = 0;
    } journal;
    Sharing s;
    s.engine->set_journal(&journal);
    const auto a = s.client();
    const auto named = s.open(a, kQueue, 0, "jobs");
    s.put(a, named, "x");
    EXPECT_EQ(s.last(Effect::Kind::ObjectReply).position, 2U);
    const auto unnamed = s.queue(a);
    s.put(a, unnamed, "x");
    EXPECT_EQ(s.last(Effect::Kind::ObjectReply).position, 0U);
    s.ask(a, {.verb = Verb::Info, .object = named});
    EXPECT_EQ(journal.objects, 2);
}

/// Any operation on any object by anyone, with sessions that go and come: no invariant breaks, and
/// in the end nothing is left.
TEST(ObjectModel, AnythingAtAllKeepsEveryInvariant) {
    for (int seed = 1; seed <= forkmill::test::full_or_twentieth(6000); ++seed) {
        std::mt19937_64 random{static_cast<std::uint64_t>(seed)};
        const auto below = [&](std::uint64_t n) { return random() % n; };
        Config config;
        config.memory_max = 1 << 18;
        config.objects_max = 12;
        config.object_waits_per_session_max = 6;
        Sharing s{config};
        std::vector<SessionIx> sessions = {s.client(), s.client(), s.client()};
        std::vector<ObjectId> objects;
        for (int i = 0; i < 600; ++i) {
            SessionIx& who = sessions[below(sessions.size())];
            const std::uint64_t dice = below(40);
            if (dice == 0) {
                s.close(who);
                who = s.client();
            } else if (dice == 1) {
                s.disconnect(who);
            } else if (dice == 2) {
                s.reconnect(who);
            } else if (dice == 3) {
                s.writable(who, below(2) == 0);
            } else if (dice == 4) {
                s.pass(std::chrono::milliseconds{below(4000)});
            } else if (dice < 9) {
                const ObjectId lock = objects.empty() ? 0 : objects[below(objects.size())];
                const std::string name = below(3) == 0 ? "n" + std::to_string(below(3)) : "";
                const auto op = s.ask(who,
                                      {.verb = Verb::Open,
                                       .flags = static_cast<std::uint32_t>(below(512)) | 1U,
                                       .name = name,
                                       .shape = {.kind = static_cast<Kind>(1 + below(9)),
                                                 .capacity = 1 + below(3),
                                                 .bytes = below(2) * 3000,
                                                 .initial = below(2),
                                                 .cell = static_cast<wire::CellKind>(below(2)),
                                                 .lock = lock}});
                if (!s.waiting(op) && s.code(op) == Code::None)
                    objects.push_back(s.answer(op).token);
            } else if (!objects.empty()) {
                const ObjectId object = objects[below(objects.size())];
                Ask ask{.verb = static_cast<Verb>(1 + below(24)),
                        .object = object,
                        .flags = static_cast<std::uint32_t>(below(4)) << 10 |
                                 static_cast<std::uint32_t>(below(8)) << 12,
                        .owner = below(3),
                        .timeout = std::chrono::milliseconds{below(3) * 500 - (below(9) == 0)},
                        .token = below(4),
                        .version = below(4),
                        .index = static_cast<std::int64_t>(below(4)) - 1,
                        .count = below(3),
                        .items = {{"k" + std::to_string(below(3)),
                                   std::string(below(3) == 0 ? 1500 : 8, 'v')}}};
                if (below(4) == 0) ask.refs = {objects[below(objects.size())]};
                s.ask(who, ask);
            }
            if (::testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << ", step " << i;
        }
        for (const SessionIx who : sessions) s.close(who);
        const SessionIx admin = s.client("root", 0, wire::Role::Admin);
        for (const ObjectRow& row : s.engine->objects({}, 1000))
            s.ask(admin, {.verb = Verb::Remove, .object = row.id});
        ASSERT_EQ(s.engine->snapshot(s.now).memory_used, 0U) << "seed " << seed;
        ASSERT_EQ(s.objects(), 0U);
    }
}

}  // namespace forkmill::engine::test
