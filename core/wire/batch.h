// SPDX-License-Identifier: Apache-2.0
// Batch: the hot kinds SUBMIT, TASKS and RESULTS, written and read record by record.
//
// Writers gather records into one message and decide by themselves where a group begins; they are
// re-used for ever and allocate per message, not per record. Readers check the whole frame when
// they are made, so a frame counts whole or not at all: after code() == None next() cannot fail.
// Invariants: (1) a writer's message is within every limit of limits.h, if each record was asked
// for with fits(); (2) payload frames are named exactly once and in order; (3) views in records
// live as long as the message they came from, Extras and dependencies until the next next().
// Threading: none; each belongs to one thread.
//
// The loop of a sender: if (!writer.fits(r)) send(writer.finish(h)); writer.add(r); if
// (writer.full()) send(writer.finish(h)); and once the inbox is empty: if (writer.count() > 0) …
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "core/base/body.h"
#include "core/wire/messages.h"

namespace forkmill::wire {

inline constexpr std::uint64_t kFlagResent =
    1;  ///< SUBMIT: sent before, to an earlier incarnation.

/// A body as a record names it: bytes (inline below kInlineBodyMax, else as a payload frame) or a
/// transfer that went ahead in CHUNKs.
struct BodyRef {
    base::Body body;             ///< Empty when `transfer` is set.
    std::uint64_t transfer = 0;  ///< Never 0 for a transfer.
    std::uint64_t size = 0;      ///< Bytes, in either form.

    /// REQUIRES: !body.chunks and at most kBodyFrameMax bytes; anything else goes ahead as a
    /// transfer.
    static BodyRef of(const base::Body& body) { return {body, 0, body.view.size()}; }
    static BodyRef of(base::ByteView bytes) { return {base::Body::of(bytes), 0, bytes.size()}; }
    static BodyRef of(base::Blob blob) { return of(base::Body::of(std::move(blob))); }
    static BodyRef of_transfer(std::uint64_t number, std::uint64_t bytes) {
        return {{}, number, bytes};
    }
};

struct SubmitRecord {
    std::uint64_t seq = 0;
    std::uint32_t template_id = 0;
    bool resent = false;  ///< Sent before, to an earlier incarnation.
    BodyRef body;
    const Extras* extras = nullptr;  ///< Null for the plain task.
};

struct TaskRecord {
    struct Dependency {
        std::uint32_t argument = 0;
        BodyRef body;  ///< Above kDependencyFrameMax bytes it goes ahead as a transfer.
    };
    std::uint64_t lease = 0;
    base::TaskId task;
    std::uint32_t template_id = 0;
    std::uint32_t attempt = 1;
    std::uint32_t crashes = 0;
    BodyRef body;
    const Extras* extras =
        nullptr;  ///< Deadline, trace and parent travel; key and dependencies do not.
    std::span<const Dependency> dependencies;
};

struct ResultRecord {
    std::uint64_t ref = 0;  ///< Worker → broker: lease. Broker → client: seq.
    Outcome outcome{};
    BodyRef body;  ///< The value, or a packed ErrorInfo unless outcome is Succeeded.
};

}  // namespace forkmill::wire
