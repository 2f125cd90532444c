// SPDX-License-Identifier: Apache-2.0
#include "core/wire/object_batch.h"

#include <limits>

#include "core/wire/names.h"

namespace forkmill::wire {

namespace {

/// Inline bytes and payload bytes that one record may have: with its keys they fit a message.
constexpr std::size_t kInlineBudget = 256 * 1024;
constexpr std::size_t kFrameBudget = kBodyFrameMax;
constexpr std::size_t kFramesBudget = 32;

/// A record's own elements and bytes, its texts and items apart.
constexpr std::size_t kRecordElements = 24;
constexpr std::size_t kRecordBytes = 160;
/// The same of an item: its array, key, body, list of references.
constexpr std::size_t kItemElements = 6;
constexpr std::size_t kItemBytes = 40;
constexpr std::size_t kRefBytes = 9;

constexpr std::uint32_t kOpFields = 14;
constexpr std::uint32_t kShapeFields = 6;
constexpr std::uint32_t kReplyFields = 9;
constexpr std::uint32_t kEventFields = 4;

bool in_frame(const BodyRef& ref) {
    return ref.transfer == 0 && ref.body.view.size() >= kInlineBodyMax;
}

}  // namespace

bool BodyBudget::fits_record(const base::Body& body) {
    const std::uint64_t size = body.size();
    if (body.chunks || size > kBodyFrameMax) return false;
    if (size < kInlineBodyMax && inline_bytes_ + size <= kInlineBudget) {
        inline_bytes_ += size;
        return true;
    }
    if (size < kInlineBodyMax || frames_ >= kFramesBudget || frame_bytes_ + size > kFrameBudget)
        return false;
    ++frames_;
    frame_bytes_ += size;
    return true;
}

bool ObjectWriterBase::fits_items(const std::vector<ObjectItem>& items, std::size_t texts) const {
    if (count_ == 0) return true;
    std::size_t elements = kRecordElements + kItemElements * items.size();
    std::size_t size = kRecordBytes + texts + kItemBytes * items.size();
    std::size_t frames = 1 + payloads_.size();
    std::size_t frame_bytes = 0;
    for (const ObjectItem& item : items) {
        elements += item.refs.size();
        size += item.key.size() + kRefBytes * item.refs.size();
        if (in_frame(item.body)) {
            ++frames;
            frame_bytes += item.body.body.view.size();
        } else {
            size += item.body.body.view.size();
        }
    }
    return count_ + 1 <= kRecordsMax && elements_ + elements <= kElementsMax &&
           frames <= kMessageFramesMax && out_.size() + size <= kFrameMax &&
           bytes() + size + frame_bytes <= kMessageBytesMax;
}

void ObjectWriterBase::open_record(std::uint32_t fields) {
    begin();
    out_.put_array(fields);
    ++count_;
    elements_ += 1 + fields;
}

void ObjectWriterBase::put_items(const std::vector<ObjectItem>& items) {
    out_.put_array(static_cast<std::uint32_t>(items.size()));
    for (const ObjectItem& item : items) {
        out_.put_array(item.refs.empty() ? 2 : 3);
        out_.put_bin(base::bytes_of(item.key));
        put_body(item.body);
        elements_ += 3;
        if (item.refs.empty()) continue;
        out_.put_array(static_cast<std::uint32_t>(item.refs.size()));
        for (const std::uint64_t ref : item.refs) out_.put_uint(ref);
        elements_ += 1 + item.refs.size();
    }
}

bool ObjectWriter::fits(const ObjectOp& op) const {
    return fits_items(op.items, op.name.size() + op.type.size());
}

// OBJECT: [op, verb, object, flags, owner, timeout, token, version, index, count, items, name,
// type, shape]…

void ObjectWriter::add(const ObjectOp& op) {
    open_record(op.shaped ? kOpFields : kOpFields - 1);
    out_.put_uint(op.op);
    out_.put_uint(static_cast<std::uint64_t>(op.verb));
    out_.put_uint(op.object);
    out_.put_uint(op.flags);
    out_.put_uint(op.owner);
    out_.put_int(op.timeout_ns);
    out_.put_uint(op.token);
    out_.put_uint(op.version);
    out_.put_int(op.index);
    out_.put_uint(op.count);
    put_items(op.items);
    out_.put_text(op.name, kTextMax);
    out_.put_text(op.type, kTextMax);
    if (!op.shaped) return;
    out_.put_array(kShapeFields);
    out_.put_uint(static_cast<std::uint64_t>(op.shape.kind));
    out_.put_uint(op.shape.capacity);
    out_.put_uint(op.shape.bytes);
    out_.put_uint(op.shape.initial);
    out_.put_uint(static_cast<std::uint64_t>(op.shape.cell));
    out_.put_uint(op.shape.lock);
    elements_ += kShapeFields;
}

base::Message ObjectWriter::finish(Header header) {
    header.kind = Kind::Object;
    return finish_frame(header, static_cast<std::uint32_t>(count_));
}

bool ObjectReplyWriter::fits(const ObjectReply& reply) const {
    return fits_items(reply.items, reply.text.size());
}

// OBJECT_REPLY: [op, code, value, count, token, version, flags, items, text]…

void ObjectReplyWriter::add(const ObjectReply& reply) {
    open_record(kReplyFields);
    out_.put_uint(reply.op);
    out_.put_uint(static_cast<std::uint64_t>(reply.code));
    out_.put_int(reply.value);
    out_.put_uint(reply.count);
    out_.put_uint(reply.token);
    out_.put_uint(reply.version);
    out_.put_uint(reply.flags);
    put_items(reply.items);
    out_.put_text(reply.text, kTextMax);
}

base::Message ObjectReplyWriter::finish(Header header) {
    header.kind = Kind::ObjectReply;
    return finish_frame(header, static_cast<std::uint32_t>(count_));
}

bool ObjectEventWriter::fits(const ObjectEvent& event) const {
    return fits_items(event.items, 0);
}

// OBJECT_EVENT: [watch, change, version, items]…

void ObjectEventWriter::add(const ObjectEvent& event) {
    open_record(kEventFields);
    out_.put_uint(event.watch);
    out_.put_uint(static_cast<std::uint64_t>(event.change));
    out_.put_uint(event.version);
    put_items(event.items);
}

base::Message ObjectEventWriter::finish(Header header) {
    header.kind = Kind::ObjectEvent;
    return finish_frame(header, static_cast<std::uint32_t>(count_));
}

bool ObjectReaderBase::read_item(ObjectItem& item) {
    Nested array{cursor_};
    base::ByteView key;
    if (!array.require() || !cursor_.read_bin(key)) return false;
    if (key.size() > kObjectKeyMax) return cursor_.fail(Code::LimitText);
    item.key = base::text_of(key);
    if (!array.require() || !read_body(item.body)) return false;
    item.refs.clear();
    std::uint32_t refs = 0;
    if (array.next()) {
        if (!cursor_.read_array(refs)) return false;
        if (refs > kObjectRefsMax) return cursor_.fail(Code::LimitElements);
        for (std::uint32_t i = 0; i < refs; ++i) {
            std::uint64_t ref = 0;
            if (!cursor_.read_uint(ref)) return false;
            item.refs.push_back(ref);
        }
    }
    return array.close();
}

bool ObjectReaderBase::read_items(Nested& record, std::vector<ObjectItem>& items) {
    std::uint32_t count = 0;
    items.clear();
    if (!record.next()) return cursor_.ok();
    if (!cursor_.read_array(count)) return false;
    if (count > kObjectItemsMax) return cursor_.fail(Code::LimitElements);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!read_item(items.emplace_back())) return false;
    }
    return true;
}

