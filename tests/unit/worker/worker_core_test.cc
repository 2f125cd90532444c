// SPDX-License-Identifier: Apache-2.0
// What a worker says and when: leases, results, cancels, timeouts, limits, leaving.
#include "tests/unit/worker/fake_broker.h"

namespace forkmill::worker::test {
namespace {

TEST(WorkerCore, SaysHelloFirstAndTellsWhatItHoldsAfterWelcome) {
    Fixture f;
    f.connect();
    ASSERT_GE(f.kinds.size(), 2U);
    EXPECT_EQ(f.kinds[0], wire::Kind::Hello);
    EXPECT_EQ(f.kinds[1], wire::Kind::Held);
    EXPECT_EQ(f.hello->generation, 1U);
    EXPECT_TRUE(f.held.empty());
    EXPECT_EQ(f.held_ends, 1);
}

TEST(WorkerCore, RunsALeaseAndTellsItsResult) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(5, 1, "argument");
    Job& job = f.hands.begin(f.now);
    EXPECT_EQ(text(job.body), "argument");
    EXPECT_EQ(job.task, (base::TaskId{9, 5}));
    f.finish(job, "value");
    ASSERT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.results[0].lease, 5U);
    EXPECT_EQ(f.results[0].body, "value");
    EXPECT_EQ(f.core->live_jobs(), 0U);
}

TEST(WorkerCore, PutsResultsOfOneTurnIntoOneFrame) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 200);
    FinishedBatch batch;
    for (int i = 0; i < 200; ++i) batch.list.push_back(f.hands.end(f.hands.begin(f.now), "r"));
    f.core->on_finished(batch, f.now);
    f.turn();
    EXPECT_EQ(f.results.size(), 200U);
    EXPECT_EQ(std::count(f.kinds.begin(), f.kinds.end(), wire::Kind::Results), 1);
}

TEST(WorkerCore, KeepsResultsUntilTheFloorPassesTheirFrame) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    f.finish(f.hands.begin(f.now), "a");
    const std::uint64_t first = f.last_results_frame;
    f.finish(f.hands.begin(f.now), "b");
    f.ack();
    EXPECT_EQ(f.core->kept_results(), 2U);  // Acked, but nobody's yet.
    f.floor = first;
    f.ack();
    EXPECT_EQ(f.core->kept_results(), 1U);
    f.floor = f.last_results_frame;
    f.ack();
    EXPECT_EQ(f.core->kept_results(), 0U);
}

TEST(WorkerCore, AnswersWhatItCannotRunWithoutRunningIt) {
    Fixture f;
    f.connect();
    wire::TemplateDef other;
    other.id = 2;
    other.name = "unknown";
    f.tell_template(other);
    other.id = 3;
    other.name = "demo";
    other.signature = "i";
    f.tell_template(other);
    f.lease(1, 1, "x", 2);
    f.lease(2, 1, "x", 3);
    EXPECT_TRUE(f.hands.waiting.empty());
    ASSERT_EQ(f.results.size(), 2U);
    EXPECT_EQ(f.results[0].error.code, wire::Code::NoSuchTask);
    EXPECT_EQ(f.results[0].error.ran, wire::Ran::No);
    EXPECT_EQ(f.results[1].error.code, wire::Code::SignatureMismatch);
    EXPECT_EQ(f.results[1].error.task, "demo");
}

TEST(WorkerCore, TellsWhatRunsLongAndReturnsWhatWaitsBehindIt) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 4);
    f.hands.begin(f.now);
    f.pass(40ms);
    EXPECT_TRUE(f.started.empty());
    f.pass(20ms);
    EXPECT_EQ(f.started, (std::vector<std::uint64_t>{1}));
    std::sort(f.returned.begin(), f.returned.end());
    EXPECT_EQ(f.returned, (std::vector<std::uint64_t>{2, 3, 4}));
    EXPECT_TRUE(f.hands.waiting.empty());
    f.pass(60ms);
    EXPECT_EQ(f.started.size(), 1U);
}

