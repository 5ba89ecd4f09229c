"""gearmanny as a contestant, through its public API.

    contestant.py PORT roundtrip N              N calls, one at a time
    contestant.py PORT batch N                  N calls through `map`; so does `together`
    contestant.py PORT background N             N background jobs through `map`
    contestant.py PORT threads N THREADS        N calls by so many threads that share a client
    contestant.py PORT clients N CLIENTS MODE   N calls by so many processes; also their CPU seconds
    contestant.py PORT open RATE SECONDS        an open loop: p50, p99 and p99.9, in ms
    contestant.py PORT outstanding N            N work objects made, then awaited
    contestant.py PORT payload BYTES            a text there and back, five times
    contestant.py PORT waiting N                N background jobs that nobody does
    contestant.py PORT offer N                  a worker that offers N functions, for ever
    contestant.py PORT workers N                N workers in processes of their own, for ever
    contestant.py PORT work N [PREFETCH]        a worker that leaves after N jobs (0: never)

PORT may be several ports with commas between them. Otherwise prints
the seconds that it took, then what else is to be told. Every answer is checked.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openloop

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.worker import BaseWorker, JsonWorker


class CountingWorker(JsonWorker):
    """Leaves after some jobs, and says how long they took; connecting is not part of it."""

    limit = 0
    done = 0
    started = 0.0

    def after_job(self) -> bool:
        self.done += 1
        if self.done == 1:
            self.started = time.perf_counter()
        if self.done != self.limit:
            return True
        print(time.perf_counter() - self.started, flush=True)
        return False


class Bench(BaseWorker):
    name = "bench"
    work_class = CountingWorker

    def task_add(self, a: int, b: int) -> int:
        return a + b

    def task_echo(self, text: str) -> str:
        return text

    def task_peak(self) -> int:
        return peak()


def peak() -> int:
    """Returns the most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def roundtrip(client: SimpleClient, count: int) -> None:
    assert all(client.bench_add(a=1, b=2) == 3 for _ in range(count))


def batch(client: SimpleClient, count: int, answer: int | None = 3) -> None:
    arguments = ({"a": 1, "b": 2} for _ in range(count))
    assert all(result == answer for result in client.map("bench_add", arguments))


def background(client: SimpleClient, count: int) -> None:
    batch(client.using(background=True), count, answer=None)


def waiting(client: SimpleClient, count: int) -> None:
    arguments = ({"n": n} for n in range(count))
    for _ in client.using(background=True).map("bench_never", arguments):
        pass


def offer(hosts: list[str], count: int) -> None:
    tasks: dict[str, Any] = {f"task_other{n}": Bench.task_add for n in range(count - 1)}
    tasks |= {"name": "bench", "work_class": CountingWorker, "task_add": Bench.task_add}
    type("Offering", (BaseWorker,), tasks)(hosts).start()


def workers(hosts: list[str], count: int) -> None:
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=Bench(hosts).start) for _ in range(count - 1)]
    for process in others:
        process.daemon = True
        process.start()
    Bench(hosts).start()


def threads(client: SimpleClient, count: int) -> None:
    number = int(sys.argv[4])

    def add(first: int) -> bool:
        return all(client.bench_add(a=first, b=i) == first + i for i in range(count // number))

    with ThreadPoolExecutor(number) as pool:
        assert all(pool.map(add, range(number)))


def clients(hosts: list[str], count: int) -> None:
    number, mode = int(sys.argv[4]), {"roundtrip": roundtrip, "batch": batch}[sys.argv[5]]
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(number + 1)

    def call() -> None:
        with SimpleClient(hosts) as client:
            client.bench_add(a=1, b=2)
            ready.wait()
            mode(client, count // number)

    processes = [context.Process(target=call) for _ in range(number)]
    for process in processes:
        process.start()
    ready.wait()
    started = time.perf_counter()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(seconds, used.ru_utime + used.ru_stime)


def outstanding(hosts: list[str], count: int) -> None:
    with AsyncClient(hosts) as client:
        assert client.bench_add(a=1, b=2).get_result() == 3
        started, before = time.perf_counter(), peak()
        results = [client.bench_add(a=1, b=i) for i in range(count)]
        done = client.wait(results)[0]
        seconds, bytes_each = time.perf_counter() - started, (peak() - before) / count
        assert len(done) == count
        assert all(result.get_result() == i + 1 for i, result in enumerate(results))
    print(seconds, bytes_each)


def payload(client: SimpleClient, size: int) -> None:
    text, seconds = "x" * size, []
    before = time.process_time()
    for _ in range(5):
        started = time.perf_counter()
        assert client.bench_echo(text=text) == text
        seconds.append(time.perf_counter() - started)
    used = (time.process_time() - before) / len(seconds)
    print(statistics.median(seconds), used, peak() / size, client.bench_peak() / size)


def main() -> None:
    hosts = [f"127.0.0.1:{port}" for port in sys.argv[1].split(",")]
    mode, count = sys.argv[2], int(sys.argv[3])
    alone = {"outstanding": outstanding, "clients": clients, "offer": offer, "workers": workers}
    if mode == "work":
        CountingWorker.limit = count
        Bench(hosts, prefetch=int(sys.argv[4]) if sys.argv[4:] else 1).start()
        return
    if mode in alone:
        alone[mode](hosts, count)
        return
    modes: dict[str, Any] = {
        "roundtrip": roundtrip, "batch": batch, "together": batch, "background": background,
        "threads": threads, "waiting": waiting,
    }  # fmt: skip
    with SimpleClient(hosts) as client:
        client.bench_add(a=1, b=2)  # connecting is not part of it
        if mode == "payload":
            payload(client, count)
            return
        if mode == "open":
            answers = openloop.threaded(
                lambda: client.bench_add(a=1, b=2), count, float(sys.argv[4])
            )
            openloop.tell(answers)
            return
        started = time.perf_counter()
        modes[mode](client, count)
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
