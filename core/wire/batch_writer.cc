// SPDX-License-Identifier: Apache-2.0
#include "core/wire/batch_writer.h"

#include <utility>

#include "core/base/check.h"
#include "core/wire/frame.h"

namespace forkmill::wire {

namespace {

/// Number, ack, floor and the fields of a RESULTS frame.
constexpr std::size_t kFrameElements = 5;
/// A group: itself, its fields, the largest heads of them all.
constexpr std::size_t kGroupElements = 9;
constexpr std::size_t kGroupBytes = 64;
/// A body's own bytes apart: its head, a transfer's pair, a lease or status.
constexpr std::size_t kRecordElements = 5;
constexpr std::size_t kRecordBytes = 32;

bool is_inline(const BodyRef& body) {
    return body.transfer == 0 && body.body.view.size() < kInlineBodyMax;
}

bool is_payload(const BodyRef& body) {
    return body.transfer == 0 && body.body.view.size() >= kInlineBodyMax;
}

/// What extras add at most; texts were or will be cut.
std::size_t extras_elements(const Extras* extras) {
    return extras == nullptr ? 0 : 8 + 2 * extras->dependencies.size();
}

std::size_t extras_bytes(const Extras* extras) {
    if (extras == nullptr) return 0;
    return 64 + extras->key.size() + extras->trace.size() + 18 * extras->dependencies.size();
}

}  // namespace

void BatchWriter::clear() {
    out_.truncate(0);
    payloads_.clear();
    payload_bytes_ = 0;
    count_ = 0;
    elements_ = kFrameElements;
}

void BatchWriter::put_header() {
    begin_frame(out_);
    elements_ = kFrameElements;
}

bool BatchWriter::fits(const BodyRef& body, std::size_t elements, std::size_t size) const {
    if (count_ == 0) return true;
    const std::size_t body_bytes = body.body.view.size();
    if (count_ >= kRecordsMax || elements_ + elements > kElementsMax) return false;
    if (bytes() + size + body_bytes > kMessageBytesMax) return false;
    if (is_payload(body)) {
        return payloads_.size() + 2 <= kMessageFramesMax && out_.size() + size <= kFrameMax;
    }
    return out_.size() + size + body_bytes <= kFrameMax;
}

void BatchWriter::put_body(const BodyRef& body) {
    if (is_inline(body)) [[likely]]
        return out_.put_bin(body.body.view);
    put_large_body(body);
}

void BatchWriter::put_large_body(const BodyRef& body) {
    FORKMILL_CHECK(!body.body.chunks);
    if (body.transfer != 0) {
        out_.put_array(2);
        out_.put_uint(body.transfer);
        out_.put_uint(body.size);
        elements_ += 2;
        return;
    }
    const base::ByteView view = body.body.view;
    FORKMILL_CHECK(view.size() <= kBodyFrameMax);
    // A record with 64 dependencies has more bodies than a message has frames: the last ones are
    // inline, which every reader takes at any size.
    if (payloads_.size() + 1 >= kMessageFramesMax) return out_.put_bin(view);
    out_.put_uint(payloads_.size());
    const base::Blob& blob = body.body.blob;
    const bool owned = blob.data() == view.data() && blob.size() == view.size();
    payloads_.push_back(owned ? blob : base::Blob::copy(view));
    payload_bytes_ += view.size();
}

base::Message BatchWriter::finish_frame(const Header& header, std::uint32_t fields) {
    begin();
    base::Message message{end_frame(out_, header, fields), std::exchange(payloads_, {})};
    // What no peer would take must not leave; fits() was there to ask.
    FORKMILL_CHECK(message.bytes() <= kMessageBytesMax && message.control.size() <= kFrameMax);
    clear();
    return message;
}

// SUBMIT: [template, first_seq, flags, [body…], extras?]…

bool SubmitWriter::fits(const SubmitRecord& record) const {
    return BatchWriter::fits(record.body,
                             kGroupElements + kRecordElements + extras_elements(record.extras),
                             kGroupBytes + kRecordBytes + extras_bytes(record.extras));
}

void SubmitWriter::open_group(const SubmitRecord& record) {
    if (open_) out_.patch_array(list_at_, list_size_);
    begin();
    const bool extras = record.extras != nullptr;
    out_.put_array(extras ? 5 : 4);
    out_.put_uint(record.template_id);
    out_.put_uint(record.seq);
    out_.put_uint(record.resent ? kFlagResent : 0);
    list_at_ = out_.put_open_array();
    list_size_ = 0;
    elements_ += extras ? 6 : 5;
    ++groups_;
    template_id_ = record.template_id;
    next_seq_ = record.seq;
    resent_ = record.resent;
    open_ = true;
}

void SubmitWriter::add(const SubmitRecord& record) {
    if (!open_ || record.extras != nullptr || record.seq != next_seq_ ||
        record.template_id != template_id_ || record.resent != resent_)
        open_group(record);
    put_body(record.body);
    ++list_size_;
    ++next_seq_;
    ++count_;
    ++elements_;
    if (record.extras == nullptr) [[likely]]
        return;

    out_.patch_array(list_at_, list_size_);
    open_ = false;
    const Extras& extras = *record.extras;
    out_.put_array(6);
    out_.put_int(extras.deadline);
    out_.put_text(extras.key, kKeyMax);
    out_.put_array(static_cast<std::uint32_t>(2 * extras.dependencies.size()));
    for (const Extras::Dependency& dependency : extras.dependencies) {
        out_.put_uint(dependency.argument);
        out_.put_uint(dependency.seq);
    }
    out_.put_text(extras.trace, kTraceMax);
    out_.put_uint(extras.parent.stream);
    out_.put_uint(extras.parent.seq);
    elements_ += 6 + 2 * extras.dependencies.size();
}

base::Message SubmitWriter::finish(Header header) {
    if (open_) out_.patch_array(list_at_, list_size_);
    open_ = false;
    header.kind = Kind::Submit;
    return finish_frame(header, std::exchange(groups_, 0));
}

void SubmitWriter::clear() {
    BatchWriter::clear();
    groups_ = 0;
    open_ = false;
}

// TASKS: [template, stream, first_seq, attempt, crashes, flags, [lease, body…], extras?]…

bool TasksWriter::fits(const TaskRecord& record) const {
    std::size_t elements = kGroupElements + kRecordElements + extras_elements(record.extras);
    std::size_t size = kGroupBytes + kRecordBytes + extras_bytes(record.extras);
    if (record.dependencies.empty()) return BatchWriter::fits(record.body, elements, size);
    if (count_ == 0) return true;
    // Judged as if each were inline and a frame at once: such records are rare.
    std::size_t frames = 2 + (is_payload(record.body) ? 1 : 0);
    elements += 8;
    for (const TaskRecord::Dependency& dependency : record.dependencies) {
        elements += 1 + kRecordElements;
        size += kRecordBytes + dependency.body.body.view.size();
        if (is_payload(dependency.body)) ++frames;
    }
    return payloads_.size() + frames <= kMessageFramesMax &&
           BatchWriter::fits(record.body, elements, size);
}

void TasksWriter::open_group(const TaskRecord& record, bool extras) {
    if (open_) out_.patch_array(list_at_, list_size_);
    begin();
    out_.put_array(extras ? 8 : 7);
    out_.put_uint(record.template_id);
    out_.put_uint(record.task.stream);
    out_.put_uint(record.task.seq);
    out_.put_uint(record.attempt);
    out_.put_uint(record.crashes);
    out_.put_uint(0);
    list_at_ = out_.put_open_array();
    list_size_ = 0;
    elements_ += extras ? 9 : 8;
    ++groups_;
    next_ = record.task;
    template_id_ = record.template_id;
    attempt_ = record.attempt;
    crashes_ = record.crashes;
    open_ = true;
}

void TasksWriter::put_extras(const TaskRecord& record) {
    static const Extras kNone;
    const Extras& extras = record.extras != nullptr ? *record.extras : kNone;
    out_.put_array(5);
    out_.put_int(extras.deadline);
    out_.put_text(extras.trace, kTraceMax);
    out_.put_uint(extras.parent.stream);
    out_.put_uint(extras.parent.seq);
    out_.put_array(static_cast<std::uint32_t>(2 * record.dependencies.size()));
    for (const TaskRecord::Dependency& dependency : record.dependencies) {
        out_.put_uint(dependency.argument);
        put_body(dependency.body);
    }
    elements_ += 5 + 2 * record.dependencies.size();
}

void TasksWriter::add(const TaskRecord& record) {
    const bool extras = record.extras != nullptr || !record.dependencies.empty();
    if (!open_ || extras || record.task != next_ || record.template_id != template_id_ ||
        record.attempt != attempt_ || record.crashes != crashes_)
        open_group(record, extras);
    out_.put_uint(record.lease);
    put_body(record.body);
    list_size_ += 2;
    ++next_.seq;
    ++count_;
    elements_ += 2;
    if (!extras) [[likely]]
        return;
    out_.patch_array(list_at_, list_size_);
    open_ = false;
    put_extras(record);
}

base::Message TasksWriter::finish(Header header) {
    if (open_) out_.patch_array(list_at_, list_size_);
    open_ = false;
    header.kind = Kind::Tasks;
    return finish_frame(header, std::exchange(groups_, 0));
}

void TasksWriter::clear() {
    BatchWriter::clear();
    groups_ = 0;
    open_ = false;
}

// RESULTS: busy_ns, [ref, status, body…]

bool ResultsWriter::fits(const BodyRef& body) const {
    return BatchWriter::fits(body, kRecordElements, kRecordBytes);
}

void ResultsWriter::open_list() {
    begin();
    busy_at_ = out_.size();
    out_.put_wide_uint(0);
    list_at_ = out_.put_open_array();
}

void ResultsWriter::add(std::uint64_t ref, Outcome outcome, const BodyRef& body) {
    if (count_ == 0) open_list();
    out_.put_uint(ref);
    out_.put_uint(static_cast<std::uint64_t>(outcome));
    put_body(body);
    ++count_;
    elements_ += 3;
}

base::Message ResultsWriter::finish(Header header) {
    if (count_ == 0) open_list();
    out_.patch_wide_uint(busy_at_, std::exchange(busy_ns_, 0));
    out_.patch_array(list_at_, static_cast<std::uint32_t>(3 * count_));
    header.kind = Kind::Results;
    return finish_frame(header, 2);
}

void ResultsWriter::clear() {
    BatchWriter::clear();
    busy_ns_ = 0;
}

}  // namespace forkmill::wire
