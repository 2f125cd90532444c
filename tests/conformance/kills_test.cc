// SPDX-License-Identifier: Apache-2.0
// Kills from outside, at any moment, of those who wait for locks, hold them and let them go, and of
// those who get, end and put leased items (L04, Q05).
//
// Workers churn, this program churns along, and all of them keep a ledger. It kills a worker after
// so many operations of all, half of the time one that is at a moment it wants. FORKMILL_SEED
// replays the draws, not the interleaving.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "forkmill/shared.h"
#include "tests/conformance/cluster.h"
#include "tests/conformance/ledger.h"
#include "tests/support/wait_until.h"

namespace conformance {

using namespace std::chrono_literals;

namespace {

constexpr int kWorkers = 3;
constexpr int kThreads = 2;
constexpr std::size_t kTasks = kWorkers * kThreads;
static_assert(kTasks + 1 == kChurners);
constexpr std::size_t kRoom = 24;  ///< Items the queue holds; putters meet its bound.

struct Shared {
    forkmill::Lock first;
    forkmill::Lock second;
    forkmill::RLock reentrant;
    forkmill::Condition condition;
    forkmill::Queue<std::uint32_t> items;
    forkmill::Event go_on;  ///< Who rests waits for it.
    FORKMILL_FIELDS(first, second, reentrant, condition, items, go_on)
};

/// One that uses everything at random until it is stopped or killed.
class Churn {
  public:
    Churn(Ledger& ledger,
          Shared& shared,
          forkmill::Lock& own,
          std::size_t number,
          std::uint64_t seed)
        : ledger_(ledger),
          shared_(shared),
          own_(own),
          number_(number),
          me_(identity(number)),
          random_(seed) {
        ledger_.churners[number_].moment = Moment::Between;
        ledger_.churners[number_].pid = ::getpid();
    }

    /// `task`: now and then it ends with what it has, as a task may.
    void run(bool task) {
        while (!ledger_.stop) {
            if (ledger_.quiet) {
                at(Moment::Rests);
                // Not by a look at the ledger now and then: whoever waits at an object lends its
                // slot, which those need whose waiting ends.
                static_cast<void>(shared_.go_on.wait_for(60s));
            } else if (task && below(400) == 0) {
                return forget();
            } else {
                act();
            }
        }
    }

  private:
    /// A lock, as guards use it, that keeps the ledger.
    class Watched {
      public:
        Watched(Churn& churn, forkmill::BasicLock& lock, std::size_t section)
            : churn_(churn), lock_(lock), section_(section) {}
        void lock() {
            churn_.at(Moment::WaitsForLock);
            lock_.lock();
            granted();
        }
        bool try_lock() { return try_lock_for(forkmill::Duration::zero()); }
        bool try_lock_for(forkmill::Duration timeout) {
            churn_.at(Moment::WaitsForLock);
            if (!lock_.try_lock_for(timeout)) {
                churn_.ended();
                return false;
            }
            granted();
            return true;
        }
        void unlock() noexcept {
            churn_.at(Moment::Unlocks);
            try {
                if (churn_.below(3) == 0) {
                    lock_.release();
                } else {
                    lock_.unlock();
                }
            } catch (const std::exception& error) {
                churn_.ledger_.breach("section " + std::to_string(section_) +
                                      ", a holder's release: " + error.what());
            }
            churn_.ended();
        }
        void granted() {
            note_grant(churn_.ledger_, section_, churn_.me_, lock_.token(), lock_.owner_died());
            churn_.at(Moment::Holds);
        }
        void inside() {
            enter(churn_.ledger_, section_, churn_.me_);
            churn_.spin();
        }
        void outside() { leave(churn_.ledger_, section_, churn_.me_); }

      private:
        Churn& churn_;
        forkmill::BasicLock& lock_;
        std::size_t section_;
    };

    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    forkmill::Duration soon() { return std::chrono::microseconds{below(3000)}; }
    void at(Moment moment) { ledger_.churners[number_].moment = moment; }
    void ended() {
        at(Moment::Between);
        ++ledger_.operations;
    }
    /// Long enough, at times, for another who should not be there to come by, or to be killed in.
    void spin() {
        const std::uint64_t dice = below(24);
        for (std::uint64_t left = dice == 0 ? 500'000 : dice < 6 ? 20'000 : 50; left > 0; --left)
            static_cast<void>(ledger_.stop.load());
        if (dice % 2 == 0) std::this_thread::yield();
    }

