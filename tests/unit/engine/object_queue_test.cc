// SPDX-License-Identifier: Apache-2.0
// Shared queues: order, bounds, leases, ends.
#include "tests/unit/engine/sharing.h"

namespace forkmill::engine::test {

TEST(ObjectQueue, ItemsComeInOrderToWhoeverGetsThem) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a);
    s.share(b, q);
    s.put(a, q, "1");
    s.put(a, q, "2");
    EXPECT_EQ(s.value(s.get(b, q)), "1");
    EXPECT_EQ(s.value(s.get(a, q)), "2");
}

TEST(ObjectQueue, GettersAreServedInTheOrderTheyCame) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.queue(a);
    const auto first = s.get(a, q);
    const auto second = s.get(a, q);
    s.put(a, q, "x");
    EXPECT_EQ(s.value(first), "x");
    EXPECT_TRUE(s.waiting(second));
    s.put(a, q, "y");
    EXPECT_EQ(s.value(second), "y");
}

TEST(ObjectQueue, WhoPeeksIsToldOfAnItemAndLeavesIt) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.queue(a);
    const auto peek = [&] { return s.ask(a, {.verb = Verb::Peek, .object = q}); };
    const auto early = peek();
    const auto getter = s.get(a, q);
    EXPECT_TRUE(s.waiting(early));
    s.put(a, q, "x");
    EXPECT_EQ(s.answer(early).value, 1);
    EXPECT_TRUE(s.answer(early).items.empty());
    EXPECT_EQ(s.value(getter), "x") << "it was left for who came next";
    const auto late = peek();
    EXPECT_TRUE(s.waiting(late));
    s.put(a, q, "y");
    EXPECT_EQ(s.code(late), Code::None);
    EXPECT_EQ(s.code(peek()), Code::None) << "at once: it is there";
    EXPECT_EQ(s.value(s.get(a, q)), "y");
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Peek, .object = q, .timeout = base::Duration{0}}),
              Code::QueueEmpty);
    const auto last = peek();
    s.ask(a, {.verb = Verb::Shut, .object = q});
    EXPECT_EQ(s.code(last), Code::ObjectClosed);
}

TEST(ObjectQueue, AFullQueueLetsPuttersWaitInLine) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.queue(a, 1);
    s.put(a, q, "1");
    const auto second = s.put(a, q, "2");
    const auto third = s.put(a, q, "3");
    EXPECT_TRUE(s.waiting(second));
    EXPECT_EQ(s.value(s.get(a, q)), "1");
    EXPECT_EQ(s.code(second), Code::None);
    EXPECT_TRUE(s.waiting(third));
    EXPECT_EQ(s.value(s.get(a, q)), "2");
    EXPECT_EQ(s.value(s.get(a, q)), "3");
}

TEST(ObjectQueue, WaitsEndAtTheirDeadlineAndTriesAtOnce) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.queue(a, 1);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Get, .object = q, .timeout = 0ns}), Code::QueueEmpty);
    const auto get = s.ask(a, {.verb = Verb::Get, .object = q, .timeout = 50ms});
    s.pass(49ms);
    EXPECT_TRUE(s.waiting(get));
    s.pass(1ms);
    EXPECT_EQ(s.code(get), Code::QueueEmpty);
    s.put(a, q, "1");
    const std::vector<std::pair<std::string, std::string>> item = {{"", "2"}};
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Put, .object = q, .timeout = 0ns, .items = item}),
              Code::QueueFull);
    const auto put = s.ask(a, {.verb = Verb::Put, .object = q, .timeout = 10ms, .items = item});
    s.pass(10ms);
    EXPECT_EQ(s.code(put), Code::QueueFull);
    EXPECT_EQ(s.value(s.get(a, q)), "1");
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Get, .object = q, .timeout = 0ns}), Code::QueueEmpty)
        << "what timed out was not put";
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Get, .object = q, .timeout = -2ns}), Code::InvalidRange);
}

TEST(ObjectQueue, ALeasedItemComesBackToTheHeadWhenItsGetterEnds) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a, 10, wire::kOpLeased);
    s.share(b, q);
    for (const char* each : {"1", "2", "3"}) s.put(a, q, each);
    const auto first = s.get(b, q);
    const auto second = s.get(b, q);
    EXPECT_EQ(s.code_of(b, {.verb = Verb::Done, .object = q, .token = s.answer(first).token}),
              Code::None);
    EXPECT_EQ(s.value(second), "2");
    s.close(b);
    EXPECT_EQ(s.value(s.get(a, q)), "2");
    EXPECT_EQ(s.value(s.get(a, q)), "3");
}

