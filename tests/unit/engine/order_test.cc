// SPDX-License-Identifier: Apache-2.0
// Who goes next, and who gets it: order, fairness, capabilities, prefetch (semantics.md 18, 25).
#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

namespace {

/// Works everything off with one worker and tells the order of the leases.
std::vector<Task> run_all(Cluster& c, WorkerOptions options = {}) {
    c.lease_order.clear();
    const SessionIx w = c.worker(options);
    for (int i = 0; i < 100'000; ++i) {
        const auto held = c.held(w);
        if (held.empty()) break;
        for (const Task& task : held) c.finish(task, "", 1s);
    }
    return c.lease_order;
}

std::vector<std::string> queues(std::string a, std::string b) {
    return {a, b};
}

}  // namespace

TEST(Order, FirstAttemptsStartInSubmitOrder) {
    Cluster c;
    const auto tasks = c.submit_many(50);
    EXPECT_EQ(run_all(c), tasks);
}

TEST(Order, SubmitOrderHoldsAcrossFunctionsOfOnePriority) {
    Cluster c;
    std::vector<Task> tasks;
    c.automatic = false;
    for (int i = 0; i < 20; ++i) tasks.push_back(c.submit(i % 3 == 0 ? "x" : "y"));
    c.automatic = true;
    EXPECT_EQ(run_all(c), tasks);
}

TEST(Order, AHigherPriorityGoesFirst) {
    Cluster c;
    const Task low = c.submit("x", {.priority = 0});
    const Task high = c.submit("x", {.priority = 5});
    EXPECT_EQ(run_all(c), (std::vector<Task>{high, low}));
}

TEST(Order, OnePriorityIsWorthOneSecondOfAge) {
    Cluster c;
    const Task old = c.submit("x", {.priority = 0});
    c.pass(2100ms);
    const Task fresh = c.submit("x", {.priority = 2});
    const Task urgent = c.submit("x", {.priority = 3});
    EXPECT_EQ(run_all(c), (std::vector<Task>{urgent, old, fresh}));
}

TEST(Order, AFunctionNobodyRunsHoldsUpNoOther) {
    Cluster c;
    const Task stuck = c.submit("unknown");
    const Task runs = c.submit("x");
    const auto w = c.worker();
    EXPECT_EQ(c.holder(runs), w);
    EXPECT_EQ(c.state(stuck), "ready");
    const auto snapshot = c.engine->snapshot(c.now);
    ASSERT_EQ(snapshot.queues[0].waiting.size(), 1U);
    EXPECT_EQ(snapshot.queues[0].waiting[0], "no worker offers \"unknown\"");
    const auto able = c.worker({.offers = {{"unknown", "i32"}}});
    EXPECT_EQ(c.holder(stuck), able);
}

TEST(Order, EachWorkerGetsWhatItOffers) {
    Cluster c;
    const auto wx = c.worker({.offers = {{"x", "i32"}}});
    const auto wy = c.worker({.offers = {{"y", "i32"}}});
    const Task y = c.submit("y");
    const Task x = c.submit("x");
    EXPECT_EQ(c.holder(x), wx);
    EXPECT_EQ(c.holder(y), wy);
}

TEST(Order, ABareFunctionRunsWhereItsBuildIs) {
    Cluster c;
    c.worker({.offers = {{"x", "i32"}}});
    const auto w = c.worker({.offers = {{"@build", ""}}});
    const Task t = c.submit("@build+0x1234");
    EXPECT_EQ(c.holder(t), w);
}

TEST(Order, OfAnotherBuildIsForeignCode) {
    Cluster c;
    c.worker();
    const Task t = c.submit("@other+0x1234");
    EXPECT_EQ(c.refused(t), wire::Code::ForeignCode);
}

TEST(Order, WithoutAnyWorkerABareFunctionWaits) {
    Cluster c;
    const Task t = c.submit("@build+0x1234");
    EXPECT_EQ(c.state(t), "ready");
    const Task foreign = c.submit("@other+0x1234");
    c.worker();
    EXPECT_EQ(c.state(t), "leased");
    EXPECT_EQ(c.outcome(foreign), wire::Outcome::Failed);
    EXPECT_EQ(c.error(foreign), wire::Code::ForeignCode);
}

TEST(Order, InAnEmbeddedPoolWhatIsNotThereWasNotInTheSnapshot) {
    Config config;
    config.local = true;
    Cluster c{config};
    c.worker();
    EXPECT_EQ(c.refused(c.submit("unbound")), wire::Code::NotInSnapshot);
    EXPECT_EQ(c.refused(c.submit("@other+0x1")), wire::Code::NotInSnapshot);
}