ObjectReader::ObjectReader(const Cursor& cursor, const base::Message& message)
    : ObjectReaderBase(cursor, message) {
    ObjectOp op;
    while (step(op)) {
    }
    end_check(cursor);
}

bool ObjectReader::read_shape(Nested& record, ObjectOp& op) {
    op.shape = {};
    op.shaped = false;
    if (!record.next()) return cursor_.ok();
    op.shaped = true;
    Nested array{cursor_};
    std::uint8_t kind = 0;
    std::uint8_t cell = 0;
    if (!array.require() || !cursor_.read_uint8(kind)) return false;
    op.shape.kind = static_cast<ObjectKind>(kind);
    for (std::uint64_t* number : {&op.shape.capacity, &op.shape.bytes, &op.shape.initial})
        if (array.next() && !cursor_.read_uint(*number)) return false;
    if (array.next() && !cursor_.read_uint8(cell)) return false;
    op.shape.cell = static_cast<CellKind>(cell);
    if (array.next() && !cursor_.read_uint(op.shape.lock)) return false;
    return array.close();
}

bool ObjectReader::step(ObjectOp& op) {
    if (!cursor_.next_field()) return false;
    Nested record{cursor_};
    std::uint8_t verb = 0;
    if (!count_record() || !record.require() || !cursor_.read_uint(op.op) || !record.require() ||
        !cursor_.read_uint8(verb) || !record.require() || !cursor_.read_uint(op.object))
        return false;
    op.verb = static_cast<ObjectVerb>(verb);
    op.flags = 0;
    op.timeout_ns = kNoTimeout;
    op.owner = op.token = op.version = op.count = 0;
    op.index = 0;
    op.name.clear();
    op.type.clear();
    std::string_view name;
    std::string_view type;
    if (record.next() && !cursor_.read_uint32(op.flags)) return false;
    if (record.next() && !cursor_.read_uint(op.owner)) return false;
    if (record.next() && !cursor_.read_int(op.timeout_ns)) return false;
    if (record.next() && !cursor_.read_uint(op.token)) return false;
    if (record.next() && !cursor_.read_uint(op.version)) return false;
    if (record.next() && !cursor_.read_int(op.index)) return false;
    if (record.next() && !cursor_.read_uint(op.count)) return false;
    if (!read_items(record, op.items)) return false;
    if (record.next() && !cursor_.read_text(name, kTextMax)) return false;
    if (record.next() && !cursor_.read_text(type, kTextMax)) return false;
    if (!read_shape(record, op)) return false;
    op.name = name;
    op.type = type;
    return record.close();
}

