// SPDX-License-Identifier: Apache-2.0
// Worker deaths: who is blamed, who goes free, what a supervisor is asked to do (semantics.md
// 9-14b).
#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

TEST(Blame, ADeathWhileItRanCountsAndItRunsAgain) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit();
    c.lose(w, {t});
    EXPECT_EQ(c.state(t), "ready");
    EXPECT_EQ(c.row(t).crashes, 1U);
    const auto w2 = c.worker();
    EXPECT_EQ(c.holder(t), w2);
    EXPECT_EQ(c.row(t).attempt, 2U);
    EXPECT_EQ(c.engine->leased(c.lease(t)).crashes, 1U);
    c.finish(t);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Succeeded);
}

TEST(Blame, AtTheCrashLimitItIsDeadWithEveryReason) {
    Cluster c;
    const Task t = c.submit();
    for (int i = 0; i < 3; ++i) {
        EXPECT_FALSE(c.ended(t));
        c.lose(c.worker(), {t});
    }
    EXPECT_EQ(c.outcome(t), wire::Outcome::Dead);
    const wire::ErrorInfo& error = c.end(t).error;
    EXPECT_EQ(error.code, wire::Code::WorkerLost);
    EXPECT_EQ(error.cause, "signal");
    EXPECT_EQ(error.number, 11);
    EXPECT_EQ(error.host, "worker-host");
    EXPECT_EQ(error.ran, wire::Ran::Yes);
    EXPECT_NE(error.detail.find("attempt 1"), std::string::npos) << error.detail;
    EXPECT_NE(error.detail.find("attempt 3"), std::string::npos) << error.detail;
    EXPECT_NE(error.detail.find("Segmentation fault"), std::string::npos) << error.detail;
    EXPECT_EQ(c.engine->snapshot(c.now).queues[0].dead, 1U);
}

std::string detail_after(const std::string& last_words) {
    Cluster c;
    const Task t = c.submit("x", {.crash_limit = 1});
    const SessionIx worker = c.worker();
    DeathInfo death = c.death_of(worker, {c.lease(t)});
    death.stderr_tail = last_words;
    c.tell_death(death);
    return c.end(t).error.detail;
}

TEST(Blame, ALongLastWordLosesItsBeginning) {
    const std::string detail = detail_after("the start" + std::string(3000, 'x') + "the end");
    EXPECT_EQ(detail.find("the start"), std::string::npos);
    EXPECT_NE(detail.find("the end\n"), std::string::npos) << detail;
    EXPECT_TRUE(detail.starts_with("attempt 1: ")) << detail;
    EXPECT_LE(detail.size(), 2049U);
}

TEST(Blame, ALongCrashReportKeepsItsHead) {
    const std::string head = "forkmill: crashed by SIGSEGV at address 0x0 in thread 1\n";
    const std::string detail = detail_after(head + std::string(3000, 'x') + "the end");
    EXPECT_NE(detail.find(head), std::string::npos) << detail;
    EXPECT_EQ(detail.find("the end"), std::string::npos);
    EXPECT_LE(detail.size(), 2049U);
}

TEST(Blame, TheReportSaysWhetherThereIsACoreAndHowLargeTheWorkerWas) {
    for (const bool at_most_once : {false, true}) {
        SCOPED_TRACE(at_most_once);
        Cluster c;
        const Task t = c.submit("x", {.crash_limit = 1, .at_most_once = at_most_once});
        const SessionIx worker = c.worker();
        DeathInfo death = c.death_of(worker, {c.lease(t)});
        death.core_dumped = true;
        death.rss_peak = 48 * 1024 * 1024;
        c.tell_death(death);
        const std::string detail = c.end(t).error.detail;
        EXPECT_NE(detail.find(", core dumped, peak resident memory 48 MiB\n"), std::string::npos)
            << detail;
        EXPECT_NE(detail.find("Segmentation fault"), std::string::npos) << detail;
    }
}

TEST(Blame, CrashesAndFailuresDoNotTouchEachOther) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.max_retries = 2, .crash_limit = 2});
    c.fail(t);
    c.pass(1s);
    c.lose(c.holder(t), {t});
    c.worker();
    EXPECT_EQ(c.row(t).failures, 1U);
    EXPECT_EQ(c.row(t).crashes, 1U);
    c.fail(t);
    c.pass(1s);
    EXPECT_EQ(c.state(t), "leased") << "the second retry";
    c.lose(c.holder(t), {t});
    EXPECT_EQ(c.outcome(t), wire::Outcome::Dead);
}

