// SPDX-License-Identifier: Apache-2.0
// What the hot path pays per record for the encoding: 256 records of 32 bytes, there and back.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>

#include "core/wire/codec.h"

namespace {

using namespace forkmill;

constexpr std::uint64_t kRecords = 256;
constexpr std::array<std::byte, 32> kBody{};

base::Message submits(wire::SubmitWriter& writer, std::uint64_t first) {
    wire::SubmitRecord record;
    record.template_id = 7;
    record.body = wire::BodyRef::of(base::ByteView{kBody});
    for (std::uint64_t i = 0; i < kRecords; ++i) {
        record.seq = first + i;
        if (writer.fits(record)) writer.add(record);
    }
    return writer.finish({wire::Kind::Submit, 1, 1, 1});
}

base::Message tasks(wire::TasksWriter& writer, std::uint64_t first) {
    wire::TaskRecord record;
    record.template_id = 7;
    record.task.stream = 0x123456789abcdef0;
    record.body = wire::BodyRef::of(base::ByteView{kBody});
    for (std::uint64_t i = 0; i < kRecords; ++i) {
        record.task.seq = first + i;
        record.lease = (i << 32) | 77;
        if (writer.fits(record)) writer.add(record);
    }
    return writer.finish({wire::Kind::Tasks, 1, 1, 1});
}

base::Message results(wire::ResultsWriter& writer, std::uint64_t first) {
    const wire::BodyRef body = wire::BodyRef::of(base::ByteView{kBody});
    for (std::uint64_t i = 0; i < kRecords; ++i) {
        if (writer.fits(body)) writer.add(first + i, wire::Outcome::Succeeded, body);
    }
    return writer.finish({wire::Kind::Results, 1, 1, 1});
}

void per_record(benchmark::State& state) {
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kRecords));
}

template <class Writer, class Make>
void encode(benchmark::State& state, Make make) {
    Writer writer;
    std::uint64_t first = 1'000'000;
    for (auto _ : state) {
        const base::Message message = make(writer, first);
        benchmark::DoNotOptimize(message.control.data());
        first += kRecords;
    }
    per_record(state);
}

template <class Reader, class Record>
void decode(benchmark::State& state, const base::Message& message) {
    Record record;
    for (auto _ : state) {
        wire::Header header;
        wire::Cursor cursor;
        benchmark::DoNotOptimize(wire::decode_header(message, header, cursor));
        Reader reader{cursor, message};
        std::uint64_t sum = 0;
        while (reader.next(record)) sum += record.body.size;
        if (sum != kRecords * kBody.size()) state.SkipWithError("records were lost");
    }
    per_record(state);
}

void encode_submit(benchmark::State& state) {
    encode<wire::SubmitWriter>(state, submits);
}
void encode_tasks(benchmark::State& state) {
    encode<wire::TasksWriter>(state, tasks);
}
void encode_results(benchmark::State& state) {
    encode<wire::ResultsWriter>(state, results);
}
void decode_submit(benchmark::State& state) {
    wire::SubmitWriter writer;
    decode<wire::SubmitReader, wire::SubmitRecord>(state, submits(writer, 1'000'000));
}
void decode_tasks(benchmark::State& state) {
    wire::TasksWriter writer;
    decode<wire::TasksReader, wire::TaskRecord>(state, tasks(writer, 1'000'000));
}
void decode_results(benchmark::State& state) {
    wire::ResultsWriter writer;
    decode<wire::ResultsReader, wire::ResultRecord>(state, results(writer, 1'000'000));
}

BENCHMARK(encode_submit);
BENCHMARK(decode_submit);
BENCHMARK(encode_tasks);
BENCHMARK(decode_tasks);
BENCHMARK(encode_results);
BENCHMARK(decode_results);

}  // namespace

BENCHMARK_MAIN();
