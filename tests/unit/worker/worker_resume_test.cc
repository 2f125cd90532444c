// SPDX-License-Identifier: Apache-2.0
// Reconnects, and brokers that were started again: nothing a worker holds is lost, nothing is told
// under a dead lease.
#include <map>

#include "tests/unit/worker/fake_broker.h"

namespace forkmill::worker::test {
namespace {

std::map<std::uint64_t, wire::HeldState> states(const std::vector<wire::HeldTask>& held) {
    std::map<std::uint64_t, wire::HeldState> states;
    for (const wire::HeldTask& task : held) states[task.lease] = task.state;
    return states;
}

TEST(WorkerResume, ACutConnectionOfTheSameBrokerLosesNothing) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    f.deaf = true;
    f.finish(f.hands.begin(f.now), "lost on the way");
    f.cut();
    f.deaf = false;
    EXPECT_TRUE(f.results.empty());
    f.connect();
    EXPECT_EQ(f.hello->generation, 2U);
    EXPECT_EQ(f.hello->incarnation, 1U);
    ASSERT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.results[0].body, "lost on the way");
    EXPECT_EQ(f.held_ends, 1);  // Only the first WELCOME asked for it.
    f.finish(f.hands.begin(f.now), "second");
    EXPECT_EQ(f.results.size(), 2U);
}

TEST(WorkerResume, ResultsOfTasksThatFinishWhileAwayFollow) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1);
    f.cut();
    f.finish(f.hands.begin(f.now), "meanwhile");
    EXPECT_TRUE(f.results.empty());
    f.connect();
    ASSERT_EQ(f.results.size(), 1U);
}

TEST(WorkerResume, ANewIncarnationIsToldEverythingThatIsHeld) {
    Fixture f;
    f.connect(1);
    f.tell_template();
    f.lease(1, 4);
    f.finish(f.hands.begin(f.now), "done and sent");
    Job& running = f.hands.begin(f.now);
    f.cut();
    f.connect(2);
    EXPECT_EQ(f.held_ends, 2);
    EXPECT_EQ(states(f.held),
              (std::map<std::uint64_t, wire::HeldState>{{1, wire::HeldState::Done},
                                                        {2, wire::HeldState::Running},
                                                        {3, wire::HeldState::Waiting},
                                                        {4, wire::HeldState::Waiting}}));
    EXPECT_EQ(f.results.size(), 1U);  // Nothing is told again before it has a lease.
    f.finish(running, "under the new lease");
    EXPECT_EQ(f.results.size(), 1U);
    f.say(wire::Kind::Adopt, wire::Adopt{{{1, 101}, {2, 102}, {3, 103}, {4, 104}}});
    ASSERT_EQ(f.results.size(), 3U);
    EXPECT_EQ(f.results[1].lease, 101U);
    EXPECT_EQ(f.results[1].body, "done and sent");
    EXPECT_EQ(f.results[2].lease, 102U);
    EXPECT_EQ(f.results[2].body, "under the new lease");
    f.finish(f.hands.begin(f.now), "third");
    EXPECT_EQ(f.results[3].lease, 103U);
    EXPECT_EQ(f.core->awaiting_adoption(), 0U);
}

TEST(WorkerResume, WhatIsStaleIsDropped) {
    Fixture f;
    f.connect(1);
    f.tell_template();
    f.lease(1, 3);
    f.finish(f.hands.begin(f.now), "sent");
    Job& running = f.hands.begin(f.now);
    f.cut();
    f.connect(2);
    f.say(wire::Kind::Adopt, wire::Adopt{{{1, 0}, {2, 0}, {3, 0}}});
    EXPECT_EQ(f.hands.stopped.count(&running), 1U);
    EXPECT_TRUE(f.hands.waiting.empty());
    f.finish(running, "nobody's");
    EXPECT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.core->live_jobs(), 0U);
    EXPECT_EQ(f.core->kept_results(), 0U);
}

TEST(WorkerResume, ReleasedResultsAreNotToldAgain) {
    Fixture f;
    f.connect(1);
    f.tell_template();
    f.lease(1);
    f.finish(f.hands.begin(f.now), "taken");
    f.floor = f.last_results_frame;
    f.ack();
    f.floor = 0;
    f.cut();
    f.connect(2);
    EXPECT_TRUE(f.held.empty());
}

TEST(WorkerResume, ASecondChangeBeforeAdoptionTellsAllAgain) {
    Fixture f;
    f.connect(1);
    f.tell_template();
    f.lease(1, 2);
    f.finish(f.hands.begin(f.now), "one");
    f.cut();
    f.connect(2);
    f.cut();
    f.held.clear();
    f.connect(3);
    EXPECT_EQ(f.held.size(), 2U);
    f.say(wire::Kind::Adopt, wire::Adopt{{{1, 301}, {2, 302}}});
    EXPECT_EQ(f.results.back().lease, 301U);
    f.finish(f.hands.begin(f.now), "two");
    EXPECT_EQ(f.results.back().lease, 302U);
}

TEST(WorkerResume, EqualOldLeasesOfTwoIncarnationsAreToldOneAfterTheOther) {
    Fixture f;
    f.connect(1);
    f.tell_template();
    f.lease(1);
    f.finish(f.hands.begin(f.now), "of the first");
    f.cut();
    f.connect(2);  // The new broker counts from 1 again, and leases a task before it answers HELD.
    f.tell_template();
    wire::TasksWriter writer;
    wire::TaskRecord record;
    record.lease = 1;
    record.task = {9, 50};
    record.template_id = 1;
    record.body = wire::BodyRef::of(base::bytes_of("x"));
    writer.add(record);
    f.deliver(writer.finish(f.head(wire::Kind::Tasks)));
    f.finish(f.hands.begin(f.now), "of the second");
    f.cut();
    f.held.clear();
    f.results.clear();
    f.connect(3);
    ASSERT_EQ(f.held.size(), 1U);
    const base::TaskId first = f.held[0].task;
    f.say(wire::Kind::Adopt, wire::Adopt{{{1, 31}}});
    ASSERT_EQ(f.held.size(), 2U);
    EXPECT_NE(f.held[1].task, first);
    f.say(wire::Kind::Adopt, wire::Adopt{{{1, 32}}});
    ASSERT_EQ(f.results.size(), 2U);
    EXPECT_NE(f.results[0].body, f.results[1].body);
    EXPECT_EQ(f.results[0].lease, 31U);
    EXPECT_EQ(f.results[1].lease, 32U);
}

