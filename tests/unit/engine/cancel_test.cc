// SPDX-License-Identifier: Apache-2.0
// Cancel, dependencies, keys and attach: what several parties want of one task.
#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

TEST(Cancel, WaitingTasksEndAtOnce) {
    Cluster c;
    const Task ready = c.submit(), scheduled = c.submit("x", {.delay = 1h});
    c.cancel(ready);
    c.cancel(scheduled);
    EXPECT_EQ(c.outcome(ready), wire::Outcome::Cancelled);
    EXPECT_EQ(c.error(ready), wire::Code::TaskCancelled);
    EXPECT_EQ(c.end(ready).error.ran, wire::Ran::No);
    EXPECT_EQ(c.outcome(scheduled), wire::Outcome::Cancelled);
}

TEST(Cancel, ARunningOneIsAskedAndItsEndIsWhatIsRecordedFirst) {
    Cluster c;
    const auto w = c.worker({.threads = 3});
    const Task obeys = c.submit(), wins = c.submit(), fails = c.submit("x", {.max_retries = 5});
    for (const Task& t : {obeys, wins, fails}) {
        c.cancel(t);
        EXPECT_EQ(c.state(t), "cancelling");
        EXPECT_EQ(c.last(Effect::Kind::CancelLease).lease, c.lease(t));
        EXPECT_FALSE(c.last(Effect::Kind::CancelLease).kill);
    }
    c.settle(w, c.lease(obeys), wire::Outcome::Cancelled, "");
    EXPECT_EQ(c.outcome(obeys), wire::Outcome::Cancelled);
    c.finish(wins, "done");
    EXPECT_EQ(c.outcome(wins), wire::Outcome::Succeeded);
    c.fail(fails);
    EXPECT_EQ(c.outcome(fails), wire::Outcome::Failed) << "its retry is suppressed";
}

TEST(Cancel, LosingTheLeaseWhileCancellingIsCancelled) {
    Cluster c;
    const auto w = c.worker({.threads = 2});
    const Task lost = c.submit(), returned = c.submit();
    c.cancel(lost);
    c.cancel(returned);
    c.give_back(returned);
    EXPECT_EQ(c.outcome(returned), wire::Outcome::Cancelled);
    c.lose(w, {lost});
    EXPECT_EQ(c.outcome(lost), wire::Outcome::Cancelled);
}

TEST(Cancel, KillReachesTheSupervisorAfterTheGrace) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit();
    c.start(t);
    c.cancel(t, true);
    EXPECT_TRUE(c.last(Effect::Kind::CancelLease).kill);
    EXPECT_EQ(c.count(Effect::Kind::KillWorker), 0U);
    c.pass(1s);
    EXPECT_EQ(c.last(Effect::Kind::KillWorker).session, w);
    c.lose(w, {t});
    EXPECT_EQ(c.outcome(t), wire::Outcome::Cancelled);
}

TEST(Cancel, AskMayBeFollowedByKill) {
    Cluster c;
    c.worker();
    const Task t = c.submit();
    c.cancel(t);
    c.cancel(t);
    EXPECT_EQ(c.count(Effect::Kind::CancelLease), 1U);
    c.cancel(t, true);
    c.cancel(t, true);
    EXPECT_EQ(c.count(Effect::Kind::CancelLease), 2U);
}

TEST(Cancel, AllSparesDetachedTasksAndOtherSessions) {
    Cluster c;
    const auto a = c.client("alice"), b = c.client("alice");
    const Task plain = c.submit("x", {}, a), detached = c.submit("x", {.detached = true}, a);
    const Task other = c.submit("x", {}, b);
    c.cancel_all(a);
    EXPECT_TRUE(c.ended(plain));
    EXPECT_FALSE(c.ended(detached));
    EXPECT_FALSE(c.ended(other));
}

TEST(Cancel, WhatIsSettledOrUnknownIsLeftAlone) {
    Cluster c;
    c.worker();
    const Task t = c.submit();
    c.finish(t);
    c.cancel(t);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Succeeded);
    c.cancel({t.session, 12345, {}});
}

