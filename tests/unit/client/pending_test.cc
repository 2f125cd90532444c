// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/pending.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "core/wire/codec.h"
#include "forkmill/detail/submit.h"
#include "sdk/src/group_state.h"
#include "sdk/src/pending_io.h"
#include "sdk/src/pending_splice.h"

namespace forkmill::detail {
namespace {

using base::ByteView;

Bytes bytes(std::string_view text) {
    return base::bytes_of(text);
}
std::string text(Bytes view) {
    return std::string{base::text_of(view)};
}

class Jobs final : public JobQueue {
  public:
    void post(std::vector<Job>& batch) override {
        const std::lock_guard lock{mutex};
        for (Job& job : batch) list.push_back(std::move(job));
        batch.clear();
    }
    std::size_t run(PendingTable& table) {
        std::vector<Job> due;
        {
            const std::lock_guard lock{mutex};
            due.swap(list);
        }
        for (Job& job : due) table.run(job);
        return due.size();
    }
    std::mutex mutex;
    std::vector<Job> list;
};

class Said final : public Completion {
  public:
    explicit Said(std::vector<std::string>& to) : to_(to) {}
    void run(const SettledView& view) override { to_.push_back(text(view.body)); }

  private:
    std::vector<std::string>& to_;
};

struct Fixture {
    explicit Fixture(PendingBounds bounds = {})
        : table(
              jobs,
              [this] { ++wakes; },
              bounds),
          io(table, jobs) {}
    static std::uint16_t number() {
        return static_cast<std::uint16_t>(intern_template("test.task", "(bin)->bin", {}));
    }
    Ticket submit(std::string_view body, Aux* aux = nullptr) {
        Ticket ticket;
        EXPECT_EQ(table.submit({number(), bytes(body), aux, nullptr, 0}, true, ticket),
                  PendingTable::Taken::Ok);
        return ticket;
    }
    /// Sends all there is; the bodies by seq.
    std::map<std::uint64_t, std::string> send() {
        std::map<std::uint64_t, std::string> sent;
        io.take();
        while (const session::SubmitItem* item = io.peek()) {
            sent[item->seq] = text(item->body.view);
            io.pop();
        }
        io.pumped();
        return sent;
    }
    void settle(std::uint64_t seq, std::string_view result) {
        io.settle(seq, wire::Outcome::Succeeded, base::Body::of(bytes(result)));
        io.publish();
        io.pumped();
    }
    wire::Code error(Ticket ticket) {
        const SettledView view = PendingTable::view(table.of(ticket));
        const auto info = wire::unpack_error(view.body);
        return info.ok() ? info.value().code : wire::Code::None;
    }