    Watched first() { return {*this, shared_.first, kFirst}; }
    Watched second() { return {*this, shared_.second, kSecond}; }
    Watched reentrant() { return {*this, shared_.reentrant, kReentrant}; }
    Watched own() { return {*this, own_, kOwn + number_}; }
    Watched conditional() { return {*this, shared_.condition.owned_lock(), kConditional}; }

    void act() {
        switch (below(12)) {
            case 0:
                return hold(first());
            case 1:
                return hold(second());
            case 2:
                return hold(own());
            case 3:
                return try_for(own());
            case 4:
                return try_for(below(2) == 0 ? first() : second());
            case 5:
                return hold_both();
            case 6:
                return hold_again();
            case 7:
                return meet();
            case 8:
                return put();
            default:
                return get();
        }
    }

    void hold(Watched lock) {
        const std::scoped_lock guard{lock};
        lock.inside();
        lock.outside();
    }
    void try_for(Watched lock) {
        if (!lock.try_lock_for(soon())) return;
        lock.inside();
        lock.outside();
        lock.unlock();
    }
    /// Whichever comes first, is let go and taken again: what std::scoped_lock does.
    void hold_both() {
        Watched a = first();
        Watched b = second();
        const std::scoped_lock guard{a, b};
        a.inside();
        b.inside();
        b.outside();
        a.outside();
    }
    void hold_again() {
        Watched lock = reentrant();
        const std::scoped_lock outer{lock};
        lock.inside();
        if (below(2) == 0) {
            const std::scoped_lock inner{lock};
            spin();
        }
        lock.outside();
    }
    /// Gives a ticket, or waits for one.
    void meet() {
        Watched lock = conditional();
        const std::scoped_lock guard{lock};
        lock.inside();
        if (below(2) == 0) {
            ++ledger_.tickets;
            shared_.condition.notify(1 + below(2));
        } else {
            if (ledger_.tickets == 0) {
                lock.outside();
                at(Moment::WaitsForLock);
                static_cast<void>(shared_.condition.wait_for(soon()));
                lock.granted();
                lock.inside();
            }
            if (ledger_.tickets > 0) --ledger_.tickets;
        }
        lock.outside();
    }
    void put() {
        const std::uint32_t item = ledger_.next_item++;
        if (item >= kItemsMax) return;
        std::atomic<std::uint32_t>& marks = ledger_.items[item].marks;
        marks |= kPutBegun;
        at(Moment::Puts);
        try {
            shared_.items.put_for(item, soon());
            marks |= kPut;
        } catch (const forkmill::QueueFull&) {
            marks |= kRefused;
        }
        ended();
    }
    std::optional<std::uint32_t> take() {
        at(Moment::WaitsForItem);
        try {
            if (below(2) == 0) return shared_.items.try_get();
            return shared_.items.get_for(soon());
        } catch (const forkmill::QueueEmpty&) {
            return std::nullopt;
        }
    }
    void get() {
        if (const auto item = take()) {
            at(Moment::HasItem);
            note_item(ledger_, *item, me_);
            for (int i = 0; i < 3; ++i) spin();
            if (below(4) == 0) hold(first());
            at(Moment::EndsItem);
            note_end(ledger_, *item, me_);
            shared_.items.task_done();
            ledger_.items[*item].marks |= kEnded;
        }
        ended();
    }
    /// The end of the task lets go of a lock and of an item.
    void forget() {
        Watched lock = first();
        lock.lock();
        lock.inside();
        ledger_.sections[kFirst].occupant = me_ | kTaskEnded;
        if (const auto item = take()) {
            note_item(ledger_, *item, me_);
            ledger_.items[*item].owner = me_ | kTaskEnded;
        }
        at(Moment::Between);
    }

    Ledger& ledger_;
    Shared& shared_;
    forkmill::Lock& own_;
    const std::size_t number_;
    const std::uint64_t me_;
    std::mt19937_64 random_;
};

void churn(const std::string& path,
           Shared shared,
           forkmill::Lock own,
           std::size_t number,
           std::uint64_t seed) {
    const auto ledger = map_ledger(path);
    Churn{*ledger, shared, own, number, seed}.run(true);
    ledger->churners[number].pid = 0;
}

/// A worker that may be killed.
struct Victim {
    pid_t pid = 0;
    int descriptor = -1;

