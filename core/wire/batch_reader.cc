// SPDX-License-Identifier: Apache-2.0
// The hot kinds, read twice: once to judge the whole frame, once to hand its records out. A frame
// that is wrong at its end must not have changed anything by its beginning.
#include "core/wire/batch_reader.h"

#include <limits>
#include <utility>

#include "core/wire/names.h"

namespace forkmill::wire {

namespace {

/// An array head, of fixed or open length.
bool is_array(std::uint8_t tag) {
    return (tag >= 0x90 && tag <= 0x9f) || tag == 0xdc || tag == 0xdd;
}

bool is_bin(std::uint8_t tag) {
    return tag >= 0xc4 && tag <= 0xc6;
}

constexpr std::uint8_t kNil = 0xc0;

}  // namespace

bool BatchReader::read_body(BodyRef& ref) {
    if (is_bin(cursor_.peek())) [[likely]] {
        if (!cursor_.read_bin(ref.body.view)) return false;
        if (!ref.body.blob.empty()) ref.body.blob = {};
        if (ref.body.chunks) ref.body.chunks.reset();
        ref.transfer = 0;
        ref.size = ref.body.view.size();
        return true;
    }
    return read_large_body(ref);
}

bool BatchReader::read_large_body(BodyRef& ref) {
    ref = {};
    if (is_array(cursor_.peek())) {
        Nested pair{cursor_};
        if (!pair.require() || !cursor_.read_uint(ref.transfer)) return false;
        if (!pair.require() || !cursor_.read_uint(ref.size)) return false;
        if (ref.transfer == 0) return cursor_.fail(Code::UnknownTransfer);
        if (ref.size > kPayloadMaxCeiling) return cursor_.fail(Code::LimitSize);
        return pair.close();
    }
    std::uint64_t index = 0;
    if (!cursor_.read_uint(index)) return false;
    // Once each and in order: a frame cannot make us share one payload a thousand times.
    if (index != payloads_named_ || index >= message_->payloads.size())
        return cursor_.fail(Code::ProtoParts);
    ++payloads_named_;
    const base::Blob& payload = message_->payloads[static_cast<std::size_t>(index)];
    ref.size = payload.size();
    ref.body.view = payload.view();
    if (!checking_) ref.body.blob = payload;
    return true;
}

bool BatchReader::count_record() {
    if (!checking_) return true;
    return ++count_ <= kRecordsMax || cursor_.fail(Code::LimitElements);
}

bool BatchReader::open_list(std::uint32_t per_record, std::uint64_t first_seq) {
    std::uint32_t elements = 0;
    if (!cursor_.read_array(elements)) return false;
    if (elements == 0 || elements % per_record != 0) return cursor_.fail(Code::Decode);
    list_left_ = elements / per_record;
    // Task numbers of a group are dense and must not run over.
    if (first_seq > std::numeric_limits<std::uint64_t>::max() - list_left_)
        return cursor_.fail(Code::InvalidRange);
    return true;
}

/// After a group's last body: its extras, if there are any, and whatever a newer peer appended.
bool BatchReader::at_extras(bool single) {
    if (cursor_.peek() == kNil) return false;
    --group_left_;
    return single || cursor_.fail(Code::InvalidRange);
}

bool BatchReader::close_group() {
    for (; group_left_ > 0; --group_left_) {
        if (!cursor_.skip()) return false;
    }
    return true;
}

bool BatchReader::open_group(std::uint32_t least) {
    if (!cursor_.next_field() || !cursor_.read_array(group_left_)) return false;
    if (group_left_ < least) return cursor_.fail(Code::Decode);
    group_left_ -= least;
    return true;
}

void BatchReader::end_check(const Cursor& start) {
    cursor_.finish();
    if (cursor_.ok() && payloads_named_ != message_->payloads.size())
        cursor_.fail(Code::ProtoParts);
    code_ = cursor_.code();
    checking_ = false;
    list_left_ = 0;
    payloads_named_ = 0;
    if (code_ == Code::None) {
        cursor_ = start;
    } else {
        count_ = 0;
    }
}

bool BatchReader::read_deadline(Nested& array, Extras& extras) {
    if (!array.next()) return false;
    if (!cursor_.read_int(extras.deadline)) return false;
    return extras.deadline >= 0 || cursor_.fail(Code::InvalidRange);
}

bool BatchReader::read_trace(Nested& array, Extras& extras) {
    std::string_view trace;
    if (!array.next() || !cursor_.read_text(trace, kTraceMax)) return false;
    extras.trace = trace;
    return true;
}

bool BatchReader::read_parent(Nested& array, Extras& extras) {
    return array.next() && cursor_.read_uint(extras.parent.stream) && array.next() &&
           cursor_.read_uint(extras.parent.seq);
}

bool BatchReader::open_dependencies(std::uint32_t& count) {
    if (!cursor_.read_array(count)) return false;
    if (count % 2 != 0) return cursor_.fail(Code::Decode);
    count /= 2;
    return count <= kDependenciesMax || cursor_.fail(Code::TooManyDependencies);
}

SubmitReader::SubmitReader(const Cursor& cursor, const base::Message& message)
    : BatchReader(cursor, message) {
    SubmitRecord record;
    while (step(record)) {
    }
    end_check(cursor);
}

bool SubmitReader::begin_group() {
    std::uint64_t flags = 0;
    if (!open_group(4) || !cursor_.read_uint32(template_id_) || !cursor_.read_uint(seq_) ||
        !cursor_.read_uint(flags) || !open_list(1, seq_))
        return false;
    resent_ = (flags & kFlagResent) != 0;
    single_ = list_left_ == 1;
    return true;
}

bool SubmitReader::step(SubmitRecord& record) {
    if (list_left_ == 0 && !begin_group()) return false;
    if (!count_record() || !read_body(record.body)) return false;
    record.template_id = template_id_;
    record.seq = seq_++;
    record.resent = resent_;
    record.extras = nullptr;
    if (--list_left_ > 0 || group_left_ == 0) return true;
    if (at_extras(single_)) {
        if (!read_extras()) return false;
        record.extras = &extras_;
    }
    return cursor_.ok() && close_group();
}

bool SubmitReader::read_extras() {
    extras_ = {};
    Nested array{cursor_};
    if (!read_deadline(array, extras_)) return cursor_.ok() && array.close();
    std::string_view key;
    if (array.next() && cursor_.read_text(key, kKeyMax)) {
        if (!valid_key(key)) return cursor_.fail(Code::InvalidName);
        extras_.key = key;
    }
    std::uint32_t count = 0;
    if (array.next() && open_dependencies(count)) {
        for (std::uint32_t i = 0; i < count; ++i) {
            Extras::Dependency dependency;
            if (!cursor_.read_uint32(dependency.argument) || !cursor_.read_uint(dependency.seq))
                return false;
            extras_.dependencies.push_back(dependency);
        }
    }
    if (read_trace(array, extras_)) read_parent(array, extras_);
    return cursor_.ok() && array.close();
}

TasksReader::TasksReader(const Cursor& cursor, const base::Message& message)
    : BatchReader(cursor, message) {
    TaskRecord record;
    while (step(record)) {
    }
    end_check(cursor);
}

bool TasksReader::begin_group() {
    std::uint64_t flags = 0;  // None is defined for TASKS.
    if (!open_group(7) || !cursor_.read_uint32(template_id_) || !cursor_.read_uint(task_.stream) ||
        !cursor_.read_uint(task_.seq) || !cursor_.read_uint32(attempt_) ||
        !cursor_.read_uint32(crashes_) || !cursor_.read_uint(flags) || !open_list(2, task_.seq))
        return false;
    single_ = list_left_ == 1;
    return true;
}

bool TasksReader::step(TaskRecord& record) {
    if (list_left_ == 0 && !begin_group()) return false;
    if (!count_record() || !cursor_.read_uint(record.lease) || !read_body(record.body))
        return false;
    record.template_id = template_id_;
    record.task = task_;
    ++task_.seq;
    record.attempt = attempt_;
    record.crashes = crashes_;
    record.extras = nullptr;
    record.dependencies = {};
    if (--list_left_ > 0 || group_left_ == 0) return true;
    if (at_extras(single_)) {
        if (!read_extras()) return false;
        record.extras = &extras_;
        record.dependencies = dependencies_;
    }
    return cursor_.ok() && close_group();
}

bool TasksReader::read_extras() {
    extras_ = {};
    dependencies_.clear();
    Nested array{cursor_};
    if (!read_deadline(array, extras_) || !read_trace(array, extras_) ||
        !read_parent(array, extras_))
        return cursor_.ok() && array.close();
    std::uint32_t count = 0;
    if (array.next() && open_dependencies(count)) {
        for (std::uint32_t i = 0; i < count; ++i) {
            TaskRecord::Dependency dependency;
            if (!cursor_.read_uint32(dependency.argument) || !read_body(dependency.body))
                return false;
            dependencies_.push_back(std::move(dependency));
        }
    }
    return cursor_.ok() && array.close();
}

ResultsReader::ResultsReader(const Cursor& cursor, const base::Message& message)
    : BatchReader(cursor, message) {
    if (!cursor_.next_field() || !cursor_.read_uint(busy_ns_) || !cursor_.next_field()) {
        cursor_.fail(Code::Decode);
        code_ = cursor_.code();
        return;
    }
    std::uint32_t elements = 0;
    if (cursor_.read_array(elements) && elements % 3 != 0) cursor_.fail(Code::Decode);
    const std::uint32_t records = cursor_.ok() ? elements / 3 : 0;
    const Cursor start = cursor_;
    list_left_ = records;
    ResultRecord record;
    while (step(record)) {
    }
    end_check(start);
    list_left_ = records;
}

bool ResultsReader::step(ResultRecord& record) {
    if (list_left_ == 0) return false;
    std::uint64_t status = 0;
    if (!count_record() || !cursor_.read_uint(record.ref) || !cursor_.read_uint(status) ||
        !read_body(record.body))
        return false;
    if (status > static_cast<std::uint64_t>(Outcome::Dead)) return cursor_.fail(Code::InvalidRange);
    record.outcome = static_cast<Outcome>(status);
    --list_left_;
    return true;
}

}  // namespace forkmill::wire
