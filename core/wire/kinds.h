// SPDX-License-Identifier: Apache-2.0
// What a frame can be: its kind, who may say it, and the header every frame has. docs/protocol.md
// §4 is the text of it.
//
// Threading: any.
#pragma once

#include <cstdint>
#include <string_view>

namespace forkmill::wire {

enum class Kind : std::uint8_t {
    // The session (unnumbered: number 0).
    Hello = 1,
    Welcome,
    Reject,
    Fenced,
    Who,
    Ping,
    Pong,
    Ack,
    Err,
    // Numbered, client ↔ broker.
    Template = 16,
    Submit,
    Accepted,
    Refused,
    Forgotten,
    Cancel,
    Attach,
    Release,
    Query,
    Reply,
    Object,
    ObjectReply,
    ObjectEvent,
    // Numbered, broker ↔ worker.
    Tasks = 32,
    Started,
    Return,
    Stale,
    Held,
    Adopt,
    CancelLease,
    Blocked,
    Unblocked,
    // Numbered, both.
    Results = 48,
    Partial,
    Chunk,
    Credit,
    Drain,
    Bye,
    // Numbered, uplink → broker and back.
    Host = 64,
    HostVerb,
};
std::string_view name_of(Kind kind);
inline bool is_numbered(Kind kind) {
    return static_cast<std::uint8_t>(kind) >= 16;
}

enum class Role : std::uint8_t { Client = 1, Worker = 2, Uplink = 3, Admin = 4 };

struct Header {
    Kind kind{};
    std::uint64_t number = 0;
    std::uint64_t ack = 0;
    std::uint64_t floor = 0;
};

}  // namespace forkmill::wire