ObjectReplyReader::ObjectReplyReader(const Cursor& cursor, const base::Message& message)
    : ObjectReaderBase(cursor, message) {
    ObjectReply reply;
    while (step(reply)) {
    }
    end_check(cursor);
}

bool ObjectReplyReader::step(ObjectReply& reply) {
    if (!cursor_.next_field()) return false;
    Nested record{cursor_};
    std::uint64_t code = 0;
    if (!count_record() || !record.require() || !cursor_.read_uint(reply.op) || !record.require() ||
        !cursor_.read_uint(code))
        return false;
    if (code > std::numeric_limits<std::uint16_t>::max()) return cursor_.fail(Code::InvalidRange);
    reply.code = static_cast<Code>(code);
    reply.value = 0;
    reply.count = reply.token = reply.version = 0;
    reply.flags = 0;
    reply.text.clear();
    std::string_view text;
    if (record.next() && !cursor_.read_int(reply.value)) return false;
    if (record.next() && !cursor_.read_uint(reply.count)) return false;
    if (record.next() && !cursor_.read_uint(reply.token)) return false;
    if (record.next() && !cursor_.read_uint(reply.version)) return false;
    if (record.next() && !cursor_.read_uint32(reply.flags)) return false;
    if (!read_items(record, reply.items)) return false;
    if (record.next() && !cursor_.read_text(text, kTextMax)) return false;
    reply.text = text;
    return record.close();
}

ObjectEventReader::ObjectEventReader(const Cursor& cursor, const base::Message& message)
    : ObjectReaderBase(cursor, message) {
    ObjectEvent event;
    while (step(event)) {
    }
    end_check(cursor);
}

bool ObjectEventReader::step(ObjectEvent& event) {
    if (!cursor_.next_field()) return false;
    Nested record{cursor_};
    std::uint8_t change = 0;
    if (!count_record() || !record.require() || !cursor_.read_uint(event.watch) ||
        !record.require() || !cursor_.read_uint8(change))
        return false;
    event.change = static_cast<ObjectChange>(change);
    event.version = 0;
    if (record.next() && !cursor_.read_uint(event.version)) return false;
    return read_items(record, event.items) && record.close();
}

std::string_view name_of(ObjectKind kind) {
    static constexpr std::string_view kNames[] = {"unknown",
                                                  "queue",
                                                  "lock",
                                                  "semaphore",
                                                  "condition",
                                                  "event",
                                                  "barrier",
                                                  "dict",
                                                  "list",
                                                  "array"};
    const auto number = static_cast<std::uint8_t>(kind);
    return kNames[number <= kObjectKinds ? number : 0];
}

std::string_view name_of(ObjectVerb verb) {
    static constexpr std::string_view kNames[] = {
        "unknown", "open",    "close",     "remove",  "info",    "put",  "get",
        "done",    "join",    "shut",      "acquire", "release", "wait", "notify",
        "reset",   "abort",   "read",      "write",   "erase",   "swap", "add",
        "watch",   "unwatch", "interrupt", "break",   "peek",    "pass", "bury"};
    const auto number = static_cast<std::uint8_t>(verb);
    return kNames[number <= kObjectVerbs ? number : 0];
}

}  // namespace forkmill::wire
