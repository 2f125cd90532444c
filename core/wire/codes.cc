// SPDX-License-Identifier: Apache-2.0
#include "core/wire/codes.h"

#include <algorithm>
#include <array>

#include "core/wire/messages.h"

namespace forkmill::wire {

namespace {

constexpr bool kRetry = true;
constexpr bool kFinal = false;

/// Sorted by code. `ran` answers for the task the error is about; for errors of a session or an
/// object it answers for the operation.
constexpr std::array kCodes = {
    CodeInfo{Code::None, "none", Ran::Maybe, kFinal},
    CodeInfo{Code::ProtoEmpty, "proto_empty", Ran::No, kFinal},
    CodeInfo{Code::ProtoMagic, "proto_magic", Ran::No, kFinal},
    CodeInfo{Code::ProtoVersion, "proto_version", Ran::No, kFinal},
    CodeInfo{Code::ProtoKind, "proto_kind", Ran::No, kFinal},
    CodeInfo{Code::ProtoState, "proto_state", Ran::No, kRetry},
    CodeInfo{Code::ProtoParts, "proto_parts", Ran::No, kFinal},
    CodeInfo{Code::ProtoNumber, "proto_number", Ran::No, kFinal},
    CodeInfo{Code::Decode, "decode", Ran::No, kFinal},
    CodeInfo{Code::DecodeTrailing, "decode_trailing", Ran::No, kFinal},
    CodeInfo{Code::LimitElements, "limit_elements", Ran::No, kFinal},
    CodeInfo{Code::LimitDepth, "limit_depth", Ran::No, kFinal},
    CodeInfo{Code::LimitSize, "limit_size", Ran::No, kFinal},
    CodeInfo{Code::LimitText, "limit_text", Ran::No, kFinal},
    CodeInfo{Code::BadType, "bad_type", Ran::No, kFinal},
    CodeInfo{Code::DeniedRole, "denied_role", Ran::No, kFinal},
    CodeInfo{Code::StaleLease, "stale_lease", Ran::Maybe, kFinal},
    CodeInfo{Code::UnknownTransfer, "unknown_transfer", Ran::No, kFinal},
    CodeInfo{Code::InvalidName, "invalid_name", Ran::No, kFinal},
    CodeInfo{Code::InvalidRange, "invalid_range", Ran::No, kFinal},
    CodeInfo{Code::NoSuchQueue, "no_such_queue", Ran::No, kFinal},
    CodeInfo{Code::NoSuchTemplate, "no_such_template", Ran::No, kFinal},
    CodeInfo{Code::TooManyTemplates, "too_many_templates", Ran::No, kFinal},
    CodeInfo{Code::TooBig, "too_big", Ran::No, kFinal},
    CodeInfo{Code::Busy, "busy", Ran::No, kRetry},
    CodeInfo{Code::Forgotten, "forgotten", Ran::Maybe, kFinal},
    CodeInfo{Code::Conflict, "conflict", Ran::No, kFinal},
    CodeInfo{Code::UnknownDependency, "unknown_dependency", Ran::No, kFinal},
    CodeInfo{Code::TooManyDependencies, "too_many_dependencies", Ran::No, kFinal},
    CodeInfo{Code::Draining, "draining", Ran::No, kRetry},
    CodeInfo{Code::Denied, "denied", Ran::No, kFinal},
    CodeInfo{Code::NotFound, "not_found", Ran::No, kFinal},
    CodeInfo{Code::PoolBroken, "pool_broken", Ran::No, kRetry},
    CodeInfo{Code::NotInSnapshot, "not_in_snapshot", Ran::No, kFinal},
    CodeInfo{Code::ForeignCode, "foreign_code", Ran::No, kFinal},
    CodeInfo{Code::SignatureMismatch, "signature_mismatch", Ran::No, kFinal},
    CodeInfo{Code::BadArguments, "bad_arguments", Ran::No, kFinal},
    CodeInfo{Code::WouldDeadlock, "would_deadlock", Ran::No, kFinal},
    CodeInfo{Code::FrameRejected, "frame_rejected", Ran::No, kFinal},
    CodeInfo{Code::TaskThrew, "task_threw", Ran::Yes, kRetry},
    CodeInfo{Code::TaskTimeout, "task_timeout", Ran::Yes, kRetry},
    CodeInfo{Code::TaskCancelled, "task_cancelled", Ran::Maybe, kFinal},
    CodeInfo{Code::TaskExpired, "task_expired", Ran::No, kFinal},
    CodeInfo{Code::WorkerLost, "worker_lost", Ran::Maybe, kRetry},
    CodeInfo{Code::ResultTooBig, "result_too_big", Ran::Yes, kFinal},
    CodeInfo{Code::ResultEncode, "result_encode", Ran::Yes, kFinal},
    CodeInfo{Code::DependencyFailed, "dependency_failed", Ran::No, kFinal},
    CodeInfo{Code::NoSuchTask, "no_such_task", Ran::No, kFinal},
    CodeInfo{Code::ResultExpired, "result_expired", Ran::Yes, kFinal},
    CodeInfo{Code::InitializerFailed, "initializer_failed", Ran::No, kRetry},
    CodeInfo{Code::Disconnected, "disconnected", Ran::Maybe, kRetry},
    CodeInfo{Code::BrokerLost, "broker_lost", Ran::Maybe, kRetry},
    CodeInfo{Code::SessionFenced, "session_fenced", Ran::Maybe, kFinal},
    CodeInfo{Code::SessionExpired, "session_expired", Ran::Maybe, kRetry},
    CodeInfo{Code::BrokerFull, "broker_full", Ran::No, kRetry},
    CodeInfo{Code::AuthFailed, "auth_failed", Ran::No, kFinal},
    CodeInfo{Code::ObjectLost, "object_lost", Ran::Maybe, kFinal},
    CodeInfo{Code::ObjectLimit, "object_limit", Ran::No, kRetry},
    CodeInfo{Code::ObjectClosed, "object_closed", Ran::No, kFinal},
    CodeInfo{Code::TypeMismatch, "type_mismatch", Ran::No, kFinal},
    CodeInfo{Code::QueueFull, "queue_full", Ran::No, kRetry},
    CodeInfo{Code::QueueEmpty, "queue_empty", Ran::No, kRetry},
    CodeInfo{Code::LockLost, "lock_lost", Ran::Maybe, kFinal},
    CodeInfo{Code::NotOwner, "not_owner", Ran::No, kFinal},
    CodeInfo{Code::BrokenBarrier, "broken_barrier", Ran::Maybe, kFinal},
    CodeInfo{Code::WaitTimeout, "wait_timeout", Ran::No, kRetry},
    CodeInfo{Code::ValueChanged, "value_changed", Ran::No, kRetry},
};

constexpr bool less(const CodeInfo& row, Code code) {
    return row.code < code;
}
static_assert(std::is_sorted(kCodes.begin(),
                             kCodes.end(),
                             [](const CodeInfo& a, const CodeInfo& b) { return a.code < b.code; }));

}  // namespace

const CodeInfo& info_of(Code code) {
    const auto* row = std::lower_bound(kCodes.begin(), kCodes.end(), code, less);
    return row != kCodes.end() && row->code == code ? *row : kCodes.front();
}

std::string_view name_of(Outcome outcome) {
    switch (outcome) {
        case Outcome::Succeeded:
            return "succeeded";
        case Outcome::Failed:
            return "failed";
        case Outcome::Cancelled:
            return "cancelled";
        case Outcome::Expired:
            return "expired";
        case Outcome::Dead:
            return "dead";
    }
    return "unknown";
}

std::string_view name_of(Kind kind) {
    static constexpr auto kNames = [] {
        std::array<std::string_view, 256> names{};
        names.fill("unknown");  // decode_header() asks this to know which kinds there are.
        const auto name = [&](Kind one, std::string_view text) {
            names[static_cast<std::uint8_t>(one)] = text;
        };
        name(Kind::Hello, "HELLO");
        name(Kind::Welcome, "WELCOME");
        name(Kind::Reject, "REJECT");
        name(Kind::Fenced, "FENCED");
        name(Kind::Who, "WHO");
        name(Kind::Ping, "PING");
        name(Kind::Pong, "PONG");
        name(Kind::Ack, "ACK");
        name(Kind::Err, "ERR");
        name(Kind::Template, "TEMPLATE");
        name(Kind::Submit, "SUBMIT");
        name(Kind::Accepted, "ACCEPTED");
        name(Kind::Refused, "REFUSED");
        name(Kind::Forgotten, "FORGOTTEN");
        name(Kind::Cancel, "CANCEL");
        name(Kind::Attach, "ATTACH");
        name(Kind::Release, "RELEASE");
        name(Kind::Query, "QUERY");
        name(Kind::Reply, "REPLY");
        name(Kind::Object, "OBJECT");
        name(Kind::ObjectReply, "OBJECT_REPLY");
        name(Kind::ObjectEvent, "OBJECT_EVENT");
        name(Kind::Tasks, "TASKS");
        name(Kind::Started, "STARTED");
        name(Kind::Return, "RETURN");
        name(Kind::Stale, "STALE");
        name(Kind::Held, "HELD");
        name(Kind::Adopt, "ADOPT");
        name(Kind::CancelLease, "CANCEL_LEASE");
        name(Kind::Blocked, "BLOCKED");
        name(Kind::Unblocked, "UNBLOCKED");
        name(Kind::Results, "RESULTS");
        name(Kind::Partial, "PARTIAL");
        name(Kind::Chunk, "CHUNK");
        name(Kind::Credit, "CREDIT");
        name(Kind::Drain, "DRAIN");
        name(Kind::Bye, "BYE");
        name(Kind::Host, "HOST");
        name(Kind::HostVerb, "HOST_VERB");
        return names;
    }();
    return kNames[static_cast<std::uint8_t>(kind)];
}

}  // namespace forkmill::wire