    std::atomic<int> wakes{0};
    Jobs jobs;
    PendingTable table;
    PendingIo io;
};

TEST(PendingTable, GivesTasksOutInOrderWithTheirArguments) {
    Fixture f;
    const std::string large(5000, 'L');
    f.submit("a");
    f.submit(large);
    f.submit(std::string(kInlineBytes, 'i'));
    const auto sent = f.send();
    EXPECT_EQ(sent,
              (std::map<std::uint64_t, std::string>{
                  {1, "a"}, {2, large}, {3, std::string(kInlineBytes, 'i')}}));
    EXPECT_EQ(f.io.peek(), nullptr);
}

TEST(PendingTable, WakesTheOtherSideOncePerLook) {
    Fixture f;
    f.submit("a");
    f.submit("b");
    EXPECT_EQ(f.wakes, 1);
    f.send();
    f.submit("c");
    EXPECT_EQ(f.wakes, 2);
}

TEST(PendingTable, KeepsTheResultUntilTheHandleIsDropped) {
    Fixture f;
    const Ticket ticket = f.submit("a");
    f.send();
    EXPECT_FALSE(PendingTable::settled(f.table.of(ticket)));
    f.settle(1, "result");
    ASSERT_TRUE(PendingTable::wait(f.table.of(ticket), base::kNever, true));
    EXPECT_EQ(text(PendingTable::view(f.table.of(ticket)).body), "result");
    EXPECT_EQ(f.table.claimed_slots(), 1U);
    f.table.release(ticket.slot);
    EXPECT_EQ(f.table.claimed_slots(), 0U);
}

TEST(PendingTable, FreesTheSlotOfADroppedHandleAtTheOutcome) {
    Fixture f;
    const Ticket ticket = f.submit("a");
    f.send();
    f.table.release(ticket.slot);
    EXPECT_EQ(f.table.claimed_slots(), 1U);
    f.settle(1, "nobody wants it");
    EXPECT_EQ(f.table.claimed_slots(), 0U);
    EXPECT_EQ(f.io.floor(), 2U);
}

TEST(PendingTable, RefusesATicketOfAnEarlierLifeOfItsSlot) {
    Fixture f;
    const Ticket first = f.submit("a");
    f.send();
    f.settle(1, "x");
    f.table.release(first.slot);
    const Ticket second = f.submit("b");
    EXPECT_EQ(first.slot, second.slot);
    EXPECT_THROW(f.table.of(first), std::exception);
    EXPECT_NO_THROW(f.table.of(second));
}

TEST(PendingTable, SettlesEachSeqOnceWhateverComes) {
    Fixture f;
    const Ticket ticket = f.submit("a");
    f.send();
    f.settle(1, "first");
    f.settle(1, "second");
    f.settle(99, "never submitted");
    EXPECT_EQ(text(PendingTable::view(f.table.of(ticket)).body), "first");
    EXPECT_EQ(f.io.unsettled(), 0U);
}

TEST(PendingTable, RaisesTheFloorOverWhatSettledOutOfOrder) {
    Fixture f;
    for (int i = 0; i < 4; ++i) f.submit("t");
    f.send();
    f.settle(2, "x");
    f.settle(3, "x");
    EXPECT_EQ(f.io.floor(), 1U);
    f.settle(1, "x");
    EXPECT_EQ(f.io.floor(), 4U);
}

TEST(PendingTable, RunsCallbacksInTheOrderOfOutcomesAndOnce) {
    Fixture f;
    std::vector<std::string> said;
    std::vector<Ticket> tickets;
    for (int i = 0; i < 3; ++i) {
        tickets.push_back(f.submit("t"));
        f.table.then(tickets.back().slot, std::make_unique<Said>(said));
    }
    f.send();
    for (const Ticket ticket : tickets) f.table.release(ticket.slot);
    f.settle(3, "three");
    f.settle(1, "one");
    f.settle(2, "two");
    EXPECT_EQ(f.jobs.run(f.table), 3U);
    EXPECT_EQ(said, (std::vector<std::string>{"three", "one", "two"}));
    EXPECT_EQ(f.jobs.run(f.table), 0U);
    EXPECT_EQ(f.table.claimed_slots(), 0U);
    EXPECT_EQ(f.io.consumed(), (std::pair<std::uint64_t, std::uint64_t>{3, 11}));
}

TEST(PendingTable, CallsBackThoughAskedAfterTheOutcome) {
    Fixture f;
    std::vector<std::string> said;
    const Ticket ticket = f.submit("t");
    f.send();
    f.settle(1, "done");
    f.table.then(ticket.slot, std::make_unique<Said>(said));
    EXPECT_EQ(f.jobs.run(f.table), 1U);
    EXPECT_EQ(said, std::vector<std::string>{"done"});
    EXPECT_EQ(f.io.consumed().first, 0U) << "its credit went back on arrival";
}

TEST(PendingTable, CancelsWhatWasNotSentOnTheSpot) {
    Fixture f;
    const Ticket ticket = f.submit("t");
    f.table.cancel(ticket.slot, false);
    EXPECT_TRUE(f.send().empty());
    f.io.publish();
    ASSERT_TRUE(PendingTable::settled(f.table.of(ticket)));
    EXPECT_EQ(f.error(ticket), wire::Code::TaskCancelled);
    EXPECT_FALSE(f.io.next_cancel().has_value());
}

TEST(PendingTable, PassesOnTheCancelOfWhatWasSentAndTellsItAgainInsteadOfTheSubmit) {
    Fixture f;
    const Ticket ticket = f.submit("t");
    f.submit("other");
    f.send();
    f.table.cancel(ticket.slot, true);
    f.io.take();
    const auto cancel = f.io.next_cancel();
    ASSERT_TRUE(cancel.has_value());
    EXPECT_EQ(cancel->seq, 1U);
    EXPECT_TRUE(cancel->kill);
    f.io.rewind();
    const session::SubmitItem* item = f.io.peek();
    ASSERT_NE(item, nullptr);
    EXPECT_EQ(item->seq, 2U);
    EXPECT_TRUE(item->resent);
    ASSERT_TRUE(f.io.next_cancel().has_value());
    EXPECT_FALSE(f.io.next_cancel().has_value());
}

TEST(PendingTable, EndsWhatWasCancelledReadyToLeaveWhenTheConnectionBeginsAnew) {
    Fixture f;
    const Ticket ticket = f.submit("t");
    f.io.take();
    ASSERT_NE(f.io.peek(), nullptr);  // No credit: it stays where it is.
    f.table.cancel(ticket.slot, false);
    f.io.take();
    f.io.rewind();
    f.io.publish();
    EXPECT_EQ(f.error(ticket), wire::Code::TaskCancelled);
    EXPECT_EQ(f.io.peek(), nullptr);
}

TEST(PendingTable, BlocksAtTheHandOverBoundUntilThereIsRoom) {
    PendingBounds bounds;
    bounds.handover_tasks = 10;
    Fixture f{bounds};
    std::atomic<int> done{0};
    std::thread user{[&] {
        for (int i = 0; i < 100; ++i) {
            f.submit("t");
            ++done;
        }
    }};
    while (done < 10) std::this_thread::yield();
    EXPECT_EQ(done, 10);
    std::size_t sent = 0;
    while (sent < 100) sent += f.send().size();
    user.join();
    EXPECT_EQ(done, 100);
}

TEST(PendingTable, BlocksAtTheWindowUntilTheFloorMoves) {
    PendingBounds bounds;
    bounds.window = 8;
    Fixture f{bounds};
    std::atomic<int> done{0};
    std::thread user{[&] {
        for (int i = 0; i < 9; ++i) {
            f.submit("t");
            ++done;
        }
    }};
    while (done < 8) std::this_thread::yield();
    while (f.send().empty()) std::this_thread::yield();
    for (std::uint64_t seq = 2; seq <= 8; ++seq) f.settle(seq, "x");
    EXPECT_EQ(done, 8) << "seq 1 still holds the floor";
    f.settle(1, "x");
    user.join();
    EXPECT_EQ(done, 9);
}

TEST(PendingTable, LetsBlockedSubmittersGoWhenItCloses) {
    PendingBounds bounds;
    bounds.handover_tasks = 1;
    Fixture f{bounds};
    f.submit("t");
    std::atomic<bool> closed{false};
    std::thread user{[&] {
        Ticket ticket;
        closed = f.table.submit({f.number(), bytes("t"), nullptr, nullptr, 0}, true, ticket) ==
                 PendingTable::Taken::Closed;
    }};
    f.table.close();
    user.join();
    EXPECT_TRUE(closed);
}

std::string packed_args(std::initializer_list<std::string_view> parts) {
    std::string out(1, static_cast<char>(0x90 | parts.size()));
    for (const std::string_view part : parts) out += part;
    return out;
}
constexpr std::string_view kNil{"\xc0", 1};

struct Outer {
    Fixture f;
    Ticket inner = f.submit(packed_args({}));
    Ticket depend() {
        auto aux = std::make_unique<Aux>();
        aux->has_extras = true;
        f.table.retain(inner.slot);
        aux->dependencies.push_back({1, inner});
        return f.submit(packed_args({"\x05", kNil, "\x07"}), aux.release());
    }
};

TEST(Dependencies, NameAnUnsettledInnerTask) {
    Outer o;
    o.f.io.take();
    ASSERT_NE(o.f.io.peek(), nullptr);
    o.f.io.pop();
    o.depend();
    o.f.io.take();
    const session::SubmitItem* item = o.f.io.peek();
    ASSERT_NE(item, nullptr);
    ASSERT_NE(item->extras, nullptr);
    ASSERT_EQ(item->extras->dependencies.size(), 1U);
    EXPECT_EQ(item->extras->dependencies[0].argument, 1U);
    EXPECT_EQ(item->extras->dependencies[0].seq, 1U);
    EXPECT_EQ(text(item->body.view), packed_args({"\x05", kNil, "\x07"}));
}

TEST(Dependencies, TravelInlineOnceSettledThoughTheHandleIsGone) {
    Outer o;
    o.f.send();
    o.depend();
    o.f.table.release(o.inner.slot);
    o.f.settle(1, "\x2a");
    const auto sent = o.f.send();
    EXPECT_EQ(sent.at(2), packed_args({"\x05", "\x2a", "\x07"}));
    EXPECT_EQ(o.f.table.claimed_slots(), 2U) << "the inner result is kept for a resend";
    o.f.settle(2, "x");
    EXPECT_EQ(o.f.table.claimed_slots(), 1U);
}

TEST(Dependencies, FailTheOuterTaskWithTheInnerErrorAsItsCause) {
    Outer o;
    o.f.send();
    const Ticket outer = o.depend();
    wire::ErrorInfo info;
    info.code = wire::Code::TaskThrew;
    info.type = "std::out_of_range";
    info.what = "too far";
    const auto error = wire::pack_error(info);
    o.f.io.settle(1, wire::Outcome::Failed, base::Body::of(ByteView{error}));
    EXPECT_TRUE(o.f.send().empty());
    ASSERT_TRUE(PendingTable::settled(o.f.table.of(outer)));
    const auto told = wire::unpack_error(PendingTable::view(o.f.table.of(outer)).body);
    ASSERT_TRUE(told.ok());
    EXPECT_EQ(told.value().code, wire::Code::DependencyFailed);
    ASSERT_EQ(told.value().nested.size(), 1U);
    EXPECT_EQ(told.value().nested[0],
              (std::pair<std::string, std::string>{"std::out_of_range", "too far"}));
}

TEST(Dependencies, GoInlineWhenTheirResultCrossedTheSubmit) {
    Outer o;
    o.depend();
    o.f.send();
    wire::Refused refused;
    refused.seq = 2;
    refused.code = wire::Code::UnknownDependency;
    o.f.io.on_refused(refused);
    const Ticket later = o.f.submit("later");
    EXPECT_EQ(o.f.send(), (std::map<std::uint64_t, std::string>{{3, "later"}}))
        << "it waits for the result and holds up nobody";
    o.f.settle(1, "\x2a");
    EXPECT_EQ(o.f.send(),
              (std::map<std::uint64_t, std::string>{{2, packed_args({"\x05", "\x2a", "\x07"})}}));
    static_cast<void>(later);
}

TEST(Splice, ReplacesElementsOfEveryShape) {
    const std::string nested =
        packed_args({std::string_view{"\x81\xa1k\x92\x01\x02", 6},
                     std::string_view{"\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18", 9},
                     kNil,
                     std::string_view{"\xc4\x03xyz", 5},
                     kNil});
    const auto out = splice(bytes(nested), {{2, bytes("\x2a")}, {4, bytes("\xa2hi")}});
    ASSERT_TRUE(out.has_value());
    EXPECT_EQ(text(out->view()),
              packed_args({std::string_view{"\x81\xa1k\x92\x01\x02", 6},
                           std::string_view{"\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18", 9},
                           "\x2a",
                           std::string_view{"\xc4\x03xyz", 5},
                           "\xa2hi"}));
}

TEST(Splice, RefusesWhatIsNoWholeArray) {
    EXPECT_FALSE(splice(bytes(std::string_view{"\x92\x01", 2}), {{1, bytes("\x2a")}}).has_value());
    EXPECT_FALSE(splice(bytes(""), {{0, bytes("\x2a")}}).has_value());
    EXPECT_EQ(packed_size(bytes(std::string_view{"\xdd\xff\xff\xff\xff", 5})), 0U);
}

TEST(PendingTable, CarriesManyThreadsTasksThroughWithoutLossOrMixUp) {
    Fixture f;
    constexpr int kThreads = 4;
    constexpr int kTasks = 5000;
    std::atomic<bool> stop{false};
    std::thread io{[&] {
        std::vector<std::pair<std::uint64_t, std::string>> open;
        while (!stop) {
            f.io.take();
            while (const session::SubmitItem* item = f.io.peek()) {
                open.emplace_back(item->seq, text(item->body.view));
                f.io.pop();
            }
            for (auto& [seq, body] : open)
                f.io.settle(seq, wire::Outcome::Succeeded, base::Body::of(bytes("r" + body)));
            open.clear();
            f.io.publish();
            f.io.pumped();
            std::this_thread::yield();
        }
    }};
    std::atomic<int> wrong{0};
    std::vector<std::thread> users;
    for (int t = 0; t < kThreads; ++t) {
        users.emplace_back([&, t] {
            std::vector<std::pair<Ticket, std::string>> mine;
            for (int i = 0; i < kTasks; ++i) {
                const std::string body = std::to_string(t) + ":" + std::to_string(i) +
                                         std::string(static_cast<std::size_t>(i % 90), '.');
                mine.emplace_back(f.submit(body), body);
                if (i % 7 == 0) f.table.cancel(mine.back().first.slot, false);
                if (i % 3 == 0 && i % 7 != 0) {
                    auto& [ticket, expected] = mine[mine.size() / 2];
                    PendingTable::wait(f.table.of(ticket), base::kNever, true);
                    if (PendingTable::view(f.table.of(ticket)).outcome == 0 &&
                        text(PendingTable::view(f.table.of(ticket)).body) != "r" + expected)
                        ++wrong;
                }
                if (i % 5 == 0) {
                    f.table.release(mine.back().first.slot);
                    mine.pop_back();
                }
            }
            for (auto& [ticket, expected] : mine) {
                while (!PendingTable::wait(f.table.of(ticket), base::kNever, false)) {
                }
                const SettledView view = PendingTable::view(f.table.of(ticket));
                if (view.outcome == 0 && text(view.body) != "r" + expected) ++wrong;
                f.table.release(ticket.slot);
            }
        });
    }
    for (std::thread& user : users) user.join();
    EXPECT_TRUE(f.table.wait_idle(base::monotonic_now() + std::chrono::seconds{20}));
    stop = true;
    io.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(f.table.claimed_slots(), 0U);
}

TEST(PendingTable, NeverLosesACallbackThatRacesWithTheOutcome) {
    for (int round = 0; round < 300; ++round) {
        Fixture f;
        std::vector<std::string> said;
        const Ticket ticket = f.submit("t");
        f.send();
        std::thread io{[&] { f.settle(1, "done"); }};
        f.table.then(ticket.slot, std::make_unique<Said>(said));
        f.table.release(ticket.slot);
        io.join();
        f.jobs.run(f.table);
        ASSERT_EQ(said.size(), 1U);
        ASSERT_EQ(f.table.claimed_slots(), 0U) << round;
    }
}

}  // namespace
}  // namespace forkmill::detail
