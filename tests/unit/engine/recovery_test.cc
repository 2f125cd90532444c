// SPDX-License-Identifier: Apache-2.0
// A fresh router, living workers and clients: nothing is lost, nothing runs twice (semantics.md 4).
#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

namespace {

/// The second life of a broker: what was leased in the first one is named by old leases.
struct Restarted {
    Cluster c{Config{}, 2};

    SessionIx worker(std::uint32_t slot, std::uint32_t threads = 1) {
        return c.worker({.threads = threads, .slot = slot, .reattaching = true});
    }
    /// What the worker says to hold of stream 500. Returns its new lease, 0: stale.
    Lease hold(SessionIx w,
               std::uint64_t seq,
               wire::HeldState state,
               std::uint32_t attempt = 1,
               bool last = false) {
        wire::Held held;
        held.tasks.push_back({old_lease(seq), {500, seq}, attempt, 0, state});
        held.last = last;
        c.engine->held(w, held, c.now, c.effects);
        c.step("held");
        EXPECT_EQ(c.last(Effect::Kind::Adopt).seq, old_lease(seq));
        return c.last(Effect::Kind::Adopt).lease;
    }
    void last(SessionIx w) {
        c.engine->held(w, {{}, true}, c.now, c.effects);
        c.step("held");
    }
    Task resend(SessionIx s, std::uint64_t seq, SubmitOptions options = {}) {
        options.seq = seq;
        options.resent = true;
        return c.submit("x", options, s);
    }
    void roster(std::vector<std::uint32_t> slots, bool complete = true) {
        std::vector<DeathInfo> living;
        for (const std::uint32_t slot : slots) {
            DeathInfo each;
            each.pool = "pool";
            each.slot = slot;
            each.birth = 1;
            living.push_back(each);
        }
        c.engine->set_roster("host", living, complete, c.now, c.effects);
        c.step("roster");
    }
    static Lease old_lease(std::uint64_t seq) { return seq << 32 | 77; }
};

}  // namespace

TEST(Recovery, AFirstStartDoesNotRecover) {
    Cluster c;
    EXPECT_FALSE(c.engine->recovering());
}

TEST(Recovery, AHeldTaskIsAPlaceholderThatTheResentSubmitCompletes) {
    Restarted r;
    const auto w = r.worker(1);
    const Lease lease = r.hold(w, 7, wire::HeldState::Running);
    ASSERT_NE(lease, 0U);
    ASSERT_NE(lease, Restarted::old_lease(7));
    const auto s = r.c.client("alice", 500);
    const Task t = r.resend(s, 7);
    EXPECT_TRUE(r.c.accepted(t));
    EXPECT_EQ(r.c.state(t), "running");
    r.c.settle(w, lease, wire::Outcome::Succeeded, "done");
    EXPECT_EQ(r.c.value(t), "done");
    EXPECT_EQ(r.c.engine->counters().leased, 0U) << "it never ran a second time";
}

TEST(Recovery, TheClientMayComeFirst) {
    Restarted r;
    const auto s = r.c.client("alice", 500);
    const Task t = r.resend(s, 7);
    EXPECT_EQ(r.c.state(t), "scheduled") << "parked: somebody may hold it";
    const auto w = r.worker(1);
    const Lease lease = r.hold(w, 7, wire::HeldState::Waiting, 3);
    EXPECT_EQ(r.c.row(t).attempt, 3U);
    r.c.settle(w, lease, wire::Outcome::Succeeded, "done");
    EXPECT_EQ(r.c.value(t), "done");
}

TEST(Recovery, AResultThatComesBeforeTheClientWaitsForIt) {
    Restarted r;
    const auto w = r.worker(1);
    const Lease lease = r.hold(w, 7, wire::HeldState::Done);
    r.c.settle(w, lease, wire::Outcome::Succeeded, "early");
    const auto s = r.c.client("alice", 500);
    EXPECT_EQ(r.c.value(r.resend(s, 7)), "early");
}

TEST(Recovery, AFailureThatComesBeforeTheClientIsRetriedWhenItsTemplateSaysSo) {
    Restarted r;
    const auto w = r.worker(1);
    const Lease one = r.hold(w, 7, wire::HeldState::Done);
    const Lease two = r.hold(w, 8, wire::HeldState::Done);
    r.c.settle(w, one, wire::Outcome::Failed, "error");
    r.c.settle(w, two, wire::Outcome::Failed, "error");
    r.last(w);
    const auto s = r.c.client("alice", 500);
    const Task retried = r.resend(s, 7, {.max_retries = 1});
    EXPECT_EQ(r.c.state(retried), "scheduled");
    EXPECT_EQ(r.c.row(retried).failures, 1U);
    EXPECT_EQ(r.c.outcome(r.resend(s, 8)), wire::Outcome::Failed);
    r.c.pass(11s);
    EXPECT_EQ(r.c.state(retried), "leased");
    EXPECT_EQ(base::text_of(r.c.engine->leased(r.c.lease(retried)).body.view), "args");
}

