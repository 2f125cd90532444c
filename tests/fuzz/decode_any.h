// SPDX-License-Identifier: Apache-2.0
// Decodes whatever a frame claims to be and says it again: shared by the fuzz target and the unit
// test that replays its corpus.
#pragma once

#include <cstdlib>
#include <map>
#include <vector>

#include "core/wire/codec.h"

namespace forkmill::fuzz {

/// Aborts, so that a fuzzer takes it for a crash.
inline void insist(bool truth) {
    if (!truth) std::abort();
}

inline bool same(const base::Message& a, const base::Message& b) {
    return base::text_of(a.control.view()) == base::text_of(b.control.view()) &&
           a.payloads.size() == b.payloads.size();
}

template <class Struct>
wire::Code struct_again(const wire::Header& header, wire::Cursor cursor) {
    Struct first{};
    const wire::Code code = wire::decode(cursor, first);
    if (code != wire::Code::None) return code;
    // What was understood can be said, is understood again and does not change any more.
    const base::Message said = wire::encode(header, first);
    wire::Header again{};
    wire::Cursor inner;
    insist(wire::decode_header(said, again, inner) == wire::Code::None);
    Struct second{};
    insist(wire::decode(inner, second) == wire::Code::None);
    insist(same(said, wire::encode(again, second)));
    return code;
}

inline void add(wire::SubmitWriter& out, const wire::SubmitRecord& r) {
    out.add(r);
}
inline void add(wire::TasksWriter& out, const wire::TaskRecord& r) {
    out.add(r);
}
inline void add(wire::ResultsWriter& out, const wire::ResultRecord& r) {
    out.add(r.ref, r.outcome, r.body);
}
inline bool fits(const wire::SubmitWriter& out, const wire::SubmitRecord& r) {
    return out.fits(r);
}
inline bool fits(const wire::TasksWriter& out, const wire::TaskRecord& r) {
    return out.fits(r);
}
inline bool fits(const wire::ResultsWriter& out, const wire::ResultRecord& r) {
    return out.fits(r.body);
}

inline void add(wire::ObjectWriter& out, const wire::ObjectOp& r) {
    out.add(r);
}
inline void add(wire::ObjectReplyWriter& out, const wire::ObjectReply& r) {
    out.add(r);
}
inline void add(wire::ObjectEventWriter& out, const wire::ObjectEvent& r) {
    out.add(r);
}
inline bool fits(const wire::ObjectWriter& out, const wire::ObjectOp& r) {
    return out.fits(r);
}
inline bool fits(const wire::ObjectReplyWriter& out, const wire::ObjectReply& r) {
    return out.fits(r);
}
inline bool fits(const wire::ObjectEventWriter& out, const wire::ObjectEvent& r) {
    return out.fits(r);
}

template <class Reader, class Record>
std::size_t count_records(const base::Message& message) {
    wire::Header header{};
    wire::Cursor cursor;
    insist(wire::decode_header(message, header, cursor) == wire::Code::None);
    Reader reader{cursor, message};
    insist(reader.code() == wire::Code::None);
    Record record;
    std::size_t count = 0;
    while (reader.next(record)) ++count;
    insist(count == reader.count());
    return count;
}

template <class Reader, class Writer, class Record>
wire::Code batch_again(const wire::Header& header,
                       const wire::Cursor& cursor,
                       const base::Message& in) {
    Reader reader{cursor, in};
    if (reader.code() != wire::Code::None) {
        insist(reader.count() == 0);
        return reader.code();
    }
    Writer writer;
    Record record;
    std::size_t read = 0;
    std::size_t said = 0;
    while (reader.next(record)) {
        ++read;
        if (!fits(writer, record)) said += count_records<Reader, Record>(writer.finish(header));
        add(writer, record);
    }
    insist(read == reader.count());
    said += count_records<Reader, Record>(writer.finish(header));
    insist(said == read);
    return wire::Code::None;
}

/// The kinds whose fields are one struct.
inline wire::Code (*struct_decoder(wire::Kind kind))(const wire::Header&, wire::Cursor) {
    using wire::Kind;
    using Decoder = wire::Code (*)(const wire::Header&, wire::Cursor);
    static const std::map<Kind, Decoder> kDecoders{
        {Kind::Hello, struct_again<wire::Hello>},
        {Kind::Welcome, struct_again<wire::Welcome>},
        {Kind::Reject, struct_again<wire::Reject>},
        {Kind::Fenced, struct_again<wire::Bye>},
        {Kind::Who, struct_again<wire::Bye>},
        {Kind::Ping, struct_again<wire::Ping>},
        {Kind::Pong, struct_again<wire::Ping>},
        {Kind::Err, struct_again<wire::Err>},
        {Kind::Template, struct_again<wire::TemplateDef>},
        {Kind::Accepted, struct_again<wire::Accepted>},
        {Kind::Refused, struct_again<wire::Refused>},
        {Kind::Forgotten, struct_again<wire::Forgotten>},
        {Kind::Cancel, struct_again<wire::Cancel>},
        {Kind::Attach, struct_again<wire::Attach>},
        {Kind::Release, struct_again<wire::Release>},
        {Kind::Query, struct_again<wire::Query>},
        {Kind::Reply, struct_again<wire::Reply>},
        {Kind::Started, struct_again<wire::Started>},
        {Kind::Return, struct_again<wire::Return>},
        {Kind::Stale, struct_again<wire::Stale>},
        {Kind::Held, struct_again<wire::Held>},
        {Kind::Adopt, struct_again<wire::Adopt>},
        {Kind::CancelLease, struct_again<wire::CancelLease>},
        {Kind::Blocked, struct_again<wire::Blocked>},
        {Kind::Unblocked, struct_again<wire::Unblocked>},
        {Kind::Partial, struct_again<wire::Partial>},
        {Kind::Credit, struct_again<wire::Credit>},
        {Kind::Drain, struct_again<wire::DrainMsg>},
        {Kind::Bye, struct_again<wire::Bye>},
        {Kind::Host, struct_again<wire::HostRecord>},
        {Kind::HostVerb, struct_again<wire::HostRecord>},
    };
    const auto row = kDecoders.find(kind);
    return row == kDecoders.end() ? nullptr : row->second;
}

/// Every decoder, by the kind the frame names. None: the frame was sound.
inline wire::Code decode_any(const base::Message& message) {
    using wire::Kind;
    wire::Header h{};
    wire::Cursor c;
    const wire::Code code = wire::decode_header(message, h, c);
    if (code != wire::Code::None) return code;
    if (const auto decoder = struct_decoder(h.kind)) return decoder(h, c);
    switch (h.kind) {
        case Kind::Ack:
            return c.finish();
        case Kind::Submit:
            return batch_again<wire::SubmitReader, wire::SubmitWriter, wire::SubmitRecord>(
                h, c, message);
        case Kind::Tasks:
            return batch_again<wire::TasksReader, wire::TasksWriter, wire::TaskRecord>(
                h, c, message);
        case Kind::Results:
            return batch_again<wire::ResultsReader, wire::ResultsWriter, wire::ResultRecord>(
                h, c, message);
        case Kind::Object:
            return batch_again<wire::ObjectReader, wire::ObjectWriter, wire::ObjectOp>(
                h, c, message);
        case Kind::ObjectReply:
            return batch_again<wire::ObjectReplyReader, wire::ObjectReplyWriter, wire::ObjectReply>(
                h, c, message);
        case Kind::ObjectEvent:
            return batch_again<wire::ObjectEventReader, wire::ObjectEventWriter, wire::ObjectEvent>(
                h, c, message);
        case Kind::Chunk: {
            wire::Chunk chunk;
            return wire::decode(c, message, chunk);
        }
        default:
            return wire::Code::ProtoKind;
    }
}

/// A corpus file: one byte (payload frames, 0 to 3), then the control frame.
inline base::Message message_of(base::ByteView input) {
    base::Message message;
    if (input.empty()) return message;
    const std::size_t payloads = std::to_integer<std::size_t>(input[0]) & 3U;
    // As the transport leaves it: in a block of exactly that size, so that a sanitizer sees every
    // byte read too many.
    message.control = base::Blob::copy(input.subspan(1));
    for (std::size_t i = 0; i < payloads; ++i) {
        base::Blob payload = base::Blob::allocate(wire::kInlineBodyMax + i);
        std::memset(payload.mutable_data(), static_cast<int>(i), payload.size());
        message.payloads.push_back(std::move(payload));
    }
    return message;
}

/// The error bodies inside results are packed too.
inline void unpack_any(base::ByteView input) {
    const auto info = wire::unpack_error(input);
    if (info.ok()) insist(wire::unpack_error(wire::pack_error(info.value())).ok());
    wire::Code code{};
    bool no_retry = false;
    static_cast<void>(wire::peek_error(base::Body::of(input), code, no_retry));
}

}  // namespace forkmill::fuzz
