"""gearmanny as a contestant, through its public API.

    contestant.py PORT roundtrip N              N calls, one at a time
    contestant.py PORT batch N                  N calls through `map`
    contestant.py PORT background N             N background jobs through `map`
    contestant.py PORT work N [PREFETCH]        a worker that leaves after N jobs (0: never)

Prints the seconds that it took. Every answer is checked.
"""

from __future__ import annotations

import sys
import time

from gearmanny.client import SimpleClient
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


def main() -> None:
    host, mode, count = f"127.0.0.1:{sys.argv[1]}", sys.argv[2], int(sys.argv[3])
    if mode == "work":
        CountingWorker.limit = count
        Bench([host], prefetch=int(sys.argv[4]) if sys.argv[4:] else 1).start()
        return
    with SimpleClient([host]).using(background=mode == "background") as client:
        client.bench_add(a=1, b=2)  # connecting is not part of it
        started = time.perf_counter()
        if mode == "roundtrip":
            for _ in range(count):
                assert client.bench_add(a=1, b=2) == 3
        else:
            arguments = ({"a": 1, "b": 2} for _ in range(count))
            answer = None if mode == "background" else 3
            assert all(result == answer for result in client.map("bench_add", arguments))
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