TEST(Recovery, FreshSubmitsRunAtOnceResentOnesWait) {
    Restarted r;
    const auto w = r.worker(1, 4);
    r.last(w);
    const auto s = r.c.client("alice", 500);
    const Task resent = r.resend(s, 7);
    const Task fresh = r.c.submit("x", {.seq = 8}, s);
    EXPECT_EQ(r.c.state(fresh), "leased");
    EXPECT_EQ(r.c.state(resent), "scheduled");
    EXPECT_TRUE(r.c.engine->recovering());
    r.c.pass(10s);
    EXPECT_FALSE(r.c.engine->recovering());
    EXPECT_EQ(r.c.count(Effect::Kind::Recovered), 1U);
    EXPECT_EQ(r.c.state(resent), "leased");
}

TEST(Recovery, EndsWhenTheRosterHasReattachedOrDied) {
    Restarted r;
    r.roster({1, 2});
    const auto w = r.worker(1);
    EXPECT_TRUE(r.c.engine->recovering());
    r.last(w);
    EXPECT_TRUE(r.c.engine->recovering());
    DeathInfo death = r.c.death_of(w);
    death.slot = 2;
    r.c.tell_death(death);
    EXPECT_FALSE(r.c.engine->recovering());
}

TEST(Recovery, WaitsForTheWholeListOfAWorker) {
    Restarted r;
    r.roster({1});
    const auto w = r.worker(1);
    r.hold(w, 7, wire::HeldState::Running);
    EXPECT_TRUE(r.c.engine->recovering()) << "there may be more in its next frame";
    r.last(w);
    EXPECT_FALSE(r.c.engine->recovering());
}

TEST(Recovery, AnEmptyRosterEndsItAtOnce) {
    Restarted r;
    r.roster({});
    EXPECT_FALSE(r.c.engine->recovering());
}

TEST(Recovery, ParkedTasksKeepTheirOrder) {
    Restarted r;
    const auto s = r.c.client("alice", 500);
    std::vector<Task> tasks;
    for (std::uint64_t seq = 5; seq < 25; ++seq) tasks.push_back(r.resend(s, seq));
    r.c.worker({.threads = 64});
    r.roster({});
    EXPECT_EQ(r.c.lease_order, tasks);
}

TEST(Recovery, AHeldLeaseIsStaleWhenItsTaskWasLeasedAgain) {
    Restarted r;
    const auto w = r.c.worker();
    const auto s = r.c.client("alice", 500);
    const Task t = r.resend(s, 7);
    r.c.pass(10s);
    ASSERT_EQ(r.c.holder(t), w);
    const auto late = r.worker(1);
    EXPECT_EQ(r.hold(late, 7, wire::HeldState::Running), 0U);
    r.c.finish(t);
    EXPECT_EQ(r.hold(late, 7, wire::HeldState::Done), 0U) << "settled meanwhile";
}

TEST(Recovery, OfTwoHoldersTheLaterAttemptWins) {
    Restarted r;
    const auto a = r.worker(1), b = r.worker(2);
    const Lease old_one = r.hold(a, 7, wire::HeldState::Running, 1);
    const Lease newer = r.hold(b, 7, wire::HeldState::Running, 2);
    EXPECT_NE(newer, 0U);
    EXPECT_EQ(r.c.last(Effect::Kind::Stale).lease, old_one);
    EXPECT_EQ(r.c.settle(a, old_one, wire::Outcome::Succeeded, "zombie"), Settled::Stale);
    r.c.settle(b, newer, wire::Outcome::Succeeded, "right");
    EXPECT_EQ(r.c.value(r.resend(r.c.client("alice", 500), 7)), "right");
}

TEST(Recovery, ACancelForATaskNobodyResentCancelsTheHeldOne) {
    Restarted r;
    const auto w = r.worker(1, 2);
    const Lease held = r.hold(w, 7, wire::HeldState::Running);
    const auto s = r.c.client("alice", 500);
    const Task pending{s, 7, {500, 7}}, unknown{s, 8, {500, 8}};
    r.c.cancel(pending);
    EXPECT_EQ(r.c.last(Effect::Kind::CancelLease).lease, held);
    r.c.settle(w, held, wire::Outcome::Cancelled, "");
    EXPECT_EQ(r.c.outcome(pending), wire::Outcome::Cancelled);
    r.c.cancel(unknown);
    EXPECT_EQ(r.c.outcome(unknown), wire::Outcome::Cancelled);
    EXPECT_EQ(r.hold(w, 8, wire::HeldState::Running), 0U) << "whoever holds it is too late";
}