TEST(Blame, WhatWasMerelyHeldReturnsFreeInOrder) {
    Cluster c;
    const auto w = c.worker();
    const auto tasks = c.submit_many(10);
    c.finish(tasks[0], "", 1us);
    ASSERT_EQ(c.held(w).size(), 9U);
    c.lose(w, {tasks[1]});
    for (std::size_t i = 2; i < 10; ++i) {
        EXPECT_EQ(c.state(tasks[i]), "ready");
        EXPECT_EQ(c.row(tasks[i]).crashes, 0U);
    }
    const Task late = c.submit();
    c.lease_order.clear();
    c.worker();
    std::vector<Task> expected(tasks.begin() + 1, tasks.end());
    expected.push_back(late);
    EXPECT_EQ(c.lease_order, expected);
}

TEST(Blame, ExpectedDeathsBlameNobody) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit("x", {.crash_limit = 1});
    DeathInfo recycle = c.death_of(w, {c.lease(t)});
    recycle.expected = true;
    c.tell_death(recycle);
    EXPECT_EQ(c.state(t), "ready");
    EXPECT_EQ(c.row(t).crashes, 0U);
}

TEST(Blame, ALostHostBlamesNobody) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit("x", {.crash_limit = 1});
    DeathInfo lost = c.death_of(w, {c.lease(t)});
    lost.host_lost = true;
    c.tell_death(lost);
    EXPECT_EQ(c.state(t), "ready");
    EXPECT_EQ(c.row(t).crashes, 0U);
}

TEST(Blame, AtMostOnceEndsWithWhatIsKnown) {
    for (const bool ran : {true, false}) {
        Cluster c;
        const auto w = c.worker();
        const Task t = c.submit("x", {.at_most_once = true});
        c.lose(w, ran ? std::vector<Task>{t} : std::vector<Task>{});
        EXPECT_EQ(c.outcome(t), wire::Outcome::Dead);
        EXPECT_EQ(c.error(t), wire::Code::WorkerLost);
        EXPECT_EQ(c.end(t).error.ran, ran ? wire::Ran::Yes : wire::Ran::No);
    }
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit("x", {.at_most_once = true});
    DeathInfo lost = c.death_of(w);
    lost.host_lost = true;
    c.tell_death(lost);
    EXPECT_EQ(c.end(t).error.ran, wire::Ran::Maybe);
}

TEST(Blame, AtMostOnceThatIsGivenBackRunsLater) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.at_most_once = true});
    c.give_back(t);
    EXPECT_EQ(c.state(t), "leased");
    c.finish(t);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Succeeded);
}

TEST(Blame, SeveralRunningAreSuspectsAndDeliveredAlone) {
    Cluster c;
    const auto w = c.worker({.threads = 2});
    const Task a = c.submit(), b = c.submit();
    c.lose(w, {a, b});
    EXPECT_EQ(c.row(a).crashes, 0U);
    EXPECT_EQ(c.row(b).crashes, 0U);
    EXPECT_EQ(c.engine->counters().suspects, 2U);
    const Task other = c.submit();
    const auto w2 = c.worker({.threads = 2});
    ASSERT_EQ(c.held(w2).size(), 1U) << "one suspect and nothing beside it";
    const Task first = c.held(w2)[0];
    EXPECT_TRUE(first == a || first == b);
    c.lose(w2, {first});
    EXPECT_EQ(c.row(first).crashes, 1U) << "now it is clear who did it";
    const auto w3 = c.worker({.threads = 2});
    c.finish(c.held(w3).at(0));
    c.finish(c.held(w3).at(0));
    c.finish(c.held(w3).at(0));
    EXPECT_TRUE(c.ended(a) && c.ended(b) && c.ended(other));
}

TEST(Blame, WhatSettledBeforeTheNoticeIsNoSuspect) {
    Cluster c;
    const auto w = c.worker({.threads = 2});
    const Task done = c.submit(), culprit = c.submit();
    const DeathInfo death = c.death_of(w, {c.lease(done), c.lease(culprit)});
    c.finish(done);
    c.tell_death(death);
    EXPECT_EQ(c.row(culprit).crashes, 1U) << "the other one had left its cell";
}

