// SPDX-License-Identifier: Apache-2.0
// Many thousands of random steps: whatever happens, in whatever order, every accepted task of a
// living client ends exactly once, nothing is kept for nobody, and all invariants hold after each
// step.
#include <algorithm>
#include <cstdlib>
#include <random>

#include "tests/unit/engine/cluster.h"

namespace forkmill::engine::test {

namespace {

class Model {
  public:
    explicit Model(std::uint64_t seed) : rng_(seed) {
        Config config;
        config.queues = {{"default", 1, 200, 10, 1 << 20}, {"other", 3, 1'000'000, 10, 1 << 20}};
        config.tasks_per_session_max = 300;
        config.memory_max = 4 << 20;
        config.payload_max = 64 << 10;
        config.result_bytes_per_session_max = 2000;
        config.result_ttl = 30s;
        c_ = std::make_unique<Cluster>(config);
        c_->automatic = false;
    }

    void run(int steps) {
        for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
            step();
            forget_closed();
        }
        drain();
    }

  private:
    std::uint64_t pick(std::uint64_t below) { return rng_() % below; }
    bool chance(std::uint64_t percent) { return pick(100) < percent; }
    template <class T>
    T& any(std::vector<T>& from) {
        return from[pick(from.size())];
    }

    void step() {
        switch (pick(28)) {
            case 0:
                return open_client();
            case 1:
                return open_worker();
            case 2:
            case 3:
            case 4:
            case 5:
            case 6:
            case 7:
                return submit();
            case 8:
            case 9:
            case 10:
            case 11:
            case 12:
            case 13:
                return settle();
            case 14:
                return give_back();
            case 15:
                return start_or_block();
            case 16:
                return cancel();
            case 17:
                return lose_worker();
            case 18:
                return connection();
            case 19:
                return c_->pass(base::Duration{static_cast<std::int64_t>(pick(400)) * 1ms});
            case 20:
                return chance(10) ? close_client() : c_->schedule();
            case 21:
                return flow();
            case 22:
                return release_or_floor();
            case 23:
                return attach();
            case 24:
                return chance(20) ? c_->pass(9s) : c_->schedule();
            case 25:
                return suspend();
            default:
                return c_->schedule();
        }
    }

    void open_client() {
        if (clients_.size() < 5) clients_.push_back(c_->client(chance(50) ? "alice" : "bob"));
    }

    void open_worker() {
        if (workers_.size() >= 6) return;
        WorkerOptions options;
        options.threads = static_cast<std::uint32_t>(1 + pick(3));
        if (chance(50)) options.queues = {"default", "other"};
        if (chance(20)) options.offers = {{"y", "i32"}};
        workers_.push_back(c_->worker(options));
    }

    void submit() {
        if (clients_.empty()) return open_client();
        SubmitOptions options;
        if (chance(30)) options.queue = "other";
        if (chance(30)) options.priority = static_cast<std::int32_t>(pick(4));
        if (chance(20)) options.max_retries = 2;
        if (chance(10)) options.at_most_once = true;
        if (chance(10)) options.crash_limit = 1;
        if (chance(10)) options.timeout = 200ms;
        if (chance(10)) options.delay = 300ms;
        if (chance(10)) options.deadline = 500ms;
        if (chance(10)) options.detached = true;
        if (chance(15)) options.key = "k" + std::to_string(pick(6));
        if (chance(20)) options.body = std::string(pick(6000), 'b');
        const SessionIx session = any(clients_);
        if (chance(20)) {
            for (std::uint64_t i = 0; i < 1 + pick(3); ++i)
                for (auto it = tasks_.rbegin(); it != tasks_.rend() && it < tasks_.rbegin() + 8;
                     ++it)
                    if (it->id.stream == c_->stream(session) && chance(40))
                        options.arguments.emplace_back(static_cast<std::uint32_t>(i), *it);
        }
        const int count = chance(10) ? static_cast<int>(pick(60)) : 1;
        for (int i = 0; i < count; ++i)
            tasks_.push_back(c_->submit(chance(70) ? "x" : "y", options, session));
    }

    std::vector<Task> leased() {
        std::vector<Task> all;
        for (const SessionIx worker : workers_)
            for (const Task& task : c_->held(worker)) all.push_back(task);
        return all;
    }

