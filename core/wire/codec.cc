// SPDX-License-Identifier: Apache-2.0
// Every struct's fields, once, in the order of docs/protocol.md.
#include "core/wire/codec.h"

#include <utility>

#include "core/wire/fields.h"
#include "core/wire/frame.h"

namespace forkmill::wire {

namespace {

constexpr std::size_t kHostMax = 256;
constexpr std::size_t kBuildMax = 128;
constexpr std::size_t kWordMax = 64;

bool queue_or_none(std::string_view name) {
    return name.empty() || valid_queue_name(name);
}

template <class V>
void describe(V& v, Described<V, Hello> h) {
    v(h.minor);
    v.bounded(h.role, Role::Client, Role::Admin);
    v(h.session.hi);
    v(h.session.lo);
    v(h.generation);
    v(h.incarnation);
    v(h.received);
    v.optional();
    v(h.stream);
    v.name(h.host, kHostMax, clean_text);
    v(h.pid);
    v.name(h.build, kBuildMax, clean_text);
    v.name(h.pool, kHostMax, clean_text);
    v(h.slot);
    v(h.birth);
    v.name(h.host_key, kHostMax, clean_text);
    v(h.threads);
    v.records(h.offers, kListMax, 2, [](auto& o, auto& offer) {
        o.name(offer.name, kTaskNameMax, valid_offer_name);
        o.optional();
        o.name(offer.signature, kSignatureMax, clean_text);
    });
    v(h.session_ttl_ms);
    v.list(h.queues, kListMax, [](auto& q, auto& queue) {
        q.name(queue, kQueueNameMax, valid_queue_name);
    });
}

template <class V>
void describe(V& v, Described<V, Welcome> w) {
    v(w.minor);
    v(w.incarnation);
    v(w.resumed);
    v(w.received);
    v.optional();
    v(w.ping_ms);
    v(w.gone_ms);
    v(w.session_ttl_ms);
    v(w.payload_max);
    v(w.credit_records);
    v(w.credit_bytes);
    v.name(w.durability, kWordMax, clean_text);
    v.name(w.broker, kHostMax, clean_text);
    v(w.generation);
}

template <class V>
void describe(V& v, Described<V, Reject> r) {
    v(r.code);
    v.optional();
    v.text(r.text, kTextMax);
    v(r.retry_after_ms);
}

template <class V>
void describe(V& v, Described<V, Ping> p) {
    v.optional();
    v(p.echo);
    v(p.busy_ns);
    v(p.running);
    v(p.waiting);
}

template <class V>
void describe(V& v, Described<V, Err> e) {
    v(e.code);
    v.optional();
    v(e.about);
    v.text(e.text, kTextMax);
}

template <class V>
void describe(V& v, Described<V, TemplateDef> t) {
    v(t.id);
    v.name(t.name, kTaskNameMax, valid_task_name);
    v.optional();
    v.name(t.signature, kSignatureMax, clean_text);
    v.name(t.queue, kQueueNameMax, queue_or_none);
    v(t.priority);
    v(t.soft_timeout_ns);
    v(t.timeout_ns);
    v(t.delay_ns);
    v(t.max_retries);
    v(t.crash_limit);
    v(t.at_most_once);
    v(t.detached);
}

template <class V>
void describe(V& v, Described<V, Accepted> a) {
    v.pairs(a.ranges, &Range::first, &Range::count, kElementsMax);
}

template <class V>
void describe(V& v, Described<V, Forgotten> f) {
    v.pairs(f.ranges, &Range::first, &Range::count, kElementsMax);
}

template <class V>
void describe(V& v, Described<V, Release> r) {
    v.pairs(r.ranges, &Range::first, &Range::count, kElementsMax);
}

template <class V>
void describe(V& v, Described<V, Refused> r) {
    v(r.seq);
    v(r.code);
    v.optional();
    v.text(r.text, kTextMax);
    v(r.retry_after_ms);
}

template <class V>
void describe_numbers(V& v, Described<V, std::vector<std::uint64_t>> numbers) {
    v.list(numbers, kElementsMax, [](auto& each, auto& number) { each(number); });
}

template <class V>
void describe(V& v, Described<V, Cancel> c) {
    describe_numbers(v, c.seqs);
    v.optional();
    v(c.kill);
    v(c.all);
}

template <class V>
void describe(V& v, Described<V, Attach> a) {
    v(a.seq);
    v(a.task.stream);
    v(a.task.seq);
}

template <class V>
void describe(V& v, Described<V, Query> q) {
    v(q.id);
    v.name(q.what, kWordMax, clean_text);
    v.optional();
    v.text(q.argument, kTextMax);
}

template <class V>
void describe(V& v, Described<V, Reply> r) {
    v(r.id);
    v(r.code);
    v.optional();
    v.text(r.body, kReplyMax);
}

template <class V>
void describe(V& v, Described<V, Started> s) {
    describe_numbers(v, s.leases);
}

template <class V>
void describe(V& v, Described<V, Return> r) {
    describe_numbers(v, r.leases);
}

template <class V>
void describe(V& v, Described<V, Stale> s) {
    describe_numbers(v, s.leases);
}

template <class V>
void describe(V& v, Described<V, Held> h) {
    v.records(h.tasks, kRecordsMax, 6, [](auto& t, auto& task) {
        t(task.lease);
        t(task.task.stream);
        t(task.task.seq);
        t(task.attempt);
        t(task.crashes);
        t.bounded(task.state, HeldState::Waiting, HeldState::Done);
    });
    v.optional();
    v(h.last);
}

template <class V>
void describe(V& v, Described<V, Adopt> a) {
    v.pairs(a.leases, &Adopt::Mapping::old_lease, &Adopt::Mapping::new_lease, kElementsMax);
}

template <class V>
void describe(V& v, Described<V, CancelLease> c) {
    v(c.lease);
    v.optional();
    v(c.kill);
}

template <class V>
void describe(V& v, Described<V, Blocked> b) {
    v(b.lease);
}

template <class V>
void describe(V& v, Described<V, Unblocked> u) {
    v(u.lease);
}

template <class V>
void describe(V& v, Described<V, Partial> p) {
    v(p.ref);
    v(p.fraction);
    v.optional();
    v.text(p.note, kTextMax);
}

template <class V>
void describe(V& v, Described<V, Chunk> c) {
    v(c.transfer);
    v(c.last);
}

template <class V>
void describe(V& v, Described<V, Credit> c) {
    v(c.records);
    v(c.bytes);
}

template <class V>
void describe(V& v, Described<V, DrainMsg> d) {
    v.optional();
    v(d.timeout_ms);
}

template <class V>
void describe(V& v, Described<V, Bye> b) {
    v.optional();
    v.text(b.reason, kTextMax);
}

template <class V>
void describe(V& v, Described<V, HostRecord> h) {
    v.name(h.host_key, kHostMax, clean_text);
    v(h.verb);
    v(h.cause);
    v.name(h.pool, kHostMax, clean_text);
    v(h.slot);
    v(h.pid);
    v(h.birth);
    v(h.detail);
    v.optional();
    describe_numbers(v, h.leases);
    v.text(h.text, kTextMax);
    v(h.rss_peak);
    v(h.core_dumped);
}

template <class T>
base::Message encode_struct(const Header& header, const T& in) {
    Writer out;
    begin_frame(out);
    FieldWriter fields{out};
    describe(fields, in);
    return {end_frame(out, header, fields.count()), {}};
}

template <class T>
Code decode_struct(Cursor& cursor, T& out) {
    FieldReader fields{cursor};
    describe(fields, out);
    return cursor.finish();
}

}  // namespace

#define FORKMILL_WIRE_STRUCT(Struct)                               \
    base::Message encode(const Header& header, const Struct& in) { \
        return encode_struct(header, in);                          \
    }                                                              \
    Code decode(Cursor& cursor, Struct& out) {                     \
        return decode_struct(cursor, out);                         \
    }

FORKMILL_WIRE_STRUCT(Hello)
FORKMILL_WIRE_STRUCT(Welcome)
FORKMILL_WIRE_STRUCT(Reject)
FORKMILL_WIRE_STRUCT(Ping)
FORKMILL_WIRE_STRUCT(Err)
FORKMILL_WIRE_STRUCT(TemplateDef)
FORKMILL_WIRE_STRUCT(Accepted)
FORKMILL_WIRE_STRUCT(Refused)
FORKMILL_WIRE_STRUCT(Forgotten)
FORKMILL_WIRE_STRUCT(Cancel)
FORKMILL_WIRE_STRUCT(Attach)
FORKMILL_WIRE_STRUCT(Release)
FORKMILL_WIRE_STRUCT(Query)
FORKMILL_WIRE_STRUCT(Reply)
FORKMILL_WIRE_STRUCT(Started)
FORKMILL_WIRE_STRUCT(Return)
FORKMILL_WIRE_STRUCT(Stale)
FORKMILL_WIRE_STRUCT(Held)
FORKMILL_WIRE_STRUCT(Adopt)
FORKMILL_WIRE_STRUCT(CancelLease)
FORKMILL_WIRE_STRUCT(Blocked)
FORKMILL_WIRE_STRUCT(Unblocked)
FORKMILL_WIRE_STRUCT(Partial)
FORKMILL_WIRE_STRUCT(Credit)
FORKMILL_WIRE_STRUCT(DrainMsg)
FORKMILL_WIRE_STRUCT(Bye)
FORKMILL_WIRE_STRUCT(HostRecord)
#undef FORKMILL_WIRE_STRUCT

Code decode(Cursor& cursor, Chunk& out) {
    return decode_struct(cursor, out);
}

Code decode(Cursor& cursor, const base::Message& message, Chunk& out) {
    if (message.payloads.size() != 1) return Code::ProtoParts;
    const Code code = decode_struct(cursor, out);
    // An empty frame only ever means that the transfer is given up, and that ends it.
    if (code == Code::None && message.payloads.front().empty() && !out.last)
        return Code::ProtoParts;
    return code;
}

base::Message encode_chunk(const Header& header,
                           std::uint64_t transfer,
                           bool last,
                           base::Blob bytes) {
    FORKMILL_CHECK(bytes.size() <= kBodyFrameMax);
    Header chunk = header;
    chunk.kind = Kind::Chunk;
    base::Message message = encode_struct(chunk, Chunk{transfer, last});
    message.payloads.push_back(std::move(bytes));
    return message;
}

}  // namespace forkmill::wire
