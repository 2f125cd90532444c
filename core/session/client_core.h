// SPDX-License-Identifier: Apache-2.0
// ClientCore: the submit and result half of one session, without a socket: what a client says, and
// what a worker says for its nested tasks.
//
// It pulls submits from a SubmitSource, encodes them in batches into the session it shares with its
// owner, and hands outcomes to an OutcomeSink. Invariants: (1) submits leave in the order of the
// source and never beyond the peer's credit or the session's window; (2) a template is told before
// the first submit that names it, once per incarnation; (3) after a new incarnation everything
// unsettled is submitted again as resent, what has a pending cancel is only cancelled; (4) result
// credit covers what was told taken, plus one window. Threading: none; the owner's I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/body.h"
#include "core/base/result.h"
#include "core/session/object_link.h"
#include "core/session/session.h"
#include "core/session/transfers.h"
#include "core/wire/messages.h"

namespace forkmill::session {

/// One task on its way to the broker. What it points to stays valid until the source is called
/// again.
struct SubmitItem {
    std::uint64_t seq = 0;
    std::uint32_t template_id =
        0;                ///< Of this session; SubmitSource::template_of tells what it is.
    bool resent = false;  ///< Sent before, to an earlier incarnation.
    base::Body body;
    const wire::Extras* extras = nullptr;  ///< Null for the plain task.
    const base::TaskId* attach =
        nullptr;  ///< Set: no submit but the wish for the outcome of that task under `seq`.
};

struct CancelItem {
    std::uint64_t seq = 0;
    bool kill = false;
};

/// Where submits come from: the pending table of a client.
class SubmitSource {
  public:
    virtual ~SubmitSource() = default;
    /// The next item in order of seq, the same one until pop(); null when there is none now.
    virtual const SubmitItem* peek() = 0;
    /// The peeked item is on its way.
    virtual void pop() = 0;
    virtual const wire::TemplateDef& template_of(std::uint32_t template_id) = 0;
    /// The next cancel of something popped before; nullopt when there is none.
    virtual std::optional<CancelItem> next_cancel() = 0;
    /// A new incarnation: start again from the oldest unsettled item. Items with a pending cancel
    /// come from next_cancel() only.
    virtual void rewind() = 0;
    /// Below it nothing will ever be asked for again.
    virtual std::uint64_t floor() const = 0;
    /// End of each pump(): what was popped is on its way.
    virtual void pumped() = 0;
};

class ClientCore;

/// Where outcomes go.
class OutcomeSink {
  public:
    virtual ~OutcomeSink() = default;
    virtual void on_accepted(std::uint64_t first, std::uint64_t count) = 0;
    virtual void on_refused(const wire::Refused& refused) = 0;
    virtual void on_forgotten(std::uint64_t first, std::uint64_t count) = 0;
    /// `body.view` is valid during the call; a blob or chunks may be shared. True: it will be
    /// consumed later, told by ClientCore::taken().
    virtual bool on_outcome(std::uint64_t seq, wire::Outcome outcome, const base::Body& body) = 0;
    virtual void on_partial(std::uint64_t seq, double fraction, std::string_view note) = 0;
    virtual void on_reply(const wire::Reply& reply) = 0;
    /// Start of each pump(): the place to publish a batch of outcomes and to tell core.taken().
    virtual void on_turn(ClientCore& core) = 0;
};

class ClientCore {
  public:
    /// What may be on its way to us beyond what was taken.
    static constexpr std::uint64_t kResultRecords = 128 * 1024;
    static constexpr std::uint64_t kResultBytes = 64ULL << 20;

    ClientCore(Session& session, Transfers& transfers, SubmitSource& source, OutcomeSink& sink);
    ~ClientCore();
    ClientCore(const ClientCore&) = delete;
    ClientCore& operator=(const ClientCore&) = delete;

    /// Operations on shared objects; null: there are none. It outlives this, or is set back.
    void set_objects(ObjectLink* objects);
    ObjectLink* objects() const;
    /// After WELCOME, with `session` resumed or reset by the owner already. `fresh`: a new
    /// incarnation, everything is told again.
    void on_welcome(const wire::Welcome& welcome, bool fresh);
    /// True for the kinds on_message() wants: ACCEPTED REFUSED FORGOTTEN RESULTS PARTIAL CREDIT
    /// REPLY OBJECT_REPLY OBJECT_EVENT. CHUNK belongs to the owner's Transfers.
    static bool takes(wire::Kind kind);
    /// A numbered message the session said Process to. A failure is a protocol error of the peer:
    /// the owner tells ERR and drops the connection.
    [[nodiscard]] base::Status on_message(const wire::Header& header, const base::Message& message);
    /// Queues what may go now into the session; the owner transmits afterwards. `speak` false: only
    /// hands over what came. While there is no connection nothing is queued, so that after a new
    /// incarnation only what may have been heard counts as sent before.
    void pump(bool speak = true);
    /// True when pump() would have more to say if credit or the window allowed.
    bool blocked() const;

    void query(std::uint64_t id, std::string_view what, std::string_view argument);
    void release(std::uint64_t first, std::uint64_t count);
    /// Every unsettled task of the session that is not detached.
    void cancel_all(bool kill);
    /// Results that on_outcome() kept are consumed now.
    void taken(std::uint64_t records, std::uint64_t bytes);

    std::uint64_t credit_records_left() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace forkmill::session