TEST(Blame, ABusyWorkerIsEmptiedForASuspect) {
    Cluster c;
    const auto busy = c.worker({.threads = 2, .offers = {{"x", "i32"}, {"y", "i32"}}});
    c.submit_many(20, "y");
    const auto w = c.worker({.threads = 2, .offers = {{"x", "i32"}}});
    const Task a = c.submit(), b = c.submit();
    ASSERT_EQ(c.held(w).size(), 2U);
    c.lose(w, {a, b});
    int steps = 0;
    while (!(c.ended(a) && c.ended(b)) && ++steps < 20) c.finish(c.held(busy).at(0), "", 60ms);
    EXPECT_EQ(steps, 4) << "two to empty it, then the suspects one by one";
}

TEST(Blame, TheNoticeMayComeAfterTheSessionClosed) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit();
    const DeathInfo death = c.death_of(w, {c.lease(t)});
    c.close(w);
    EXPECT_EQ(c.state(t), "ready");
    EXPECT_EQ(c.row(t).crashes, 0U);
    c.tell_death(death);
    EXPECT_EQ(c.row(t).crashes, 1U) << "blamed while it still waits";
    c.tell_death(death);
    EXPECT_EQ(c.row(t).crashes, 2U);
}

TEST(Blame, ANoticeForAWorkerThatNeverSpokeIsFine) {
    Cluster c;
    const auto w = c.worker({.slot = 5, .birth = 1});
    DeathInfo unknown = c.death_of(w);
    unknown.slot = 77;
    c.tell_death(unknown);
    SessionInfo info;
    info.role = wire::Role::Worker;
    info.host_key = "host";
    info.pool = "pool";
    info.slot = 77;
    info.birth = 1;
    SessionIx ix = 0;
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::WorkerLost)
        << "a HELLO that outlived its process opens nothing";
    info.birth = 2;
    EXPECT_EQ(c.engine->open_session(info, c.now, c.effects, ix), wire::Code::None);
    c.step("open");
}

TEST(Blame, ADisconnectIsNoDeathUntilTheSilenceIsTooLong) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit("x", {.crash_limit = 1});
    const Lease lease = c.lease(t);
    c.disconnect(w);
    c.pass(7s);
    EXPECT_EQ(c.state(t), "leased");
    c.reconnect(w);
    c.pass(60s);
    EXPECT_EQ(c.state(t), "leased");
    c.disconnect(w);
    c.pass(8s);
    EXPECT_EQ(c.state(t), "ready");
    EXPECT_EQ(c.row(t).crashes, 0U);
    EXPECT_EQ(c.last(Effect::Kind::Stale).lease, lease);
    c.reconnect(w);
    EXPECT_EQ(c.settle(w, lease, wire::Outcome::Succeeded, "zombie"), Settled::Stale);
    EXPECT_EQ(c.holder(t), w) << "it may work again";
}

TEST(Blame, ASilentWorkersSessionEndsLater) {
    Cluster c;
    const auto w = c.worker();
    c.disconnect(w);
    c.pass(8s);
    EXPECT_EQ(c.engine->snapshot(c.now).workers[0].state, "silent");
    c.pass(60s);
    EXPECT_TRUE(c.engine->snapshot(c.now).workers.empty());
    EXPECT_EQ(c.last(Effect::Kind::CloseSession).session, w);
}

TEST(HardTimeout, AWorkerThatDoesNotSettleIsKilled) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit("x", {.timeout = 2s});
    c.start(t);
    c.pass(2900ms);
    EXPECT_EQ(c.count(Effect::Kind::KillWorker), 0U) << "its own I/O thread has kill_grace";
    c.pass(200ms);
    EXPECT_EQ(c.last(Effect::Kind::KillWorker).session, w);
    EXPECT_EQ(c.last(Effect::Kind::KillWorker).code, wire::Code::TaskTimeout);
    c.lose(w, {t});
    EXPECT_EQ(c.outcome(t), wire::Outcome::Failed);
    EXPECT_EQ(c.error(t), wire::Code::TaskTimeout);
}

