// SPDX-License-Identifier: Apache-2.0
// Handles of shared objects as arguments of processes (X12): of embedded pools and of a daemon's.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "forkmill/process.h"
#include "forkmill/shared.h"
#include "tests/conformance/cluster.h"
#include "tests/conformance/process_support.h"

namespace conformance {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using forkmill::Connection;
using forkmill::Lock;
using forkmill::Process;
using forkmill::Queue;
using forkmill::Value;
using forkmill::test::TempDir;

namespace {

/// Reaps what the processes of an embedded pool left to us when the fork server ended.
struct Orphanage {
    explicit Orphanage(Size of) : size(of) {}
    ~Orphanage() {
        if (size == Size::E) expect_nothing_left();
    }
    const Size size;
};

/// A pool beside which processes can be started: their fork server comes before its threads.
struct Shared {
    explicit Shared(Size size)
        : cluster(size, {.workers = 1}),
          orphanage(size),
          opened(std::in_place, cluster.options()),
          pool(*opened) {}
    Cluster cluster;
    const Orphanage orphanage;
    const Process keeper{nothing};
    std::optional<forkmill::Pool> opened;
    forkmill::Pool& pool;
};

/// As the broker counts them, whoever asks among them; at E nobody can ask.
int sessions_of(Cluster& cluster) {
    if (cluster.size() == Size::E) return 0;
    const std::string output = cluster.directory() + "/status";
    std::filesystem::remove(output);
    forkmill::test::Program program{
        {forkmill::test::built_program("forkmill").string(), "status", "-o", "json"},
        {.environment = {"FORKMILL_ENDPOINT=" + cluster.endpoint()}, .output = output}};
    EXPECT_EQ(program.wait(forkmill::test::stretched(20s)), 0);
    return nlohmann::json::parse(read_file(output)).at("sessions").get<int>();
}

void run(Process& process) {
    process.start();
    EXPECT_TRUE(process.join(60s));
    EXPECT_EQ(process.exit_code(), 0);
}

void square_all(Queue<int> jobs, Queue<int> results) {
    try {
        for (;;) {
            const int n = jobs.get();
            results.put(n * n);
        }
    } catch (const forkmill::ObjectClosed&) {
    }
}

void work_off(Queue<int> jobs) {
    try {
        for (;;) {
            static_cast<void>(jobs.get());
            jobs.task_done();
        }
    } catch (const forkmill::ObjectClosed&) {
    }
}

void hold_for_ever(Lock lock, const std::string& path) {
    lock.lock();
    write_file(path, std::to_string(::getpid()));
    wait_for_ever();
}

void get_and_wait(Queue<int> items, const std::string& path) {
    static_cast<void>(items.get());
    write_file(path, "got");
    wait_for_ever();
}

void send_numbers(Connection<int> end, int count) {
    for (int i = 0; i < count; ++i) end.send(i);
}

/// Exits with how many came before the end.
void count_numbers(Connection<int> end) {
    int count = 0;
    try {
        for (;; ++count)
            if (end.recv() != count) std::exit(255);
    } catch (const forkmill::ObjectClosed&) {
        std::exit(count);
    }
}

void add_up(Value<int> sum, int times) {
    for (int i = 0; i < times; ++i) sum.fetch_add(1);
}

void have_a_child_that_holds(Lock lock, const std::string& path) {
    Process child{hold_for_ever, lock, path};
    child.start();
    child.join();
}

void have_a_child_that_works(Queue<int> jobs, Queue<int> results) {
    results.put(0);  // Its own use of what it passes on does not hinder it.
    Process child{square_all, jobs, results};
    run(child);
}

}  // namespace

CONFORMANCE(X12, ProducerAndConsumersShareAQueue, "EIT") {
    Shared shared{size};
    Queue<int> jobs{shared.pool};
    Queue<int> results{shared.pool};
    std::vector<Process> consumers;
    for (int i = 0; i < 4; ++i) consumers.emplace_back(square_all, jobs, results);
    for (Process& each : consumers) each.start();
    for (int i = 1; i <= 100; ++i) jobs.put(i);
    jobs.shut();
    long sum = 0;
    for (int i = 1; i <= 100; ++i) sum += results.get_for(20s);
    EXPECT_EQ(sum, 100L * 101 * 201 / 6);
    for (Process& each : consumers) {
        EXPECT_TRUE(each.join(20s));
        EXPECT_EQ(each.exit_code(), 0);
    }
    EXPECT_TRUE(results.empty());
}

CONFORMANCE(X12, TheLockOfAKilledProcessIsFreeAtOnce, "EIT") {
    const TempDir directory;
    Shared shared{size};
    Lock lock{shared.pool};
    Process holder{hold_for_ever, lock, directory / "held"};
    holder.start();
    ASSERT_GT(pid_in(directory / "held"), 0);
    EXPECT_FALSE(lock.try_lock());
    holder.kill();
    const auto killed = Clock::now();
    // Nobody joins: the pool's thread hears of the death by itself.
    ASSERT_TRUE(lock.try_lock_for(20s));
    EXPECT_LT(seconds_since(killed), 1.0);
    EXPECT_TRUE(lock.owner_died());
    lock.unlock();
    EXPECT_TRUE(holder.join(20s));
}

CONFORMANCE(X12, ALeasedItemOfAKilledProcessReturnsAtOnce, "EIT") {
    const TempDir directory;
    Shared shared{size};
    Queue<int> items{shared.pool, {.leased = true}};
    items.put(7);
    Process consumer{get_and_wait, items, directory / "got"};
    consumer.start();
    wait_for_file(directory / "got");
    EXPECT_EQ(items.try_get(), std::nullopt);
    consumer.kill();
    const auto killed = Clock::now();
    EXPECT_EQ(items.get_for(20s), 7);
    EXPECT_LT(seconds_since(killed), 1.0);
    items.task_done();
    EXPECT_TRUE(consumer.join(20s));
}

CONFORMANCE(X12, JoinWaitsForWhatProcessesMarkAsDone, "EIT") {
    Shared shared{size};
    Queue<int> jobs{shared.pool};
    std::vector<Process> workers;
    for (int i = 0; i < 3; ++i) workers.emplace_back(work_off, jobs);
    for (Process& each : workers) each.start();
    for (int i = 0; i < 300; ++i) jobs.put(i);
    EXPECT_TRUE(jobs.join_for(30s));
    EXPECT_TRUE(jobs.empty());
    jobs.shut();
    for (Process& each : workers) EXPECT_TRUE(each.join(20s));
}

CONFORMANCE(X12, TwoProcessesTalkThroughAPipeToItsEnd, "EIT") {
    Shared shared{size};
    auto [receiver, sender] = forkmill::pipe<int>(shared.pool, {.duplex = false});
    Process second{count_numbers, receiver};
    Process first{send_numbers, sender, 100};
    second.start();
    first.start();
    // They have their ends since start(): the other copies must not keep the pipe open.
    receiver.close();
    sender.close();
    EXPECT_TRUE(first.join(30s));
    EXPECT_TRUE(second.join(30s));
    EXPECT_EQ(second.exit_code(), 100);
}

CONFORMANCE(X12, AnEndIsClosedWithTheProcessThatIsKilled, "EIT") {
    Shared shared{size};
    auto [receiver, sender] = forkmill::pipe<int>(shared.pool, {.duplex = false});
    Process silent{[](Connection<int> end) {
                       end.send(1);
                       wait_for_ever();
                   },
                   sender};
    silent.start();
    sender.close();
    EXPECT_EQ(receiver.recv_for(20s), 1);
    silent.kill();
    EXPECT_THROW(static_cast<void>(receiver.recv_for(20s)), forkmill::ObjectClosed);
    EXPECT_TRUE(silent.join(20s));
}

CONFORMANCE(X12, AdditionsOfTenProcessesAddUp, "EIT") {
    Shared shared{size};
    Value<int> sum{shared.pool, 0};
    std::vector<Process> all;
    for (int i = 0; i < 10; ++i) all.emplace_back(add_up, sum, 100);
    for (Process& each : all) each.start();
    for (Process& each : all) {
        EXPECT_TRUE(each.join(60s));
        EXPECT_EQ(each.exit_code(), 0);
    }
    EXPECT_EQ(sum.get(), 1000);
}

CONFORMANCE(X12, AGrandchildHasThemToo, "EIT") {
    Shared shared{size};
    Queue<int> jobs{shared.pool};
    Queue<int> results{shared.pool};
    for (int i = 1; i <= 3; ++i) jobs.put(i);
    jobs.shut();
    Process parent{have_a_child_that_works, jobs, results};
    run(parent);
    int sum = 0;
    for (int i = 0; i < 4; ++i) sum += results.get_for(20s);
    EXPECT_EQ(sum, 14);
}

namespace {

/// A lock that the child of a child holds.
struct HoldingGrandchild {
    explicit HoldingGrandchild(Size size) : shared{size} {
        parent.start();
        grandchild = pid_in(directory / "held");
    }
    TempDir directory;
    Shared shared;
    Lock lock{shared.pool};
    Process parent{have_a_child_that_holds, lock, directory / "held"};
    pid_t grandchild = 0;
};

}  // namespace

CONFORMANCE(X12, ABranchThatComesDownFreesItsLocksAtOnce, "EIT") {
    HoldingGrandchild family{size};
    auto& [directory, shared, lock, parent, grandchild] = family;
    ASSERT_GT(grandchild, 0);
    parent.kill();
    const auto killed = Clock::now();
    ASSERT_TRUE(lock.try_lock_for(20s));
    EXPECT_LT(seconds_since(killed), 1.0);
    EXPECT_TRUE(lock.owner_died());
    EXPECT_TRUE(is_dead(grandchild));
    EXPECT_TRUE(parent.join(20s));
}

CONFORMANCE(X12, AGrandchildsDeathFreesItsLocksAtOnce, "EIT") {
    HoldingGrandchild family{size};
    auto& [directory, shared, lock, parent, grandchild] = family;
    ASSERT_GT(grandchild, 0);
    ::kill(grandchild, SIGKILL);
    const auto killed = Clock::now();
    ASSERT_TRUE(lock.try_lock_for(20s));
    EXPECT_LT(seconds_since(killed), 1.0);
    EXPECT_TRUE(parent.join(20s));
}

CONFORMANCE(X12, AProcessKeepsWhatItWasGivenUntilItIsBorn, "EIT") {
    Shared shared{size};
    Queue<std::string> answers{shared.pool};
    std::optional<Queue<int>> items{std::in_place, shared.pool};
    items->put(42);
    Process process{[](Queue<int> from, Queue<std::string> to) {
                        to.put("it was " + std::to_string(from.get()));
                    },
                    *items,
                    answers};
    const std::uint64_t id = items->id();
    items.reset();
    run(process);
    EXPECT_EQ(answers.get_for(20s), "it was 42");
    Queue<int> next{shared.pool};
    EXPECT_GT(next.id(), id);
}

CONFORMANCE(X12, AProcessMakesObjectsOfItsOwn, "EIT") {
    Shared shared{size};
    Queue<Queue<int>> mail{shared.pool};
    Process process{[](Queue<Queue<int>> to, Lock gate) {
                        Queue<int> own{forkmill::context().pool()};
                        own.put(5);
                        to.put(own);
                        gate.lock();
                    },
                    mail,
                    Lock{shared.pool}};
    process.start();
    Queue<int> own = mail.get_for(20s);
    EXPECT_EQ(own.get_for(20s), 5);
    EXPECT_TRUE(process.join(20s));
    EXPECT_EQ(process.exit_code(), 0);
    own.put(6);
    EXPECT_EQ(own.get_for(20s), 6) << "it outlives who made it, for we have a handle";
}

CONFORMANCE(X12, HandlesOfTwoPoolsDoNotMixUp, "EIT") {
    Shared shared{size};
    forkmill::Pool other{1};
    // The first objects of two embedded pools have the same id.
    Queue<int> here{shared.pool};
    Queue<int> there{other};
    Process process{[](Queue<int> first, Queue<int> second, Queue<int> again) {
                        first.put(1);
                        second.put(2);
                        again.put(3);
                    },
                    here,
                    there,
                    here};
    run(process);
    EXPECT_EQ(here.get_for(20s), 1);
    EXPECT_EQ(here.get_for(20s), 3);
    EXPECT_EQ(there.get_for(20s), 2);
    EXPECT_TRUE(here.empty() && there.empty());
}

CONFORMANCE(X12, WhatIsGoneIsToldBeforeTheBirth, "EIT") {
    Shared shared{size};
    Queue<int> items{shared.pool};
    Process process{[](Queue<int> from) { static_cast<void>(from.get()); }, items};
    items.remove();
    EXPECT_THROW(process.start(), forkmill::ObjectLost);
    EXPECT_EQ(process.pid(), 0);
    EXPECT_THROW(process.join(), forkmill::UsageError);
    EXPECT_THROW(process.start(), forkmill::ObjectLost) << "it may be tried again";
}

CONFORMANCE(X12, AChildThatOutlivesThePoolIsTold, "EIT") {
    const TempDir directory;
    Shared shared{size};
    Queue<int> items{shared.pool};
    Process process{[](Queue<int> from, const std::string& path) {
                        const auto waits = from.get_async();
                        write_file(path, "waits");
                        try {
                            static_cast<void>(from.get());
                        } catch (const forkmill::Error&) {
                        }
                        try {
                            from.put(1);
                        } catch (const forkmill::Error&) {
                            std::exit(3);
                        }
                    },
                    items,
                    directory / "waits"};
    process.start();
    wait_for_file(directory / "waits");
    items = {};
    shared.opened.reset();
    const auto ended = Clock::now();
    EXPECT_TRUE(process.join(30s));
    EXPECT_LT(seconds_since(ended), 5.0);
    EXPECT_EQ(process.exit_code(), 3);
}

CONFORMANCE(X12, TwoHundredLeaveNothing, "EIT") {
    Shared shared{size};
    Value<int> sum{shared.pool, 0};
    const auto one_life = [&] {
        Process process{add_up, sum, 1};
        run(process);
    };
    for (int i = 0; i < 10; ++i) one_life();
    const auto files = [] { return forkmill::test::open_files(::getpid()).size(); };
    const auto settled = [&](std::size_t most) {
        return forkmill::test::wait_until([&] { return files() <= most; }, 5s);
    };
    const std::size_t before = files();
    const int sessions = sessions_of(shared.cluster);
    const std::size_t children = forkmill::test::leftovers().size();
    const int lives = forkmill::test::full_or_twentieth(200);
    for (int i = 0; i < lives; ++i) one_life();
    EXPECT_EQ(sum.get(), 10 + lives);
    EXPECT_TRUE(settled(before)) << files() << " files, " << before << " before";
    EXPECT_TRUE(forkmill::test::wait_until(
        [&] { return forkmill::test::leftovers().size() <= children; }, 5s));
    EXPECT_TRUE(forkmill::active_children().empty());
    EXPECT_EQ(sessions_of(shared.cluster), sessions);
}

CONFORMANCE(X07, AConnectionIsReadableWhileAValueIsThere, "EIT") {
    Shared shared{size};
    auto [receiver, sender] = forkmill::pipe<int>(shared.pool, {.duplex = false});
    EXPECT_TRUE(forkmill::wait({receiver}, 20ms).empty());
    const std::vector<int> ready{receiver.fd()};
    sender.send(1);
    sender.send(2);
    EXPECT_EQ(forkmill::wait({receiver}, 20s), ready);
    EXPECT_EQ(forkmill::wait({receiver}, 0s), ready) << "looking takes nothing";
    EXPECT_EQ(receiver.recv(), 1);
    EXPECT_EQ(forkmill::wait({receiver}, 20s), ready);
    EXPECT_EQ(receiver.recv(), 2);
    EXPECT_TRUE(forkmill::wait({receiver}, 20ms).empty()) << "it must not lie";
    EXPECT_THROW(static_cast<void>(receiver.recv_for(10ms)), forkmill::QueueEmpty);
    sender.send(3);
    EXPECT_TRUE(receiver.poll(20s)) << "now it waits in this process";
    EXPECT_EQ(forkmill::wait({receiver}, 0s), ready);
    EXPECT_EQ(receiver.recv(), 3);
    EXPECT_TRUE(forkmill::wait({receiver}, 20ms).empty());
    sender.close();
    EXPECT_EQ(forkmill::wait({receiver}, 20s), ready) << "the end is to be read, too";
    EXPECT_THROW(static_cast<void>(receiver.recv()), forkmill::ObjectClosed);
    EXPECT_EQ(forkmill::wait({receiver}, 0s), ready);
}

CONFORMANCE(X07, WaitTakesConnectionsAndSentinelsTogether, "EIT") {
    const TempDir directory;
    Shared shared{size};
    auto [receiver, sender] = forkmill::pipe<int>(shared.pool, {.duplex = false});
    auto [quiet, other] = forkmill::pipe<int>(shared.pool);
    Process process{[](Connection<int> end, const std::string& gate) {
                        end.send(1);
                        wait_for_file(gate);
                        end.send(2);
                    },
                    sender,
                    directory / "go"};
    EXPECT_TRUE(forkmill::wait({receiver, quiet}, 0s).empty());
    process.start();
    sender.close();
    EXPECT_EQ(forkmill::wait({process, quiet, receiver}, 20s), std::vector<int>{receiver.fd()});
    EXPECT_EQ(receiver.recv(), 1);
    EXPECT_TRUE(forkmill::wait({process, quiet, receiver}, 20ms).empty());
    static_cast<void>(directory.write("go", ""));
    EXPECT_TRUE(process.join(20s));
    EXPECT_EQ(forkmill::wait({process, quiet, receiver}, 20s),
              (std::vector<int>{process.sentinel(), receiver.fd()}));
    EXPECT_EQ(receiver.recv(), 2);
    EXPECT_EQ(forkmill::wait({quiet, receiver}, 20s), std::vector<int>{receiver.fd()});
    EXPECT_THROW(static_cast<void>(receiver.recv()), forkmill::ObjectClosed);
}

CONFORMANCE(X07, AnEndThatIsWatchedStillEnds, "EIT") {
    Shared shared{size};
    auto [first, second] = forkmill::pipe<int>(shared.pool);
    EXPECT_TRUE(forkmill::wait({first}, 0s).empty());
    const std::size_t files = forkmill::test::open_files(::getpid()).size();
    first.close();
    EXPECT_EQ(forkmill::test::open_files(::getpid()).size(), files - 1);
    EXPECT_THROW(static_cast<void>(second.recv_for(20s)), forkmill::ObjectClosed);
    // What ends with its pool can be read, too: recv() says so.
    auto [last, unused] = forkmill::pipe<int>(shared.pool);
    EXPECT_TRUE(forkmill::wait({last}, 0s).empty());
    shared.opened.reset();
    EXPECT_EQ(forkmill::wait({last}, 20s), std::vector<int>{last.fd()});
    EXPECT_THROW(static_cast<void>(last.recv()), forkmill::Error);
}

}  // namespace conformance
