// SPDX-License-Identifier: Apache-2.0
// A store that is slower than memory: facts are told with the position that must be durable first.
#include "broker/engine/journal.h"
#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

namespace {

class TestJournal : public Journal {
  public:
    std::uint64_t append(const JournalRecord& record) override {
        facts.push_back(record.fact);
        return ++position;
    }
    std::vector<JournalRecord::Fact> facts;
    std::uint64_t position = 0;
};

struct Durable {
    TestJournal journal;
    Cluster c;
    Durable() { c.engine->set_journal(&journal); }
    void commit(std::uint64_t position) {
        c.engine->committed(position, c.now, c.effects);
        c.step("committed");
    }
};

}  // namespace

TEST(Durability, AnAcceptingTaskIsNotDispatchedBeforeItsRecordIsDurable) {
    Durable d;
    d.c.worker();
    const Task t = d.c.submit();
    EXPECT_EQ(d.c.state(t), "accepting");
    EXPECT_EQ(d.c.last(Effect::Kind::Accepted).position, 1U);
    d.commit(1);
    EXPECT_EQ(d.c.state(t), "leased");
}

TEST(Durability, CommitsAreCumulative) {
    Durable d;
    const auto tasks = d.c.submit_many(5);
    d.commit(3);
    EXPECT_EQ(d.c.state(tasks[2]), "ready");
    EXPECT_EQ(d.c.state(tasks[3]), "accepting");
    d.commit(5);
    EXPECT_EQ(d.c.state(tasks[4]), "ready");
}

TEST(Durability, OutcomesAndAtMostOnceLeasesCarryTheirPosition) {
    Durable d;
    d.c.worker();
    const Task t = d.c.submit("x", {.at_most_once = true});
    d.commit(1);
    EXPECT_EQ(d.c.last(Effect::Kind::Assign).position, 2U) << "the lease is the start";
    d.c.finish(t);
    EXPECT_EQ(d.c.end(t).position, 3U);
    using Fact = JournalRecord::Fact;
    EXPECT_EQ(d.journal.facts, (std::vector<Fact>{Fact::Accepted, Fact::LeaseTaken, Fact::Ended}));
}

TEST(Durability, AResultThatWaitedStillCarriesItsPosition) {
    Durable d;
    d.c.worker();
    const Task t = d.c.submit();
    d.commit(1);
    d.c.engine->set_writable(t.session, false, d.c.now, d.c.effects);
    d.c.finish(t);
    d.c.engine->set_writable(t.session, true, d.c.now, d.c.effects);
    d.c.step("writable");
    EXPECT_EQ(d.c.end(t).position, 2U);
}

TEST(Durability, AnAcceptingTaskMayBeCancelled) {
    Durable d;
    const Task t = d.c.submit();
    d.c.cancel(t);
    EXPECT_EQ(d.c.outcome(t), wire::Outcome::Cancelled);
    d.commit(9);
}

TEST(Durability, AFailedCommitTakesNoNewTasksButSettlesAcceptedOnes) {
    Durable d;
    d.c.worker();
    const Task t = d.c.submit();
    d.commit(1);
    d.c.engine->commit_failed(d.c.effects);
    EXPECT_EQ(d.c.refused(d.c.submit()), wire::Code::Busy);
    d.c.finish(t);
    EXPECT_TRUE(d.c.ended(t));
}

TEST(Durability, InMemoryEverythingIsToldAtOnce) {
    Cluster c;
    c.worker();
    const Task t = c.submit();
    EXPECT_EQ(c.last(Effect::Kind::Accepted).position, 0U);
    c.finish(t);
    EXPECT_EQ(c.end(t).position, 0U);
}

}  // namespace forkmill::engine::test
