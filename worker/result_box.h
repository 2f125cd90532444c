// SPDX-License-Identifier: Apache-2.0
// ResultBox: the way of results out of a worker: ready → in a RESULTS frame → in custody until the
// broker's floor passes that frame.
//
// Invariants: (1) results are told in the order in which they became ready; (2) what was told is in
// custody; (3) a body too large for a frame goes ahead in chunks, and nothing overtakes it.
// Threading: none.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "core/base/time.h"
#include "core/session/session.h"
#include "core/session/transfers.h"
#include "core/wire/codec.h"
#include "worker/custody.h"

namespace forkmill::worker {

class ResultBox {
  public:
    void push(Result result) { ready_.push_back(std::move(result)); }
    /// Time the results pushed since the last write ran, summed.
    void add_busy(base::Duration busy) { busy_ += busy; }

    /// Queues what the window takes into the session. True: something was said, with an ack in it.
    bool write(session::Session& session, session::Transfers& transfers);
    /// Frames up to `floor` may be forgotten. True when there were any.
    bool release(std::uint64_t floor) { return custody_.release(floor); }
    /// The lease is nobody's: a result of it that was not told yet is dropped.
    void drop(std::uint64_t lease);
    /// Everything, told or not, for a broker that knows none of it.
    std::vector<Result> take_all();

    /// Nothing waits to be told.
    bool told() const { return ready_.empty(); }
    std::size_t kept() const { return custody_.results(); }
    std::size_t count() const { return custody_.results() + ready_.size(); }
    std::size_t bytes() const { return custody_.bytes(); }
    std::string check_invariants() const;

  private:
    bool put(session::Session& session, session::Transfers& transfers, Result& result);
    void close_frame(session::Session& session);

    std::deque<Result> ready_;
    base::Duration busy_{};
    bool sending_ = false;  ///< The first of ready_ is partly out in chunks.
    wire::ResultsWriter writer_;
    std::vector<Result> open_;  ///< In the writer; empty between calls.
    Custody custody_;
};

}  // namespace forkmill::worker
