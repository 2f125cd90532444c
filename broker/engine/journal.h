// SPDX-License-Identifier: Apache-2.0
// Journal: where durable facts go before they are told (semantics.md 19). The memory store has
// none.
//
// The engine appends a record and puts the position it got on every effect that reveals the fact;
// the gateway holds such effects until committed(position). Positions never fall. Threading: the
// engine's.
#pragma once

#include <cstdint>
#include <string_view>

#include "broker/engine/effects.h"
#include "core/base/body.h"
#include "core/wire/messages.h"
#include "core/wire/objects.h"

namespace forkmill::engine {

struct JournalRecord {
    enum class Fact : std::uint8_t {
        Accepted,    ///< A task was taken: definition, body, extras.
        LeaseTaken,  ///< An at_most_once task is about to leave.
        Ended,       ///< A task ended: outcome, body.
        Released,    ///< Its outcome will never be asked for again.
        Object,      ///< An operation changed a named object.
    };
    Fact fact{};
    base::TaskId task;
    std::uint32_t attempt = 0;
    wire::Outcome outcome{};
    const wire::TemplateDef* definition = nullptr;
    const wire::Extras* extras = nullptr;
    const base::Body* body = nullptr;
    const wire::ObjectOp* operation = nullptr;
    std::string_view object;  ///< Its name.
};

class Journal {
  public:
    virtual ~Journal() = default;
    /// The position that must be durable before the fact is told; 0: it is told at once.
    virtual std::uint64_t append(const JournalRecord& record) = 0;
};

}  // namespace forkmill::engine
