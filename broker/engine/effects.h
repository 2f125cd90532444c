// SPDX-License-Identifier: Apache-2.0
// Effects: all that the engine can want. It appends them to a buffer the caller owns and re-uses;
// it never acts itself (law 4).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/body.h"
#include "core/base/ids.h"
#include "core/wire/codes.h"
#include "core/wire/objects.h"

namespace forkmill::engine {

/// Index of an open session in the engine; re-used after its Closed effect.
using SessionIx = std::uint32_t;
inline constexpr SessionIx kNoSession = UINT32_MAX;
/// A worker's right to one attempt: slot ‖ generation, never 0, never re-used within an
/// incarnation.
using Lease = std::uint64_t;

struct Effect {
    enum class Kind : std::uint8_t {
        Assign,     ///< worker `session`: run it. Details: Engine::leased(lease).
        Outcome,    ///< client `session`: task `seq` ended with `outcome`, body in `view`/`extra`.
        Accepted,   ///< client: submits seq … seq+count-1 are accepted.
        Refused,    ///< client: submit `seq` was not taken: `code`, text in `text`.
        Forgotten,  ///< client: submit `seq` lies below its floor.
        CancelLease,  ///< worker: stop `lease`; `kill`: at any price.
        Stale,       ///< worker: `lease` is not yours (any more); drop it and what you hold for it.
        Adopt,       ///< worker: `seq` (its old lease) is now `lease`; 0: stale.
        Credit,      ///< client: absolute limit `seq` records, `count` bytes.
        Partial,     ///< client: progress of task `seq`: `fraction`, note in `text`.
        KillWorker,  ///< worker `session`'s process did not obey; its supervisor must kill it
                     ///< (cause in `code`: TaskTimeout or TaskCancelled).
        DrainWorker,   ///< worker: take no more, finish what you hold.
        CloseSession,  ///< `session` is to be closed by the gateway with `code` (expired, limit);
                       ///< its index is free afterwards.
        Recovered,     ///< The engine left recovery.
        ObjectReply,   ///< client: object_replies[extra − 1] answers an operation of it.
        ObjectEvent,   ///< client: object_events[extra − 1] tells of a change it watches.
    };
    Kind kind{};
    wire::Outcome outcome{};
    bool kill = false;
    wire::Code code{};
    SessionIx session = kNoSession;
    std::uint32_t text = 0;  ///< Index + 1 into Effects::texts; 0: none.
    std::uint32_t extra =
        0;  ///< Index + 1 into Effects::bodies when the body is a Blob or chunks; 0: see view.
    Lease lease = 0;
    std::uint64_t seq = 0;
    std::uint64_t count = 0;
    base::ByteView
        view;  ///< Small body; valid until Engine::collect(), or as long as the input it came from.
    double fraction = 0;
    std::uint64_t position = 0;  ///< Journal position that must be durable before this leaves
                                 ///< (semantics.md 19); 0: at once.
};

struct Effects {
    std::vector<Effect> list;
    std::vector<std::string> texts;
    std::vector<base::Body> bodies;
    std::vector<wire::ObjectReply> object_replies;
    std::vector<wire::ObjectEvent> object_events;

    void clear() {
        list.clear();
        texts.clear();
        bodies.clear();
        object_replies.clear();
        object_events.clear();
    }
};

}  // namespace forkmill::engine
