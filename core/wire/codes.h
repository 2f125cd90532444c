// SPDX-License-Identifier: Apache-2.0
// Error codes: one number, one name, one answer to "may it have run?" and "is trying again
// sensible?".
//
// The numbers travel (REFUSED, ERR, ErrorInfo.code) and never change their meaning; add at the end
// of a block and to kCodes below.
#pragma once

#include <cstdint>
#include <string_view>

namespace forkmill::wire {

enum class Ran : std::uint8_t { No, Maybe, Yes };

enum class Code : std::uint16_t {
    None = 0,
    // A peer said something that cannot be (the session's frame is refused; law 7).
    ProtoEmpty = 1,
    ProtoMagic,
    ProtoVersion,
    ProtoKind,
    ProtoState,
    ProtoParts,
    ProtoNumber,
    Decode,
    DecodeTrailing,
    LimitElements,
    LimitDepth,
    LimitSize,
    LimitText,
    BadType,
    DeniedRole,
    StaleLease,
    UnknownTransfer,
    // A submit was not taken.
    InvalidName = 100,
    InvalidRange,
    NoSuchQueue,
    NoSuchTemplate,
    TooManyTemplates,
    TooBig,
    Busy,
    Forgotten,
    Conflict,
    UnknownDependency,
    TooManyDependencies,
    Draining,
    Denied,
    NotFound,
    PoolBroken,
    NotInSnapshot,
    ForeignCode,
    SignatureMismatch,
    BadArguments,
    WouldDeadlock,
    FrameRejected,
    // A task's outcome.
    TaskThrew = 200,
    TaskTimeout,
    TaskCancelled,
    TaskExpired,
    WorkerLost,
    ResultTooBig,
    ResultEncode,
    DependencyFailed,
    NoSuchTask,
    ResultExpired,
    InitializerFailed,
    // The session.
    Disconnected = 300,
    BrokerLost,
    SessionFenced,
    SessionExpired,
    BrokerFull,
    AuthFailed,
    // Shared objects.
    ObjectLost = 400,
    ObjectLimit,
    ObjectClosed,
    TypeMismatch,
    QueueFull,
    QueueEmpty,
    LockLost,
    NotOwner,
    BrokenBarrier,
    WaitTimeout,
    ValueChanged,
};

struct CodeInfo {
    Code code;
    std::string_view name;
    Ran ran;
    bool retryable;
};

/// Row of `code`; an unknown number (a newer peer) gives the row of Code::None with ran = Maybe.
const CodeInfo& info_of(Code code);
inline std::string_view name_of(Code code) {
    return info_of(code).name;
}

/// How a task ended, as recorded once by the broker (design.md §2).
enum class Outcome : std::uint8_t {
    Succeeded = 0,
    Failed = 1,
    Cancelled = 2,
    Expired = 3,
    Dead = 4
};

std::string_view name_of(Outcome outcome);

}  // namespace forkmill::wire