TEST(Order, ASignatureMismatchNamesBothTexts) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.signature = "[f64]"});
    EXPECT_EQ(c.refused(t), wire::Code::SignatureMismatch);
    const std::string text = c.refusals.at(t).second;
    EXPECT_NE(text.find("[f64]"), std::string::npos) << text;
    EXPECT_NE(text.find("i32"), std::string::npos) << text;
}

TEST(Order, AWaitingTaskWithAnotherSignatureFailsWhenTheWorkerComes) {
    Cluster c;
    const Task t = c.submit("x", {.signature = "[f64]"});
    EXPECT_EQ(c.state(t), "ready");
    c.worker();
    EXPECT_EQ(c.error(t), wire::Code::SignatureMismatch);
}

TEST(Order, OneWorkerWithTheRightSignatureIsEnough) {
    Cluster c;
    c.worker({.offers = {{"x", "old"}}});
    const auto w = c.worker();
    EXPECT_EQ(c.holder(c.submit("x")), w);
}

TEST(Fairness, TwoSessionsOfOnePrincipalShareEvenly) {
    Cluster c;
    const auto a = c.client("alice"), b = c.client("alice");
    c.submit_many(100, "x", {}, a);
    c.submit_many(100, "x", {}, b);
    const auto order = run_all(c);
    int of_b = 0;
    for (int i = 0; i < 40; ++i)
        of_b += order[static_cast<std::size_t>(i)].id.stream == c.stream(b);
    EXPECT_NEAR(of_b, 20, 2);
}

TEST(Fairness, PrincipalsShareWhateverTheirNumberOfSessions) {
    Cluster c;
    const auto b = c.client("bob");
    for (int i = 0; i < 4; ++i) c.submit_many(100, "x", {}, c.client("alice"));
    c.submit_many(100, "x", {}, b);
    const auto order = run_all(c);
    int of_b = 0;
    for (int i = 0; i < 60; ++i)
        of_b += order[static_cast<std::size_t>(i)].id.stream == c.stream(b);
    EXPECT_NEAR(of_b, 30, 3);
}

TEST(Fairness, QueuesShareByWeight) {
    Config config;
    config.queues = {{"default", 1, 1000, 10, 1 << 20}, {"heavy", 3, 1000, 10, 1 << 20}};
    Cluster c{config};
    const auto s = c.client();
    c.submit_many(200, "x", {.queue = "default"}, s);
    c.submit_many(200, "x", {.queue = "heavy"}, s);
    const auto order = run_all(c, {.queues = queues("default", "heavy")});
    int heavy = 0;
    for (int i = 0; i < 80; ++i) heavy += order[static_cast<std::size_t>(i)].seq > 200;
    EXPECT_NEAR(heavy, 60, 3);
}

TEST(Fairness, WhoWasIdleCannotSaveUp) {
    Cluster c;
    const auto a = c.client("alice"), b = c.client("bob");
    c.submit_many(60, "x", {}, a);
    const SessionIx w = c.worker();
    for (int i = 0; i < 30; ++i) c.finish(c.held(w).at(0), "", 1s);
    c.submit_many(60, "x", {}, b);
    c.lease_order.clear();
    for (int i = 0; i < 20; ++i) c.finish(c.held(w).at(0), "", 1s);
    int of_b = 0;
    for (const Task& task : c.lease_order) of_b += task.id.stream == c.stream(b);
    EXPECT_NEAR(of_b, 10, 2) << "not all of them, though bob had nothing so far";
}

TEST(Prefetch, AnUnknownFunctionGetsNoMoreThanTheThreads) {
    Cluster c;
    const auto w = c.worker({.threads = 3});
    c.submit_many(100);
    EXPECT_EQ(c.held(w).size(), 3U);
}

TEST(Prefetch, TinyTasksFlowInBatchesOnceMeasured) {
    Cluster c;
    const auto w = c.worker();
    c.submit_many(5000);
    ASSERT_EQ(c.held(w).size(), 1U);
    c.finish(c.held(w)[0], "", 2us);
    EXPECT_GT(c.held(w).size(), 2000U);
    EXPECT_LE(c.held(w).size(), 2049U) << "prefetch_max";
}

TEST(Prefetch, HoldsFiftyMillisecondsOfWorkBeyondWhatRuns) {
    Cluster c;
    const auto w = c.worker();
    c.submit_many(100);
    c.finish(c.held(w)[0], "", 10ms);
    EXPECT_EQ(c.held(w).size(), 6U) << "one runs, five times 10 ms wait";
}

