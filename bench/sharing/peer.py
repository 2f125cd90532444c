#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The metrics of bench_sharing for Python's multiprocessing, as JSON lines; medians of five.

Its locks, values and pipes are shared memory and descriptors of one host; what a Manager has is
served by a process, as ours is by the broker.
"""
import json
import multiprocessing as mp
import time


def put_many(queue, count):
    for i in range(count):
        queue.put(i)


def answer(there, back, count):
    for _ in range(count):
        back.put(there.get())


def send_blocks(end, size, count):
    block = b"x" * size
    for _ in range(count):
        end.send_bytes(block)


def report(metric, unit, once):
    values = sorted(once() for _ in range(5))
    print(json.dumps({"metric": metric, "unit": unit, "value": float(f"{values[2]:.3g}")}), flush=True)


def each(count, run):
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count * 1e6


def beside(target, *args):
    process = mp.Process(target=target, args=args)
    process.start()
    return process


def queue_items(make):
    items = 100_000 if make is mp.Queue else 10_000
    queue = make(2000)
    other = beside(put_many, queue, items)
    start = time.perf_counter()
    for _ in range(items):
        queue.get()
    seconds = time.perf_counter() - start
    other.join()
    return items / seconds


def round_trip(make, trips):
    there, back = make(), make()
    other = beside(answer, there, back, trips)

    def once():
        there.put(1)
        back.get()

    micros = each(trips, once)
    other.join()
    return micros


def pipe_rate():
    reader, writer = mp.Pipe(duplex=False)
    other = beside(send_blocks, writer, 1 << 20, 64)
    reader.recv_bytes()
    micros = each(63, reader.recv_bytes)
    other.join()
    return 1e6 / micros


def hold(lock):
    with lock:
        pass


def add(value):
    with value.get_lock():
        value.value += 1


def main():
    manager = mp.Manager()
    report("queue_items", "1/s", lambda: queue_items(mp.Queue))
    report("queue_items (manager)", "1/s", lambda: queue_items(manager.Queue))
    report("queue_round_trip", "us", lambda: round_trip(mp.Queue, 2000))
    report("queue_round_trip (manager)", "us", lambda: round_trip(manager.Queue, 500))
    report("pipe_1mib", "MiB/s", pipe_rate)
    lock, managed = mp.Lock(), manager.Lock()
    report("lock_unlock", "us", lambda: each(5000, lambda: hold(lock)))
    report("lock_unlock (manager)", "us", lambda: each(1000, lambda: hold(managed)))
    value = mp.Value("i", 0)
    report("counter_add", "us", lambda: each(5000, lambda: add(value)))
    table = manager.dict()
    report("dict_set", "us", lambda: each(1000, lambda: table.__setitem__("key", 1)))
    report("dict_get", "us", lambda: each(1000, lambda: table["key"]))


if __name__ == "__main__":
    main()