TEST(Dependencies, TheOuterTaskWaitsAndGetsTheValues) {
    Cluster c;
    c.worker({.threads = 4});
    const Task a = c.submit(), b = c.submit();
    const Task sum = c.submit("y", {.arguments = {{0, a}, {1, b}}});
    EXPECT_EQ(c.state(sum), "scheduled");
    c.finish(a, "1");
    EXPECT_EQ(c.state(sum), "scheduled");
    c.finish(b, "2");
    EXPECT_EQ(c.state(sum), "leased");
    const Leased leased = c.engine->leased(c.lease(sum));
    ASSERT_EQ(leased.dependencies.size(), 2U);
    EXPECT_EQ(leased.dependencies[0].first, 0U);
    EXPECT_EQ(base::text_of(leased.dependencies[0].second.view), "1");
    EXPECT_EQ(base::text_of(leased.dependencies[1].second.view), "2");
}

TEST(Dependencies, OneResultMayBeTwoArguments) {
    Cluster c;
    c.worker({.threads = 4});
    const Task a = c.submit();
    const Task twice = c.submit("y", {.arguments = {{0, a}, {1, a}}});
    c.finish(a, "v");
    EXPECT_EQ(c.engine->leased(c.lease(twice)).dependencies.size(), 2U);
}

TEST(Dependencies, AChainOfAThousandRunsWithoutTheClient) {
    Cluster c;
    const auto w = c.worker();
    std::vector<Task> chain = {c.submit()};
    for (int i = 1; i < 1000; ++i)
        chain.push_back(c.submit("x", {.arguments = {{0, chain.back()}}}));
    c.disconnect(chain[0].session);
    for (const Task& link : chain) {
        ASSERT_EQ(c.holder(link), w);
        c.finish(link, "v", 60ms);
    }
    EXPECT_TRUE(c.ended(chain.back()));
}

TEST(Dependencies, AnInnerFailureReachesTheEndOfAChainWithItsCause) {
    Cluster c;
    c.worker();
    std::vector<Task> chain = {c.submit()};
    for (int i = 1; i < 1000; ++i)
        chain.push_back(c.submit("x", {.arguments = {{0, chain.back()}}}));
    c.fail(chain[0]);
    EXPECT_EQ(c.error(chain.back()), wire::Code::DependencyFailed);
    EXPECT_EQ(c.error(chain[1]), wire::Code::DependencyFailed);
    ASSERT_FALSE(c.end(chain[1]).error.nested.empty());
    EXPECT_EQ(c.end(chain[1]).error.nested[0].first, "std::runtime_error");
    EXPECT_EQ(c.end(chain[1]).error.nested[0].second, "it went wrong");
}

TEST(Dependencies, CancellingAnInnerTaskFailsTheOuterOne) {
    Cluster c;
    const Task inner = c.submit();
    const Task outer = c.submit("x", {.arguments = {{0, inner}}});
    c.cancel(inner);
    EXPECT_EQ(c.outcome(outer), wire::Outcome::Failed);
    EXPECT_EQ(c.error(outer), wire::Code::DependencyFailed);
}

TEST(Dependencies, ACancelledOuterTaskLeavesItsArgumentsAlone) {
    Cluster c;
    c.worker();
    const Task inner = c.submit();
    const Task outer = c.submit("x", {.arguments = {{0, inner}}});
    c.cancel(outer);
    EXPECT_EQ(c.outcome(outer), wire::Outcome::Cancelled);
    c.finish(inner);
    EXPECT_EQ(c.outcome(inner), wire::Outcome::Succeeded);
}

TEST(Dependencies, AnUnknownOneIsRefusedAndTheNumberMayComeAgain) {
    Cluster c;
    const Task t = c.submit("x", {.arguments = {{0, {0, 4711, {}}}}});
    EXPECT_EQ(c.refused(t), wire::Code::UnknownDependency);
    EXPECT_FALSE(c.accepted(t));
    c.refusals.clear();
    const Task again = c.submit("x", {.seq = t.seq});
    EXPECT_TRUE(c.accepted(again));
}