TEST(WorkerCore, NamesTheTasksThatRunLongUntilTheyEnd) {
    Fixture f{2};
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    Job& first = f.hands.begin(f.now);
    f.pass(80ms);
    EXPECT_EQ(f.core->long_tasks(), "");
    f.pass(70ms);
    EXPECT_EQ(f.core->long_tasks(), "demo");
    Job& second = f.hands.begin(f.now);
    f.pass(150ms);
    EXPECT_EQ(f.core->long_tasks(), "demo and 1 more");
    f.finish(first, "r");
    f.pass(50ms);
    EXPECT_EQ(f.core->long_tasks(), "demo");
    f.finish(second, "r");
    f.pass(50ms);
    EXPECT_EQ(f.core->long_tasks(), "");
}

TEST(WorkerCore, ReturnsNothingWhileOneOfItsThreadsIsQuick) {
    Fixture f{2};
    f.connect();
    f.tell_template();
    f.lease(1, 3);
    f.hands.begin(f.now);
    f.now += 55ms;
    f.hands.begin(f.now);
    f.pass(1ms);
    EXPECT_EQ(f.started, (std::vector<std::uint64_t>{1}));
    EXPECT_TRUE(f.returned.empty());
    EXPECT_EQ(f.hands.waiting.size(), 1U);
}

TEST(WorkerCore, DoesNotCountAWaitingTaskAsBusy) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    Job& outer = f.hands.begin(f.now);
    f.core->on_blocked(outer, true);
    f.turn();
    EXPECT_EQ(f.blocked, (std::vector<std::pair<std::uint64_t, bool>>{{1, true}}));
    f.pass(60ms);
    EXPECT_TRUE(f.returned.empty());
    f.core->on_blocked(outer, false);
    f.turn();
    EXPECT_EQ(f.blocked.back(), (std::pair<std::uint64_t, bool>{1, false}));
}

TEST(WorkerCore, CancelsWhatWaitsAndAsksWhatRuns) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    Job& running = f.hands.begin(f.now);
    f.say(wire::Kind::CancelLease, wire::CancelLease{1, false});
    f.say(wire::Kind::CancelLease, wire::CancelLease{2, false});
    f.say(wire::Kind::CancelLease, wire::CancelLease{99, true});
    EXPECT_EQ(f.hands.stopped.count(&running), 1U);
    ASSERT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.results[0].lease, 2U);
    EXPECT_EQ(f.results[0].outcome, wire::Outcome::Cancelled);
    EXPECT_EQ(f.results[0].error.code, wire::Code::TaskCancelled);
    EXPECT_EQ(f.core->leaving(), Leaving::No);
    f.finish(running, "late value");  // The code did not obey: what it returns stands.
    EXPECT_EQ(f.results[1].outcome, wire::Outcome::Succeeded);
}

TEST(WorkerCore, CancelKillAnswersAtOnceReturnsTheRestAndLeaves) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 3);
    Job& running = f.hands.begin(f.now);
    f.say(wire::Kind::CancelLease, wire::CancelLease{1, true});
    ASSERT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.results[0].outcome, wire::Outcome::Cancelled);
    std::sort(f.returned.begin(), f.returned.end());
    EXPECT_EQ(f.returned, (std::vector<std::uint64_t>{2, 3}));
    EXPECT_TRUE(f.drain);
    EXPECT_TRUE(f.bye);
    EXPECT_FALSE(f.core->done());
    f.floor = f.last_results_frame;
    f.ack();
    EXPECT_TRUE(f.core->done());
    f.finish(running, "too late");
    EXPECT_EQ(f.results.size(), 1U);
}

