// SPDX-License-Identifier: Apache-2.0
// Writers of the hot kinds; batch.h says what they promise and how a sender loops.
//
// Invariants: (1) elements_ counts as the reader does, one per value; (2) a group is open between
// the add() that began it and the next head or finish(). Threading: none; each belongs to one
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/wire/batch.h"
#include "core/wire/limits.h"
#include "core/wire/writer.h"

namespace forkmill::wire {

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
    /// Every value is one element, as the reader counts them.
    bool fits(const BodyRef& body, std::size_t elements, std::size_t bytes) const;
    /// Room for the frame's header, before the first record.
    void begin() {
        if (out_.size() == 0) put_header();
    }
    void put_header();
    void put_body(const BodyRef& body);
    void put_large_body(const BodyRef& body);
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
    void clear();

  private:
    void open_group(const SubmitRecord& record);

    std::uint32_t groups_ = 0;
    std::size_t list_at_ = 0;  ///< Where the open group's list head stands.
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
    void clear();

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
    void clear();

  private:
    void open_list();

    std::uint64_t busy_ns_ = 0;
    std::size_t busy_at_ = 0;
    std::size_t list_at_ = 0;
};

}  // namespace forkmill::wire