    Victim() = default;
    Victim(const Victim&) = delete;
    Victim& operator=(const Victim&) = delete;
    ~Victim() { ::close(descriptor); }
    void take(pid_t number) {
        ::close(std::exchange(descriptor, static_cast<int>(::syscall(SYS_pidfd_open, number, 0))));
        std::error_code gone;
        const auto program =
            std::filesystem::read_symlink("/proc/" + std::to_string(number) + "/exe", gone);
        const bool ours = !gone && program == std::filesystem::read_symlink("/proc/self/exe");
        pid = descriptor >= 0 && ours ? number : 0;
    }
    bool lives(const Ledger& ledger, std::size_t churner) const {
        return pid != 0 && ledger.churners[churner].pid == pid;
    }
    bool kill() const {
        return ::syscall(SYS_pidfd_send_signal, descriptor, SIGKILL, nullptr, 0) == 0;
    }
};

/// Keeps a task per churner going, and kills.
class Killer {
  public:
    Killer(forkmill::Pool& pool, const std::string& path, std::uint64_t seed)
        : pool_(pool), path_(path), ledger_(map_ledger(path)), random_(seed) {
        shared_.first = forkmill::Lock{pool};
        shared_.second = forkmill::Lock{pool};
        shared_.reentrant = forkmill::RLock{pool};
        shared_.condition = forkmill::Condition{pool, forkmill::Lock{pool}};
        shared_.items = forkmill::Queue<std::uint32_t>{pool, {.maxsize = kRoom, .leased = true}};
        shared_.go_on = forkmill::Event{pool};
        for (std::size_t i = 0; i < kChurners; ++i) own_.emplace_back(pool);
        tasks_.resize(kTasks);
    }

    /// False: somebody who was told to end did not.
    bool run(int kills) {
        std::thread here{[this, seed = random_()] { churn_here(seed); }};
        for (int i = 0; i < kills && ledger_->breaches == 0; ++i) {
            // Storms, and calm enough for lines to form and items to pile up.
            const std::uint64_t pause = random_() % 3 == 0 ? 0 : random_() % 60;
            const std::uint64_t target = ledger_->operations + pause;
            const bool moved = wait_until(60, [&] {
                tend();
                return ledger_->operations >= target && kill_one();
            });
            if (!moved) ledger_->breach("nobody goes on: " + standing());
            if (random_() % 20 == 0) rest();
        }
        ledger_->stop = true;
        const bool ended = wait_until(60, [&] {
            return here_ended_ && std::all_of(tasks_.begin(), tasks_.end(), [&](auto& task) {
                       return settle(task);
                   });
        });
        if (!ended) {
            ledger_->breach("somebody waits for ever: " + standing());
            pool_.terminate();  // Ends what this program waits for, too.
        }
        here.join();
        return ended;
    }

    /// What is left in the queue is there, and nothing is leased; every lock is free.
    void finish() {
        EXPECT_TRUE(wait_until(30, [&] {
            while (ledger_->breaches == 0) {
                const std::optional<std::uint32_t> item = shared_.items.try_get();
                if (!item) break;
                const std::uint64_t me = identity(kTasks);
                note_item(*ledger_, *item, me);
                note_end(*ledger_, *item, me);
                shared_.items.task_done();
                ledger_->items[*item].marks |= kEnded;
            }
            return shared_.items.join_for(10ms);
        })) << "an item is still leased to somebody who is dead";
        std::vector<forkmill::BasicLock*> locks{
            &shared_.first, &shared_.second, &shared_.reentrant, &shared_.condition.owned_lock()};
        for (forkmill::Lock& own : own_) locks.push_back(&own);
        for (forkmill::BasicLock* lock : locks) {
            EXPECT_TRUE(lock->try_lock_for(20s)) << "nobody is left who could have it";
            lock->unlock();
        }
        judge_items(*ledger_);
        EXPECT_EQ(ledger_->breaches, 0U) << ledger_->first_breach.data();
    }

    void report() const {
        std::printf("operations %llu, items %u, sections left by the dead:",
                    static_cast<unsigned long long>(ledger_->operations),
                    ledger_->next_item.load());
        for (const Section& section : ledger_->sections)
            std::printf(" %llu/%llu",
                        static_cast<unsigned long long>(section.left_by_dead),
                        static_cast<unsigned long long>(section.entries));
        std::printf("; killed");
        for (std::size_t i = 0; i < kMoments; ++i)
            std::printf(", %s: %d", name_of(static_cast<Moment>(i)), killed_[i]);
        std::printf("\n");
    }
    const char* breach() const { return ledger_->first_breach.data(); }
    int killed_at(std::size_t moment) const { return killed_[moment]; }

  private:
    void churn_here(std::uint64_t seed) {
        try {
            Churn{*ledger_, shared_, own_[kTasks], kTasks, seed}.run(false);
        } catch (const std::exception& error) {
            ledger_->breach(std::string{"this program: "} + error.what());
        }
        here_ended_ = true;
    }

