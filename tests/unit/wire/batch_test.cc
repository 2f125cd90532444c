// SPDX-License-Identifier: Apache-2.0
// The hot kinds: what is written record by record is read record by record, within every limit.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/unit/wire/allocations.h"
#include "tests/unit/wire/frames.h"

namespace forkmill::wire {
namespace {

using test::blob_of;

BodyRef small(std::string_view text) {
    return BodyRef::of(base::bytes_of(text));
}

template <class Reader, class Record, class See>
std::size_t read(const base::Message& message, See see) {
    Header header{};
    Cursor cursor;
    EXPECT_EQ(decode_header(message, header, cursor), Code::None);
    Reader reader{cursor, message};
    EXPECT_EQ(reader.code(), Code::None) << "at byte " << reader.error_offset();
    Record record;
    std::size_t count = 0;
    while (reader.next(record)) see(count++, record);
    EXPECT_EQ(count, reader.count());
    return count;
}

TEST(Submit, NeighboursShareAGroup) {
    SubmitWriter writer;
    const std::array<std::string, 3> bodies = {"a", "bb", ""};
    for (std::uint64_t i = 0; i < 3; ++i) {
        SubmitRecord record{100 + i, 7, false, small(bodies[i]), nullptr};
        ASSERT_TRUE(writer.fits(record));
        writer.add(record);
    }
    EXPECT_EQ(writer.count(), 3U);
    const base::Message message = writer.finish({Kind::Submit, 9, 8, 7});
    EXPECT_EQ(writer.count(), 0U);
    // Header, one group head, template, seq, flags, list head, three bodies: nothing per task but
    // its body.
    EXPECT_EQ(message.control.size(), kHeaderSize + 1 + 1 + 1 + 1 + 5 + 3 + 4 + 2);
    Header header{};
    Cursor cursor;
    ASSERT_EQ(decode_header(message, header, cursor), Code::None);
    EXPECT_EQ(header.number, 9U);
    EXPECT_EQ(header.ack, 8U);
    EXPECT_EQ(header.floor, 7U);
    EXPECT_EQ((read<SubmitReader, SubmitRecord>(message,
                                                [&](std::size_t i, const SubmitRecord& r) {
                                                    EXPECT_EQ(r.seq, 100 + i);
                                                    EXPECT_EQ(r.template_id, 7U);
                                                    EXPECT_FALSE(r.resent);
                                                    EXPECT_EQ(r.extras, nullptr);
                                                    EXPECT_EQ(base::text_of(r.body.body.view),
                                                              bodies[i]);
                                                })),
              3U);
}

TEST(Submit, WhatDiffersBeginsAGroup) {
    SubmitWriter writer;
    Extras extras;
    extras.deadline = 1'700'000'000'000'000'000;
    extras.key = "order-7";
    extras.dependencies = {{0, 3}, {2, 90}};
    extras.trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    extras.parent = {11, 12};
    const std::vector<SubmitRecord> in = {
        {1, 7, false, small("a"), nullptr},
        {2, 7, true, small("b"), nullptr},
        {3, 8, true, small("c"), nullptr},
        {4, 8, true, small("d"), &extras},
        {5, 8, true, small("e"), &extras},
        {6, 8, true, small("f"), nullptr},
        {9, 8, true, small("g"), nullptr},
        {10, 8, true, small("h"), nullptr},
    };
    for (const SubmitRecord& record : in) writer.add(record);
    const base::Message message = writer.finish({});
    EXPECT_EQ((read<SubmitReader, SubmitRecord>(
                  message,
                  [&](std::size_t i, const SubmitRecord& r) {
                      EXPECT_EQ(r.seq, in[i].seq);
                      EXPECT_EQ(r.template_id, in[i].template_id);
                      EXPECT_EQ(r.resent, in[i].resent);
                      EXPECT_EQ(base::text_of(r.body.body.view),
                                base::text_of(in[i].body.body.view));
                      ASSERT_EQ(r.extras != nullptr, in[i].extras != nullptr) << i;
                      if (r.extras == nullptr) return;
                      EXPECT_EQ(r.extras->deadline, extras.deadline);
                      EXPECT_EQ(r.extras->key, "order-7");
                      EXPECT_EQ(r.extras->trace, extras.trace);
                      EXPECT_EQ(r.extras->parent, extras.parent);
                      ASSERT_EQ(r.extras->dependencies.size(), 2U);
                      EXPECT_EQ(r.extras->dependencies[1].argument, 2U);
                      EXPECT_EQ(r.extras->dependencies[1].seq, 90U);
                  })),
              in.size());
}

TEST(Submit, LargeBodiesTravelAsPayloadsThatAreShared) {
    SubmitWriter writer;
    const base::Blob large = blob_of(std::string(kInlineBodyMax, 'L'));
    const base::Blob whole = blob_of(std::string(3 * kInlineBodyMax, 'S'));
    const std::string just_small(kInlineBodyMax - 1, 's');
    writer.add({1, 7, false, BodyRef::of(large), nullptr});
    writer.add({2, 7, false, small(just_small), nullptr});
    writer.add({3, 7, false, BodyRef::of(whole.slice(1, kInlineBodyMax).view()), nullptr});
    writer.add({4, 7, false, BodyRef::of_transfer(77, 5'000'000), nullptr});
    const base::Message message = writer.finish({});
    ASSERT_EQ(message.payloads.size(), 2U);
    EXPECT_EQ(message.payloads[0].data(), large.data()) << "an owned body is not copied";
    EXPECT_NE(message.payloads[1].data(), whole.data() + 1) << "a view's owner is somebody else";
    read<SubmitReader, SubmitRecord>(message, [&](std::size_t i, const SubmitRecord& r) {
        const std::array<std::uint64_t, 4> sizes = {
            kInlineBodyMax, kInlineBodyMax - 1, kInlineBodyMax, 5'000'000};
        EXPECT_EQ(r.body.size, sizes[i]);
        EXPECT_EQ(r.body.transfer, i == 3 ? 77U : 0U);
        EXPECT_EQ(r.body.body.blob.empty(), i == 1 || i == 3);
        EXPECT_EQ(r.body.body.blob.data() == large.data(), i == 0);
        EXPECT_EQ(r.body.body.view.empty(), i == 3);
    });
}

TEST(Tasks, AGroupCarriesLeasesAndBodies) {
    TasksWriter writer;
    for (std::uint64_t i = 0; i < 3; ++i) {
        TaskRecord record;
        record.lease = (i << 32) | 5;
        record.task = {77, 10 + i};
        record.template_id = 2;
        record.attempt = 3;
        record.crashes = 1;
        record.body = small("abc");
        ASSERT_TRUE(writer.fits(record));
        writer.add(record);
    }
    const base::Message message = writer.finish({});
    EXPECT_EQ((read<TasksReader, TaskRecord>(message,
                                             [](std::size_t i, const TaskRecord& r) {
                                                 EXPECT_EQ(r.lease, (std::uint64_t{i} << 32) | 5);
                                                 EXPECT_EQ(r.task, (base::TaskId{77, 10 + i}));
                                                 EXPECT_EQ(r.template_id, 2U);
                                                 EXPECT_EQ(r.attempt, 3U);
                                                 EXPECT_EQ(r.crashes, 1U);
                                                 EXPECT_EQ(base::text_of(r.body.body.view), "abc");
                                                 EXPECT_EQ(r.extras, nullptr);
                                                 EXPECT_TRUE(r.dependencies.empty());
                                             })),
              3U);
}

TEST(Tasks, WhatDiffersBeginsAGroup) {
    std::vector<TaskRecord> in(11);
    for (std::size_t i = 0; i < in.size(); ++i) {
        in[i].lease = i + 1;
        in[i].task = {5, 100 + i};
        in[i].body = small("x");
    }
    // A plain one stands between them, so that each differs in one thing only.
    in[1].task.stream = 6;
    in[3].template_id = 9;
    in[5].attempt = 2;
    in[7].crashes = 1;
    in[9].task.seq = 400;
    TasksWriter writer;
    for (const TaskRecord& record : in) writer.add(record);
    EXPECT_EQ((read<TasksReader, TaskRecord>(writer.finish({}),
                                             [&](std::size_t i, const TaskRecord& r) {
                                                 EXPECT_EQ(r.task, in[i].task) << i;
                                                 EXPECT_EQ(r.template_id, in[i].template_id) << i;
                                                 EXPECT_EQ(r.attempt, in[i].attempt) << i;
                                                 EXPECT_EQ(r.crashes, in[i].crashes) << i;
                                             })),
              in.size());
}

TEST(Tasks, ExtrasCarryDependencyBodiesOfEveryForm) {
    Extras extras;
    extras.deadline = 5;
    extras.trace = "t";
    extras.parent = {1, 2};
    const base::Blob large = blob_of(std::string(kInlineBodyMax, 'L'));
    const std::vector<TaskRecord::Dependency> dependencies = {
        {0, small("zero")}, {1, BodyRef::of(large)}, {3, BodyRef::of_transfer(4, 9'000'000)}};
    TaskRecord record;
    record.lease = 1;
    record.task = {1, 1};
    record.body = BodyRef::of(large);
    record.extras = &extras;
    record.dependencies = dependencies;
    TasksWriter writer;
    writer.add(record);
    TaskRecord plain;
    plain.lease = 2;
    plain.task = {1, 2};
    writer.add(plain);
    record.task.seq = 3;
    record.extras = nullptr;
    writer.add(record);
    const base::Message message = writer.finish({});
    EXPECT_EQ(message.payloads.size(), 4U);
    EXPECT_EQ((read<TasksReader, TaskRecord>(
                  message,
                  [&](std::size_t i, const TaskRecord& r) {
                      if (i == 1) {
                          EXPECT_TRUE(r.dependencies.empty());
                          EXPECT_EQ(r.extras, nullptr);
                          return;
                      }
                      ASSERT_EQ(r.dependencies.size(), 3U);
                      EXPECT_EQ(base::text_of(r.dependencies[0].body.body.view), "zero");
                      EXPECT_EQ(r.dependencies[1].argument, 1U);
                      EXPECT_EQ(r.dependencies[1].body.body.blob.data(), large.data());
                      EXPECT_EQ(r.dependencies[2].body.transfer, 4U);
                      EXPECT_EQ(r.dependencies[2].body.size, 9'000'000U);
                      ASSERT_NE(r.extras, nullptr);
                      EXPECT_EQ(r.extras->deadline, i == 0 ? 5 : 0);
                      EXPECT_EQ(r.extras->parent, i == 0 ? (base::TaskId{1, 2}) : base::TaskId{});
                  })),
              3U);
}

TEST(Tasks, ARecordWithAllItsDependenciesFitsOneMessage) {
    const base::Blob value = blob_of(std::string(kDependencyFrameMax, 'v'));
    std::vector<TaskRecord::Dependency> dependencies(kDependenciesMax);
    for (std::uint32_t i = 0; i < kDependenciesMax; ++i) dependencies[i] = {i, BodyRef::of(value)};
    TaskRecord record;
    record.body = BodyRef::of(value);
    record.dependencies = dependencies;
    TasksWriter writer;
    ASSERT_TRUE(writer.fits(record));
    writer.add(record);
    EXPECT_FALSE(writer.fits(record));
    const base::Message message = writer.finish({});
    EXPECT_EQ(message.payloads.size(), kMessageFramesMax - 1);
    EXPECT_EQ((read<TasksReader, TaskRecord>(message,
                                             [&](std::size_t, const TaskRecord& r) {
                                                 ASSERT_EQ(r.dependencies.size(), kDependenciesMax);
                                                 for (const auto& dependency : r.dependencies)
                                                     EXPECT_EQ(dependency.body.size,
                                                               kDependencyFrameMax);
                                             })),
              1U);
}

TEST(Results, RecordsKeepRefOutcomeAndBody) {
    ResultsWriter writer;
    writer.add(1, Outcome::Succeeded, small("value"));
    writer.add(UINT64_MAX, Outcome::Dead, small("error"));
    writer.add_busy_ns(40);
    writer.add_busy_ns(2);
    const base::Message message = writer.finish({});
    Header header{};
    Cursor cursor;
    ASSERT_EQ(decode_header(message, header, cursor), Code::None);
    EXPECT_EQ((ResultsReader{cursor, message}.busy_ns()), 42U);
    EXPECT_EQ((read<ResultsReader, ResultRecord>(
                  message,
                  [](std::size_t i, const ResultRecord& r) {
                      EXPECT_EQ(r.ref, i == 0 ? 1U : UINT64_MAX);
                      EXPECT_EQ(r.outcome, i == 0 ? Outcome::Succeeded : Outcome::Dead);
                      EXPECT_EQ(base::text_of(r.body.body.view), i == 0 ? "value" : "error");
                  })),
              2U);
    EXPECT_EQ((read<ResultsReader, ResultRecord>(writer.finish({}), [](auto, const auto&) {})), 0U)
        << "an empty batch is a sound frame, and busy time does not leak into it";
}

/// Adds until the writer says no; the message must be within the limits and hold all records.
template <class Reader, class Record, class Writer, class Fits, class Add>
std::size_t fill(Writer& writer, Fits fits, Add add) {
    std::size_t added = 0;
    while (fits(added)) add(added++);
    const base::Message message = writer.finish({});
    EXPECT_LE(message.bytes(), kMessageBytesMax);
    EXPECT_LE(message.control.size(), kFrameMax);
    EXPECT_LT(message.payloads.size(), kMessageFramesMax);
    EXPECT_EQ((read<Reader, Record>(message, [](auto, const auto&) {})), added);
    return added;
}

TEST(BatchLimits, FitsStopsBeforeEveryLimit) {
    const std::vector<std::size_t> sizes = {
        0, 32, 1000, kInlineBodyMax - 1, kInlineBodyMax, 100'000, kBodyFrameMax};
    for (const std::size_t size : sizes) {
        const base::Blob blob = base::Blob::allocate(size);
        const BodyRef body = BodyRef::of(blob);
        ResultsWriter results;
        const std::size_t many = fill<ResultsReader, ResultRecord>(
            results,
            [&](std::size_t) { return results.fits(body); },
            [&](std::size_t i) { results.add(UINT64_MAX - i, Outcome::Failed, body); });
        EXPECT_GE(many, 1U);
        SubmitWriter submits;
        SubmitRecord record{0, 1, false, body, nullptr};
        fill<SubmitReader, SubmitRecord>(
            submits,
            [&](std::size_t i) {
                return record.seq = UINT64_MAX / 2 + 2 * i, submits.fits(record);
            },
            [&](std::size_t) { submits.add(record); });
    }
    ResultsWriter writer;
    EXPECT_EQ((fill<ResultsReader, ResultRecord>(
                  writer,
                  [&](std::size_t) { return writer.fits(small("")); },
                  [&](std::size_t i) { writer.add(i, Outcome::Succeeded, small("")); })),
              kRecordsMax);
}

TEST(BatchLimits, FitsCountsElementsOfExtras) {
    Extras extras;
    extras.dependencies.resize(kDependenciesMax);
    SubmitWriter submits;
    SubmitRecord record{0, 1, false, small("x"), &extras};
    const std::size_t added = fill<SubmitReader, SubmitRecord>(
        submits,
        [&](std::size_t i) { return record.seq = i, submits.fits(record); },
        [&](std::size_t) { submits.add(record); });
    EXPECT_GT(added, 50U);
    EXPECT_LT(added, kElementsMax / (2 * kDependenciesMax));
}

TEST(BatchLimits, AFullBatchSaysSo) {
    ResultsWriter writer;
    for (std::size_t i = 0; i < kBatchTarget; ++i) {
        EXPECT_FALSE(writer.full());
        writer.add(i, Outcome::Succeeded, small("x"));
    }
    EXPECT_TRUE(writer.full());
    writer.clear();
    EXPECT_EQ(writer.count(), 0U);
    EXPECT_FALSE(writer.full());
    writer.add(1, Outcome::Succeeded, BodyRef::of(base::Blob::allocate(kControlTarget)));
    EXPECT_TRUE(writer.full()) << "payload bytes count";
}

TEST(BatchCost, NothingIsAllocatedPerRecord) {
    SubmitWriter writer;
    const std::array<std::byte, 32> bytes{};
    const auto batch = [&] {
        for (std::uint64_t i = 0; i < kBatchTarget; ++i)
            writer.add({i, 1, false, BodyRef::of(base::ByteView{bytes}), nullptr});
        return writer.finish({});
    };
    batch();  // The buffer grows once.
    const std::size_t before = test::allocations();
    const base::Message message = batch();
    EXPECT_EQ(test::allocations(), before)
        << "a message's Blob is its one allocation, and it is a malloc";
    EXPECT_EQ((read<SubmitReader, SubmitRecord>(message, [](auto, const auto&) {})), kBatchTarget);
    EXPECT_EQ(test::allocations(), before);
}

}  // namespace
}  // namespace forkmill::wire
