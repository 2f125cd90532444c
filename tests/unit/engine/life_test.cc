// SPDX-License-Identifier: Apache-2.0
// A task's life: every arrow of the state picture, and the arrows that do not exist.
#include "broker/engine/task.h"
#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

TEST(TaskLife, GoesFromSubmitToItsValue) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit();
    EXPECT_TRUE(c.accepted(t));
    EXPECT_EQ(c.state(t), "leased");
    EXPECT_EQ(c.holder(t), w);
    c.start(t);
    EXPECT_EQ(c.state(t), "running");
    EXPECT_EQ(c.finish(t, "25"), Settled::Ok);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Succeeded);
    EXPECT_EQ(c.value(t), "25");
    EXPECT_EQ(c.state(t), "gone");
}

TEST(TaskLife, WaitsReadyForAWorker) {
    Cluster c;
    const Task t = c.submit();
    EXPECT_EQ(c.state(t), "ready");
    c.worker();
    EXPECT_EQ(c.state(t), "leased");
}

TEST(TaskLife, MayGoFromLeasedToSettledWithoutSTARTED) {
    Cluster c;
    c.worker();
    const Task t = c.submit();
    c.finish(t);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Succeeded);
}

TEST(TaskLife, CarriesItsBodyAttemptAndIdToTheWorker) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.body = "hello"});
    const Leased leased = c.engine->leased(c.lease(t));
    EXPECT_EQ(base::text_of(leased.body.view), "hello");
    EXPECT_EQ(leased.attempt, 1U);
    EXPECT_EQ(leased.task, t.id);
    EXPECT_EQ(leased.extras, nullptr);
    EXPECT_EQ(c.engine->template_of(leased.template_id).name, "x");
}

TEST(TaskLife, AFailureIsFinalWithoutRetries) {
    Cluster c;
    c.worker();
    const Task t = c.submit();
    c.fail(t);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Failed);
    EXPECT_EQ(c.error(t), wire::Code::TaskThrew);
}

TEST(TaskLife, ARetryIsScheduledWithBackoffAndRunsAgain) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.max_retries = 2});
    c.fail(t);
    EXPECT_FALSE(c.ended(t));
    EXPECT_EQ(c.state(t), "scheduled");
    c.pass(40ms);
    EXPECT_EQ(c.state(t), "scheduled") << "at least half of the pause is certain";
    c.pass(61ms);
    EXPECT_EQ(c.state(t), "leased");
    EXPECT_EQ(c.row(t).attempt, 2U);
    c.fail(t);
    c.pass(99ms);
    EXPECT_EQ(c.state(t), "scheduled") << "the second pause is twice as long";
    c.pass(102ms);
    c.fail(t);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Failed) << "retries are used up";
    EXPECT_EQ(c.engine->counters().retries, 2U);
}

TEST(TaskLife, NoRetryEndsRetries) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.max_retries = 5});
    c.fail(t, wire::Code::TaskThrew, true);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Failed);
}

TEST(TaskLife, ATimeoutCountsAsAFailureAndIsRetried) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.max_retries = 1});
    c.fail(t, wire::Code::TaskTimeout);
    EXPECT_EQ(c.state(t), "scheduled");
    c.pass(1s);
    c.fail(t, wire::Code::TaskTimeout);
    EXPECT_EQ(c.error(t), wire::Code::TaskTimeout);
}

TEST(TaskLife, ADelayKeepsItScheduled) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.delay = 5s});
    EXPECT_EQ(c.state(t), "scheduled");
    c.pass(4999ms);
    EXPECT_EQ(c.state(t), "scheduled");
    c.pass(1ms);
    EXPECT_EQ(c.state(t), "leased");
}

TEST(TaskLife, ADeadlineThatPassesWhileItWaitsExpiresIt) {
    Cluster c;
    const Task ready = c.submit("x", {.deadline = 2s});
    const Task scheduled = c.submit("x", {.delay = 1h, .deadline = 3s});
    c.pass(1999ms);
    EXPECT_FALSE(c.ended(ready));
    c.pass(1ms);
    EXPECT_EQ(c.outcome(ready), wire::Outcome::Expired);
    EXPECT_EQ(c.error(ready), wire::Code::TaskExpired);
    c.pass(1s);
    EXPECT_EQ(c.outcome(scheduled), wire::Outcome::Expired);
}

TEST(TaskLife, ADeadlineInThePastExpiresAtOnce) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.deadline = -1s});
    EXPECT_TRUE(c.accepted(t));
    EXPECT_EQ(c.outcome(t), wire::Outcome::Expired);
}