    /// What a death must set going is not left to whoever comes by next.
    void rest() {
        shared_.go_on.clear();
        ledger_->quiet = true;
        const bool all = wait_until(60, [&] {
            tend();
            return std::all_of(
                ledger_->churners.begin(), ledger_->churners.end(), [](const Churner& each) {
                    return each.pid != 0 && each.moment == Moment::Rests;
                });
        });
        if (!all) ledger_->breach("somebody waits for what is free: " + standing());
        ledger_->quiet = false;
        shared_.go_on.set();
    }

    /// True: there is no such task any more; it ended by itself or with its worker.
    bool settle(std::optional<forkmill::AsyncResult<void>>& task) {
        if (!task) return true;
        if (!task->ready()) return false;
        try {
            task->get();
        } catch (const forkmill::WorkerLost&) {
        } catch (const std::exception& error) {
            ledger_->breach(std::string{"a task: "} + error.what());
        }
        task.reset();
        return true;
    }
    void tend() {
        for (std::size_t i = 0; i < kTasks; ++i) {
            if (!settle(tasks_[i])) continue;
            // Whoever was killed wrote its last moment: no other writes there before the next task.
            if (std::exchange(dying_[i], false))
                ++killed_[static_cast<std::size_t>(ledger_->churners[i].moment.load())];
            tasks_[i] = pool_.apply_async(forkmill::function(churn, {.at_most_once = true}),
                                          path_,
                                          shared_,
                                          own_[i],
                                          i,
                                          random_());
        }
    }

    /// False: there is none to kill now.
    bool kill_one() {
        look_for_victims();
        std::size_t victim = random_() % kTasks;
        if (random_() % 2 == 0) {
            const auto wanted = static_cast<Moment>(random_() % kMoments);
            for (std::size_t looks = 0; looks < 200'000; ++looks) {
                const std::size_t i = looks % kTasks;
                if (ledger_->churners[i].moment != wanted || !victims_[i].lives(*ledger_, i))
                    continue;
                victim = i;
                break;
            }
        }
        const pid_t pid = victims_[victim].pid;
        if (!victims_[victim].lives(*ledger_, victim) || !victims_[victim].kill()) return false;
        for (std::size_t i = 0; i < kTasks; ++i) {
            pid_t dead = pid;
            if (ledger_->churners[i].pid.compare_exchange_strong(dead, 0)) dying_[i] = true;
        }
        return true;
    }
    /// The number may be another's by now: a descriptor holds on to who has it, and only then it is
    /// looked at who that is. All this goes before the moment to kill.
    void look_for_victims() {
        for (std::size_t i = 0; i < kTasks; ++i) {
            const pid_t pid = ledger_->churners[i].pid;
            if (pid != 0 && pid != victims_[i].pid) victims_[i].take(pid);
        }
    }
    std::string standing() const {
        std::string text;
        for (const Churner& each : ledger_->churners)
            text += std::to_string(each.pid) + " " + name_of(each.moment) + "; ";
        return text;
    }

    forkmill::Pool& pool_;
    const std::string path_;
    std::shared_ptr<Ledger> ledger_;
    Shared shared_;
    std::vector<forkmill::Lock> own_;
    std::vector<std::optional<forkmill::AsyncResult<void>>> tasks_;
    std::atomic<bool> here_ended_{false};
    std::mt19937_64 random_;
    std::array<Victim, kTasks> victims_;
    std::array<bool, kTasks> dying_{};
    std::array<int, kMoments> killed_{};  ///< Churners: a worker may have several.
};

std::uint64_t chosen_seed() {
    const char* given = std::getenv("FORKMILL_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

}  // namespace

CONFORMANCE(L04, KillsFromOutsideAtAnyMomentNeitherBlockNorLose, "EI") {
    const int kills = forkmill::test::full_or_twentieth(10'000);
    const std::uint64_t seed = chosen_seed();
    SCOPED_TRACE("FORKMILL_SEED=" + std::to_string(seed));
    std::printf("FORKMILL_SEED=%llu, %d kills\n", static_cast<unsigned long long>(seed), kills);
    Cluster cluster{size, {.workers = kWorkers, .threads = kThreads}};
    forkmill::Pool pool{cluster.options()};
    Killer killer{pool, cluster.directory() + "/ledger", seed};
    const bool ended = killer.run(kills);
    killer.report();
    ASSERT_TRUE(ended) << killer.breach();
    killer.finish();
    for (auto i = static_cast<std::size_t>(Moment::WaitsForLock); i < kMoments; ++i)
        EXPECT_GT(killer.killed_at(i), 0) << "nobody was killed who " << name_of(Moment(i));
    expect_alive(pool);
}

}  // namespace conformance
