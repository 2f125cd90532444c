#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The metrics of tools/bench_sharing for Python's multiprocessing, each in its fastest sensible use.

Reads lines `METRIC KIND SECONDS`, answers `RATE P50_US P99_US` (percentiles 0 where single
operations are not timed), or `-` where that kind has no such thing. Kinds: plain (Queue, Lock,
Value, Pipe: semaphores, shared memory and pipes of one host), simple (SimpleQueue: no bound, no
timeout), manager (what a Manager's process serves, as the broker serves ours). figure.h says how it
is measured; here it is the same.
"""
import multiprocessing as mp
import sys
import threading
import time
from multiprocessing.managers import SyncManager
from time import perf_counter as now

BATCH = 16
SAMPLES_MAX = 200_000
STREAM_MAX = 2000
BLOCK = 1 << 20
END = -1


class Counter:
    """One call per addition, where Manager().Value takes a lock and two calls more."""

    def __init__(self):
        self.lock = threading.Lock()
        self.value = 0

    def add(self, amount):
        with self.lock:
            self.value += amount
            return self.value


class Manager(SyncManager):
    pass


Manager.register("Counter", Counter)


# `run(n)` does the operation n times: no call of a function per operation is counted.
def rate_until(end, run):
    count = 0
    start = now()
    while True:
        run(BATCH)
        count += BATCH
        at = now()
        if at >= end:
            return count / (at - start)


def time_each_until(end, run):
    samples = []
    before = now()
    while before < end and len(samples) < SAMPLES_MAX:
        run(1)
        after = now()
        samples.append(after - before)
        before = after
    samples.sort()
    return samples[len(samples) // 2] * 1e6, samples[len(samples) * 99 // 100] * 1e6


def measure(seconds, run):
    run(4 * BATCH)
    rate = rate_until(now() + seconds, run)
    return (rate, *time_each_until(now() + seconds, run))


def beside(target, *args):
    process = mp.Process(target=target, args=args)
    process.start()
    return process


def release(*queues):
    """A Queue has a thread and a pipe of its own."""
    for queue in queues:
        if hasattr(queue, "join_thread"):
            queue.close()
            queue.join_thread()
        elif hasattr(queue, "close"):
            queue.close()


def put_get(make, seconds):
    queue = make()
    put, get = queue.put, queue.get

    def run(count):
        for _ in range(count):
            put(1)
            get()

    figure = measure(seconds, run)
    release(queue)
    return figure


def answer(there, back):
    while (item := there.get()) != END:
        back.put(item)


def round_trip(make, seconds):
    there, back = make(), make()
    other = beside(answer, there, back)
    put, get = there.put, back.get

    def run(count):
        for _ in range(count):
            put(1)
            get()

    figure = measure(seconds, run)
    put(END)
    other.join()
    release(there, back)
    return figure


def put_many(queue, seconds):
    put = queue.put

    def run(count):
        for _ in range(count):
            put(1)

    rate_until(now() + seconds, run)
    put(END)


def stream(make, seconds):
    queue = make()
    get = queue.get
    other = beside(put_many, queue, seconds)
    get()
    count = 0
    start = now()
    while get() != END:
        count += 1
    rate = count / (now() - start)
    other.join()
    release(queue)
    return rate, 0, 0


def locking(lock):
    def run(count):
        for _ in range(count):
            with lock:
                pass

    return run


def contend(lock, end):
    end.send(0)
    end.send(rate_until(end.recv(), locking(lock)))


def lock_contended(lock, seconds):
    run = locking(lock)

    def turn(own):
        mine, others = mp.Pipe()
        other = beside(contend, lock, others)
        mine.recv()
        until = now() + seconds
        mine.send(until)
        figure = own(until, run)
        rate = mine.recv()
        other.join()
        return figure, rate

    return (sum(turn(rate_until)), *turn(time_each_until)[0])


def dict_set(table, seconds):
    def run(count):
        for _ in range(count):
            table["key"] = 1

    return measure(seconds, run)


def dict_get(table, seconds):
    table["key"] = 1

    def run(count):
        for _ in range(count):
            table["key"]

    return measure(seconds, run)


def counter_plain(value, seconds):
    lock = value.get_lock()
    raw = value.get_obj()  # Under its lock the plain number will do, without a lock of its own.

    def run(count):
        for _ in range(count):
            with lock:
                raw.value += 1

    return measure(seconds, run)


def counter_managed(counter, seconds):
    add = counter.add

    def run(count):
        for _ in range(count):
            add(1)

    return measure(seconds, run)


def send_blocks(end, seconds):
    block = b"x" * BLOCK
    until = now() + seconds
    while now() < until:
        end.send_bytes(block)
    end.send_bytes(b"")


def pipe_rate(seconds):
    reader, writer = mp.Pipe(duplex=False)
    other = beside(send_blocks, writer, seconds)
    reader.recv_bytes()
    count = 0
    start = now()
    while reader.recv_bytes():
        count += 1
    rate = count / (now() - start)
    other.join()
    return rate, 0, 0


def metrics(manager):
    queues = {"plain": mp.Queue, "simple": mp.SimpleQueue, "manager": manager.Queue}
    bounded = {"plain": lambda: mp.Queue(STREAM_MAX), "simple": mp.SimpleQueue,
               "manager": lambda: manager.Queue(STREAM_MAX)}

    def of(measured, makers):
        return {kind: (lambda s, make=make: measured(make, s)) for kind, make in makers.items()}

    return {
        "queue_put_get": of(put_get, queues),
        "queue_round_trip": of(round_trip, queues),
        "queue_stream": of(stream, bounded),
        # Its put does not wait for anybody as it is.
        "queue_stream_async": of(stream, bounded),
        "lock_unlock": {"plain": lambda s: measure(s, locking(mp.Lock())),
                        "manager": lambda s: measure(s, locking(manager.Lock()))},
        "lock_contended": {"plain": lambda s: lock_contended(mp.Lock(), s),
                           "manager": lambda s: lock_contended(manager.Lock(), s)},
        "dict_set": {"manager": lambda s: dict_set(manager.dict(), s)},
        "dict_get": {"manager": lambda s: dict_get(manager.dict(), s)},
        "counter_add": {"plain": lambda s: counter_plain(mp.Value("i", 0), s),
                        "manager": lambda s: counter_managed(manager.Counter(), s)},
        "pipe_1mib": {"plain": pipe_rate},
    }


def main():
    with Manager() as manager:
        table = metrics(manager)
        for line in sys.stdin:
            metric, kind, seconds = line.split()
            run = table[metric].get(kind)
            print(*run(float(seconds)) if run else "-", flush=True)


if __name__ == "__main__":
    main()
