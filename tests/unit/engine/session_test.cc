// SPDX-License-Identifier: Apache-2.0
// Sessions that go and come back, results that cannot go out yet, numbers that are forgotten.
#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

TEST(Session, AClientThatComesBackInTimeLosesNothing) {
    Cluster c;
    c.worker();
    const Task t = c.submit();
    c.disconnect(t.session);
    c.pass(69s);
    c.reconnect(t.session);
    c.pass(3600s);
    EXPECT_EQ(c.state(t), "leased");
    c.finish(t);
    EXPECT_TRUE(c.ended(t));
}

TEST(Session, AClientThatStaysAwayHasItsTasksCancelledButDetachedOnesLive) {
    Cluster c;
    const auto w = c.worker();
    const Task running = c.submit();
    const Task waiting = c.submit();
    const Task detached = c.submit("x", {.detached = true});
    c.disconnect(running.session);
    c.pass(69s);
    EXPECT_EQ(c.state(waiting), "ready");
    c.pass(1s);
    EXPECT_EQ(c.last(Effect::Kind::CloseSession).session, running.session);
    EXPECT_EQ(c.last(Effect::Kind::CloseSession).code, wire::Code::SessionExpired);
    EXPECT_EQ(c.state(waiting), "gone");
    EXPECT_EQ(c.state(running), "cancelling");
    EXPECT_EQ(c.state(detached), "ready");
    c.settle(w, c.lease(running), wire::Outcome::Succeeded, "nobody wants it");
    EXPECT_EQ(c.state(running), "gone");
    EXPECT_EQ(c.holder(detached), w);
}

TEST(Session, AByeAppliesOnClientLostAtOnce) {
    Cluster c;
    const Task t = c.submit();
    c.close(t.session);
    EXPECT_EQ(c.state(t), "gone");
}

TEST(Session, OnClientLostKeepLetsTasksEndAndKeepsTheirResults) {
    Config config;
    config.on_client_lost = OnClientLost::Keep;
    Cluster c{config};
    const auto w = c.worker();
    const Task t = c.submit("x", {}, c.client("alice"));
    c.close(t.session);
    EXPECT_EQ(c.state(t), "leased");
    c.settle(w, c.lease(t), wire::Outcome::Succeeded, "kept");
    EXPECT_EQ(c.value(c.attach(t.id, c.client("alice"))), "kept");
}

TEST(Session, TheTasksOfALostWorkersOwnSessionAreCancelled) {
    Cluster c;
    const auto w = c.worker();
    const auto w2 = c.worker();
    const Task nested = c.submit("x", {}, w);
    ASSERT_TRUE(c.accepted(nested));
    ASSERT_EQ(c.holder(nested), w2);
    c.lose(w);
    EXPECT_EQ(c.state(nested), "cancelling");
}

TEST(Session, AStreamBelongsToOneSessionAndOnePrincipal) {
    Cluster c;
    const auto a = c.client("alice", 777);
    SessionInfo info;
    info.stream = 777;
    info.principal = "alice";
    SessionIx ix = 0;
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::Denied);
    c.submit("x", {.detached = true}, a);
    c.close(a);
    info.principal = "mallory";
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::Denied);
    info.principal = "alice";
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::None);
    c.step("open");
}

TEST(Session, AWorkerThatServesAnUnknownQueueIsRejected) {
    Cluster c;
    SessionInfo info;
    info.role = wire::Role::Worker;
    info.queues = {"nowhere"};
    SessionIx ix = 0;
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::NoSuchQueue);
    EXPECT_EQ(ix, kNoSession);
}

TEST(Session, AThousandComeAndGoWithoutATrace) {
    Cluster c;
    const auto w = c.worker();
    for (int i = 0; i < 1000; ++i) {
        const auto s = c.client("user" + std::to_string(i % 7));
        const Task t = c.submit("x", {}, s);
        c.finish(t);
        c.close(s);
    }
    EXPECT_EQ(c.engine->snapshot(c.now).sessions.size(), 1U);
    EXPECT_EQ(c.engine->snapshot(c.now).memory_used, 0U);
    EXPECT_LE(c.client(), 3U) << "indexes are used again";
    EXPECT_EQ(c.engine->snapshot(c.now).workers[0].done, 1000U);
    c.close(w);
}

TEST(Results, WaitWhileTheClientIsNotWritableAndKeepTheirOrder) {
    Cluster c;
    c.worker();
    const auto tasks = c.submit_many(5);
    c.engine->set_writable(tasks[0].session, false, c.now, c.effects);
    for (const Task& t : tasks) c.finish(t, std::to_string(t.seq), 1s);
    EXPECT_TRUE(c.ends.empty());
    c.engine->set_writable(tasks[0].session, true, c.now, c.effects);
    c.step("writable");
    EXPECT_EQ(c.end_order, tasks);
    EXPECT_EQ(c.value(tasks[3]), std::to_string(tasks[3].seq));
    EXPECT_EQ(c.engine->snapshot(c.now).memory_used, 0U);
}