TEST(Dependencies, AResultThatJustWentOutMayStillBeNamed) {
    Cluster c;
    c.worker({.threads = 2});
    const Task a = c.submit();
    c.submit("x", {.arguments = {{0, a}}});  // From now on the session's results stay nameable.
    const Task b = c.submit();
    c.finish(a);
    c.finish(b, "late");
    ASSERT_TRUE(c.ended(b));
    const Task outer = c.submit("y", {.arguments = {{3, b}}});
    EXPECT_TRUE(c.accepted(outer));
    c.floor(b.session, outer.seq);
    const Task too_late = c.submit("y", {.arguments = {{0, b}}});
    EXPECT_EQ(c.refused(too_late), wire::Code::UnknownDependency);
}

TEST(Dependencies, ResultsBelowTheFloorAreNotKept) {
    Cluster c;
    c.worker({.threads = 2});
    const Task a = c.submit();
    const Task outer = c.submit("x", {.arguments = {{0, a}}});
    c.finish(a);
    c.floor(a.session, outer.seq + 1);  // A client that will not ask for it any more.
    c.finish(outer);
    EXPECT_EQ(c.engine->snapshot(c.now).tasks, 0U);
}

TEST(Dependencies, MoreThanSixtyFourAreRefused) {
    Cluster c;
    SubmitOptions options;
    for (std::uint32_t i = 0; i < 65; ++i) options.arguments.emplace_back(i, c.submit());
    EXPECT_EQ(c.refused(c.submit("x", options)), wire::Code::TooManyDependencies);
    options.arguments.pop_back();
    EXPECT_TRUE(c.accepted(c.submit("x", options)));
}

TEST(Dependencies, AnExpiredOuterTaskIsForgottenByItsArguments) {
    Cluster c;
    const Task inner = c.submit();
    const Task outer = c.submit("x", {.deadline = 1s, .arguments = {{0, inner}}});
    c.pass(1s);
    EXPECT_EQ(c.outcome(outer), wire::Outcome::Expired);
    c.worker();
    c.finish(inner);
}

TEST(Dependencies, ADelayThatPassesWhileArgumentsAreMissingDoesNotFireAgain) {
    Cluster c;
    const Task inner = c.submit();
    const Task outer = c.submit("x", {.delay = 1s, .arguments = {{0, inner}}});
    c.pass(5s);
    EXPECT_EQ(c.state(outer), "scheduled");
    EXPECT_EQ(c.engine->next_timer(), base::kNever);
}

TEST(Keys, TheSameKeyAndDigestIsTheSameTask) {
    Cluster c;
    const auto a = c.client("alice"), b = c.client("alice");
    const Task first = c.submit("x", {.key = "k"}, a);
    const Task second = c.submit("x", {.key = "k"}, b);
    EXPECT_TRUE(c.accepted(second));
    c.worker({.threads = 4});
    EXPECT_EQ(c.state(second), "scheduled") << "it never runs itself";
    c.finish(first, "once");
    EXPECT_EQ(c.value(first), "once");
    EXPECT_EQ(c.value(second), "once");
}

TEST(Keys, TheResultIsKeptForLaterSubmits) {
    Cluster c;
    c.worker();
    const Task first = c.submit("x", {.key = "k"});
    c.finish(first, "kept");
    c.pass(3500s);
    const Task second = c.submit("x", {.key = "k"});
    EXPECT_EQ(c.value(second), "kept");
    c.pass(200s);
    const Task third = c.submit("x", {.key = "k"});
    EXPECT_EQ(c.state(third), "leased") << "after result_ttl it is a new task";
}

TEST(Keys, OtherArgumentsUnderTheSameKeyConflict) {
    Cluster c;
    c.submit("x", {.key = "k", .body = "1"});
    EXPECT_EQ(c.refused(c.submit("x", {.key = "k", .body = "2"})), wire::Code::Conflict);
    EXPECT_EQ(c.refused(c.submit("y", {.key = "k", .body = "1"})), wire::Code::Conflict);
}

TEST(Keys, BelongToTheirPrincipal) {
    Cluster c;
    const Task a = c.submit("x", {.key = "k", .body = "1"}, c.client("alice"));
    const Task b = c.submit("x", {.key = "k", .body = "2"}, c.client("bob"));
    EXPECT_TRUE(c.accepted(a) && c.accepted(b));
}

