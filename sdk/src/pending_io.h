// SPDX-License-Identifier: Apache-2.0
// PendingIo: the I/O thread's half of a PendingTable: seq ↔ slot, what goes out next, what came
// back.
//
// Invariants: (1) every unsettled seq of [floor, end) names its slot, a settled one none; (2) items
// come out in order of seq, except those that were refused for a reason that passes; (3) a settled
// dependency travels inline, so that the broker always knows the ones that are named; (4) sleepers
// and callbacks hear of a turn's outcomes at publish(). Threading: one thread, the I/O thread; it
// shares the table with everybody.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/session/client_core.h"
#include "sdk/src/pending.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

class PendingIo final : public session::SubmitSource, public session::OutcomeSink {
  public:
    PendingIo(PendingTable& table, JobQueue& jobs) : table_(table), jobs_(jobs) {}

    /// Takes what was handed over and what is to be cancelled. False when there was nothing.
    bool take();
    /// Cheap: take() would find something.
    bool has_work() const { return table_.has_work_.load(std::memory_order_acquire); }
    /// Time for retries of what the broker was too busy for.
    void set_now(base::Time now) { now_ = now; }
    base::Time next_timer() const { return busy_.empty() ? base::kNever : busy_.front().at; }
    /// Makes the outcomes of this turn visible: wakes waiters, queues callbacks, tells groups.
    void publish();
    /// Makes room for blocked submitters.
    void pumped() override;

    /// True: a callback will consume it later.
    bool settle(std::uint64_t seq, wire::Outcome outcome, const base::Body& body);
    void fail(std::uint64_t seq,
              wire::Outcome outcome,
              wire::Code code,
              std::string_view text,
              wire::Ran ran);
    /// Ends everything unsettled.
    void fail_all(wire::Outcome outcome, wire::Code code, std::string_view text);
    std::uint64_t unsettled() const { return unsettled_; }
    /// Records and bytes consumed by callbacks since the last call.
    std::pair<std::uint64_t, std::uint64_t> consumed();

    // session::SubmitSource
    const session::SubmitItem* peek() override;
    void pop() override;
    const wire::TemplateDef& template_of(std::uint32_t template_id) override {
        return templates_[template_id];
    }
    std::optional<session::CancelItem> next_cancel() override;
    void rewind() override;
    std::uint64_t floor() const override { return floor_; }

    // session::OutcomeSink
    void on_accepted(std::uint64_t, std::uint64_t) override {}
    void on_refused(const wire::Refused& refused) override;
    void on_forgotten(std::uint64_t first, std::uint64_t count) override;
    bool on_outcome(std::uint64_t seq, wire::Outcome outcome, const base::Body& body) override {
        return settle(seq, outcome, body);
    }
    void on_partial(std::uint64_t seq, double fraction, std::string_view note) override;
    void on_reply(const wire::Reply& reply) override;
    void on_turn(session::ClientCore& core) override;

    /// Where replies to queries go.
    std::function<void(const wire::Reply&)> reply;

  private:
    struct Busy {
        base::Time at;
        std::uint64_t seq;
    };
    enum class Ready : std::uint8_t { Yes, Wait, Ended };

    std::uint32_t slot_of(std::uint64_t seq) const {
        return seq < floor_ || seq >= end_ ? kNoSlot : ring_[seq & (ring_.size() - 1)];
    }
    void append(std::uint32_t slot);
    void take_cancel(std::uint32_t slot, bool kill);
    bool peek_retry();
    Ready prepare(std::uint64_t seq, bool again);
    Ready resolve(Slot& slot, Aux& aux, bool again);
    std::optional<std::uint16_t> session_template(std::uint16_t number);
    void notify(std::uint32_t number, Slot& slot, bool& held);
    void release(std::uint32_t slot);
    void release_dependencies(Aux& aux);

    PendingTable& table_;
    JobQueue& jobs_;
    base::Time now_{};

    std::vector<std::uint32_t> ring_ = std::vector<std::uint32_t>(1024, kNoSlot);
    std::uint64_t floor_ = 1;   ///< Everything below is settled.
    std::uint64_t end_ = 1;     ///< The next seq to be handed over.
    std::uint64_t cursor_ = 1;  ///< The next to be popped.
    std::uint64_t sent_ =
        1;  ///< The highest cursor ever: what is below was sent to some incarnation.
    std::uint64_t popped_bytes_ = 0;
    std::uint64_t unsettled_ = 0;
    std::uint64_t settled_ = 0;

    bool peeked_ = false;
    bool peeked_retry_ = false;
    session::SubmitItem item_;
    wire::Extras item_extras_;
    base::Blob item_body_;
    std::deque<std::uint64_t> retry_;  ///< Refused because a dependency had settled meanwhile.
    std::deque<Busy> busy_;
    std::deque<session::CancelItem> cancels_;

    std::vector<std::uint16_t>
        session_ids_;  ///< Template numbers of the process → of this session, + 1.
    std::vector<wire::TemplateDef> templates_;

    std::vector<std::uint32_t> taken_;
    std::vector<std::pair<std::uint32_t, bool>> taken_cancels_;
    std::vector<std::atomic<std::uint32_t>*> wakes_;
    std::vector<Job> due_;
    std::vector<GroupState*> groups_;
    std::vector<std::uint32_t> freed_;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
