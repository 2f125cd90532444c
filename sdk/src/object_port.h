// SPDX-License-Identifier: Apache-2.0
// ObjectPort: where the operations of user threads leave for the broker and its answers arrive;
// what PendingTable and PendingIo are for tasks.
//
// Invariants: (1) every Ask is settled at last: by its answer, an interrupt before it left, end()
// or the loss of its incarnation; (2) operations leave in the order they were asked, at most
// kUnansweredMax of them unanswered; (3) what an abandoned Ask is granted is given back; (4) ids of
// an earlier incarnation never leave. Threading: the ObjectLink half and hear() by the I/O thread,
// the rest by any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/time.h"
#include "core/session/object_link.h"
#include "sdk/src/object_shared.h"
#include "sdk/src/pending.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// The bytes of a body in one piece.
base::Blob whole_of(const base::Body& body);

class ObjectPort final : public session::ObjectLink {
  public:
    /// Below the 4,096 unacked answers at which the broker ends a session.
    static constexpr std::size_t kUnansweredMax = 3072;
    static constexpr std::size_t kQueuedMax = 64 * 1024;
    static constexpr std::uint64_t kQueuedBytesMax = 64ULL << 20;
    /// After so long without a sign of the broker, what is held counts as lost (protocol §17.2).
    static constexpr base::Duration kHoldMax = std::chrono::seconds{8};

    ObjectPort(JobQueue& jobs, std::function<void()> wake);
    ~ObjectPort() override;

    /// Numbers it and hands it over. Throws Busy at a bound, and what end() said.
    void ask(const AskPtr& ask);
    /// Without a bound and an answer that matters: closes, releases, interrupts.
    void tell(wire::ObjectOp op) noexcept;
    void interrupt(Ask& ask) noexcept;
    void abandon(Ask& ask) noexcept;
    /// What was kept when nobody took it is the answer of `holder` now, and its to be done with.
    void retake(const AskPtr& ask, const SharedPtr& object, const Holder& holder);
    /// `call` is not called once the operation is dropped.
    void then(const AskPtr& ask, std::function<void()> call);
    void start_watch(const std::shared_ptr<WatchState>& watch, const AskPtr& ask);
    void end_watch(WatchState& watch) noexcept;

    /// The one Shared of (id, role); `owed`: a handle was counted for it already, which is closed
    /// if there is a Shared. Null without either.
    SharedPtr adopt(const ClientPtr& client, const Shared::Identity& identity, bool owed);
    SharedPtr known(std::uint64_t id, std::uint32_t role);
    /// The Shared is going: its handle is closed.
    void closing(const Shared& object) noexcept;
    /// A handle that the answer of `ask` brought. False: none of that id is left.
    bool take_adopted(Ask& ask, std::uint64_t id);
    void give_back(const std::vector<std::uint64_t>& handles) noexcept;
    /// Asks whether there is something in `queue`; the answer is shown by its readiness.
    void peek(const SharedPtr& queue) noexcept;
    void check_alive(const Shared& object) const;

    /// Ends everything under way; what is asked later too, until revive().
    void end(wire::Code code, std::string_view text);
    void revive();
    std::uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }

    // The life of what is held.
    /// Silence matters from now on: the broker is in another process.
    void begin_silence(base::Time now);
    /// It is still ours, as far as we can know.
    bool holds(const Grant& grant, base::Time now) const;
    bool holds(const Grant& grant) const;
    /// An item that was received for nobody in particular: it waits here for the next get.
    void keep(const AskPtr& ask) noexcept;
    std::uint64_t silence() const { return silence_.load(std::memory_order_acquire); }

    // session::ObjectLink
    const wire::ObjectOp* peek_operation() override;
    void pop_operation() override;
    void on_answer(const wire::ObjectReply& reply) override;
    void on_event(const wire::ObjectEvent& event) override;
    void on_objects_lost() override;
    /// A PING that left at `sent` was answered.
    void on_heard(base::Time sent) override;
    bool wants_pings() const override { return open_.load(std::memory_order_relaxed) != 0; }

  private:
    struct Due {
        std::vector<AskPtr> settled;
        std::vector<Job> jobs;
        std::vector<SharedPtr> kept;  ///< What ends with it must not find the lock taken.
    };
    void settle_locked(const AskPtr& ask, wire::Code code, std::string text, Due& due);
    void publish(Due& due);
    void wake();
    void end_wait_locked(Ask& ask, Due& due);
    void tell_if_given_locked(const Ask& ask);
    void grant_locked(const AskPtr& ask, const wire::ObjectReply& reply);
    bool refuse_late_locked(const AskPtr& ask, const wire::ObjectReply& reply, Due& due);
    void return_locked(const AskPtr& ask, Due& due);
    // Items that came and were not taken (object_stash.cc).
    void keep_locked(const AskPtr& ask, Due& due);
    bool answer_by_kept_locked(const AskPtr& ask, wire::Code code, Due& due);
    void call_back_getter_locked(const Shared& object);
    void lend_locked(Shared& object, const Holder& holder, std::uint64_t token);
    void gather(Ask& ask, const wire::ObjectReply& reply);
    void push_locked(AskPtr ask);
    void peek_locked(const SharedPtr& queue);
    void tell_readiness_locked(const AskPtr& ask, const SharedPtr& object, Due& due);
    void tell_locked(wire::ObjectOp op);
    void end_watches_locked(Due& due);
    void tell_change(const std::shared_ptr<WatchState>& watch,
                     Change change,
                     base::Blob body,
                     std::vector<std::uint64_t> adopted,
                     Due& due);

    JobQueue& jobs_;
    std::function<void()> wake_;
    std::atomic<bool> queued_{false};
    std::atomic<std::uint64_t> epoch_{1};
    std::atomic<std::uint64_t> silence_{1};
    std::atomic<std::int64_t> heard_ns_{INT64_MAX};
    std::atomic<std::size_t> open_{0};

    mutable std::mutex mutex_;  // Guards the rest.
    std::uint64_t next_op_ = 1;
    std::deque<AskPtr> queue_;
    std::uint64_t queued_bytes_ = 0;
    AskPtr peeked_;
    std::unordered_map<std::uint64_t, AskPtr> unanswered_;
    std::unordered_map<std::uint64_t, std::shared_ptr<WatchState>> watches_;
    std::map<std::pair<std::uint64_t, std::uint32_t>, std::weak_ptr<Shared>> objects_;
    wire::Code end_code_{};
    std::string end_text_;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