TEST(Keys, CancellingOneHandleDetachesItTheLastOneCancels) {
    Cluster c;
    c.worker();
    const auto a = c.client("alice"), b = c.client("alice");
    const Task first = c.submit("x", {.key = "k"}, a), second = c.submit("x", {.key = "k"}, b);
    c.cancel(first);
    EXPECT_EQ(c.outcome(first), wire::Outcome::Cancelled);
    EXPECT_EQ(c.count(Effect::Kind::CancelLease), 0U) << "the other one still wants it";
    EXPECT_FALSE(c.ended(second));
    c.cancel(second);
    EXPECT_EQ(c.outcome(second), wire::Outcome::Cancelled);
    EXPECT_EQ(c.count(Effect::Kind::CancelLease), 1U);
}

TEST(Keys, MoreThanAThousandWaitersAreBusy) {
    Cluster c;
    const auto tasks = c.submit_many(1025, "x", {.key = "k"});
    EXPECT_TRUE(c.accepted(tasks.back()));
    EXPECT_EQ(c.refused(c.submit("x", {.key = "k"})), wire::Code::Busy);
}

TEST(Attach, ReachesADetachedTaskOfADeadClient) {
    Cluster c;
    c.worker({.threads = 2});
    const auto dead = c.client("alice");
    const Task running = c.submit("x", {.detached = true}, dead);
    const Task done = c.submit("x", {.detached = true}, dead);
    c.finish(done, "kept");
    c.close(dead);
    const auto heir = c.client("alice");
    const Task handle = c.attach(done.id, heir);
    EXPECT_EQ(c.value(handle), "kept");
    const Task waits = c.attach(running.id, heir);
    EXPECT_FALSE(c.ended(waits));
    c.settle(c.holder(running), c.lease(running), wire::Outcome::Succeeded, "later");
    EXPECT_EQ(c.value(waits), "later");
    EXPECT_EQ(c.value(c.attach(done.id, heir)), "kept") << "it may be asked again";
}

TEST(Attach, CancelMeansTheTaskItself) {
    Cluster c;
    c.worker();
    const Task running = c.submit("x", {.detached = true}, c.client("alice"));
    const Task waiting = c.submit("x", {.detached = true}, c.client("alice"));
    const auto heir = c.client("alice");
    const Task handle = c.attach(waiting.id, heir);
    const Task other = c.attach(waiting.id, c.client("alice"));
    c.cancel(handle);
    for (const Task& each : {waiting, handle, other})
        EXPECT_EQ(c.outcome(each), wire::Outcome::Cancelled);
    const Task second = c.attach(running.id, heir);
    c.cancel(second);
    EXPECT_EQ(c.count(Effect::Kind::CancelLease), 1U);
    EXPECT_FALSE(c.ended(second)) << "what is recorded first counts";
    c.settle(c.holder(running), c.lease(running), wire::Outcome::Succeeded, "in time");
    EXPECT_EQ(c.value(second), "in time");
}

TEST(Attach, UnknownExpiredAndForeignTasksAreRefused) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.detached = true}, c.client("alice"));
    c.finish(t);
    EXPECT_EQ(c.refused(c.attach({1, 2}, c.client("alice"))), wire::Code::NoSuchTask);
    EXPECT_EQ(c.refused(c.attach(t.id, c.client("mallory"))), wire::Code::NoSuchTask);
    c.pass(3600s);
    EXPECT_EQ(c.refused(c.attach(t.id, c.client("alice"))), wire::Code::ResultExpired);
    c.pass(3600s);
    EXPECT_EQ(c.refused(c.attach(t.id, c.client("alice"))), wire::Code::NoSuchTask);
}

TEST(Release, ADroppedHandleReleasesItsResult) {
    Cluster c;
    c.worker({.threads = 2});
    const Task kept = c.submit("x", {.detached = true}),
               running = c.submit("x", {.detached = true});
    c.finish(kept, "big");
    EXPECT_EQ(c.engine->snapshot(c.now).tasks, 2U);
    c.release(kept);
    EXPECT_EQ(c.engine->snapshot(c.now).tasks, 1U);
    c.release(running);
    c.finish(running);
    EXPECT_EQ(c.engine->snapshot(c.now).tasks, 0U);
    EXPECT_FALSE(c.ended(running));
}

}  // namespace forkmill::engine::test
