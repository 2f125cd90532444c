// SPDX-License-Identifier: Apache-2.0
// Batch: the hot kinds SUBMIT, TASKS and RESULTS, written and read record by record.
//
// Writers gather records into one message and decide by themselves where a group begins; they are
// re-used for ever and allocate per message, not per record. Readers check the whole frame when
// they are made, so a frame counts whole or not at all: after code() == None next() cannot fail.
// Invariants: (1) a writer's message is within every limit of limits.h, if each record was asked
// for with fits(); (2) payload frames are named exactly once and in order; (3) views in records
// live as long as the message they came from, Extras and dependencies until the next next().
// Threading: none; each belongs to one thread.
//
// The loop of a sender: if (!writer.fits(r)) send(writer.finish(h)); writer.add(r); if
// (writer.full()) send(writer.finish(h)); and once the inbox is empty: if (writer.count() > 0) …
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/body.h"
#include "core/wire/messages.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace forkmill::wire {

/// A body as a record names it: bytes (inline below kInlineBodyMax, else as a payload frame) or a
/// transfer that went ahead in CHUNKs.
struct BodyRef {
    base::Body body;             ///< Empty when `transfer` is set.
    std::uint64_t transfer = 0;  ///< Never 0 for a transfer.
    std::uint64_t size = 0;      ///< Bytes, in either form.

    /// REQUIRES: !body.chunks and at most kBodyFrameMax bytes; anything else goes ahead as a transfer.
    static BodyRef of(const base::Body& body) { return {body, 0, body.view.size()}; }
    static BodyRef of(base::ByteView bytes) { return {base::Body::of(bytes), 0, bytes.size()}; }
    static BodyRef of(base::Blob blob) { return of(base::Body::of(std::move(blob))); }
    static BodyRef of_transfer(std::uint64_t number, std::uint64_t bytes) { return {{}, number, bytes}; }
};

struct SubmitRecord {
    std::uint64_t seq = 0;
    std::uint32_t template_id = 0;
    bool resent = false;              ///< Sent before, to an earlier incarnation.
    BodyRef body;
    const Extras* extras = nullptr;   ///< Null for the plain task.
};

struct TaskRecord {
    struct Dependency {
        std::uint32_t argument = 0;
        BodyRef body;                 ///< Above kDependencyFrameMax bytes it goes ahead as a transfer.
    };
    std::uint64_t lease = 0;
    base::TaskId task;
    std::uint32_t template_id = 0;
    std::uint32_t attempt = 1;
    std::uint32_t crashes = 0;
    BodyRef body;
    const Extras* extras = nullptr;   ///< Deadline, trace and parent travel; key and dependencies do not.
    std::span<const Dependency> dependencies;
};

struct ResultRecord {
    std::uint64_t ref = 0;            ///< Worker → broker: lease. Broker → client: seq.
    Outcome outcome{};
    BodyRef body;                     ///< The value, or a packed ErrorInfo unless outcome is Succeeded.
};

/// What the three writers share: the growing frame, its payloads and its limits.
class BatchWriter {
  public:
    std::size_t count() const { return count_; }
    /// Of the message so far, payload frames included.
    std::size_t bytes() const { return out_.size() + payload_bytes_; }
    /// Nothing is won by waiting for more: flush.
    bool full() const { return count_ >= kBatchTarget || bytes() >= kControlTarget; }
    /// Forgets what was added.
    void clear();

  protected:
    BatchWriter() { clear(); }
    bool fits(const BodyRef& body, std::size_t elements, std::size_t bytes) const;
    void put_body(const BodyRef& body);
    base::Message finish_frame(const Header& header, std::uint32_t fields);

    Writer out_;
    std::vector<base::Blob> payloads_;
    std::size_t payload_bytes_ = 0;
    std::size_t count_ = 0;
    std::size_t elements_ = 0;
};

class SubmitWriter : public BatchWriter {
  public:
    /// False: finish() first. True for every record when count() is 0.
    bool fits(const SubmitRecord& record) const;
    /// REQUIRES: fits(record)
    void add(const SubmitRecord& record);
    /// The message, stamped; the writer is empty afterwards. `header.kind` is set here.
    base::Message finish(Header header);

  private:
    void open_group(const SubmitRecord& record);

    std::uint32_t groups_ = 0;
    std::size_t list_at_ = 0;         ///< Where the open group's list head stands.
    std::uint32_t list_size_ = 0;
    std::uint64_t next_seq_ = 0;
    std::uint32_t template_id_ = 0;
    bool resent_ = false;
    bool open_ = false;
};

class TasksWriter : public BatchWriter {
  public:
    bool fits(const TaskRecord& record) const;
    void add(const TaskRecord& record);
    base::Message finish(Header header);

  private:
    void open_group(const TaskRecord& record, bool extras);
    void put_extras(const TaskRecord& record);

    std::uint32_t groups_ = 0;
    std::size_t list_at_ = 0;
    std::uint32_t list_size_ = 0;
    base::TaskId next_;
    std::uint32_t template_id_ = 0;
    std::uint32_t attempt_ = 0;
    std::uint32_t crashes_ = 0;
    bool open_ = false;
};

class ResultsWriter : public BatchWriter {
  public:
    bool fits(const BodyRef& body) const;
    void add(std::uint64_t ref, Outcome outcome, const BodyRef& body);
    /// Workers: time the batch's tasks ran, summed; the broker measures run times by it.
    void add_busy_ns(std::uint64_t nanoseconds) { busy_ns_ += nanoseconds; }
    base::Message finish(Header header);

  private:
    std::uint64_t busy_ns_ = 0;
};

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
    BatchReader(const Cursor& cursor, const base::Message& message) : cursor_(cursor), message_(&message) {}
    bool read_body(BodyRef& body);
    bool read_extras(Extras& extras);
    /// Ends the checking pass: exact end, all payload frames named.
    void end_check(const Cursor& start);

    Cursor cursor_;
    const base::Message* message_;
    Code code_ = Code::None;
    std::size_t count_ = 0;
    std::size_t payloads_named_ = 0;
    std::uint32_t list_left_ = 0;     ///< Records left in the open group.
    bool checking_ = true;
};

class SubmitReader : public BatchReader {
  public:
    /// After decode_header(); `message` outlives the reader.
    SubmitReader(const Cursor& cursor, const base::Message& message);
    /// The next record, or false after the last (and when code() says that there are none).
    bool next(SubmitRecord& record) { return code_ == Code::None && step(record); }

  private:
    bool step(SubmitRecord& record);
    bool open_group();

    std::uint64_t seq_ = 0;
    std::uint32_t template_id_ = 0;
    bool resent_ = false;
    bool has_extras_ = false;
    Extras extras_;
};

class TasksReader : public BatchReader {
  public:
    TasksReader(const Cursor& cursor, const base::Message& message);
    bool next(TaskRecord& record) { return code_ == Code::None && step(record); }

  private:
    bool step(TaskRecord& record);
    bool open_group();
    bool read_task_extras();

    base::TaskId task_;
    std::uint32_t template_id_ = 0;
    std::uint32_t attempt_ = 0;
    std::uint32_t crashes_ = 0;
    bool has_extras_ = false;
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
