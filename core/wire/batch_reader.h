// SPDX-License-Identifier: Apache-2.0
// Readers of the hot kinds; batch.h says what they promise.
//
// Invariants: (1) a reader that was made with code() == None hands out exactly count() records; (2)
// the first of its two passes shares nothing and keeps nothing. Threading: none; each belongs to
// one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/wire/batch.h"
#include "core/wire/reader.h"

namespace forkmill::wire {

/// What the three readers share.
class BatchReader {
  public:
    /// None: every record of the frame is sound. Anything else: there are none.
    Code code() const { return code_; }
    /// Where in the control frame the error is.
    std::size_t error_offset() const { return cursor_.offset(); }
    /// Records in the frame.
    std::size_t count() const { return count_; }

  protected:
    BatchReader(const Cursor& cursor, const base::Message& message)
        : cursor_(cursor), message_(&message) {}
    bool read_body(BodyRef& ref);
    bool read_large_body(BodyRef& ref);
    bool count_record();
    /// The next group's head, with at least `least` elements; they are counted as read.
    bool open_group(std::uint32_t least);
    bool open_list(std::uint32_t per_record, std::uint64_t first_seq);
    bool at_extras(bool single);
    bool close_group();
    bool read_deadline(Nested& array, Extras& extras);
    bool read_trace(Nested& array, Extras& extras);
    bool read_parent(Nested& array, Extras& extras);
    bool open_dependencies(std::uint32_t& count);
    /// Ends the checking pass: exact end, all payload frames named.
    void end_check(const Cursor& start);

    Cursor cursor_;
    const base::Message* message_;
    Code code_ = Code::None;
    std::size_t count_ = 0;
    std::size_t payloads_named_ = 0;
    std::uint32_t group_left_ = 0;  ///< Elements of the open group behind its list.
    std::uint32_t list_left_ = 0;   ///< Records left in the open group.
    bool single_ = false;           ///< The open group has one record: it may have extras.
    bool checking_ = true;          ///< The first of two passes: blobs are not shared yet.
};

class SubmitReader : public BatchReader {
  public:
    /// After decode_header(); `message` outlives the reader.
    SubmitReader(const Cursor& cursor, const base::Message& message);
    /// The next record, or false after the last (and when code() says that there are none).
    bool next(SubmitRecord& record) { return code_ == Code::None && step(record); }

  private:
    bool step(SubmitRecord& record);
    bool begin_group();
    bool read_extras();

    std::uint64_t seq_ = 0;
    std::uint32_t template_id_ = 0;
    bool resent_ = false;
    Extras extras_;
};

class TasksReader : public BatchReader {
  public:
    TasksReader(const Cursor& cursor, const base::Message& message);
    bool next(TaskRecord& record) { return code_ == Code::None && step(record); }

  private:
    bool step(TaskRecord& record);
    bool begin_group();
    bool read_extras();

    base::TaskId task_;
    std::uint32_t template_id_ = 0;
    std::uint32_t attempt_ = 0;
    std::uint32_t crashes_ = 0;
    Extras extras_;
    std::vector<TaskRecord::Dependency> dependencies_;
};

class ResultsReader : public BatchReader {
  public:
    ResultsReader(const Cursor& cursor, const base::Message& message);
    bool next(ResultRecord& record) { return code_ == Code::None && step(record); }
    std::uint64_t busy_ns() const { return busy_ns_; }

  private:
    bool step(ResultRecord& record);

    std::uint64_t busy_ns_ = 0;
};

}  // namespace forkmill::wire