TEST(WorkerCore, HardTimeoutFailsTheTaskAndLetsSiblingsFinish) {
    Fixture f{2};
    f.connect();
    wire::TemplateDef limited;
    limited.timeout_ns = 30'000'000;
    f.tell_template(limited);
    wire::TemplateDef plain;
    plain.id = 2;
    f.tell_template(plain);
    f.lease(1, 1, "x", 1);
    f.lease(2, 1, "x", 2);
    f.hands.begin(f.now);
    Job& sibling = f.hands.begin(f.now);
    f.pass(8ms);
    EXPECT_TRUE(f.results.empty());
    EXPECT_LE(f.core->next_timer(), f.now + 22ms);
    f.pass(22ms);
    ASSERT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.results[0].lease, 1U);
    EXPECT_EQ(f.results[0].outcome, wire::Outcome::Failed);
    EXPECT_EQ(f.results[0].error.code, wire::Code::TaskTimeout);
    EXPECT_EQ(f.core->leaving(), Leaving::Kill);
    f.ack();
    EXPECT_FALSE(f.core->done());
    f.finish(sibling, "in time");
    EXPECT_EQ(f.results.back().body, "in time");
    f.floor = f.last_results_frame;
    f.ack();
    EXPECT_TRUE(f.core->done());
}

TEST(WorkerCore, KillWaitsForSiblingsNoLongerThanItsGrace) {
    Fixture f{2};
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    f.hands.begin(f.now);
    f.hands.begin(f.now);
    f.say(wire::Kind::CancelLease, wire::CancelLease{1, true});
    f.pass(kKillGrace - 1ms);
    EXPECT_FALSE(f.core->done());
    f.pass(1ms);
    EXPECT_TRUE(f.core->done());
}

TEST(WorkerCore, SoftTimeoutAsksOnce) {
    Fixture f;
    f.connect();
    wire::TemplateDef limited;
    limited.soft_timeout_ns = 20'000'000;
    f.tell_template(limited);
    f.lease(1);
    Job& job = f.hands.begin(f.now);
    f.pass(10ms);
    EXPECT_TRUE(f.hands.stopped.empty());
    f.pass(10ms);
    EXPECT_EQ(f.hands.stopped.count(&job), 1U);
    EXPECT_TRUE(f.results.empty());
    EXPECT_EQ(f.core->leaving(), Leaving::No);
}

TEST(WorkerCore, DrainFinishesWhatIsHeldTakesNothingMoreAndSaysBye) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    f.say(wire::Kind::Drain, wire::DrainMsg{});
    f.lease(3);
    EXPECT_EQ(f.returned, (std::vector<std::uint64_t>{3}));
    f.finish(f.hands.begin(f.now), "a");
    EXPECT_FALSE(f.bye);
    f.finish(f.hands.begin(f.now), "b");
    EXPECT_TRUE(f.bye);
    f.ack();
    EXPECT_FALSE(f.core->done());  // Nobody took the results yet.
    f.floor = f.last_results_frame;
    f.ack();
    EXPECT_TRUE(f.core->done());
}

TEST(WorkerCore, RecycleReturnsWhatHasNotBegun) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 3);
    Job& running = f.hands.begin(f.now);
    f.core->leave(Leaving::Recycle, {}, f.now);
    f.turn();
    EXPECT_EQ(f.returned.size(), 2U);
    f.finish(running, "last");
    EXPECT_EQ(f.results.back().body, "last");
    f.pass(1ms);
    f.ack();
    EXPECT_FALSE(f.core->done());
    f.pass(kCustodyPatience);
    EXPECT_TRUE(f.core->done());
}

TEST(WorkerCore, LeavesInTimeWhenTheBrokerIsGone) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1);
    f.finish(f.hands.begin(f.now), "owed");
    f.cut();
    f.core->leave(Leaving::Drain, 10s, f.now);
    f.pass(9s);
    EXPECT_FALSE(f.core->done());
    f.pass(1s);
    EXPECT_TRUE(f.core->done());
}

TEST(WorkerCore, LeavesAtOnceWhenThereIsNoBrokerAndItOwesNothing) {
    Fixture never;
    never.core->leave(Leaving::Drain, 10s, never.now);
    EXPECT_TRUE(never.core->done());
    Fixture cut;
    cut.connect();
    cut.cut();
    cut.core->leave(Leaving::Recycle, {}, cut.now);
    EXPECT_TRUE(cut.core->done());
}

