// SPDX-License-Identifier: Apache-2.0
// OBJECT, OBJECT_REPLY and OBJECT_EVENT, written and read record by record as the hot kinds are;
// batch.h says what writers and readers promise and how a sender loops.
//
// Invariants: (1) a record whose bodies went as BodyBudget said fits an empty message; (2) those of
// BatchWriter and BatchReader. Threading: none; each belongs to one thread.
#pragma once

#include "core/wire/batch_reader.h"
#include "core/wire/batch_writer.h"
#include "core/wire/objects.h"

namespace forkmill::wire {

/// How each body of one record is to travel, asked in order.
class BodyBudget {
  public:
    /// False: it must go ahead as a transfer.
    bool fits_record(const base::Body& body);

  private:
    std::size_t inline_bytes_ = 0;
    std::size_t frame_bytes_ = 0;
    std::size_t frames_ = 0;
};

/// What the three writers share: items with several bodies.
class ObjectWriterBase : public BatchWriter {
  protected:
    bool fits_items(const std::vector<ObjectItem>& items, std::size_t texts) const;
    void put_items(const std::vector<ObjectItem>& items);
    /// A record of `fields` elements begins.
    void open_record(std::uint32_t fields);
};

class ObjectWriter : public ObjectWriterBase {
  public:
    /// False: finish() first. True for every record when count() is 0.
    bool fits(const ObjectOp& op) const;
    /// REQUIRES: fits(op)
    void add(const ObjectOp& op);
    base::Message finish(Header header);
};

class ObjectReplyWriter : public ObjectWriterBase {
  public:
    bool fits(const ObjectReply& reply) const;
    void add(const ObjectReply& reply);
    base::Message finish(Header header);
};

class ObjectEventWriter : public ObjectWriterBase {
  public:
    bool fits(const ObjectEvent& event) const;
    void add(const ObjectEvent& event);
    base::Message finish(Header header);
};

/// What the three readers share.
class ObjectReaderBase : public BatchReader {
  protected:
    using BatchReader::BatchReader;
    bool read_items(Nested& record, std::vector<ObjectItem>& items);
    bool read_item(ObjectItem& item);
};

class ObjectReader : public ObjectReaderBase {
  public:
    ObjectReader(const Cursor& cursor, const base::Message& message);
    bool next(ObjectOp& op) { return code_ == Code::None && step(op); }

  private:
    bool step(ObjectOp& op);
    bool read_shape(Nested& record, ObjectOp& op);
};

class ObjectReplyReader : public ObjectReaderBase {
  public:
    ObjectReplyReader(const Cursor& cursor, const base::Message& message);
    bool next(ObjectReply& reply) { return code_ == Code::None && step(reply); }

  private:
    bool step(ObjectReply& reply);
};

class ObjectEventReader : public ObjectReaderBase {
  public:
    ObjectEventReader(const Cursor& cursor, const base::Message& message);
    bool next(ObjectEvent& event) { return code_ == Code::None && step(event); }

  private:
    bool step(ObjectEvent& event);
};

}  // namespace forkmill::wire