    void settle() {
        auto all = leased();
        if (all.empty()) return c_->schedule();
        for (std::uint64_t i = 0; i < 1 + pick(6) && !all.empty(); ++i) {
            const std::size_t at = pick(all.size());
            const Task task = all[at];
            all.erase(all.begin() + static_cast<std::ptrdiff_t>(at));
            if (c_->holder(task) == kNoSession) continue;
            if (chance(75)) {
                c_->finish(task,
                           std::string(chance(10) ? pick(6000) : pick(20), 'r'),
                           base::Duration{static_cast<std::int64_t>(1 + pick(100'000'000))});
            } else {
                c_->fail(
                    task, chance(20) ? wire::Code::TaskTimeout : wire::Code::TaskThrew, chance(20));
            }
        }
    }

    void give_back() {
        auto all = leased();
        if (!all.empty()) c_->give_back(any(all));
    }

    void start_or_block() {
        auto all = leased();
        if (all.empty()) return;
        const Task& task = any(all);
        c_->start(task);
        if (chance(40)) c_->block(task, chance(60));
    }

    void cancel() {
        if (tasks_.empty()) return;
        if (chance(5) && !clients_.empty()) return c_->cancel_all(any(clients_), chance(30));
        const Task& task = any(tasks_);
        if (open(task)) c_->cancel(task, chance(30));
    }

    void lose_worker() {
        if (workers_.empty()) return;
        const std::size_t at = pick(workers_.size());
        const SessionIx worker = workers_[at];
        std::vector<Task> held = c_->held(worker);
        std::vector<Lease> running;
        for (const Task& task : held)
            if (running.size() < 2 && chance(40)) running.push_back(c_->lease(task));
        DeathInfo death = c_->death_of(worker, running);
        death.expected = chance(30);
        death.host_lost = chance(10);
        workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(at));
        const int order = static_cast<int>(pick(3));
        if (order == 0) c_->close(worker);
        c_->tell_death(death);
        if (order == 2) c_->close(worker);
        if (chance(10)) c_->tell_death(death);
    }

    void connection() {
        std::vector<SessionIx>& from = chance(50) ? clients_ : workers_;
        if (from.empty()) return;
        const SessionIx session = any(from);
        c_->disconnect(session);
        if (chance(80)) c_->reconnect(session);
        forget_closed();
    }

    /// Sessions that the engine itself closed meanwhile.
    void forget_closed() {
        for (; seen_ < c_->filed.size(); ++seen_) {
            const Effect& effect = c_->filed[seen_].effect;
            if (effect.kind != Effect::Kind::CloseSession) continue;
            std::erase(clients_, effect.session);
            std::erase(workers_, effect.session);
            lost_.insert(c_->stream(effect.session));
        }
    }