TEST(WorkerCore, StaleLeasesAreDroppedWithTheirResults) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    Job& running = f.hands.begin(f.now);
    f.say(wire::Kind::Stale, wire::Stale{{1, 2}});
    EXPECT_EQ(f.hands.stopped.count(&running), 1U);
    EXPECT_TRUE(f.hands.waiting.empty());
    f.finish(running, "nobody's");
    EXPECT_TRUE(f.results.empty());
    EXPECT_EQ(f.core->live_jobs(), 0U);
}

TEST(WorkerCore, ResultOverThePayloadLimitIsAnErrorWithItsSize) {
    Fixture f;
    f.payload_max = 100;
    f.connect();
    f.tell_template();
    f.lease(1);
    f.finish(f.hands.begin(f.now), std::string(101, 'x'));
    ASSERT_EQ(f.results.size(), 1U);
    EXPECT_EQ(f.results[0].error.code, wire::Code::ResultTooBig);
    EXPECT_NE(f.results[0].error.what.find("101"), std::string::npos);
}

TEST(WorkerCore, LargeResultsTravelInChunksAsTheWindowOpens) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 2);
    std::string large(9UL << 20, 'y');
    large[4UL << 20] = 'z';
    Job& first = f.hands.begin(f.now);
    Job& second = f.hands.begin(f.now);
    f.finish(first, large);
    f.finish(second, "small");
    EXPECT_TRUE(f.results.empty());  // The window holds 4 MiB; the order of results is kept.
    for (int i = 0; i < 10 && f.results.size() < 2; ++i) f.ack();
    ASSERT_EQ(f.results.size(), 2U);
    EXPECT_TRUE(f.results[0].body == large);
    EXPECT_EQ(f.results[1].body, "small");
}

TEST(WorkerCore, LargeArgumentsArriveWhole) {
    Fixture f;
    f.connect();
    f.tell_template();
    const std::string part(300'000, 'p');
    for (int i = 0; i < 5; ++i)
        f.deliver(wire::encode_chunk(
            f.head(wire::Kind::Chunk), 7, i == 4, base::Blob::copy(base::bytes_of(part))));
    wire::TaskRecord record;
    record.lease = 1;
    record.task = {9, 1};
    record.template_id = 1;
    record.body = wire::BodyRef::of_transfer(7, part.size() * 5);
    wire::TasksWriter writer;
    writer.add(record);
    f.deliver(writer.finish(f.head(wire::Kind::Tasks)));
    EXPECT_EQ(f.hands.begin(f.now).body.size(), part.size() * 5);
}

TEST(WorkerCore, DependenciesComeWithTheirArguments) {
    Fixture f;
    f.connect();
    f.tell_template();
    const std::string big(5000, 'd');
    const std::vector<wire::TaskRecord::Dependency> values{
        {0, wire::BodyRef::of(base::bytes_of("zero"))},
        {2, wire::BodyRef::of(base::Blob::copy(base::bytes_of(big)))}};
    wire::TaskRecord record;
    record.lease = 1;
    record.task = {9, 1};
    record.template_id = 1;
    record.body = wire::BodyRef::of(base::bytes_of("args"));
    record.dependencies = values;
    wire::TasksWriter writer;
    writer.add(record);
    f.deliver(writer.finish(f.head(wire::Kind::Tasks)));
    const Job& job = f.hands.begin(f.now);
    ASSERT_TRUE(job.extras);
    ASSERT_EQ(job.extras->dependencies.size(), 2U);
    EXPECT_EQ(text(job.extras->dependencies[0].second), "zero");
    EXPECT_EQ(job.extras->dependencies[1].first, 2U);
    EXPECT_EQ(text(job.extras->dependencies[1].second), big);
}

TEST(WorkerCore, ProgressIsToldNewestOnly) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1);
    Job& job = f.hands.begin(f.now);
    f.core->on_partial(job, 0.1, "begun");
    f.core->on_partial(job, 0.5, "half");
    f.turn();
    ASSERT_EQ(f.partials.size(), 1U);
    EXPECT_EQ(f.partials[0].ref, 1U);
    EXPECT_EQ(f.partials[0].note, "half");
}