TEST(Results, ARetainedLargeResultArrivesWhole) {
    Cluster c;
    c.worker();
    const Task t = c.submit();
    c.engine->set_writable(t.session, false, c.now, c.effects);
    c.finish(t, std::string(300'000, 'r'));
    c.engine->set_writable(t.session, true, c.now, c.effects);
    c.step("writable");
    EXPECT_EQ(c.value(t), std::string(300'000, 'r'));
}

TEST(Results, AreHeldToTheClientsCredit) {
    Cluster c;
    c.worker();
    const auto tasks = c.submit_many(10);
    const SessionIx s = tasks[0].session;
    c.engine->grant_results(s, 3, 1000, c.now, c.effects);
    for (const Task& t : tasks) c.finish(t, "v", 1s);
    EXPECT_EQ(c.ends.size(), 3U);
    c.engine->grant_results(s, 5, 1000, c.now, c.effects);
    c.engine->grant_results(s, 4, 1000, c.now, c.effects);
    c.step("grant");
    EXPECT_EQ(c.ends.size(), 5U) << "the larger limit counts, it is not added";
    c.engine->grant_results(s, 100, 1000, c.now, c.effects);
    c.step("grant");
    EXPECT_EQ(c.end_order, tasks);
}

TEST(Results, AtTheByteCapTheSessionsTasksAreNoLongerLeased) {
    Config config;
    config.result_bytes_per_session_max = 1000;
    Cluster c{config};
    c.worker();
    const auto lazy = c.client("alice"), other = c.client("alice");
    const auto tasks = c.submit_many(10, "x", {}, lazy);
    c.engine->set_writable(lazy, false, c.now, c.effects);
    c.finish(tasks[0], std::string(2000, 'r'));
    EXPECT_TRUE(c.engine->snapshot(c.now).sessions[1].paused);
    EXPECT_EQ(c.state(tasks[2]), "ready");
    const Task another = c.submit("x", {}, other);
    if (c.state(tasks[1]) == "leased") c.finish(tasks[1]);
    EXPECT_EQ(c.state(another), "leased") << "others go on";
    EXPECT_EQ(c.state(tasks[2]), "ready") << "nothing is dropped, work waits";
    c.engine->set_writable(lazy, true, c.now, c.effects);
    c.step("writable");
    c.finish(another);
    EXPECT_EQ(c.state(tasks[2]), "leased");
}

TEST(Numbers, BelowTheFloorAreForgottenNeverRunAgain) {
    Cluster c;
    c.worker();
    const Task t = c.submit();
    c.finish(t);
    c.floor(t.session, 10);
    const Task again = c.submit("x", {.seq = t.seq});
    EXPECT_EQ(c.forgotten.count(again), 1U);
    EXPECT_EQ(c.engine->counters().leased, 1U);
    EXPECT_TRUE(c.accepted(c.submit("x", {.seq = 10})));
}

TEST(Numbers, ASettledOneIsNeverRunAgainEvenAboveTheFloor) {
    Cluster c;
    c.worker({.threads = 2});
    const Task first = c.submit(), second = c.submit();
    c.finish(second);
    const Task again = c.submit("x", {.seq = second.seq});
    EXPECT_EQ(c.forgotten.count(again), 1U);
    c.finish(first);
}

TEST(Numbers, TheSameOneTwiceIsOneTask) {
    Cluster c;
    c.worker({.threads = 2});
    const Task t = c.submit();
    c.submit("x", {.seq = t.seq});
    EXPECT_EQ(c.engine->counters().leased, 1U);
    c.finish(t);
    EXPECT_EQ(c.ends.size(), 1U);
}

TEST(Numbers, AWindowIsAtMostAMillionWide) {
    Cluster c;
    c.submit();
    EXPECT_TRUE(c.accepted(c.submit("x", {.seq = wire::kWindowMax})));
    EXPECT_EQ(c.refused(c.submit("x", {.seq = wire::kWindowMax + 1})), wire::Code::Busy);
    EXPECT_EQ(c.refused(c.submit("x", {.seq = UINT64_MAX})), wire::Code::Busy);
    c.floor(0, UINT64_MAX);
}

TEST(Numbers, DetachedTasksStayReachableBelowTheFloor) {
    Cluster c;
    c.worker();
    const auto s = c.client("alice");
    const Task t = c.submit("x", {.detached = true}, s);
    c.finish(t, "kept");
    c.floor(s, 100);
    EXPECT_EQ(c.value(c.attach(t.id, c.client("alice"))), "kept");
    EXPECT_EQ(c.row(t).state, "succeeded");
}

TEST(Partial, ProgressReachesEveryHandle) {
    Cluster c;
    const auto w = c.worker();
    const auto a = c.client("alice"), b = c.client("alice");
    const Task first = c.submit("x", {.key = "k"}, a), second = c.submit("x", {.key = "k"}, b);
    c.engine->partial(w, c.lease(first), 0.5, "half", c.effects);
    c.engine->partial(w, 12345, 0.5, "stale", c.effects);
    c.step("partial");
    EXPECT_EQ(c.count(Effect::Kind::Partial), 2U);
    EXPECT_EQ(c.last(Effect::Kind::Partial).seq, second.seq);
    EXPECT_EQ(c.filed.back().text, "half");
}

TEST(Status, TellsWhatIsWhere) {
    Cluster c;
    const auto w = c.worker({.threads = 2});
    const Task t = c.submit();
    c.start(t);
    c.submit("x", {.delay = 1h});
    c.submit("unknown");
    const auto shot = c.engine->snapshot(c.now);
    ASSERT_EQ(shot.queues.size(), 1U);
    EXPECT_EQ(shot.queues[0].running, 1U);
    EXPECT_EQ(shot.queues[0].scheduled, 1U);
    EXPECT_EQ(shot.queues[0].ready, 1U);
    ASSERT_EQ(shot.workers.size(), 1U);
    EXPECT_EQ(shot.workers[0].state, "busy");
    EXPECT_EQ(shot.workers[0].task, "x");
    EXPECT_EQ(shot.workers[0].task_id, base::to_string(t.id));
    const auto row = c.row(t);
    EXPECT_EQ(row.queue, "default");
    EXPECT_EQ(row.worker, "worker-host:" + std::to_string(shot.workers[0].pid));
    Engine::TaskRow none;
    EXPECT_FALSE(c.engine->find_task({1, 1}, none));
    c.close(w);
}

}  // namespace forkmill::engine::test