    void close_client() {
        if (clients_.empty()) return;
        const std::size_t at = pick(clients_.size());
        const SessionIx session = clients_[at];
        clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(at));
        lost_.insert(c_->stream(session));
        c_->close(session);
    }

    void flow() {
        if (clients_.empty()) return;
        const SessionIx session = any(clients_);
        c_->engine->set_writable(session, chance(60), c_->now, c_->effects);
        c_->step("writable");
    }

    void release_or_floor() {
        if (tasks_.empty()) return;
        const Task& task = any(tasks_);
        if (!open(task)) return;
        if (chance(50)) {
            released_.insert(task);
            return c_->release(task);
        }
        raise_floor(task.session);
    }

    /// An honest floor: everything below has ended.
    void raise_floor(SessionIx session) {
        const std::uint64_t stream = c_->stream(session);
        std::uint64_t floor = 1;
        std::uint64_t pending = UINT64_MAX;
        for (const Task& each : tasks_) {
            if (each.id.stream != stream) continue;
            floor = std::max(floor, each.seq + 1);
            const bool taken = c_->accepted(each) || attached_.count(each) != 0;
            if (taken && !c_->ended(each) && c_->refused(each) == wire::Code::None &&
                released_.count(each) == 0)
                pending = std::min(pending, each.seq);
        }
        c_->floor(session, std::min(floor, pending));
    }

    void attach() {
        if (tasks_.empty() || clients_.empty()) return;
        tasks_.push_back(c_->attach(any(tasks_).id, any(clients_)));
        attached_.insert(tasks_.back());
    }

    void suspend() {
        if (workers_.empty()) return;
        c_->engine->suspend_worker(any(workers_), chance(30), c_->now, c_->effects);
        c_->step("suspend");
    }

    bool open(const Task& task) const {
        return std::any_of(clients_.begin(), clients_.end(), [&](SessionIx client) {
            return c_->stream(client) == task.id.stream;
        });
    }

    /// Everybody is well again and works everything off.
    void drain() {
        forget_closed();
        for (const SessionIx session : clients_) {
            c_->engine->set_writable(session, true, c_->now, c_->effects);
            c_->engine->set_connected(session, true, c_->now, c_->effects);
        }
        for (const SessionIx worker : workers_) {
            DeathInfo stop = c_->death_of(worker);
            stop.expected = true;
            c_->tell_death(stop);
        }
        workers_.clear();
        WorkerOptions options;
        options.threads = 4;
        options.queues = {"default", "other"};
        workers_.push_back(c_->worker(options));
        for (int round = 0; round < 2000 && !testing::Test::HasFailure(); ++round) {
            c_->schedule();
            const auto all = c_->held(workers_[0]);
            if (all.empty()) {
                for (const SessionIx session : clients_) raise_floor(session);
                if (c_->engine->snapshot(c_->now).tasks == 0) break;
                c_->pass(5s);
                forget_closed();
            }
            for (const Task& task : all)
                if (c_->holder(task) != kNoSession) c_->finish(task, "end", 1us);
        }
        for (const Task& task : tasks_) {
            if (lost_.count(task.id.stream) != 0 || released_.count(task) != 0) continue;
            if (c_->accepted(task) || attached_.count(task) != 0) {
                EXPECT_TRUE(c_->ended(task) || c_->refused(task) != wire::Code::None)
                    << c_->state(task) << " task " << base::to_string(task.id);
            }
            EXPECT_TRUE(c_->accepted(task) || c_->ended(task) ||
                        c_->refused(task) != wire::Code::None || c_->forgotten.count(task))
                << "no answer to task " << task.seq;
        }
        // What is kept for attach goes with result_ttl; after that nothing is left.
        c_->pass(120s);
        const Engine::Snapshot shot = c_->engine->snapshot(c_->now);
        EXPECT_EQ(shot.tasks, 0U) << describe(shot);
        EXPECT_EQ(shot.memory_used, 0U);
    }

    static std::string describe(const Engine::Snapshot& shot) {
        std::string text;
        for (const QueueRow& queue : shot.queues) {
            text += queue.name + ": scheduled " + std::to_string(queue.scheduled) + ", ready " +
                    std::to_string(queue.ready) + ", leased " + std::to_string(queue.leased) +
                    ", running " + std::to_string(queue.running) + ", cancelling " +
                    std::to_string(queue.cancelling) + "\n";
            for (const std::string& reason : queue.waiting) text += "  " + reason + "\n";
        }
        for (const SessionRow& session : shot.sessions)
            text += session.role + (session.paused ? " paused" : "") + ", tasks " +
                    std::to_string(session.live) + ", results " + std::to_string(session.retained) +
                    "\n";
        for (const WorkerRow& worker : shot.workers)
            text += worker.state + ", holds " + std::to_string(worker.held) + "\n";
        return text;
    }

    std::mt19937_64 rng_;
    std::unique_ptr<Cluster> c_;
    std::vector<SessionIx> clients_, workers_;
    std::vector<Task> tasks_;
    std::set<Task> released_, attached_;
    std::set<std::uint64_t> lost_;  ///< Streams.
    std::size_t seen_ = 0;
};

}  // namespace

TEST(Model, RandomHistoriesKeepEveryPromise) {
    std::uint64_t first = 1;
    std::uint64_t count = 60;
    if (const char* seed = std::getenv("FORKMILL_SEED"); seed != nullptr) {
        first = std::strtoull(seed, nullptr, 10);
        count = 1;
    }
    if (const char* seeds = std::getenv("FORKMILL_SEEDS"); seeds != nullptr)
        count = std::strtoull(seeds, nullptr, 10);
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
        SCOPED_TRACE("replay with FORKMILL_SEED=" + std::to_string(seed));
        Model{seed}.run(1000);
        if (HasFailure()) break;
    }
}

}  // namespace forkmill::engine::test
