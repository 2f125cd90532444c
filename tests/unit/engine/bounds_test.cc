// SPDX-License-Identifier: Apache-2.0
// Every bound and what happens at it (the table of semantics.md), and credit.
#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

namespace {

Config small() {
    Config config;
    config.queues = {{"default", 1, 10, 3, 1 << 20}};
    return config;
}

}  // namespace

TEST(Bounds, AFullQueueIsBusyAndSaysWhenToComeAgain) {
    Cluster c{small()};
    c.submit_many(10);
    const Task t = c.submit();
    EXPECT_EQ(c.refused(t), wire::Code::Busy);
    EXPECT_GT(c.last(Effect::Kind::Refused).count, 0U) << "retry_after";
    c.worker();
    c.finish({0, 1, {c.stream(0), 1}});
    EXPECT_TRUE(c.accepted(c.submit("x", {.seq = t.seq}))) << "the same number may come again";
}

TEST(Bounds, NestedSubmitsHaveAReserveOfATenth) {
    Cluster c{small()};
    const auto w = c.worker();
    c.submit_many(10);
    EXPECT_EQ(c.refused(c.submit()), wire::Code::Busy);
    EXPECT_TRUE(c.accepted(c.submit("x", {}, w)));
    EXPECT_EQ(c.refused(c.submit("x", {}, w)), wire::Code::Busy);
}

TEST(Bounds, ASessionHasItsOwnCap) {
    Config config;
    config.tasks_per_session_max = 5;
    Cluster c{config};
    const auto a = c.client("alice"), b = c.client("alice");
    c.submit_many(5, "x", {}, a);
    EXPECT_EQ(c.refused(c.submit("x", {}, a)), wire::Code::Busy);
    EXPECT_TRUE(c.accepted(c.submit("x", {}, b)));
}

TEST(Bounds, MemoryIsBoundedByTheCap) {
    Config config;
    config.memory_max = 1 << 20;
    Cluster c{config};
    const auto tasks = c.submit_many(60, "x", {.body = std::string(20'000, 'b')});
    EXPECT_TRUE(c.accepted(tasks[0]));
    EXPECT_EQ(c.refused(tasks[59]), wire::Code::Busy);
    EXPECT_LE(c.engine->snapshot(c.now).memory_used, config.memory_max);
}

TEST(Bounds, TooLargeArgumentsAreRefusedPerTask) {
    Config config;
    config.payload_max = 100;
    Cluster c{config};
    EXPECT_EQ(c.refused(c.submit("x", {.body = std::string(101, 'b')})), wire::Code::TooBig);
    EXPECT_TRUE(c.accepted(c.submit("x", {.body = std::string(100, 'b')})));
}

TEST(Bounds, UnknownQueuesTemplatesAndBadDefinitionsAreRefusedPerTask) {
    Cluster c;
    EXPECT_EQ(c.refused(c.submit("x", {.queue = "nowhere"})), wire::Code::NoSuchQueue);
    EXPECT_EQ(c.refused(c.submit("")), wire::Code::InvalidName);
    EXPECT_EQ(c.refused(c.submit(std::string(129, 'n'))), wire::Code::InvalidName);
    EXPECT_EQ(c.refused(c.submit("x", {.delay = 31 * 24h})), wire::Code::InvalidRange);
    EXPECT_EQ(c.refused(c.submit("x", {.crash_limit = 0})), wire::Code::InvalidRange);
    c.engine->submit(0, 999, 50, {}, nullptr, false, c.now, c.wall, c.effects);
    c.step("submit");
    EXPECT_EQ(c.last(Effect::Kind::Refused).code, wire::Code::NoSuchTemplate);
    wire::TemplateDef def;
    def.name = "x";
    def.id = wire::kTemplatesMax + 1;
    EXPECT_EQ(c.engine->define_template(0, def), wire::Code::TooManyTemplates);
    EXPECT_EQ(c.engine->define_template(4711, def), wire::Code::SessionExpired);
}

TEST(Bounds, AtMostSixtyFourPrioritiesPerSessionAndQueue) {
    Cluster c;
    for (int p = 0; p < 64; ++p) EXPECT_TRUE(c.accepted(c.submit("x", {.priority = p})));
    EXPECT_EQ(c.refused(c.submit("x", {.priority = 64})), wire::Code::InvalidRange);
    EXPECT_TRUE(c.accepted(c.submit("y", {.priority = 63})));
}

TEST(Bounds, DeadLettersDropTheOldestAndCountIt) {
    Cluster c{small()};
    for (int i = 0; i < 5; ++i) {
        const Task t = c.submit("x", {.crash_limit = 1});
        c.lose(c.worker(), {t});
    }
    EXPECT_EQ(c.engine->snapshot(c.now).queues[0].dead, 3U);
    EXPECT_EQ(c.engine->counters().dead_letters_dropped, 2U);
}

TEST(Bounds, IdleSessionsMakeRoomElseTheBrokerIsFull) {
    Config config;
    config.sessions_max = 2;
    Cluster c{config};
    const auto idle = c.client("alice"), busy = c.client("bob");
    SessionInfo info;
    info.principal = "carol";
    info.stream = 99;
    SessionIx ix = 0;
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::BrokerFull);
    c.submit("x", {}, busy);
    c.disconnect(busy);
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::BrokerFull)
        << "it is owed something";
    c.disconnect(idle);
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::None);
    c.step("open");
    EXPECT_EQ(c.last(Effect::Kind::CloseSession).session, idle);
}

