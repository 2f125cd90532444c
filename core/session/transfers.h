// SPDX-License-Identifier: Apache-2.0
// Transfers: bodies too large for one message, both ways, of one session and incarnation
// (semantics.md 24).
//
// Outgoing: a body goes out in CHUNK messages, as many per turn as the session's window takes, and
// gets the number under which a later record of the same numbered stream names it. Incoming: chunks
// are gathered until a record takes them. Invariants: (1) at most kReassembliesMax unfinished and
// kUntakenMax whole bodies wait here, none above payload_max; (2) one body goes out at a time.
// Threading: none.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/base/body.h"
#include "core/base/result.h"
#include "core/session/session.h"
#include "core/wire/messages.h"

namespace forkmill::session {

class Transfers {
  public:
    explicit Transfers(std::uint64_t payload_max = wire::kPayloadMaxDefault)
        : payload_max_(payload_max) {}

    void set_payload_max(std::uint64_t bytes) { payload_max_ = bytes; }
    /// A new incarnation: both directions start empty.
    void reset();

    /// Queues chunks of `body` until all are out or the session's window is full; call again with
    /// the same body when it was. The number once all are out.
    std::optional<std::uint64_t> send(Session& session,
                                      std::uint64_t floor,
                                      const base::Body& body);
    /// True while a body is partly out: nothing else may start one.
    bool sending() const { return sending_; }
    /// Ends a body that is partly out and will not be named.
    void give_up(Session& session, std::uint64_t floor);

    /// Takes a CHUNK message the session said Process to.
    [[nodiscard]] base::Status on_chunk(const wire::Chunk& chunk, const base::Message& message);
    /// The whole body a record names; it is forgotten here. A failure: unknown, unfinished, or not
    /// of that size.
    base::Result<base::Body> take(std::uint64_t transfer, std::uint64_t size);

  private:
    struct Incoming {
        std::vector<base::Blob> chunks;
        std::uint64_t bytes = 0;
        bool complete = false;
    };

    void queue_chunk(Session& session, std::uint64_t floor, bool last, const base::Blob& part);

    std::uint64_t payload_max_;
    std::unordered_map<std::uint64_t, Incoming> incoming_;
    bool sending_ = false;
    std::uint64_t next_transfer_ = 1;
    std::uint64_t sent_bytes_ = 0;
};

}  // namespace forkmill::session