TEST(HardTimeout, ATimeoutThatKillsIsRetriedAsAFailure) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit("x", {.timeout = 1s, .max_retries = 1});
    c.start(t);
    c.pass(3s);
    c.lose(w, {t});
    EXPECT_EQ(c.state(t), "scheduled");
    EXPECT_EQ(c.row(t).crashes, 0U);
    EXPECT_EQ(c.row(t).failures, 1U);
}

TEST(HardTimeout, SiblingsOfAKilledWorkerReturnUncounted) {
    Cluster c;
    const auto w = c.worker({.threads = 3});
    const Task slow = c.submit("x", {.timeout = 1s});
    const Task sibling = c.submit("x", {.crash_limit = 1});
    const Task once = c.submit("x", {.at_most_once = true});
    for (const Task& t : {slow, sibling, once}) c.start(t);
    c.pass(3s);
    c.lose(w, {slow, sibling, once});
    EXPECT_EQ(c.state(sibling), "ready");
    EXPECT_EQ(c.row(sibling).crashes, 0U);
    EXPECT_EQ(c.error(once), wire::Code::WorkerLost);
}

TEST(HardTimeout, ASiblingIsNotBlamedForAKillThatWasOurs) {
    Cluster c;
    const auto w = c.worker({.threads = 2});
    const Task victim = c.submit(), sibling = c.submit();
    c.cancel(victim, true);
    c.pass(1s);
    c.lose(w, {sibling});
    EXPECT_EQ(c.outcome(victim), wire::Outcome::Cancelled);
    EXPECT_EQ(c.row(sibling).crashes, 0U);
}

TEST(HardTimeout, ADoomedWorkerGetsNoMoreTasksAndTheOrderIsRepeated) {
    Cluster c;
    c.worker({.threads = 2});
    const Task t = c.submit("x", {.timeout = 1s});
    c.start(t);
    c.pass(3s);
    const Task next = c.submit();
    EXPECT_EQ(c.state(next), "ready");
    c.pass(5s);
    EXPECT_EQ(c.count(Effect::Kind::KillWorker), 2U);
}

TEST(HardTimeout, AnUnstartedLeaseIsWatchedToo) {
    Cluster c;
    c.worker();
    c.submit("x", {.timeout = 1s});
    c.pass(10s);
    EXPECT_GE(c.count(Effect::Kind::KillWorker), 1U);
}

TEST(PoolBroken, WaitingTasksEndUntilAWorkerIsReady) {
    Cluster c;
    const Task waiting = c.submit();
    const Task delayed = c.submit("x", {.delay = 10s});
    c.engine->set_pool_broken("pool", true, "initializer threw: no GPU", c.now, c.effects);
    c.step("broken");
    EXPECT_EQ(c.error(waiting), wire::Code::PoolBroken);
    EXPECT_EQ(c.end(waiting).error.what, "initializer threw: no GPU");
    EXPECT_EQ(c.error(delayed), wire::Code::PoolBroken);
    const Task fresh = c.submit();
    EXPECT_EQ(c.refused(fresh), wire::Code::PoolBroken);
    const auto w = c.worker();
    EXPECT_EQ(c.holder(c.submit()), w);
}

TEST(PoolBroken, AnotherPoolThatServesTheQueueKeepsItAlive) {
    Config config;
    config.pools = {{"a", {"default"}}, {"b", {"default"}}};
    Cluster c{config};
    const Task t = c.submit();
    c.engine->set_pool_broken("a", true, "broken", c.now, c.effects);
    c.step("broken");
    EXPECT_EQ(c.state(t), "ready");
    c.engine->set_pool_broken("b", true, "broken too", c.now, c.effects);
    c.step("broken");
    EXPECT_EQ(c.error(t), wire::Code::PoolBroken);
}

TEST(PoolBroken, NothingIsSettledBeforeAllHaveComeBack) {
    Cluster c{{}, 2};
    const Task t = c.submit();
    c.engine->set_pool_broken("pool", true, "broken", c.now, c.effects);
    c.step("broken while it recovers");
    EXPECT_EQ(c.state(t), "ready");
    c.pass(11s);
    EXPECT_EQ(c.error(t), wire::Code::PoolBroken);
}

}  // namespace forkmill::engine::test