TEST(Credit, IsAbsoluteAndGrowsAsTasksEnd) {
    Config config;
    config.tasks_per_session_max = 10;
    Cluster c{config};
    const auto w = c.worker();
    const auto s = c.client();
    EXPECT_EQ(c.engine->credit_records(s), 10U);
    c.submit_many(10, "x", {}, s);
    EXPECT_EQ(c.engine->credit_records(s), 10U) << "all used up";
    for (int i = 0; i < 4; ++i) c.finish(c.held(w).at(0), "", 1s);
    EXPECT_EQ(c.engine->credit_records(s), 14U);
    EXPECT_EQ(c.last(Effect::Kind::Credit).seq, 14U);
}

TEST(Credit, DuplicatesGiveTheirCreditBackThoughNoTaskEnds) {
    Config config;
    config.tasks_per_session_max = 4;
    Cluster c{config};
    const auto s = c.client();
    const Task t = c.submit("x", {}, s);
    for (int i = 0; i < 3; ++i) c.submit("x", {.seq = t.seq}, s);
    EXPECT_EQ(c.engine->credit_records(s), 7U) << "four sent, one of them unsettled";
    EXPECT_EQ(c.last(Effect::Kind::Credit).seq, 7U);
}

TEST(Credit, RefusedRecordsGiveTheirCreditBack) {
    Config config;
    config.tasks_per_session_max = 4;
    Cluster c{config};
    const auto s = c.client();
    for (int i = 0; i < 3; ++i) c.submit("", {}, s);
    c.worker();
    const Task t = c.submit("x", {}, s);
    c.finish(t);
    EXPECT_EQ(c.engine->credit_records(s), 8U);
}

TEST(Credit, NeverSumsAboveTheMemoryCap) {
    Config config;
    config.memory_max = 8 << 20;
    config.sessions_max = 300;
    Cluster c{config};
    std::vector<SessionIx> sessions;
    for (int i = 0; i < 300; ++i) sessions.push_back(c.client("user" + std::to_string(i)));
    std::uint64_t sum = 0;
    for (const SessionIx s : sessions) sum += c.engine->credit_bytes(s);
    EXPECT_LE(sum, config.memory_max);
    EXPECT_EQ(sum, c.engine->snapshot(c.now).credit_out);
    EXPECT_GE(c.engine->credit_bytes(sessions[299]), 6000U) << "late comers get a start";
    for (const SessionIx s : sessions) c.close(s);
    EXPECT_EQ(c.engine->snapshot(c.now).credit_out, 0U);
}

TEST(Credit, FullMemoryGivesNoneAway) {
    Config config;
    config.memory_max = 1 << 20;
    config.sessions_max = 4;
    Cluster c{config};
    const auto greedy = c.client();
    c.submit_many(9, "x", {.body = std::string(100'000, 'b')}, greedy);
    c.client("bob");
    c.client("carol");
    const auto shot = c.engine->snapshot(c.now);
    EXPECT_LE(shot.memory_used + shot.credit_out, config.memory_max);
}

TEST(Credit, BytesComeBackAsMemoryIsFreed) {
    Config config;
    config.memory_max = 1 << 20;
    config.payload_max = 200 << 10;
    Cluster c{config};
    const auto w = c.worker();
    const auto s = c.client();
    for (int i = 0; i < 50; ++i) {
        const Task t = c.submit("x", {.body = std::string(100'000, 'b')}, s);
        ASSERT_TRUE(c.accepted(t));
        ASSERT_GT(c.engine->credit_bytes(s), static_cast<std::uint64_t>(i + 1) * 100'000);
        c.finish(t);
    }
    c.close(w);
}

}  // namespace forkmill::engine::test
