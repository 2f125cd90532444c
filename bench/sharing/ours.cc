// SPDX-License-Identifier: Apache-2.0
#include "bench/sharing/ours.h"

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "forkmill/shared.h"

namespace bench {

namespace {

using forkmill::Pool;
using forkmill::Queue;
using std::int64_t;

constexpr int64_t kEnd = -1;  ///< The last item of a stream, the last ball of a rally.
constexpr std::size_t kStreamMax = 2000;
constexpr std::size_t kUnderWay = 512;
constexpr std::size_t kBlock = 1 << 20;

inline constexpr forkmill::Task<"bench.answer", int(Queue<int>, Queue<int>)> answer;
inline constexpr forkmill::Task<"bench.put", int(Queue<int>, int64_t)> put_calls;
inline constexpr forkmill::Task<"bench.put_async", int(Queue<int>, int64_t)> put_many;
inline constexpr forkmill::Task<"bench.contend", double(forkmill::Lock, Queue<int>, Queue<int64_t>)>
    contend;
inline constexpr forkmill::Task<"bench.send", int(forkmill::Connection<std::string>, int64_t)>
    send_blocks;

int64_t nanos_of(Clock::time_point time) {
    return std::chrono::nanoseconds{time.time_since_epoch()}.count();
}
Clock::time_point time_of(int64_t nanos) {
    return Clock::time_point{std::chrono::nanoseconds{nanos}};
}

int do_answer(Queue<int> in, Queue<int> out) {
    for (int item = in.get(); item != kEnd; item = in.get()) out.put(item);
    return 0;
}

int do_put(Queue<int> queue, int64_t length) {
    rate_until(Clock::now() + std::chrono::nanoseconds{length}, [&] { queue.put(1); });
    queue.put(kEnd);
    return 0;
}

int do_put_async(Queue<int> queue, int64_t length) {
    std::deque<forkmill::Operation<void>> under_way;
    rate_until(Clock::now() + std::chrono::nanoseconds{length}, [&] {
        under_way.push_back(queue.put_async(1));
        if (under_way.size() < kUnderWay) return;
        under_way.front().get();
        under_way.pop_front();
    });
    under_way.push_back(queue.put_async(kEnd));
    for (auto& put : under_way) put.get();
    return 0;
}

/// Says that it is there, hears until when, and locks.
double do_contend(forkmill::Lock lock, Queue<int> ready, Queue<int64_t> turns) {
    ready.put(1);
    return rate_until(time_of(turns.get()), [&] { const std::scoped_lock guard{lock}; });
}

int do_send(forkmill::Connection<std::string> end, int64_t length) {
    const std::string block(kBlock, 'x');
    const auto until = Clock::now() + std::chrono::nanoseconds{length};
    while (Clock::now() < until) end.send(block);
    end.send("");
    return 0;
}

Figure queue_put_get(Pool& pool, Clock::duration length) {
    Queue<int> queue{pool};
    return measure(length, [&] {
        queue.put(1);
        queue.get();
    });
}

Figure queue_round_trip(Pool& pool, Clock::duration length) {
    Queue<int> there{pool};
    Queue<int> back{pool};
    auto other = pool.apply_async(answer, there, back);
    const Figure figure = measure(length, [&] {
        there.put(1);
        back.get();
    });
    there.put(kEnd);
    std::move(other).get();
    return figure;
}

Figure queue_stream(Pool& pool, Clock::duration length) {
    Queue<int> queue{pool, {.maxsize = kStreamMax}};
    auto other = pool.apply_async(put_calls, queue, nanos_of(Clock::time_point{length}));
    queue.get();
    double count = 0;
    const auto start = Clock::now();
    while (queue.get() != kEnd) ++count;
    const Figure figure{.rate = count / seconds_since(start)};
    std::move(other).get();
    return figure;
}

Figure queue_stream_async(Pool& pool, Clock::duration length) {
    Queue<int> queue{pool, {.maxsize = kStreamMax}};
    auto other = pool.apply_async(put_many, queue, nanos_of(Clock::time_point{length}));
    queue.get();
    double count = 0;
    const auto start = Clock::now();
    std::deque<forkmill::Operation<int>> under_way;
    for (;;) {
        while (under_way.size() < kUnderWay) under_way.push_back(queue.get_async());
        if (under_way.front().get() == kEnd) break;
        under_way.pop_front();
        ++count;
    }
    const Figure figure{.rate = count / seconds_since(start)};
    std::move(other).get();
    return figure;
}

Figure lock_unlock(Pool& pool, Clock::duration length) {
    forkmill::Lock lock{pool};
    return measure(length, [&] { const std::scoped_lock guard{lock}; });
}

/// The rate is that of both processes together, the percentiles are this one's.
Figure lock_contended(Pool& pool, Clock::duration length) {
    forkmill::Lock lock{pool};
    Queue<int> ready{pool};
    Queue<int64_t> turns{pool};
    const auto turn = [&](const auto& own) {
        auto other = pool.apply_async(contend, lock, ready, turns);
        ready.get();
        const auto until = Clock::now() + length;
        turns.put(nanos_of(until));
        own(until);
        return std::move(other).get();
    };
    const auto run = [&] { const std::scoped_lock guard{lock}; };
    Figure figure;
    double own = 0;
    const double other = turn([&](Clock::time_point until) { own = rate_until(until, run); });
    figure.rate = own + other;
    turn([&](Clock::time_point until) { time_each_until(until, run, figure); });
    return figure;
}

Figure dict_set(Pool& pool, Clock::duration length) {
    forkmill::Dict<std::string, int> dict{pool};
    return measure(length, [&] { dict.set("key", 1); });
}

Figure dict_get(Pool& pool, Clock::duration length) {
    forkmill::Dict<std::string, int> dict{pool};
    dict.set("key", 1);
    return measure(length, [&] { dict.at("key"); });
}

Figure counter_add(Pool& pool, Clock::duration length) {
    forkmill::Value<int> value{pool};
    return measure(length, [&] { value.fetch_add(1); });
}

Figure pipe_1mib(Pool& pool, Clock::duration length) {
    auto [reader, writer] = forkmill::pipe<std::string>(pool, {.duplex = false, .maxsize = 8});
    auto other = pool.apply_async(send_blocks, writer, nanos_of(Clock::time_point{length}));
    reader.recv();
    double count = 0;
    const auto start = Clock::now();
    while (!reader.recv().empty()) ++count;
    const Figure figure{.rate = count / seconds_since(start)};
    std::move(other).get();
    return figure;
}

}  // namespace

forkmill::Tasks sharing_tasks() {
    forkmill::Tasks tasks;
    tasks.bind(answer, do_answer)
        .bind(put_calls, do_put)
        .bind(put_many, do_put_async)
        .bind(contend, do_contend)
        .bind(send_blocks, do_send);
    return tasks;
}

// Floors are for queues, locks and dicts. A put of multiprocessing's own Queue does not wait for
// the queue, so put_async is what compares to it; call by call is for a Manager's, whose put does.
const std::array<Metric, 10> kMetrics{{
    {"queue_put_get", "1/s", queue_put_get, 1, 2},
    {"queue_round_trip", "1/s", queue_round_trip, 1, 2},
    {"queue_stream", "1/s", queue_stream, 0, 2},
    {"queue_stream_async", "1/s", queue_stream_async, 1, 2},
    {"lock_unlock", "1/s", lock_unlock, 1, 2},
    {"lock_contended", "1/s", lock_contended, 1, 2},
    {"dict_set", "1/s", dict_set, 0, 2},
    {"dict_get", "1/s", dict_get, 0, 2},
    {"counter_add", "1/s", counter_add, 0, 0},
    {"pipe_1mib", "MiB/s", pipe_1mib, 0, 0},
}};

}  // namespace bench