TEST(Prefetch, LongTasksNeverQueueBehindOneAnother) {
    Cluster c;
    const auto w = c.worker({.threads = 2});
    c.submit_many(100);
    c.finish(c.held(w)[0], "", 60ms);
    EXPECT_EQ(c.held(w).size(), 2U);
}

TEST(Prefetch, NothingWaitsAtAWorkerWhoseThreadsAreKnownToBeBusy) {
    Cluster c;
    const auto w = c.worker();
    c.submit_many(100);
    c.finish(c.held(w)[0], "", 10ms);
    const auto held = c.held(w);
    c.start(held[0]);  // It runs longer than it used to; the worker gives the others back.
    for (std::size_t i = 1; i < held.size(); ++i) c.give_back(held[i]);
    EXPECT_EQ(c.held(w).size(), 1U);
    const auto idle = c.worker();
    EXPECT_GT(c.held(idle).size(), 0U);
}

TEST(Prefetch, AnAtMostOnceTaskGoesToAFreeSlotOnly) {
    Cluster c;
    const auto w = c.worker();
    const SubmitOptions once{.at_most_once = true};
    c.submit("x", once);
    c.finish(c.held(w)[0], "", 1us);
    c.submit_many(50, "x", once);
    EXPECT_EQ(c.held(w).size(), 1U);
}

TEST(Prefetch, AnIdleWorkerIsServedBeforeABusyOneIsFilled) {
    Cluster c;
    const auto a = c.worker(), b = c.worker();
    const Task first = c.submit();
    c.finish(first, "", 1ms);
    const Task second = c.submit();
    const Task third = c.submit();
    EXPECT_NE(c.holder(second), c.holder(third));
    EXPECT_EQ(c.held(a).size(), 1U);
    EXPECT_EQ(c.held(b).size(), 1U);
}

TEST(Prefetch, ATinyBatchIsNotSplitThin) {
    Cluster c;
    std::vector<SessionIx> workers;
    for (int i = 0; i < 8; ++i) workers.push_back(c.worker());
    c.finish(c.submit(), "", 1us);
    c.submit_many(128);
    int busy = 0;
    for (const SessionIx w : workers) busy += !c.held(w).empty();
    EXPECT_EQ(busy, 1);
}

TEST(Prefetch, WorkThatIsWorthItIsSpreadOverAll) {
    Cluster c;
    std::vector<SessionIx> workers;
    for (int i = 0; i < 4; ++i) workers.push_back(c.worker());
    c.finish(c.submit(), "", 1ms);
    c.submit_many(40);
    for (const SessionIx w : workers) EXPECT_EQ(c.held(w).size(), 10U);
}

TEST(Prefetch, ADrainingSuspendedOrDisconnectedWorkerGetsNothing) {
    Cluster c;
    const auto w = c.worker({.threads = 8});
    c.engine->drain_worker(w, c.now, c.effects);
    c.step("drain");
    EXPECT_EQ(c.last(Effect::Kind::DrainWorker).session, w);
    const Task t = c.submit();
    EXPECT_EQ(c.state(t), "ready");
    const auto stopped = c.worker();
    c.finish(t);
    c.engine->suspend_worker(stopped, true, c.now, c.effects);
    c.step("suspend");
    const Task second = c.submit();
    EXPECT_EQ(c.state(second), "ready");
    c.disconnect(stopped);
    c.engine->suspend_worker(stopped, false, c.now, c.effects);
    c.step("continue");
    EXPECT_EQ(c.state(second), "ready");
    EXPECT_EQ(c.engine->snapshot(c.now).workers[1].state, "disconnected");
}

TEST(Lending, ABlockedTaskLendsItsSlot) {
    Cluster c;
    const auto w = c.worker();
    const Task outer = c.submit();
    const Task inner = c.submit();
    EXPECT_EQ(c.state(inner), "ready");
    c.start(outer);
    c.block(outer);
    EXPECT_EQ(c.holder(inner), w) << "one worker with one thread does not deadlock";
    c.finish(inner);
    c.block(outer, false);
    const Task later = c.submit();
    EXPECT_EQ(c.state(later), "ready") << "the slot was taken back";
    c.finish(outer);
    EXPECT_EQ(c.holder(later), w);
}

TEST(Lending, AtMostSixtyFourSlotsAreLent) {
    Cluster c;
    const auto w = c.worker({.threads = 2});
    c.submit_many(100, "x", {.at_most_once = true});
    for (int i = 0; i < 70; ++i)
        for (const Task& task : c.held(w)) c.block(task);
    EXPECT_EQ(c.engine->snapshot(c.now).workers[0].lent, 64U);
    EXPECT_EQ(c.held(w).size(), 66U);
}

}  // namespace forkmill::engine::test