TEST(WorkerCore, ReturnsLeasesBeyondItsBound) {
    Fixture f;
    f.connect();
    f.tell_template();
    for (std::uint64_t first = 1; first <= kJobsMax; first += 512) f.lease(first, 512);
    EXPECT_TRUE(f.returned.empty());
    f.lease(kJobsMax + 1, 3);
    EXPECT_EQ(f.returned.size(), 3U);
    EXPECT_EQ(f.core->live_jobs(), kJobsMax);
}

TEST(WorkerCore, PingsASilentBrokerAndConnectsAgainWhenItIsGone) {
    Fixture f;
    f.connect();
    f.kinds.clear();
    f.pass(2s);
    EXPECT_EQ(f.kinds, (std::vector<wire::Kind>{wire::Kind::Ping}));
    f.pass(2s);
    f.pass(3s);
    EXPECT_FALSE(f.disconnect);
    f.pass(1s);
    EXPECT_TRUE(f.disconnect);
}

TEST(WorkerCore, AnswersPingWithItsLoad) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.lease(1, 3);
    f.hands.begin(f.now);
    f.kinds.clear();
    f.core->on_message(
        wire::encode({wire::Kind::Ping}, wire::Ping{5, 0, 0, 0}), f.now + 7ms, f.out);
    ASSERT_EQ(f.out.messages.size(), 1U);
    wire::Header header;
    wire::Cursor cursor;
    wire::Ping pong;
    ASSERT_EQ(wire::decode_header(f.out.messages[0], header, cursor), wire::Code::None);
    ASSERT_EQ(wire::decode(cursor, pong), wire::Code::None);
    EXPECT_EQ(header.kind, wire::Kind::Pong);
    EXPECT_EQ(pong.echo, 5U);
    EXPECT_EQ(pong.running, 1U);
    EXPECT_EQ(pong.waiting, 2U);
    EXPECT_EQ(pong.busy_ns, 7'000'000U);
}

TEST(WorkerCore, AcksWithinATenthOfASecondWhenItHasNothingToSay) {
    Fixture f;
    f.connect();
    f.tell_template();
    f.kinds.clear();
    EXPECT_LE(f.core->next_timer(), f.now + 100ms);
    f.pass(100ms);
    EXPECT_EQ(f.kinds, (std::vector<wire::Kind>{wire::Kind::Ack}));
    EXPECT_TRUE(f.session.all_acked());
}

TEST(WorkerCore, ABrokenFrameEndsTheConnectionNotTheWorker) {
    Fixture f;
    f.connect();
    base::Message broken =
        wire::encode(f.head(wire::Kind::CancelLease), wire::CancelLease{1, false});
    broken.control = base::Blob::copy(broken.control.view().first(broken.control.size() - 1));
    f.core->on_message(broken, f.now, f.out);
    EXPECT_TRUE(f.out.disconnect);
    EXPECT_EQ(f.core->protocol_errors(), 1U);
    EXPECT_FALSE(f.core->done());
}

TEST(WorkerCore, ARejectionIsFinalOrTriedAgainWhenTold) {
    Fixture f;
    f.core->on_connected(f.now, f.out);
    f.read();
    f.core->on_message(
        wire::encode({wire::Kind::Reject}, wire::Reject{wire::Code::BrokerFull, "busy", 1000}),
        f.now,
        f.out);
    f.cut();
    f.core->on_connected(f.now, f.out);
    f.read();
    EXPECT_FALSE(f.hello.has_value());
    f.pass(1s);
    EXPECT_TRUE(f.hello.has_value());
    f.core->on_message(
        wire::encode({wire::Kind::Reject}, wire::Reject{wire::Code::NoSuchQueue, "no queue q", 0}),
        f.now,
        f.out);
    EXPECT_TRUE(f.core->done());
    EXPECT_NE(f.core->rejected().find("no queue q"), std::string::npos);
}

}  // namespace
}  // namespace forkmill::worker::test