TEST(TaskLife, ADeadlineDoesNotTouchWhatWasLeased) {
    Cluster c;
    c.worker();
    const Task t = c.submit("x", {.deadline = 1s});
    c.pass(10s);
    EXPECT_FALSE(c.ended(t));
    EXPECT_NE(c.engine->leased(c.lease(t)).extras, nullptr) << "the worker is told of it";
    c.finish(t);
    EXPECT_EQ(c.outcome(t), wire::Outcome::Succeeded);
}

TEST(TaskLife, AWallClockJumpFiresNothing) {
    Cluster c;
    const Task t = c.submit("x", {.deadline = 10s});
    c.wall += 3'600'000'000'000;
    c.engine->tick(c.now, c.wall, c.effects);
    c.step("tick");
    EXPECT_FALSE(c.ended(t));
    c.pass(10s);
    EXPECT_TRUE(c.ended(t));
}

TEST(TaskLife, GivenBackItWaitsAtTheHeadFreeOfCharge) {
    Cluster c;
    const auto w = c.worker();
    const auto tasks = c.submit_many(3);
    EXPECT_EQ(c.holder(tasks[0]), w);
    c.automatic = false;
    c.give_back(tasks[0]);
    EXPECT_EQ(c.state(tasks[0]), "ready");
    EXPECT_EQ(c.row(tasks[0]).failures, 0U);
    EXPECT_EQ(c.row(tasks[0]).crashes, 0U);
    c.automatic = true;
    c.schedule();
    EXPECT_EQ(c.holder(tasks[0]), w) << "before those that were submitted after it";
    EXPECT_EQ(c.row(tasks[0]).attempt, 2U);
}

TEST(TaskLife, AStaleLeaseChangesNothing) {
    Cluster c;
    const auto w = c.worker();
    const Task t = c.submit();
    const Lease old = c.lease(t);
    c.give_back(t);
    ASSERT_NE(c.lease(t), old);
    EXPECT_EQ(c.settle(w, old, wire::Outcome::Succeeded, "late"), Settled::Stale);
    EXPECT_FALSE(c.ended(t));
    c.finish(t, "right");
    EXPECT_EQ(c.value(t), "right");
    EXPECT_EQ(c.settle(w, c.lease(t), wire::Outcome::Succeeded, "again"), Settled::Stale);
    EXPECT_EQ(c.engine->counters().stale, 2U);
}

TEST(TaskLife, ALeaseOfAnotherWorkerIsStale) {
    Cluster c;
    const auto w1 = c.worker();
    const Task t = c.submit();
    const auto w2 = c.worker();
    ASSERT_EQ(c.holder(t), w1);
    EXPECT_EQ(c.settle(w2, c.lease(t), wire::Outcome::Succeeded, "stolen"), Settled::Stale);
    EXPECT_EQ(c.settle(w1, 0, wire::Outcome::Succeeded, "zero"), Settled::Stale);
    EXPECT_EQ(c.settle(w1, UINT64_MAX, wire::Outcome::Succeeded, "wild"), Settled::Stale);
    EXPECT_FALSE(c.ended(t));
}

TEST(TaskLife, LargeBodiesAreSharedNotCopied) {
    Cluster c;
    c.worker();
    const base::Blob blob = base::Blob::copy(base::bytes_of(std::string(100'000, 'b')));
    const Task t = c.submit("x", {.blob = blob});
    EXPECT_GT(c.engine->snapshot(c.now).memory_used, 100'000U);
    EXPECT_EQ(c.engine->leased(c.lease(t)).body.view.data(), blob.data());
    c.finish(t, std::string(5000, 'r'));
    EXPECT_EQ(c.value(t).size(), 5000U);
    EXPECT_LT(c.engine->snapshot(c.now).memory_used, 1000U);
}

TEST(TaskLife, StatesHaveTheArrowsOfThePictureAndNoOthers) {
    const auto row = [](State from) {
        std::string names;
        for (std::size_t to = 1; to < kStates; ++to)
            if (may_become(from, static_cast<State>(to)))
                names += std::string{name_of(static_cast<State>(to))} + " ";
        return names;
    };
    EXPECT_EQ(row(State::Free), "accepting leased ");
    EXPECT_EQ(row(State::Accepting), "scheduled ready failed cancelled expired ");
    EXPECT_EQ(row(State::Scheduled), "ready leased succeeded failed cancelled expired dead ");
    EXPECT_EQ(row(State::Ready), "leased failed cancelled expired dead ");
    EXPECT_EQ(row(State::Leased),
              "scheduled ready running cancelling succeeded failed cancelled expired dead ");
    EXPECT_EQ(row(State::Running),
              "scheduled ready cancelling succeeded failed cancelled expired dead ");
    EXPECT_EQ(row(State::Cancelling), "succeeded failed cancelled expired ");
    for (State state :
         {State::Succeeded, State::Failed, State::Cancelled, State::Expired, State::Dead})
        EXPECT_EQ(row(state), "") << "a final state is never left";
}

}  // namespace forkmill::engine::test