TEST(ObjectQueue, ItemsOfOneGetterComeBackInTheirOrder) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a, 10, wire::kOpLeased);
    s.share(b, q);
    for (const char* each : {"1", "2", "3"}) s.put(a, q, each);
    s.get(b, q);
    s.get(b, q);
    s.close(b);
    for (const char* each : {"1", "2", "3"}) EXPECT_EQ(s.value(s.get(a, q)), each);
}

TEST(ObjectQueue, APlainQueuesItemsAreGoneWithTheirGetter) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a);
    s.share(b, q);
    s.put(a, q, "1");
    s.get(b, q);
    s.close(b);
    EXPECT_TRUE(s.waiting(s.get(a, q)));
}

TEST(ObjectQueue, AnEndedAttemptGivesItsItemsBack) {
    Sharing s;
    const auto a = s.client();
    const auto w = s.worker();
    const Task t = s.submit("x", {}, a);
    const auto q = s.queue(a, 10, wire::kOpLeased);
    s.share(w, q);
    s.put(a, q, "1");
    const Lease lease = s.lease(t);
    const auto got =
        s.ask(w, {.verb = Verb::Get, .object = q, .flags = wire::kOpTask, .owner = lease});
    EXPECT_EQ(s.value(got), "1");
    const auto waits =
        s.ask(w, {.verb = Verb::Get, .object = q, .flags = wire::kOpTask, .owner = lease});
    s.finish(t);
    EXPECT_EQ(s.code(waits), Code::StaleLease) << "nobody waits for it any more";
    EXPECT_EQ(s.code_of(w, {.verb = Verb::Done, .object = q, .token = s.answer(got).token}),
              Code::LockLost);
    EXPECT_EQ(s.value(s.get(a, q)), "1");
    EXPECT_EQ(
        s.code_of(w, {.verb = Verb::Get, .object = q, .flags = wire::kOpTask, .owner = lease}),
        Code::StaleLease);
}

TEST(ObjectQueue, WhatAnEndedAttemptAskedOfAFullWindowIsNotDone) {
    Sharing s;
    const auto a = s.client();
    const auto w = s.worker({.threads = 2});
    const Task t = s.submit("x", {}, a);
    const auto q = s.queue(a, 10, wire::kOpLeased);
    s.share(w, q);
    s.put(a, q, "1");
    s.writable(w, false);
    const auto get =
        s.ask(w, {.verb = Verb::Get, .object = q, .flags = wire::kOpTask, .owner = s.lease(t)});
    EXPECT_TRUE(s.waiting(get));
    s.finish(t);
    EXPECT_EQ(s.code(get), Code::StaleLease);
    s.writable(w, true);
    EXPECT_EQ(s.value(s.get(a, q)), "1");
}

TEST(ObjectQueue, JoinWaitsUntilAllIsDone) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.queue(a);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Join, .object = q}), Code::None);
    s.put(a, q, "1");
    s.put(a, q, "2");
    const auto join = s.ask(a, {.verb = Verb::Join, .object = q});
    s.get(a, q);
    s.get(a, q);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Join, .object = q, .timeout = 0ns}), Code::WaitTimeout);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Done, .object = q}), Code::None);
    EXPECT_TRUE(s.waiting(join));
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Done, .object = q}), Code::None);
    EXPECT_EQ(s.code(join), Code::None);
    EXPECT_EQ(s.code_of(a, {.verb = Verb::Done, .object = q}), Code::InvalidRange);
}

TEST(ObjectQueue, AShutQueueIsReadToItsEnd) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.queue(a, 1);
    s.put(a, q, "1");
    const auto put = s.put(a, q, "2");
    s.ask(a, {.verb = Verb::Shut, .object = q});
    EXPECT_EQ(s.code(put), Code::ObjectClosed);
    EXPECT_EQ(s.code(s.put(a, q, "3")), Code::ObjectClosed);
    EXPECT_EQ(s.value(s.get(a, q)), "1");
    EXPECT_EQ(s.code(s.get(a, q)), Code::ObjectClosed);
}