TEST(Recovery, TheScoreboardStillNamesOldLeases) {
    Restarted r;
    const auto w = r.worker(1);
    r.hold(w, 7, wire::HeldState::Running);
    r.last(w);
    const auto s = r.c.client("alice", 500);
    const Task t = r.resend(s, 7);
    r.c.tell_death(r.c.death_of(w, {Restarted::old_lease(7)}));
    EXPECT_EQ(r.c.row(t).crashes, 1U);
}

TEST(Recovery, PlaceholdersNobodyClaimsAreCancelled) {
    Restarted r;
    const auto w = r.worker(1, 2);
    const Lease held = r.hold(w, 7, wire::HeldState::Running);
    const Lease done = r.hold(w, 8, wire::HeldState::Done);
    r.c.settle(w, done, wire::Outcome::Succeeded, "for nobody");
    r.c.pass(70s);
    EXPECT_EQ(r.c.last(Effect::Kind::CancelLease).lease, held);
    r.c.settle(w, held, wire::Outcome::Cancelled, "");
    EXPECT_EQ(r.c.engine->snapshot(r.c.now).tasks, 0U);
}

TEST(Recovery, AReturnedPlaceholderRunsOnceItIsClaimed) {
    Restarted r;
    const auto w = r.worker(1);
    const Lease held = r.hold(w, 7, wire::HeldState::Waiting);
    r.last(w);
    r.c.engine->give_back(w, held, r.c.now, r.c.effects);
    r.c.step("give_back");
    const auto s = r.c.client("alice", 500);
    const Task t = r.resend(s, 7);
    EXPECT_EQ(r.c.holder(t), w);
    EXPECT_EQ(r.c.row(t).attempt, 2U);
}

TEST(Recovery, AnAtMostOnceTaskThatNobodyHoldsMayHaveRun) {
    Restarted r;
    const auto s = r.c.client("alice", 500);
    const Task lost = r.resend(s, 7, {.at_most_once = true});
    const Task kept = r.resend(s, 8, {.at_most_once = true});
    const auto w = r.worker(1);
    const Lease held = r.hold(w, 8, wire::HeldState::Running);
    r.last(w);
    r.c.pass(10s);
    EXPECT_EQ(r.c.error(lost), wire::Code::WorkerLost);
    EXPECT_EQ(r.c.end(lost).error.ran, wire::Ran::Maybe);
    r.c.settle(w, held, wire::Outcome::Succeeded, "once");
    EXPECT_EQ(r.c.value(kept), "once");
    EXPECT_EQ(r.c.error(r.resend(s, 9, {.at_most_once = true})), wire::Code::WorkerLost)
        << "after recovery as well";
}

TEST(Recovery, AnAtMostOnceTaskThatHadBegunIsNotBegunAgainWhenItsWorkerDiesUnclaimed) {
    Restarted r;
    const auto w = r.worker(1);
    const Lease held = r.hold(w, 7, wire::HeldState::Running, 1, true);
    r.c.tell_death(r.c.death_of(w, {held}));
    r.worker(2);
    const auto s = r.c.client("alice", 500);
    const Task t = r.resend(s, 7, {.at_most_once = true});
    EXPECT_EQ(r.c.error(t), wire::Code::WorkerLost);
    EXPECT_EQ(r.c.end(t).error.ran, wire::Ran::Yes);
    EXPECT_EQ(r.c.engine->counters().leased, 0U);
}

TEST(Recovery, ACancelForAHeldTaskThatEndedMeanwhileBringsItsOutcome) {
    Restarted r;
    const auto w = r.worker(1);
    const Lease done = r.hold(w, 7, wire::HeldState::Done);
    r.c.settle(w, done, wire::Outcome::Succeeded, "in time");
    const auto s = r.c.client("alice", 500);
    const Task t{s, 7, {500, 7}};
    r.c.cancel(t);
    EXPECT_EQ(r.c.value(t), "in time");
}

TEST(Recovery, DependenciesOfResentTasksHoldAgain) {
    Restarted r;
    const auto w = r.worker(1, 4);
    const Lease inner_lease = r.hold(w, 7, wire::HeldState::Running);
    r.last(w);
    const auto s = r.c.client("alice", 500);
    const Task inner = r.resend(s, 7);
    const Task outer = r.resend(s, 8, {.arguments = {{0, inner}}});
    r.roster({});
    EXPECT_EQ(r.c.state(outer), "scheduled");
    r.c.settle(w, inner_lease, wire::Outcome::Succeeded, "v");
    EXPECT_EQ(r.c.state(outer), "leased");
}

TEST(Recovery, LeasesOfTwoIncarnationsDiffer) {
    Cluster first{Config{}, 1}, second{Config{}, 2};
    first.worker();
    second.worker();
    const Task a = first.submit(), b = second.submit();
    EXPECT_NE(first.lease(a), second.lease(b));
}

}  // namespace forkmill::engine::test
