// SPDX-License-Identifier: Apache-2.0
// Codec: structs of messages.h to messages and back; docs/protocol.md is the text of it.
//
// Owns the encoding and nothing else: it judges bytes, sizes and types, never whether a peer may
// say a thing now. Invariants: (1) decoding never throws for what a peer wrote, and never
// allocates for a length that is only claimed; (2) what encode() makes, decode() accepts: texts
// are cut to their limit; (3) every decode() insists on the exact end of the frame, ignores extra
// elements at the tail and keeps the defaults of optional ones that are missing.
// The three hot kinds SUBMIT, TASKS and RESULTS are in batch.h, which comes along. Threading: pure
// functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/body.h"
#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/wire/batch.h"
#include "core/wire/batch_reader.h"
#include "core/wire/batch_writer.h"
#include "core/wire/messages.h"
#include "core/wire/names.h"
#include "core/wire/object_batch.h"
#include "core/wire/reader.h"

namespace forkmill::wire {

/// Bytes before the first field of a frame that encode() or a writer of batch.h made: the prefix,
/// the array head, and number, ack and floor in nine bytes each. stamp() rewrites the last three in
/// place.
inline constexpr std::size_t kHeaderSize = 36;

/// Checks framing (empty, magic, version, kind, sizes, number of frames) and reads the first three
/// elements; `cursor` then stands before the first field. Numbers are not judged here: that is the
/// session's matter. After an error `header.kind` is set if the frame got that far.
[[nodiscard]] Code decode_header(const base::Message& message, Header& header, Cursor& cursor);

/// Writes number, ack and floor into a message that encode() or a writer made.
/// REQUIRES: nobody else shares message.control (it has not been handed to a transport).
void stamp(base::Message& message, std::uint64_t number, std::uint64_t ack, std::uint64_t floor);

/// A bare ACK.
base::Message encode_ack(std::uint64_t received, std::uint64_t floor);
/// CHUNK with its one payload frame; no bytes and `last`: the transfer is given up.
/// REQUIRES: bytes.size() ≤ kBodyFrameMax.
base::Message encode_chunk(const Header& header,
                           std::uint64_t transfer,
                           bool last,
                           base::Blob bytes);

// encode(): `header.kind` says which kind it is (PING and PONG share Ping; WHO, FENCED and BYE
// share Bye, whose reason is for readers only). A list that could pass kElementsMax is the caller's
// to split (kListMax entries are always fine). decode(): `out` is a fresh default-made struct;
// None, or why the frame is refused, with the place in cursor.offset().

/// So many ranges, leases, seqs or mappings fit any frame (held tasks: kRecordsMax).
inline constexpr std::size_t kListMax = 4096;

#define FORKMILL_WIRE_STRUCT(Struct)                              \
    base::Message encode(const Header& header, const Struct& in); \
    [[nodiscard]] Code decode(Cursor& cursor, Struct& out)

FORKMILL_WIRE_STRUCT(Hello);
FORKMILL_WIRE_STRUCT(Welcome);
FORKMILL_WIRE_STRUCT(Reject);
FORKMILL_WIRE_STRUCT(Ping);
FORKMILL_WIRE_STRUCT(Err);
FORKMILL_WIRE_STRUCT(TemplateDef);
FORKMILL_WIRE_STRUCT(Accepted);
FORKMILL_WIRE_STRUCT(Refused);
FORKMILL_WIRE_STRUCT(Forgotten);
FORKMILL_WIRE_STRUCT(Cancel);
FORKMILL_WIRE_STRUCT(Attach);
FORKMILL_WIRE_STRUCT(Release);
FORKMILL_WIRE_STRUCT(Query);
FORKMILL_WIRE_STRUCT(Reply);
FORKMILL_WIRE_STRUCT(Started);
FORKMILL_WIRE_STRUCT(Return);
FORKMILL_WIRE_STRUCT(Stale);
FORKMILL_WIRE_STRUCT(Held);
FORKMILL_WIRE_STRUCT(Adopt);
FORKMILL_WIRE_STRUCT(CancelLease);
FORKMILL_WIRE_STRUCT(Blocked);
FORKMILL_WIRE_STRUCT(Unblocked);
FORKMILL_WIRE_STRUCT(Partial);
FORKMILL_WIRE_STRUCT(Credit);
FORKMILL_WIRE_STRUCT(DrainMsg);
FORKMILL_WIRE_STRUCT(Bye);
FORKMILL_WIRE_STRUCT(HostRecord);  // HOST and HOST_VERB
#undef FORKMILL_WIRE_STRUCT

/// CHUNK's fields; the bytes are the message's one payload frame, which is checked here.
[[nodiscard]] Code decode(Cursor& cursor, const base::Message& message, Chunk& out);
/// The fields alone; the caller checks that there is exactly one payload frame.
[[nodiscard]] Code decode(Cursor& cursor, Chunk& out);

/// The body of a non-success result. Texts are cut to kTextMax, `detail` to kDetailMax, `nested`
/// to 16.
std::vector<std::byte> pack_error(const ErrorInfo& info);
/// The inverse; a failure for bytes that are none.
base::Result<ErrorInfo> unpack_error(base::ByteView packed);
/// Code and no_retry of a packed error, without unpacking the rest. False: it is none; both are
/// untouched.
bool peek_error(const base::Body& packed, Code& code, bool& no_retry);

}  // namespace forkmill::wire