TEST(WorkerResume, AWaitingTaskIsToldAsBlockedAgain) {
    Fixture f;
    f.connect(1);
    f.tell_template();
    f.lease(1);
    Job& outer = f.hands.begin(f.now);
    f.core->on_blocked(outer, true);
    f.turn();
    f.cut();
    f.connect(2);
    f.say(wire::Kind::Adopt, wire::Adopt{{{1, 21}}});
    EXPECT_EQ(f.blocked.back(), (std::pair<std::uint64_t, bool>{21, true}));
}

TEST(WorkerResume, AHardTimeoutBeforeAdoptionIsToldAfterIt) {
    Fixture f;
    f.connect(1);
    wire::TemplateDef limited;
    limited.timeout_ns = 100'000'000;
    f.tell_template(limited);
    f.lease(1);
    f.hands.begin(f.now);
    f.cut();
    f.connect(2);
    f.pass(100ms);
    EXPECT_TRUE(f.results.empty());
    EXPECT_FALSE(f.core->done());
    f.say(wire::Kind::Adopt, wire::Adopt{{{1, 21}}});
    ASSERT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.results[0].lease, 21U);
    EXPECT_EQ(f.results[0].error.code, wire::Code::TaskTimeout);
}

TEST(WorkerResume, AnExpiredSessionComesBackAsANewOne) {
    Fixture f;
    f.connect(1);
    const base::SessionKey old = f.hello->session;
    f.tell_template();
    f.lease(1);
    f.cut();
    f.core->on_connected(f.now, f.out);
    f.read();
    f.core->on_message(
        wire::encode({wire::Kind::Reject}, wire::Reject{wire::Code::SessionExpired, "gone", 0}),
        f.now,
        f.out);
    f.cut();
    f.core->on_connected(f.now, f.out);
    f.read();
    ASSERT_TRUE(f.hello.has_value());
    EXPECT_NE(f.hello->session, old);
    EXPECT_EQ(f.hello->incarnation, 0U);
    f.broker_incarnation = 0;
    f.welcome(1);
    ASSERT_EQ(f.held.size(), 1U);
    EXPECT_EQ(f.held[0].lease, 1U);
}

TEST(WorkerResume, ThousandsOfHeldTasksTravelInSeveralMessages) {
    Fixture f;
    f.connect(1);
    f.tell_template();
    for (std::uint64_t first = 1; first < 3000; first += 500) f.lease(first, 500);
    f.cut();
    f.held_ends = 0;
    f.connect(2);
    EXPECT_EQ(f.held.size(), 3000U);
    EXPECT_EQ(f.held_ends, 1);
    EXPECT_GE(std::count(f.kinds.begin(), f.kinds.end(), wire::Kind::Held), 3);
}

TEST(WorkerResume, AByeOfTheBrokerMakesItConnectAgain) {
    Fixture f;
    f.connect();
    f.say(wire::Kind::Bye, wire::Bye{"upgrade"});
    EXPECT_TRUE(f.disconnect);
    f.cut();
    f.connect(2);
    EXPECT_TRUE(f.core->welcomed());
}

TEST(WorkerResume, ANewLeaseIsNotMistakenForAnOldOneOfTheSameNumber) {
    Fixture f;
    f.connect(1);
    f.tell_template();
    f.lease(1);
    Job& old = f.hands.begin(f.now);
    f.cut();
    f.connect(2);
    f.tell_template();
    f.lease(1);  // Of the new broker, for another task, before it answered HELD.
    f.say(wire::Kind::CancelLease, wire::CancelLease{1, false});
    EXPECT_EQ(f.hands.stopped.count(&old), 0U);
    ASSERT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.results[0].outcome, wire::Outcome::Cancelled);
}

TEST(WorkerResume, AnAnswerToAnOlderHelloIsIgnored) {
    Fixture f;
    f.core->on_connected(f.now, f.out);
    f.core->on_connected(f.now, f.out);
    f.read();
    wire::Welcome late;
    late.incarnation = 1;
    late.generation = 1;
    f.core->on_message(wire::encode({wire::Kind::Welcome}, late), f.now, f.out);
    EXPECT_FALSE(f.core->welcomed());
    late.generation = 2;
    f.core->on_message(wire::encode({wire::Kind::Welcome}, late), f.now, f.out);
    EXPECT_TRUE(f.core->welcomed());
}

TEST(WorkerResume, AMissingFrameMakesItSayHelloAgain) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.hello.reset();
    f.session.queue(wire::encode(f.head(wire::Kind::CancelLease), wire::CancelLease{1, false}));
    base::Message second =
        wire::encode(f.head(wire::Kind::CancelLease), wire::CancelLease{2, false});
    f.core->on_message(second, f.now, f.out);
    f.read();
    ASSERT_TRUE(f.hello.has_value());
    EXPECT_EQ(f.hello->received, 1U);
    EXPECT_EQ(f.hello->generation, 2U);
    EXPECT_FALSE(f.core->welcomed());
}

}  // namespace
}  // namespace forkmill::worker::test
