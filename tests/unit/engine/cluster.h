// SPDX-License-Identifier: Apache-2.0
// Cluster: a small language to tell the engine what happens, and to ask what became of it.
//
//   Cluster c; auto w = c.worker(); auto t = c.submit("x"); c.finish(w, t); EXPECT_EQ(c.value(t),
//   …);
//
// Time is a number that the test moves. After every step the effects are filed and all invariants
// are checked; a broken one fails the test with the step's name.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/engine/engine.h"
#include "broker/engine/status.h"
#include "core/wire/codec.h"

namespace forkmill::engine::test {

using namespace std::chrono_literals;

struct Task {
    SessionIx session = kNoSession;
    std::uint64_t seq = 0;
    base::TaskId id;
    /// Session indexes are used again, streams are not.
    auto operator<=>(const Task& other) const { return id <=> other.id; }
    bool operator==(const Task& other) const { return id == other.id; }
};

struct WorkerOptions {
    std::uint32_t threads = 1;
    std::vector<std::string> queues = {"default"};
    std::vector<wire::Offer> offers = {{"x", "i32"}, {"y", "i32"}, {"@build", ""}};
    std::string pool = "pool";
    std::uint32_t slot = 0;  ///< 0: the next free one.
    std::uint32_t birth = 1;
    bool reattaching = false;
};

struct SubmitOptions {
    std::string queue = "default";
    std::string signature = "i32";
    std::int32_t priority = 0;
    base::Duration timeout{};
    base::Duration delay{};
    std::uint32_t max_retries = 0;
    std::uint32_t crash_limit = 3;
    bool at_most_once = false;
    bool detached = false;
    base::Duration deadline{};  ///< From now; 0: none.
    std::string key = {};
    std::vector<std::pair<std::uint32_t, Task>> arguments = {};
    std::string body = "args";
    base::Blob blob = {};  ///< Instead of `body`.
    bool resent = false;
    std::uint64_t seq = 0;  ///< 0: the next one.
};

struct End {
    wire::Outcome outcome{};
    std::string body;
    wire::ErrorInfo error;  ///< When the body is one.
    std::uint64_t position = 0;
};

class Cluster {
  public:
    explicit Cluster(Config config = {}, std::uint64_t incarnation = 1);

    // Who is there. The first client is made on first use.
    SessionIx client(std::string principal = "alice",
                     std::uint64_t stream = 0,
                     wire::Role role = wire::Role::Client);
    SessionIx worker(WorkerOptions options = {});

    // Clients.
    Task submit(std::string name = "x", SubmitOptions options = {}, SessionIx session = kNoSession);
    std::vector<Task> submit_many(int count,
                                  std::string name = "x",
                                  SubmitOptions options = {},
                                  SessionIx session = kNoSession);
    Task attach(const base::TaskId& id, SessionIx session);
    void cancel(const Task& task, bool kill = false);
    void cancel_all(SessionIx session, bool kill = false);
    void release(const Task& task);
    void floor(SessionIx session, std::uint64_t floor);

    // Workers. `finish` and `fail` take the task by its lease, whoever holds it.
    Settled finish(const Task& task, std::string value = "ok", base::Duration run = 1ms);
    Settled fail(const Task& task, wire::Code code = wire::Code::TaskThrew, bool no_retry = false);
    Settled settle(SessionIx worker,
                   Lease lease,
                   wire::Outcome outcome,
                   std::string body,
                   base::Duration run = 1ms);
    void start(const Task& task);
    void give_back(const Task& task);
    void block(const Task& task, bool blocked = true);

    // Fate.
    DeathInfo death_of(SessionIx worker, std::vector<Lease> running = {});
    void lose(SessionIx worker, std::vector<Task> running = {});
    void tell_death(const DeathInfo& death);
    void disconnect(SessionIx session);
    void reconnect(SessionIx session);
    void close(SessionIx session);
    void pass(base::Duration time);  ///< Fires every timer on the way.
    void schedule();

    // What became of it.
    std::uint64_t stream(SessionIx session) const { return streams_.at(session); }
    bool ended(const Task& task) const { return ends.count(task) != 0; }
    const End& end(const Task& task) const;
    wire::Outcome outcome(const Task& task) const { return end(task).outcome; }
    wire::Code error(const Task& task) const { return end(task).error.code; }
    std::string value(const Task& task) const { return end(task).body; }
    wire::Code refused(const Task& task) const;
    bool accepted(const Task& task) const { return accepts.count(task) != 0; }
    std::string state(const Task& task) const;
    Engine::TaskRow row(const Task& task) const;
    Lease lease(const Task& task) const;       ///< 0: nobody holds it.
    SessionIx holder(const Task& task) const;  ///< kNoSession: nobody.
    std::vector<Task> held(SessionIx worker) const;
    std::uint64_t count(Effect::Kind kind) const;
    const Effect& last(Effect::Kind kind) const;
    std::string text(const Effect& effect) const;

    void step(const char* what);  ///< Files effects, checks invariants, collects.

    base::Time now{1'000'000'000'000ns};
    base::WallNanos wall = 1'700'000'000'000'000'000;
    std::unique_ptr<Engine> engine;
    Effects effects;
    bool automatic = true;  ///< schedule() after every step.

    struct Filed {
        Effect effect;
        std::string text;
    };
    std::vector<Filed> filed;  ///< Everything so far, in order.
    std::map<Task, End> ends;
    std::map<Task, std::pair<wire::Code, std::string>> refusals;
    std::set<Task> accepts;
    std::set<Task> forgotten;
    std::vector<Task> end_order;
    std::vector<Task> lease_order;
    /// Answers to operations on objects, by their number: tests number them over all sessions.
    std::map<std::uint64_t, std::pair<SessionIx, wire::ObjectReply>> answers;
    std::vector<std::uint64_t> answer_order;
    std::vector<std::pair<SessionIx, wire::ObjectEvent>> events;

  private:
    void file(const Effect& effect);
    SessionIx open(const SessionInfo& info);
    std::uint32_t template_for(SessionIx session,
                               const std::string& name,
                               const SubmitOptions& options);

    std::map<SessionIx, std::map<std::string, std::uint32_t>> templates_;
    std::map<SessionIx, std::uint64_t> streams_;
    std::map<SessionIx, std::uint64_t> next_seq_;
    std::map<SessionIx, SessionInfo> infos_;
    std::map<base::TaskId, std::pair<SessionIx, Lease>> holders_;
    SessionIx first_client_ = kNoSession;
    std::uint64_t next_stream_ = 100;
    std::uint32_t next_slot_ = 1;
};

std::string code_name(wire::Code code);

}  // namespace forkmill::engine::test

namespace forkmill::wire {
// gtest shows these in its messages.
inline void PrintTo(Code code, std::ostream* os) {
    *os << name_of(code);
}
inline void PrintTo(Outcome outcome, std::ostream* os) {
    *os << name_of(outcome);
}
}  // namespace forkmill::wire
