// SPDX-License-Identifier: Apache-2.0
// SharerNode: a program that shares objects with others: the real client session; it puts, gets,
// locks and waits at random, crashes and starts anew, and judges every answer by ObjectTruth.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/session/client_session.h"
#include "tests/sim/no_tasks.h"
#include "tests/sim/object_truth.h"
#include "tests/sim/world.h"

namespace sim {

class SharerNode final : private NoTasks,
                         private forkmill::session::ClientListener,
                         private forkmill::session::ObjectLink {
  public:
    SharerNode(World& world, int number);

    void start();
    /// The program dies; another one takes its place a little later.
    void crash();
    /// It has no unanswered operation and holds nothing: when calm, it does nothing any more.
    bool idle() const { return pending_.empty() && busy_ == 0; }
    void leave();
    std::string pending_text() const;
    std::uint64_t answered() const { return answered_; }
    /// Heard of the broker recently enough to believe in what it holds.
    bool believes() const;

  private:
    using Then = std::function<void(const forkmill::wire::ObjectReply&)>;
    struct Pending {
        forkmill::wire::ObjectVerb verb{};
        std::string what;
        Then then;
        std::uint64_t epoch = 0;
        std::uint64_t item = 0;
        ObjectTruth* truth = nullptr;
    };
    enum Name { kPlain, kLeased, kLock, kSemaphore, kEvent, kBarrier, kDict, kNumber, kCondition };
    static constexpr int kNames = 9;
    static constexpr int kPermits = 2;

    // The link.
    const forkmill::wire::ObjectOp* peek_operation() override;
    void pop_operation() override { queue_.pop_front(); }
    void on_answer(const forkmill::wire::ObjectReply& reply) override;
    void on_event(const forkmill::wire::ObjectEvent& event) override;
    void on_objects_lost() override;
    void on_client_state(forkmill::session::ClientState state,
                         forkmill::wire::Code code,
                         std::string_view text) override;

    // What it does (sharer_acts.cc).
    void act();
    void put(Name name);
    void get_plain();
    void get_leased();
    void lock();
    void locked(std::uint64_t token, std::uint64_t epoch);
    void wait_condition(std::uint64_t token);
    void unlock(std::uint64_t token, std::uint64_t epoch);
    void semaphore();
    void add();
    void update();
    void rendezvous();
    void private_queue();
    std::int64_t some_timeout();

    // How it does that.
    void open(Name name);
    void act_soon();
    std::uint64_t ask(forkmill::wire::ObjectOp op, std::string value, Pending pending);
    forkmill::wire::ObjectOp on(Name name, forkmill::wire::ObjectVerb verb) const;
    void after(Duration delay, std::function<void()> act);
    ObjectTruth& truth(Name name);
    bool expect(const forkmill::wire::ObjectReply& reply,
                std::initializer_list<forkmill::wire::Code> codes,
                const char* what);
    void forget_all();
    void violate(const std::string& what);

    // The session.
    void connect();
    void turn_soon();
    void turn();
    void arm();
    void send(forkmill::session::ClientOut& out);
    void heard();

    World& world_;
    const int number_;
    const int owner_;  ///< As whom it owns locks.
    std::uint64_t life_ = 0;
    std::unique_ptr<forkmill::session::ClientSession> session_;
    std::deque<std::pair<forkmill::wire::ObjectOp, std::string>> queue_;  ///< With its value.
    std::map<std::uint64_t, Pending> pending_;
    std::uint64_t last_op_ = 0;
    std::uint64_t ids_[kNames] = {};
    std::uint64_t watch_ = 0;
    forkmill::base::LockWord* word_ = nullptr;  ///< Of the lock,
    std::uint32_t use_ = 0;
    std::uint32_t mark_ = 0;  ///< and our mark in it.
    int busy_ = 0;            ///< Holdings, and delays before they end.
    bool locking_ = false;
    bool told_ = false;             ///< The broker hears of the lock that is held.
    std::uint64_t epoch_ = 0;       ///< Of its trust: a silence of eight seconds ends one.
    std::uint64_t generation_ = 0;  ///< Of its handles: a new incarnation ends them.
    Time last_heard_{};
    std::uint64_t answered_ = 0;
    std::uint64_t conn_ = 0;
    bool turn_due_ = false;
    bool dialing_ = false;
    bool left_ = false;
    Time armed_ = forkmill::base::kNever;
};

}  // namespace sim