TEST(ObjectQueue, ALeasedItemKeepsAShutQueueOpenForWhoWaits) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a, 10, wire::kOpLeased);
    s.share(b, q);
    s.put(a, q, "1");
    s.get(b, q);
    const auto get = s.get(a, q);
    s.ask(a, {.verb = Verb::Shut, .object = q});
    EXPECT_TRUE(s.waiting(get)) << "it may come back";
    s.close(b);
    EXPECT_EQ(s.value(get), "1");
}

TEST(ObjectQueue, APipeEndsWithItsLastWriter) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a, 10, wire::kOpEnds | wire::kOpWriter);
    s.share(b, q, wire::kOpReader);
    s.put(a, q, "1");
    const auto last = s.get(b, q);
    const auto eof = s.get(b, q);
    EXPECT_EQ(s.value(last), "1");
    EXPECT_TRUE(s.waiting(eof));
    s.close(a);
    EXPECT_EQ(s.code(eof), Code::ObjectClosed);
}

TEST(ObjectQueue, APipeRefusesPutsWithoutReaders) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a, 1, wire::kOpEnds | wire::kOpWriter);
    EXPECT_EQ(s.code(s.put(a, q, "1")), Code::None) << "its reader may yet come";
    s.share(b, q, wire::kOpReader);
    const auto put = s.put(a, q, "2");
    s.ask(b, {.verb = Verb::Close, .object = q, .flags = wire::kOpReader});
    EXPECT_EQ(s.code(put), Code::ObjectClosed);
}

TEST(ObjectQueue, WhoeverIsAwayIsPassedOverAndKeepsItsPlace) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a);
    s.share(b, q);
    const auto away = s.get(b, q);
    const auto here = s.get(a, q);
    s.disconnect(b);
    s.put(a, q, "1");
    EXPECT_EQ(s.value(here), "1");
    s.put(a, q, "2");
    EXPECT_TRUE(s.waiting(away));
    s.reconnect(b);
    EXPECT_EQ(s.value(away), "2");
}

TEST(ObjectQueue, GetsOfAFullWindowWaitInOrderUntilItOpens) {
    Sharing s;
    const auto a = s.client();
    const auto b = s.client();
    const auto q = s.queue(a);
    s.share(b, q);
    const auto parked = s.get(b, q);
    s.writable(b, false);
    const auto second = s.ask(b, {.verb = Verb::Get, .object = q, .timeout = 0ns});
    const auto third = s.ask(b, {.verb = Verb::Info, .object = q});
    s.put(a, q, "1");
    s.put(a, q, "2");
    EXPECT_TRUE(s.waiting(parked));
    EXPECT_TRUE(s.waiting(third)) << "what came later does not overtake";
    s.writable(b, true);
    EXPECT_EQ(s.value(parked), "1");
    EXPECT_EQ(s.value(second), "2");
    EXPECT_EQ(s.answer(third).value, 0);
}

TEST(ObjectQueue, MuchInOneTurnIsGivenOverSeveral) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.queue(a);
    for (int i = 0; i < 12; ++i) s.put(a, q, std::string(1 << 20, 'x'));
    s.automatic = false;
    std::vector<std::uint64_t> gets;
    for (int i = 0; i < 12; ++i) gets.push_back(s.get(a, q));
    EXPECT_FALSE(s.waiting(gets[0]));
    EXPECT_TRUE(s.waiting(gets[11]));
    for (int i = 0; i < 4; ++i) s.schedule();
    for (const auto get : gets) EXPECT_EQ(s.code(get), Code::None);
    s.schedule();
    EXPECT_EQ(s.engine->next_timer(), base::kNever) << "no turn for nothing";
}

TEST(ObjectQueue, BytesBoundAQueueToo) {
    Sharing s;
    const auto a = s.client();
    const auto q = s.open(a, {.kind = Kind::Queue, .capacity = 100, .bytes = 4000});
    s.put(a, q, std::string(2000, 'x'));
    const auto second = s.put(a, q, std::string(2000, 'y'));
    EXPECT_TRUE(s.waiting(second));
    s.get(a, q);
    EXPECT_EQ(s.code(second), Code::None);
}

}  // namespace forkmill::engine::test
